"""What happens in one run of the fault harness: each scenario makes its contacts and mends what it broke."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable

from edge.protocol.inner import PressTold
from edge.sim.rig import PROGRAMS, Broken, Rig, run_edge
from edge.sim.sabotage import DISK_FULL, IO_ERROR, POINTS, READ_ONLY, Point

DAY_S, YEAR_S = 86400, 365 * 86400
Scenario = Callable[[Rig, random.Random], Awaitable[None]]


def at_point(point: Point) -> Scenario:
    async def scenario(rig: Rig, _rng: random.Random) -> None:
        """The process dies exactly there."""
        control = rig.controls[point.program]
        control.arm(point.name)
        try:
            await rig.press()
            await rig.until(lambda: control.armed == "", 10, f"the crash point {point.name} was passed")
        finally:
            control.arm("")

    return scenario


async def random_kill(rig: Rig, rng: random.Random) -> None:
    """Any process at any moment around the press."""
    press = asyncio.create_task(rig.press())
    await asyncio.sleep(rng.uniform(0, 0.08))
    rig.stack.launcher.kill(rng.choice(PROGRAMS))
    await press


async def power_cut(rig: Rig, rng: random.Random) -> None:
    """Both processes of the box at once; what the journal's disk had not synced is gone."""
    press = asyncio.create_task(rig.press())
    await asyncio.sleep(rng.uniform(0, 0.04))
    for name in ("callbox", "uplink"):
        rig.stack.launcher.kill(name)
    await press


async def cut_before_uplink(rig: Rig, _rng: random.Random) -> None:
    """Only the journal has the press, the button is let go, and then the power goes."""
    rig.stack.launcher.suspend("uplink")
    await rig.press()
    for name in ("callbox", "uplink"):
        rig.stack.launcher.kill(name)


async def two_presses(rig: Rig, rng: random.Random) -> None:
    """A second contact joins the incident while a process dies."""
    await rig.press()
    await rig.rest()
    press = asyncio.create_task(rig.press(rng.choice(("police", "women", "medical"))))
    await asyncio.sleep(rng.uniform(0, 0.05))
    rig.stack.launcher.kill(rng.choice(PROGRAMS))
    await press


async def broker_killed(rig: Rig, rng: random.Random) -> None:
    await _broker(rig, rng, wipe=False)


async def broker_wiped(rig: Rig, rng: random.Random) -> None:
    """It comes back without its store."""
    await _broker(rig, rng, wipe=True)


async def _broker(rig: Rig, rng: random.Random, *, wipe: bool) -> None:
    press = asyncio.create_task(rig.press())
    await asyncio.sleep(rng.uniform(0, 0.05))
    await rig.stack.broker.kill()
    if wipe:
        rig.stack.broker.wipe_store()
    await press
    await rig.stack.broker.start()


async def broker_forgets_what_it_had(rig: Rig, _rng: random.Random) -> None:
    """The broker acknowledged the alert, the desk did not have it yet, and the broker's store is lost."""
    rig.stack.launcher.suspend("desk")
    await rig.press()
    await asyncio.sleep(0.3)
    await rig.stack.broker.kill()
    rig.stack.broker.wipe_store()
    await rig.stack.broker.start()
    rig.stack.launcher.resume("desk")


async def line_cut(rig: Rig, rng: random.Random) -> None:
    await rig.line.cut()
    await rig.press()
    await asyncio.sleep(rng.uniform(0, 1))
    await rig.line.restore()


async def line_deaf(rig: Rig, rng: random.Random) -> None:
    """Connections stay, nothing passes."""
    rig.line.deafen()
    await rig.press()
    await asyncio.sleep(rng.uniform(0, 1))
    await rig.line.restore()


async def disk_full(rig: Rig, rng: random.Random) -> None:
    await _bad_disk(rig, rng, DISK_FULL)


async def disk_read_only(rig: Rig, rng: random.Random) -> None:
    await _bad_disk(rig, rng, READ_ONLY)


def _told(rig: Rig, since_ns: int) -> list[PressTold]:
    """What callbox told of presses made since then; an older one may come good at any time."""
    return [told for told in rig.told if told.edge_ns >= since_ns]


async def _bad_disk(rig: Rig, rng: random.Random, error: int) -> None:
    """Journal and outbox refuse; the press goes out and says that it is not durable (I1)."""
    since_ns = rig.clock.mono_ns()
    rig.controls["callbox"].faults(write=error)
    rig.controls["uplink"].faults(outbox=error)
    try:
        await rig.press()
        await rig.until(lambda: bool(_told(rig, since_ns)), 10, "the press was told to the bus")
        if _told(rig, since_ns)[0].durable:
            raise Broken("a press on a disk that refuses was told as durable")
        if rng.random() < 0.5:
            rig.stack.launcher.kill("uplink")
            await rig.ready()
    finally:
        rig.controls["callbox"].faults()
        rig.controls["uplink"].faults()


async def sync_fails(rig: Rig, _rng: random.Random) -> None:
    rig.controls["callbox"].faults(sync=IO_ERROR)
    try:
        await rig.press()
    finally:
        rig.controls["callbox"].faults()


