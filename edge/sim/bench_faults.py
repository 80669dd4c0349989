"""``edge bench faults``: presses counted through crashes, dead disks, dead brokers and wrong clocks (I2).

One stack is used again for all runs: the real broker, the real desk, the real processes, the journal on a
disk that forgets what was not synced. In each run a person makes one or two contacts while something is
broken; then everything is mended and the desk must hold exactly as many presses as there were contacts. Then
rules are broken on purpose, one by one: a harness that does not notice is no proof.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from edge.bench import Report, progress
from edge.sim.rig import PROGRAMS, Broken, Rig, libfaketime, run_edge
from edge.sim.sabotage import DISK_FULL, IO_ERROR, POINTS, READ_ONLY, SPOILERS, Point

log = logging.getLogger(__name__)

DAY_S, YEAR_S = 86400, 365 * 86400
CONTROL_TRIES = 6
SETTLE_S = 6.0
"""How long a broken rule is given to show itself."""
Scenario = Callable[[Rig, random.Random], Awaitable[None]]


# -- scenarios: each makes its contacts and leaves everything mended -----------------------------------


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


async def _bad_disk(rig: Rig, rng: random.Random, error: int) -> None:
    """Journal and outbox refuse; the press goes out and says that it is not durable (I1)."""
    rig.told.clear()
    rig.controls["callbox"].faults(write=error)
    rig.controls["uplink"].faults(outbox=error)
    try:
        await rig.press()
        if not any(not told.durable for told in rig.told):
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
    rig.told.clear()
    rig.controls["callbox"].faults(stall_ms=10_000)
    try:
        await rig.press()
        await rig.arrived(5)
        if not any(not told.durable for told in rig.told):
            raise Broken("a press on a disk that hangs was told as durable")
        await rig.until(
            lambda: any(told.durable for told in rig.told), 15, "the hanging sync came to its end"
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


# -- the runs ------------------------------------------------------------------------------------------


@dataclass
class Tally:
    runs: int = 0
    presses: int = 0
    lost: int = 0
    doubled: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)


def plan(runs: int, rng: random.Random, *, faketime: bool) -> list[tuple[str, Scenario]]:
    """Every crash point as often as fits in half of the runs, the rest by weight; shuffled."""
    names = [n for n in OTHERS if faketime or n not in NEEDS_FAKETIME]
    each = max(1, runs // 2 // len(POINTS))
    chosen: list[tuple[str, Scenario]] = [(f"at {p.name}", at_point(p)) for p in POINTS for _ in range(each)]
    chosen += [(n, OTHERS[n][0]) for n in names]
    while len(chosen) < runs:
        name = rng.choices(names, [OTHERS[n][1] for n in names])[0]
        chosen.append((name, OTHERS[name][0]))
    rng.shuffle(chosen)
    return chosen[:runs]


async def run_one(rig: Rig, name: str, scenario: Scenario, rng: random.Random, tally: Tally) -> None:
    """One scenario, the count, and everything back to rest."""
    before = rig.excess
    contacts = rig.contacts
    try:
        await scenario(rig, rng)
        await rig.ready()
        await rig.arrived()
        if name.startswith("at "):
            tally.hits[name[3:]] += 1
        await rig.handle()
    except Broken as error:
        tally.failed.append(f"{name}: {error}")
        log.error("run failed name=%s reason=%s", name, error)
        await rig.mend()
    after = rig.excess = len(rig.stored()) - rig.contacts
    tally.runs += 1
    tally.presses += rig.contacts - contacts
    if after < before:
        tally.lost += before - after
    if after > before:
        tally.doubled += after - before
    if after != before:
        tally.failed.append(f"{name}: {after - before:+d} presses at the desk")
    if rig.broken:
        tally.failed += [f"{name}: {text}" for text in rig.broken]
        rig.broken.clear()


async def run_control(folder: Path, spoil: str, rng: random.Random) -> bool:
    """True when the harness noticed the rule that was broken on purpose.

    A bad disk keeps some of what was not synced, by chance, so a rule gets some tries to show itself.
    """
    scenario = CONTROL_SCENARIOS[CONTROLS[spoil]]
    async with Rig(folder, spoil=spoil) as rig:
        for _ in range(CONTROL_TRIES):
            try:
                await scenario(rig, rng)
                await rig.ready()
                await rig.arrived(SETTLE_S)
                # A press that comes twice comes a moment later than once.
                await asyncio.sleep(2.0)
            except Broken as error:
                log.info("control name=%s: %s", spoil, error)
            if len(rig.stored()) != rig.contacts or rig.broken:
                return True
            await rig.handle()
    log.error("control not noticed name=%s", spoil)
    return False


async def measure(folder: Path, runs: int, seed: int, controls: bool) -> Report:
    rng = random.Random(seed)
    tally = Tally()
    faketime = libfaketime() is not None
    async with Rig(folder / "rig") as rig:
        await rig.press()
        await rig.arrived()
        await rig.handle()
        for number, (name, scenario) in enumerate(plan(runs, rng, faketime=faketime), 1):
            began_ns = rig.clock.mono_ns()
            await run_one(rig, name, scenario, rng, tally)
            took_s = (rig.clock.mono_ns() - began_ns) / 1e9
            progress(f"{number}/{runs} {name} {took_s:.1f} s")
    caught = 0
    for spoil in SPOILERS if controls else ():
        caught += await run_control(folder / spoil[:4], spoil, rng)
    report = Report("faults", tally.runs, failed=tally.failed)
    report.counts = {
        "runs": tally.runs,
        "presses": tally.presses,
        "lost": tally.lost,
        "doubled": tally.doubled,
        "crash_points": len(tally.hits),
        "least_hits": min((tally.hits[p.name] for p in POINTS), default=0),
        "controls_run": len(SPOILERS) if controls else 0,
        "controls_caught": caught,
        "clock_scenarios_run": int(faketime),
        **{f"hits_{name}": count for name, count in sorted(tally.hits.items())},
    }
    if controls and caught < len(SPOILERS):
        report.failed.append(f"{len(SPOILERS) - caught} broken rules were not noticed")
    if not faketime:
        report.failed.append("clock scenarios not run: install faketime")
    return report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=60, help="at least 300 for the long run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dir", type=Path, help="a folder on a disk; default: a new one under /var/tmp")
    parser.add_argument("--no-controls", action="store_true", help="leave out the rules broken on purpose")


def run(args: argparse.Namespace) -> Report:
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = args.dir or Path(tempfile.mkdtemp(prefix="edge-", dir="/var/tmp"))
    try:
        return asyncio.run(measure(folder, args.runs, args.seed, not args.no_controls))
    finally:
        if args.dir is None:
            shutil.rmtree(folder, ignore_errors=True)
