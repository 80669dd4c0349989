"""``hil_tests/run cuts``: power cuts aimed at every stage of a press, and what the desk has of it afterwards.

A cut falls on a named moment: between a write of the journal and its flush, between the flush and its answer,
on the n-th write, when the alert leaves the box, when the receipt comes. What was not flushed is lost or not,
page by page, by chance. Then the box starts again on what is left, and the desk must have the press: exactly
once when the finger is still on the button or the record had been flushed; at most once when it was neither.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path

from edge.bench import Report, progress
from edge.store.journal import SLOT, Kind, Record, decode
from hil_tests.bench.bench import BenchError
from hil_tests.bench.centre import Centre
from hil_tests.bench.disk import Request
from hil_tests.bench.guest import PORT, Guest, guest
from hil_tests.bench.virtual import VirtualBench
from hil_tests.world import World

UNITS = "edge-data edge-callbox edge-uplink"
"""A quick start leaves out voice and clock: they hold no press, and take longer to start than the rest."""
AIM_S = 60.0
"""A moment that has not come by then is missed; the cut falls then. With 20 s, two of
fourteen cuts at the eighth write missed it."""
BACK_S = 60.0
MANY = 100
"""Of so many cuts half must have lost something unflushed; of fewer, chance decides."""
AGAIN_S = 2.0
"""A press that comes twice comes within this time of the session's start."""
ALERT_BYTES = 600
"""A packet of the box that is longer carries an alert, with TLS about it; a PUBACK or ping is far shorter."""
COLD_S = (1.0, 16.0)
LEAK = 0.2
"""Share of the unflushed pages that reach the medium all the same."""
NO_FSYNC = r"""
cd /usr/lib/edge/edge/store
sed 's/os\.fdatasync(self\._fd)/pass/' files.py >/run/files.py
sed -E 's/synchronous *= *FULL/synchronous = OFF/I' outbox.py >/run/outbox.py
cmp -s files.py /run/files.py && exit 1
cmp -s outbox.py /run/outbox.py && exit 1
mount --bind /run/files.py files.py
mount --bind /run/outbox.py outbox.py
"""


COUNTS = (
    "cuts",
    "cold_cuts",
    "presses",
    "lost",
    "doubled",
    "not_back",
    "unflushed_lost",  # aimed cuts at which something that was written and not flushed was truly lost
    "missed",  # cuts whose moment did not come
    "controls_run",
    "controls_caught",
)


@dataclass
class Tally:
    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(COUNTS, 0)))
    aims: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def fail(self, what: str, aim: str, text: str, number: int = 1) -> None:
        self.counts[what] += number
        self.failed.append(f"{aim}: {what.replace('_', ' ')}: {text}")

    def noticed(self) -> bool:
        """Whether a press was lost, or a box did not come back."""
        return self.counts["lost"] + self.counts["not_back"] > 0


class Witness:
    """Sees each request to the disk and each packet of the line; takes the power at the moment aimed at."""

    def __init__(self, bench: VirtualBench, centre: Centre) -> None:
        self._bench = bench
        bench.on_request = self._on_request
        centre.line.on_data = self._on_data
        self.aim = ""
        self.hit = False
        self.flushed: list[Record] = []
        """Records of the journal whose flush the disk has answered or was about to, since `watch`."""
        self._written: list[Record] = []
        self._pressed = False
        """The record of the press has been written since `watch`."""
        self._flushes = 0
        """Since then."""
        self._writes = 0

    def watch(self, aim: str) -> None:
        self.hit = False
        self.flushed, self._written = [], []
        self._pressed, self._flushes, self._writes = False, 0, 0
        self.aim = aim

    def has_flushed(self, kind: Kind) -> bool:
        return any(record.kind is kind for record in self.flushed)

    def _cut(self, moment: str) -> None:
        if self.aim == moment and not self.hit:
            self.hit = True
            self._bench.take_power()

    def _on_request(self, request: Request) -> None:
        """In the disk's thread."""
        if request.kind == "write":
            self._on_write(request)
        elif request.stage == "before":
            if self._pressed:
                self._cut(f"flush_{self._flushes + 1}_before")
        else:
            self.flushed += self._written
            self._written = []
            if self._pressed:
                self._flushes += 1
                self._cut(f"flush_{self._flushes}_after")
            if self.has_flushed(Kind.RELEASE):
                self._cut("release_flushed")

    def _on_write(self, request: Request) -> None:
        records = _records(request.data)
        if request.stage == "after":
            self._written += records
            self._pressed = self._pressed or any(r.kind is Kind.PRESS for r in records)
            self._writes += 1
            self._cut(f"write_{self._writes}")
        for record in records:
            self._cut(f"{record.kind.name.lower()}_write_{request.stage}")

    def _on_data(self, from_box: bool, size: int) -> None:
        if from_box and size >= ALERT_BYTES and self._pressed:
            self._cut("alert_leaves")
        if not from_box and self._pressed and self._flushes:
            self._cut("answer_comes")


