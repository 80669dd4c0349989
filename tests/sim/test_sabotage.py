"""The saboteur: its control, its crash points and its broken rules name what is really there."""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from edge.errors import StoreError
from edge.sim import sabotage
from edge.sim.bench_faults import plan
from edge.sim.rig import PROGRAMS
from edge.sim.sabotage import (
    POINTS,
    READ_ONLY,
    SPOILED_PROGRAM,
    SPOILERS,
    Control,
    ControlledFiles,
    Point,
)
from edge.sim.scenarios import CONTROL_SCENARIOS, CONTROLS, OTHERS, at_point


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(tmp_path / "box.control")


@pytest.fixture
def mended(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Any, Any]]:
    """Notes what `_replace` puts in whose place, and takes it all back."""
    changes: dict[str, tuple[Any, Any]] = {}
    real = sabotage._replace

    def noting(target: str, wrap: Callable[[Any], Any]) -> None:
        before = look_up(target)
        owner, name = owner_of(target)
        monkeypatch.setattr(owner, name, before)  # so that it is put back
        real(target, wrap)
        changes[target] = (before, look_up(target))

    monkeypatch.setattr(sabotage, "_replace", noting)
    return changes


def owner_of(target: str) -> tuple[Any, str]:
    module, path = target.split(":")
    owner: Any = import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name


def look_up(target: str) -> Any:
    owner, name = owner_of(target)
    return getattr(owner, name)


# -- the control ---------------------------------------------------------------------------------------


def test_both_sides_of_a_control_see_the_same_and_it_outlives_a_process(tmp_path: Path) -> None:
    here, there = Control(tmp_path / "c"), Control(tmp_path / "c")
    assert (here.armed, here.read_faults()) == ("", (0, 0, 0, 0))
    here.arm("journal_written")
    here.faults(write=errno.ENOSPC, sync=errno.EIO, stall_ms=10_000, outbox=errno.EROFS)
    assert there.armed == "journal_written"
    assert there.read_faults() == (errno.ENOSPC, errno.EIO, 10_000, errno.EROFS)
    there.arm("")
    assert here.armed == ""
    assert Control(tmp_path / "c").read_faults()[0] == errno.ENOSPC


def test_every_name_of_a_point_fits_the_control(control: Control) -> None:
    for point in POINTS:
        control.arm(point.name)
        assert control.armed == point.name
        assert control.read_faults() == (0, 0, 0, 0)