async def sync_hangs(rig: Rig, _rng: random.Random) -> None:
    """fdatasync does not return for 10 s: the alert is at the desk long before it does (I1)."""
    since_ns = rig.clock.mono_ns()
    rig.controls["callbox"].faults(stall_ms=10_000)
    try:
        await rig.press()
        await rig.arrived(5)
        await rig.until(lambda: bool(_told(rig, since_ns)), 10, "the press was told to the bus")
        if _told(rig, since_ns)[0].durable:
            raise Broken("a press on a disk that hangs was told as durable")
        # Release and close of what was before may stand in front of it, and hang as long.
        await rig.until(
            lambda: any(told.durable for told in _told(rig, since_ns)), 40, "the hanging sync came to its end"
        )
    finally:
        rig.controls["callbox"].faults()


async def clock_back(rig: Rig, _rng: random.Random) -> None:
    await _clock_jump(rig, -DAY_S)


async def clock_forward(rig: Rig, _rng: random.Random) -> None:
    await _clock_jump(rig, DAY_S)


async def _clock_jump(rig: Rig, offset_s: float) -> None:
    rig.set_clock(offset_s)
    await rig.press()
    await rig.arrived()
    rig.set_clock(0)


async def boot_in_the_past(rig: Rig, _rng: random.Random) -> None:
    """No RTC: the box boots a year back, where its certificate is not yet valid; the start step raises."""
    for name in ("callbox", "uplink"):
        rig.stack.launcher.suspend(name)
    rig.set_clock(-YEAR_S)
    env = {**os.environ, **rig.stack.launcher.program("uplink").env}
    await run_edge("clock", "raise", "--config", str(rig.stack.box_config), env=env)
    for name in ("callbox", "uplink"):
        rig.stack.launcher.kill(name)
    await rig.press()
    await rig.arrived()
    rig.set_clock(0)


async def journal_truncated(rig: Rig, rng: random.Random) -> None:
    """A file of the journal ends at any byte; the outbox has the press."""
    await rig.line.cut()
    rig.held.clear()
    await rig.press()
    await rig.until(lambda: bool(rig.held), 10, "the outbox has the press")
    rig.stack.launcher.suspend("callbox")
    segments = sorted((rig.stack.data / "callbox" / "journal").glob("*.seg"))
    victim = rng.choice(segments)
    os.truncate(victim, rng.randrange(victim.stat().st_size + 1))
    rig.stack.launcher.kill("callbox")
    await rig.line.restore()


async def outbox_damaged(rig: Rig, rng: random.Random) -> None:
    """Random bytes in the outbox's file; the journal has the press."""
    await rig.line.cut()
    await rig.press()
    rig.stack.launcher.suspend("uplink")
    for path in (rig.stack.data / "uplink").glob("outbox.db*"):
        size = path.stat().st_size
        if size and not path.name.endswith("-shm"):
            with path.open("r+b") as file:
                for _ in range(20):
                    file.seek(rng.randrange(size))
                    file.write(rng.randbytes(64))
    rig.stack.launcher.kill("uplink")
    await rig.line.restore()


OTHERS: dict[str, tuple[Scenario, float]] = {
    "random_kill": (random_kill, 3),
    "power_cut": (power_cut, 3),
    "cut_before_uplink": (cut_before_uplink, 2),
    "two_presses": (two_presses, 2),
    "broker_killed": (broker_killed, 1),
    "broker_wiped": (broker_wiped, 1),
    "broker_forgets_what_it_had": (broker_forgets_what_it_had, 1),
    "line_cut": (line_cut, 1),
    "line_deaf": (line_deaf, 1),
    "disk_full": (disk_full, 1),
    "disk_read_only": (disk_read_only, 1),
    "sync_fails": (sync_fails, 1),
    "sync_hangs": (sync_hangs, 0.5),
    "clock_back": (clock_back, 0.5),
    "clock_forward": (clock_forward, 0.5),
    "boot_in_the_past": (boot_in_the_past, 0.5),
    "journal_truncated": (journal_truncated, 1),
    "outbox_damaged": (outbox_damaged, 1),
}
"""Name -> scenario and its weight; each comes at least once."""
NEEDS_FAKETIME = {"clock_back", "clock_forward", "boot_in_the_past"}
CONTROLS: dict[str, str] = {
    "no_fsync": "cut_before_uplink",
    "no_dedup": "receipt_sent_late",
    "puback_is_receipt": "broker_forgets_what_it_had",
    "receipt_before_commit": "plain",
}
"""The rule that is broken -> the scenario that must bring it out."""


async def plain(rig: Rig, _rng: random.Random) -> None:
    await rig.press()


async def receipt_sent_late(rig: Rig, _rng: random.Random) -> None:
    """The desk dies between commit and receipt, so that the alert comes twice."""
    await at_point(next(p for p in POINTS if p.name == "desk_committed"))(rig, _rng)


CONTROL_SCENARIOS: dict[str, Scenario] = {
    "cut_before_uplink": cut_before_uplink,
    "broker_forgets_what_it_had": broker_forgets_what_it_had,
    "receipt_sent_late": receipt_sent_late,
    "plain": plain,
}