def _records(data: bytes) -> list[Record]:
    """The journal's records in what was written."""
    slots = (data[at : at + SLOT] for at in range(0, len(data), SLOT))
    return [record for slot in slots if (record := decode(slot)) is not None]


AIMS = {
    "press_write_before": 1,  # the record of the press is on its way, the disk has nothing of it
    "press_write_after": 4,  # it is in the disk's cache, and nothing more
    "flush_1_before": 4,  # written, the flush has been asked for
    "flush_1_after": 1,  # flushed, the box does not know it yet
    "write_2": 2,  # the second write is in the cache, and not flushed
    "write_3": 2,
    "write_4": 2,
    "write_6": 2,
    "write_8": 2,
    "flush_2_before": 3,  # the outbox's
    "flush_2_after": 1,
    "flush_3_before": 3,
    "alert_leaves": 1,
    "answer_comes": 1,
    "release_write_after": 3,
    "release_flushed": 1,
}
"""Moment -> weight; each comes at least once."""


class Cutter:
    def __init__(self, bench: VirtualBench, centre: Centre, rng: random.Random, tally: Tally) -> None:
        self.bench, self.centre, self.rng, self.tally = bench, centre, rng, tally
        self.world = World(bench, centre)
        self.witness = Witness(bench, centre)

    async def settle(self) -> None:
        """Finger off, incident closed, both known to the disk: the next press is a new one."""
        self.witness.watch("")
        held = bool(self.bench.held)
        for button in self.bench.held:
            await self.bench.release(button)
        if held:
            await self.world.until(
                lambda: self.witness.has_flushed(Kind.RELEASE), "the release is on the disk"
            )
        if self.centre.record.open_incidents():
            await self.centre.close_all()
            await self.world.until(lambda: self.witness.has_flushed(Kind.CLOSE), "the close is on the disk")

    async def one(self, aim: str) -> None:
        """One press, one cut, and the count."""
        await self.settle()
        before = self.centre.presses()
        lets_go = self.rng.random() < 0.5
        self.witness.watch(aim)
        await asyncio.sleep(self.rng.uniform(0, 0.2))
        await self._quietly(self.bench.press("police", None))
        if aim.startswith("release"):
            await asyncio.sleep(1.0)
            lets_go = True
            await self._quietly(self.bench.release("police"))
        for _ in range(round(AIM_S * 50)):
            if self.witness.hit:
                break
            await asyncio.sleep(0.02)
        if not self.witness.hit:
            self.witness.aim = ""  # else it would come while the box starts again, and end it
            self.tally.fail("missed", aim, f"it did not come within {AIM_S:.0f} s")
        await self._aimed_cut(aim)
        flushed = self.witness.has_flushed(Kind.PRESS)
        if lets_go:
            await self.bench.release("police")
        await self.back_and_count(aim, before, sure=flushed or not lets_go)

    async def offline(self) -> None:
        """The link is down, the box has said that the press is on its disk, the finger is off; then a cut."""
        await self.settle()
        before = self.centre.presses()
        stored = "journalctl -u edge-callbox | grep -c 'press stored.*durable=True'"
        already = int(await self.bench.sh(stored, check=False))
        await self.bench.link(False)
        await self.bench.press("police")
        await self.bench.sh(f"until [ $({stored}) -gt {already} ]; do sleep 0.1; done")
        await self._aimed_cut("offline")
        await self.back_and_count("offline", before, sure=True)

    async def cold(self) -> None:
        """The power goes again somewhere in the boot; a finger has been on the button since before it."""
        before = self.centre.presses()
        await self.bench.cut()
        await self.bench.press("police", None)
        await self.bench.restore(cold=True, wait=False)
        await asyncio.sleep(self.rng.uniform(*COLD_S))
        await self.bench.cut()
        self.tally.counts["cold_cuts"] += 1
        await self.back_and_count("cold", before, sure=True, cold=True)

    async def back_and_count(self, name: str, before: int, *, sure: bool, cold: bool = False) -> None:
        """The box starts on what the cut has left; `sure`: the desk must have the press, else it may."""
        self.tally.counts["presses"] += 1
        try:
            await self.bench.restore(cold=cold)
        except BenchError as error:
            self.tally.fail("not_back", name, str(error))
            await self.bench.cut()
            await self.bench.restore()
        try:
            await self.centre.stored(before + sure, BACK_S)
        except BenchError as error:
            self.tally.fail("lost", name, str(error))
        await self.world.linked()
        await asyncio.sleep(AGAIN_S)
        found = self.centre.presses() - before
        if found > 1:
            self.tally.fail("doubled", name, f"{found} presses from one contact", found - 1)

    async def _aimed_cut(self, aim: str) -> None:
        assert self.bench.disk is not None
        counts = self.bench.disk.counts
        await self.bench.cut()
        self.tally.counts["cuts"] += 1
        self.tally.counts["unflushed_lost"] += counts.lost > 0
        self.tally.aims[aim] += 1

    async def _quietly(self, order: Awaitable[object]) -> None:
        """An order whose guest may die of it."""
        try:
            await order
        except BenchError:
            if not self.witness.hit:
                raise