def test_the_disk_takes_its_faults_from_the_control_at_each_use(tmp_path: Path, control: Control) -> None:
    files = ControlledFiles(control)
    files.create(tmp_path / "a.seg", 4096)
    file = files.open(tmp_path / "a.seg", write=True)
    file.write(0, b"press")
    control.faults(write=errno.ENOSPC)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        file.write(0, b"press")
    control.faults(sync=errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        file.sync()
    control.faults()
    file.sync()
    file.close()
    assert (tmp_path / "a.seg").read_bytes()[:5] == b"press"


def test_a_stalled_sync_ends_when_the_control_says_so(tmp_path: Path, control: Control) -> None:
    files = ControlledFiles(control)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 5:
            control.faults()

    control.faults(stall_ms=60_000)
    files.before_sync(wait)
    assert len(waits) == 5


# -- crash points --------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_the_target_of_each_point_is_there_and_is_called_as_the_point_expects(point: Point) -> None:
    call = look_up(point.target)
    assert inspect.isfunction(call), f"{point.target} is no plain function"
    # A wrapped coroutine would be passed "after" when it was only made.
    assert not inspect.iscoroutinefunction(call) or point.when == "before"
    assert point.when in ("before", "after")
    assert point.program in PROGRAMS
    if "alert" in getattr(point.only, "__name__", ""):
        assert "topic" in list(inspect.signature(call).parameters)[1]
    if "press" in getattr(point.only, "__name__", ""):
        assert len(inspect.signature(call).parameters) >= 2


def test_no_two_points_share_a_name_or_a_place() -> None:
    assert len({p.name for p in POINTS}) == len(POINTS)
    assert len({(p.target, p.when, p.program) for p in POINTS}) == len(POINTS)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_armed_process_kills_itself_at_its_point_once_and_there_alone(tmp_path: Path, when: str) -> None:
    script = f"""
import sys
from pathlib import Path
from edge.sim import sabotage
from edge.store import journal
control = sabotage.Control(Path(sys.argv[1]))
point = sabotage.Point("here", "callbox", "edge.store.journal:encode", {when!r}, lambda args: args[1] == 7)
sabotage._plant(point, control)
for seq in (6, 7, 8):
    print("before", seq, flush=True)
    journal.encode(journal.Kind.PRESS, seq, b"")
    print("after", seq, flush=True)
"""
    control = Control(tmp_path / "c")
    argv = [sys.executable, "-c", script, str(tmp_path / "c")]
    control.arm("here")
    died = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert died.stdout.splitlines()[-1] == "before 7"
    assert control.armed == ""
    lived = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert lived.returncode == 0
    control.arm("elsewhere")
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 0


# -- rules broken on purpose ---------------------------------------------------------------------------

SPOILED = {
    "no_fsync": set(),
    "no_dedup": {"edge.desk.broker:Broker.receive"},
    "puback_is_receipt": {
        "edge.uplink.uplink:Uplink._on_puback",
        "edge.uplink.delivery:DeliveryBook._reminder",
    },
    "receipt_before_commit": {"edge.desk.keeper:Keeper.settle"},
}


@pytest.mark.parametrize("name", SPOILERS)
def test_each_spoiler_patches_what_it_names_and_keeps_how_it_is_called(
    name: str, mended: dict[str, tuple[Any, Any]]
) -> None:
    SPOILERS[name]()
    assert set(mended) == SPOILED[name]
    for target, (before, after) in mended.items():
        assert after is not before
        assert len(inspect.signature(after).parameters) == len(inspect.signature(before).parameters), target
        assert inspect.iscoroutinefunction(after) == inspect.iscoroutinefunction(before), target


def test_what_the_spoilers_reach_for_inside_is_there() -> None:
    source = {name: inspect.getsource(owner_of(target)[0]) for name, target in _INSIDE.items()}
    for attribute, text in source.items():
        assert f"self.{attribute}" in text or f"def {attribute}" in text, attribute


_INSIDE = {
    "_desk": "edge.desk.broker:Broker.receive",
    "_inflight": "edge.uplink.uplink:Uplink._on_puback",
    "_writer": "edge.uplink.uplink:Uplink._on_puback",
    "_book": "edge.uplink.uplink:Uplink._on_puback",
    "answer": "edge.desk.keeper:Keeper.settle",
    "save": "edge.desk.keeper:Keeper.settle",
}


def test_a_disk_that_lies_is_the_broken_fsync(
    tmp_path: Path, control: Control, mended: dict[str, tuple[Any, Any]]
) -> None:
    sabotage._lossy_journal(control, honest=False)
    make = look_up("edge.callbox.main:RealFiles")
    journal, fallback = make(), make()
    assert isinstance(journal, ControlledFiles)
    assert not journal.honest
    assert not isinstance(fallback, ControlledFiles), "the fallback is in memory, which does not forget"


def test_an_outbox_that_is_told_to_fail_refuses_with_that_error(
    control: Control, mended: dict[str, tuple[Any, Any]]
) -> None:
    sabotage._failing_outbox(control)
    control.faults(outbox=errno.ENOSPC)
    with pytest.raises(StoreError, match=os.strerror(errno.ENOSPC)):
        look_up("edge.store.outbox:Outbox.commit")(None, [])


def test_every_spoiler_has_its_program_and_a_scenario_that_brings_it_out() -> None:
    assert set(SPOILERS) == set(SPOILED_PROGRAM) == set(CONTROLS) == set(SPOILED)
    assert set(SPOILED_PROGRAM.values()) <= set(PROGRAMS)
    assert set(CONTROLS.values()) <= set(CONTROL_SCENARIOS)


# -- the plan of a run ---------------------------------------------------------------------------------


def test_the_short_run_has_every_scenario_and_every_point_and_the_long_one_each_point_five_times() -> None:
    import random

    short = [name for name, _ in plan(60, random.Random(1), faketime=True)]
    assert len(short) == 60
    assert {f"at {p.name}" for p in POINTS} | set(OTHERS) <= set(short)
    long = [name for name, _ in plan(300, random.Random(1), faketime=True)]
    assert all(long.count(f"at {p.name}") >= 5 for p in POINTS)
    assert not any(n.startswith("clock") for n, _ in plan(60, random.Random(1), faketime=False))
    assert asyncio.iscoroutinefunction(at_point(POINTS[0]))


def test_a_disk_that_can_be_written_again_can_be_opened_again(tmp_path: Path) -> None:
    control = Control(tmp_path / "control")
    files = ControlledFiles(control)
    files.create(tmp_path / "file", 4096)
    control.faults(write=READ_ONLY)
    with pytest.raises(OSError, match="Read-only"):
        files.open(tmp_path / "file", write=True)
    control.faults()
    files.open(tmp_path / "file", write=True).close()
