"""The launcher: systemd's part, off a box."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from edge.errors import SetupFailed
from edge.sim.launcher import Launcher, Program

SERVE = """
import asyncio, os
from edge import supervision
async def main(stop):
    print("hello", os.environ.get("COLOUR"), flush=True)
    supervision.notify("READY=1")
    period = supervision.watchdog_s()
    while not stop.is_set():
        supervision.notify("WATCHDOG=1")
        await asyncio.wait([asyncio.create_task(stop.wait())], timeout=period or 60)
raise SystemExit(supervision.serve("part", main))
"""


def part(name: str = "part", code: str = SERVE) -> Program:
    return Program(name, (sys.executable, "-c", code), env={"COLOUR": "red", "PYTHONPATH": str(Path.cwd())})


@pytest_asyncio.fixture
async def launch(tmp_path: Path) -> AsyncIterator[Callable[..., Launcher]]:
    made: list[Launcher] = []

    def make(*programs: Program) -> Launcher:
        made.append(Launcher(tmp_path / "log", programs, restart_s=0.01))
        return made[-1]

    yield make
    for launcher in made:
        await launcher.stop()


async def test_ready_is_what_the_program_says_of_itself(launch: Callable[..., Launcher]) -> None:
    launcher = launch(part())
    await launcher.start()
    assert not launcher.is_ready("part")
    await launcher.ready()
    assert launcher.log_file("part").read_text().startswith("hello red")


async def test_a_program_that_is_never_ready_is_reported_with_its_last_words(
    launch: Callable[..., Launcher],
) -> None:
    launcher = launch(part(code="raise SystemExit('no sound card here')"))
    await launcher.start()
    with pytest.raises(SetupFailed, match=r"part is not ready after 1 s .* no sound card here"):
        await launcher.ready(timeout_s=1)
    assert launcher.starts("part") > 1


async def test_a_killed_program_comes_back_under_another_pid(launch: Callable[..., Launcher]) -> None:
    launcher = launch(part())
    await launcher.start()
    await launcher.ready()
    first = launcher.pid("part")
    launcher.kill("part")
    await launcher.ready("part")
    assert launcher.pid("part") != first
    assert (launcher.starts("part"), launcher.exits("part")) == (2, [-signal.SIGKILL])


async def test_behind_a_prefix_the_programs_own_pid_is_meant(launch: Callable[..., Launcher]) -> None:
    wrapper = "import subprocess, sys; raise SystemExit(subprocess.call(sys.argv[1:]))"
    launcher = launch(replace(part(), prefix=(sys.executable, "-c", wrapper)))
    await launcher.start()
    await launcher.ready()
    assert wrapper not in _command(launcher.pid("part"))
    launcher.kill("part")
    await launcher.ready("part")


async def test_a_replaced_row_holds_from_the_next_start(launch: Callable[..., Launcher]) -> None:
    launcher = launch(part())
    await launcher.start()
    await launcher.ready()
    row = launcher.program("part")
    launcher.replace(replace(row, env={**row.env, "COLOUR": "blue"}))
    launcher.kill("part")
    await launcher.ready()
    assert launcher.log_file("part").read_text().split() == ["hello", "red", "hello", "blue"]


async def test_programs_end_last_first_and_stay_ended(
    launch: Callable[..., Launcher], tmp_path: Path
) -> None:
    launcher = launch(part("first"), part("second"))
    await launcher.start()
    await launcher.ready()
    pids = [launcher.pid(name) for name in launcher.names]
    await launcher.stop("second")
    assert launcher.is_ready("first")
    await launcher.stop()
    assert [launcher.exits(name) for name in launcher.names] == [[0], [0]]
    assert not any(_runs(pid) for pid in pids)
    with pytest.raises(SetupFailed, match="does not run"):
        launcher.pid("first")
    await launcher.start("first")
    await launcher.ready("first")


async def test_a_suspended_program_hangs_until_it_is_resumed_and_can_be_stopped(
    launch: Callable[..., Launcher],
) -> None:
    launcher = launch(part())
    await launcher.start()
    await launcher.ready()
    launcher.suspend("part")
    await _until(lambda: _state(launcher.pid("part")) == "T")
    launcher.resume("part")
    await _until(lambda: _state(launcher.pid("part")) != "T")
    launcher.suspend("part")
    await launcher.stop("part")
    assert launcher.exits("part") == [0]


async def test_a_program_that_does_not_feed_its_watchdog_is_ended_and_started_again(
    launch: Callable[..., Launcher],
) -> None:
    launcher = launch(replace(part(), watchdog_s=0.5))
    await launcher.start()
    await launcher.ready()
    first = launcher.pid("part")
    launcher.suspend("part")
    await launcher.next_life("part", starts=1)
    assert launcher.pid("part") != first
    assert launcher.exits("part") == [-signal.SIGKILL]


async def test_children_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    code = f"""
import asyncio, sys
from pathlib import Path
from edge.sim.launcher import Launcher, Program
async def main():
    launcher = Launcher(Path({str(tmp_path)!r}), [Program("part", (sys.executable, "-c", {SERVE!r}))])
    await launcher.start()
    await launcher.ready()
    print(launcher.pid("part"), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    await _until(lambda: not _runs(child))


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - another process's state sends no event
            await asyncio.sleep(0.01)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "gone"


def _runs(pid: int) -> bool:
    return _state(pid) not in ("gone", "Z")


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()