def plan(count: int, rng: random.Random) -> list[str]:
    names = [*AIMS, "offline"]
    chosen = list(names)
    weights = [*AIMS.values(), 2]
    while len(chosen) < count:
        chosen += rng.choices(names, weights)
    rng.shuffle(chosen)
    return chosen[:count]


async def measure(tally: Tally, folder: Path, cuts: int, cold: int, seed: int, controls: bool) -> None:
    found = await guest()
    rng = random.Random(seed)
    async with Centre(folder / "centre", found.pki, PORT) as centre:
        bench = VirtualBench(found, folder / "box", seed=seed)
        bench.units, bench.leak = UNITS, LEAK
        cutter = Cutter(bench, centre, rng, tally)
        try:
            await bench.start()
            for number, aim in enumerate(plan(cuts, rng), 1):
                began = centre.now_s()
                await (cutter.offline() if aim == "offline" else cutter.one(aim))
                progress(f"{number}/{cuts} {aim} {centre.now_s() - began:.0f} s")
            for number in range(cold):
                await cutter.settle()
                await cutter.cold()
                progress(f"cold {number + 1}/{cold}")
        finally:
            await bench.close()
        if controls:
            for name in ("disk_lies", "no_fsync"):
                tally.counts["controls_run"] += 1
                if await _control(found, folder / name, centre, name):
                    tally.counts["controls_caught"] += 1
                else:
                    tally.failed.append(f"control {name}: no press was lost, and the box came back")


async def _control(found: Guest, folder: Path, centre: Centre, name: str) -> bool:
    """A rule broken on purpose: the same harness must see a press lost."""
    bench = VirtualBench(found, folder, seed=1)
    bench.units, bench.leak = UNITS, 0.0
    tally = Tally()
    cutter = Cutter(bench, centre, random.Random(1), tally)
    if name == "no_fsync":
        bench.before_units = NO_FSYNC
    try:
        await centre.close_all()  # of the box before it: this one has an empty disk and knows nothing of it
        await bench.start()
        bench.honest = name != "disk_lies"
        assert bench.disk is not None
        bench.disk.honest = bench.honest
        try:
            await cutter.offline()
        except BenchError:
            # Only what was seen after the cut counts: a bench that fails has noticed nothing.
            if not tally.noticed():
                raise
    finally:
        await bench.close()
    progress(f"control {name}: {' / '.join(tally.failed)[:200] or 'nothing was lost'}")
    return tally.noticed()


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="hil_tests/run cuts", description=__doc__)
    parser.add_argument("--n", type=int, default=20, help="aimed cuts; 200 for the long run")
    parser.add_argument(
        "--cold", type=int, help="cuts while it boots; default: a twentieth of the aimed ones"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--no-controls", action="store_true")
    args = parser.parse_args(argv)
    cold = max(1, args.n // 20) if args.cold is None else args.cold
    folder = Path(tempfile.mkdtemp(prefix="edge-cuts-", dir="/var/tmp"))
    tally = Tally()
    try:
        asyncio.run(measure(tally, folder, args.n, cold, args.seed, not args.no_controls))
    except KeyboardInterrupt:
        tally.failed.append("broken off: the counts are of what was done until then")
    except BenchError as error:
        tally.failed.append(f"the bench failed, the counts are of what was done until then: {error}")
    if tally.counts["unflushed_lost"] * 2 < tally.counts["cuts"] >= MANY:
        tally.failed.append(
            "fewer than half of the cuts lost anything that was not flushed: too gentle a disk"
        )
    report = Report("cuts", args.n, failed=tally.failed)
    report.counts = {**tally.counts, **{f"at_{aim}": count for aim, count in sorted(tally.aims.items())}}
    print(json.dumps(report.as_json()) if args.json else report.as_table())
    for line in report.verdict():
        print(line, file=sys.stderr)
    if not report.failed:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if report.failed else 0
