"""``edge bench faults``: presses counted through crashes, dead disks, dead brokers and wrong clocks (I2).

One stack is used again for all runs: the real broker, the real desk, the real processes, the journal on a
disk that forgets what was not synced. In each run a person makes one or two contacts while something is
broken; then everything is mended and the desk must hold exactly as many presses as there were contacts. Then
rules are broken on purpose, one by one: a harness that does not notice is no proof.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from edge.bench import Report, progress
from edge.sim.rig import Broken, Rig, libfaketime
from edge.sim.sabotage import POINTS, SPOILERS
from edge.sim.scenarios import CONTROL_SCENARIOS, CONTROLS, NEEDS_FAKETIME, OTHERS, Scenario, at_point

log = logging.getLogger(__name__)

CONTROL_TRIES = 6
SETTLE_S = 6.0
"""How long a broken rule is given to show itself."""


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
    rig.note(name)
    try:
        await scenario(rig, rng)
        await rig.ready()
        await rig.arrived()
        if name.startswith("at "):
            tally.hits[name[3:]] += 1
        await rig.handle()
        await rig.rest()
    except Broken as error:
        tally.failed.append(f"{name}: {error}")
        log.error("run failed name=%s reason=%s kept=%s", name, error, rig.keep(f"failed-{tally.runs}"))
        await rig.mend()
        with contextlib.suppress(Broken):
            # A press that comes now was late, not lost.
            await rig.arrived(30)
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
    kept = False
    try:
        report = asyncio.run(measure(folder, args.runs, args.seed, not args.no_controls))
        kept = any(folder.glob("*/failed-*"))
        return report
    finally:
        # What shows how a press was lost is worth more than the room it takes.
        if args.dir is None and not kept:
            shutil.rmtree(folder, ignore_errors=True)
