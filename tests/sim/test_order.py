"""The order of a press, as the kernel saw it: disk before network, and a lamp that waits for neither (I1)."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.protocol.inner import PressTold
from edge.sim.launcher import Program
from edge.sim.observer import Observer, at_least
from edge.sim.rig import Rig
from edge.sim.stack import Stack

CALLS = "fdatasync,pwrite64,sendto,sendmsg,write"
LINE = re.compile(
    r"(?P<at>\d+\.\d+) (?P<call>\w+)\(\d+<(?P<file>.*?)>(?P<rest>[,)].*) = (?P<result>-?\d+).*"
    r"<(?P<took>\d+\.\d+)>"
)
SHORTEST_ALERT = 256
"""Bytes. A ping or an acknowledgement, which may pass at any time, is far shorter even inside TLS."""
# No timer of the uplink makes it send anything near the press.
QUIET = {"uplink": {"health_s": 600.0, "keepalive_s": 600}}


@dataclass(frozen=True)
class Call:
    """One system call; times are seconds of the wall clock, the same for both processes."""

    name: str
    file: str
    text: str
    result: int
    began: float
    returned: float


def calls(folder: Path, program: str) -> list[Call]:
    """What strace wrote of a program, a file for each thread, in the order the calls began."""
    found = []
    for path in folder.glob(f"{program}.strace.*"):
        for line in path.read_text(errors="replace").splitlines():
            match = LINE.fullmatch(line)
            if match is not None:
                began = float(match["at"])
                returned = began + float(match["took"])
                found.append(
                    Call(match["call"], match["file"], match["rest"], int(match["result"]), began, returned)
                )
    return sorted(found, key=lambda call: call.began)


def durable_at(traced: list[Call], press_id: str) -> float:
    """When the fdatasync after the write of this press's record had returned."""
    written = next(
        c for c in traced if c.name == "pwrite64" and "/press-" in c.file and f'"{press_id}' in _plain(c.text)
    )
    synced = next(
        c
        for c in traced
        if c.name == "fdatasync" and c.file == written.file and c.began >= written.returned and c.result == 0
    )
    return synced.returned


def published_at(traced: list[Call], port: int, after: float) -> float:
    """When the uplink first handed something as long as an alert to the broker's connection."""
    return next(
        c.began
        for c in traced
        if c.name in ("write", "sendto", "sendmsg")
        and f"->127.0.0.1:{port}]" in c.file
        and c.began >= after
        and c.result >= SHORTEST_ALERT
    )


def lamp_at(traced: list[Call], after: float) -> float:
    """When callbox first told the stage that the lamp is on."""
    lit = '{"out": "lamp", "level": 1'
    return next(c.began for c in traced if c.name == "sendto" and c.began >= after and lit in _plain(c.text))


def _plain(text: str) -> str:
    return text.replace('\\"', '"')


@pytest.fixture(scope="module")
def strace() -> str:
    program = shutil.which("strace")
    assert program is not None, "strace is not installed; `./run test` installs it"
    tried = subprocess.run([program, "-f", "true"], capture_output=True, check=False)
    if tried.returncode != 0 and b"ptrace" in tried.stderr.lower():
        pytest.skip("ptrace is not permitted here")
    assert tried.returncode == 0, tried.stderr.decode()
    return program


async def one_press(
    folder: Path, strace: str, change: Callable[[Program], Program] = lambda program: program
) -> tuple[float, float, float]:
    """Seconds from the contact to: lamp told, press durable, alert handed to the broker."""
    clock = SystemClock()
    stack = Stack(folder, roles=("callbox", "uplink"), box=QUIET)
    for name in ("callbox", "uplink"):
        program = stack.launcher.program(name)
        out = str(folder / f"{name}.strace")
        # A file for each thread (-ff), so that no call is torn in two by another's; -T says when it returned.
        prefix = (strace, "-ff", "-ttt", "-T", "-yy", "-s", "1200", "-e", f"trace={CALLS}", "-o", out)
        stack.launcher.replace(replace(program, prefix=prefix))
    stack.launcher.replace(change(stack.launcher.program("callbox")))
    async with stack:
        observer = Observer(stack)
        observer.open()
        try:
            await observer.until("the box reaches the broker", lambda: observer.link or None)
            await asyncio.sleep(1.0)  # births and what follows from them
            began = clock.utc_ns() / 1e9
            stack.stage.set_line("police", 1)
            told: PressTold = await observer.until(
                "the press is told", lambda: next(iter(observer.presses.values()), None)
            )
            incident = told.press.incident_id
            await observer.until("the desk has it", lambda: at_least(observer, incident, "received"))
            stack.stage.set_line("police", 0)
            await asyncio.sleep(1.0)
        finally:
            await observer.close()
    callbox, uplink = calls(folder, "callbox"), calls(folder, "uplink")
    return (
        lamp_at(callbox, began) - began,
        durable_at(callbox, told.press.press_id) - began,
        published_at(uplink, stack.broker.port, began) - began,
    )


async def test_I1_the_record_is_on_the_disk_before_the_alert_is_handed_to_the_network(
    tmp_path: Path, strace: str
) -> None:
    _, durable, published = await one_press(tmp_path, strace)
    assert durable < published


# The press is told as stored at once; its disk is a slow one, so that chance cannot put the order right.
REVERSED = textwrap.dedent(
    """
    import sys
    from edge.clock import pause
    from edge.store.journal import Journal
    from edge.store.journal_writer import JournalWriter

    submit, sync = JournalWriter.submit, Journal._sync

    def told_first(self, kind, seq, payload, stored):
        self._loop.call_soon(stored, True, self._clock.mono_ns())
        submit(self, kind, seq, payload, lambda *_: None)

    def slow(self, slot):
        pause(0.15)
        sync(self, slot)

    JournalWriter.submit, Journal._sync = told_first, slow
    from edge.cli import main
    sys.exit(main(sys.argv[1:]))
    """
)


async def test_the_same_check_sees_a_box_that_publishes_before_it_stores(tmp_path: Path, strace: str) -> None:
    def reverse(program: Program) -> Program:
        python, _, _, *words = program.argv
        return replace(program, argv=(python, "-c", REVERSED, *words))

    lamp, durable, published = await one_press(tmp_path, strace, reverse)
    assert published < durable
    assert lamp < durable, "the lamp waited for a slow disk"


async def test_I1_with_a_disk_that_hangs_the_lamp_lights_and_then_the_press_goes_out_as_not_durable(
    tmp_path: Path,
) -> None:
    seen: list[str] = []
    async with Rig(tmp_path) as rig:
        rig.stack.stage.observe(
            lambda _kind, name, level, *_: seen.append("lamp") if (name, level) == ("lamp", 1) else None
        )
        await rig.until(lambda: not rig.stack.stage.outputs["lamp"], 5, "the lamp is dark")
        seen.clear()
        rig.controls["callbox"].faults(stall_ms=60_000)
        await rig.press()
        await rig.arrived(5)
        assert seen[0] == "lamp"
        assert [told.durable for told in rig.told] == [False]
        rig.controls["callbox"].faults()
        await rig.until(lambda: len(rig.told) > 1, 15, "the disk answers again")
        assert rig.told[-1].durable
        await rig.handle()
