"""``hil_tests/run figures``: what the whole system takes, beside what the guest alone takes.

Emulation is not real time: the times say nothing about a Pi; the ratios to the floors of the same run may.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.bench import Report, Spread, progress
from edge.sim.stack import CITY
from hil_tests.bench.bench import BenchError
from hil_tests.bench.centre import Centre
from hil_tests.bench.guest import PORT, guest
from hil_tests.bench.virtual import VirtualBench
from hil_tests.world import HANGS, UNITS, World

PARTS = ("latencies", "memory", "idle", "start", "boot")
WORK = "/run/bench"
PSS = (
    "for p in $(cat /sys/fs/cgroup/system.slice/{unit}.service/cgroup.procs); do "
    "cat /proc/$p/smaps_rollup; done | awk '/^Pss:/ {{s += $2}} END {{print s}}'"
)
BARE = (
    'cd /tmp && python3 -I -c \'import sys, time; sys.path.insert(0, "/usr/lib/edge"); t = time.monotonic(); '
    "import gpiozero, lgpio, zmq; from pydantic import BaseModel; print(time.monotonic() - t)'"
)
ARMED = "systemctl show -P ActiveEnterTimestampMonotonic edge-callbox"
STARTED = "systemctl show -P InactiveExitTimestampMonotonic edge-callbox"


class Figures:
    def __init__(self, bench: VirtualBench, centre: Centre, presses: int, idle_s: float) -> None:
        self.world, self.bench = World(bench, centre), bench
        self.presses, self.idle_s = presses, idle_s
        self.found: dict[str, list[float]] = defaultdict(list)
        self.floors: dict[str, list[float]] = defaultdict(list)
        self.counts: dict[str, float] = {}

    async def latencies(self) -> None:
        """Kernel edge to lamp, disk and PUBACK, one press at a time; the floors in between."""
        world = self.world
        await world.rest()
        identity = world.centre.stack.pki.client("floor")
        await self.bench.sh(f"mkdir -p {WORK} && mkfifo {WORK}/go")
        files = {
            "ca": world.centre.stack.pki.ca.read_text(),
            "cert": identity.cert.read_text(),
            "key": identity.key.read_text(),
        }
        for name, text in files.items():
            await self.bench.write(f"{WORK}/{name}.pem", text)
        config = (await self.bench.sh("grep -E '^(host|port) = ' /etc/edge/edge.toml")).split()
        settings: dict[str, Any] = {name: f"{WORK}/{name}.pem" for name in files}
        settings |= {
            "host": config[2].strip('"'),
            "port": int(config[5]),
            "topic": f"{CITY}/v1/box/floor/health",
        }
        await self.bench.write(f"{WORK}/floor.json", json.dumps(settings))
        await self.bench.sh(
            f"systemd-run -q -u bench-latency -p LogLevelMax=notice /usr/lib/bench/latency.py {WORK}"
        )
        await self.bench.sh(f"until [ -e {WORK}/ready ]; do sleep 0.2; done", timeout_s=90)
        for number in range(self.presses):
            await world.rest()
            for name, value in (await self._ask("press")).items():
                if value is not None:
                    self.found[name].append(value)
            await world.rest()
            for name, value in (await self._ask("floors")).items():
                self.floors[name].append(value)
            progress(f"press {number + 1}/{self.presses}")
        await self.bench.sh("systemctl stop bench-latency")

    async def _ask(self, word: str) -> dict[str, Any]:
        out = await self.bench.sh(
            f"rm -f {WORK}/told; echo {word} > {WORK}/go; until [ -e {WORK}/told ]; do sleep 0.05; done; "
            f"cat {WORK}/told"
        )
        found: dict[str, Any] = json.loads(out)
        if "error" in found:
            raise BenchError(f"the meter in the guest: {found['error']}")
        return found

    async def memory(self) -> None:
        """PSS of each unit, at rest."""
        for unit in UNITS:
            kib = int(await self.bench.sh(PSS.format(unit=unit)))
            self.counts[f"pss_kib_{unit.removeprefix('edge-')}"] = kib

    async def idle(self) -> None:
        """What reaches the card of a box at rest, with all its file system's own writing."""
        disk = self.bench.disk
        assert disk is not None
        await self.world.rest()
        await self.bench.sh("sync")
        await asyncio.sleep(10)
        before = disk.counts.bytes_written
        await asyncio.sleep(self.idle_s)
        written = disk.counts.bytes_written - before
        self.counts["idle_bytes_per_hour"] = round(written * 3600 / self.idle_s)

    async def start(self) -> None:
        """Callbox's start to armed, against the bare import; hang to ready, against the watchdog's time."""
        for number in range(3):
            await self.bench.cut()
            await self.bench.restore()
            await self.world.linked()
            spent = [int(await self.bench.sh(what)) for what in (STARTED, ARMED)]
            self.found["start_to_armed"].append((spent[1] - spent[0]) / 1e3)
            self.floors["bare_import"].append(float(await self.bench.sh(BARE)) * 1e3)
            progress(f"start {number + 1}/3")
        for unit in UNITS:
            await self.world.until(lambda unit=unit: self.world.active(unit), f"{unit} runs")  # type: ignore[misc]
            pid = await self.world.main_pid(unit)
            limit_us = await self.bench.sh(f"systemctl show -P WatchdogUSec {unit}")
            self.floors[f"watchdog_{unit}"].append(_seconds(limit_us) * 1e3)
            began = self.world.centre.now_s()
            await self.bench.sh(f"kill -STOP {pid}")

            async def again(unit: str = unit, pid: int = pid) -> bool:
                return await self.world.main_pid(unit) not in (0, pid) and await self.world.active(unit)

            await self.world.until(again, f"{unit} is there again", 120)
            self.found[f"hang_to_ready_{unit}"].append((self.world.centre.now_s() - began) * 1e3)
            progress(f"hang {unit}")

    async def boot(self) -> None:
        """Power to armed, of a whole boot; then a hang that only the hardware's watchdog can end.

        The floor of that is the watchdog's time and a boot.
        """
        now_s = self.world.centre.now_s
        for level in HANGS:
            await self.bench.cut()
            began = now_s()
            await self.bench.restore(cold=True)
            boot_s = now_s() - began
            armed_us = int(await self.bench.sh(ARMED))
            kernel_us = int(await self.bench.sh("systemctl show -P UserspaceTimestampMonotonic"))
            self.found["boot_to_armed"].append(armed_us / 1e3)
            self.floors["kernel"].append(kernel_us / 1e3)
            limit_us = await self.bench.sh("systemctl show -P RuntimeWatchdogUSec")
            self.floors[f"watchdog_and_boot_{level}"].append((_seconds(limit_us) + boot_s) * 1e3)
            await self.world.linked()
            began = now_s()
            await self.world.hang(level)
            self.found[f"hang_to_armed_{level}"].append((now_s() - began) * 1e3)
            progress(f"hang of the {level}")
        await self.bench.cut()

    def report(self) -> Report:
        report = Report("bench", self.presses)
        report.metrics = {name: Spread.of(values, "ms") for name, values in self.found.items()}
        report.floors = {name: Spread.of(values, "ms") for name, values in self.floors.items()}
        report.counts = self.counts
        middle = {name: statistics.median(v) for name, v in {**self.found, **self.floors}.items()}
        both = ("fdatasync", "qos1_round_trip")
        pairs = {
            "confirmed_to_durable_vs_fdatasync": ("confirmed_to_durable", both[:1]),
            "confirmed_to_puback_vs_both_floors": ("confirmed_to_puback", both),
            "edge_to_lamp_vs_fdatasync": ("edge_to_lamp", both[:1]),
            "edge_to_durable_vs_fdatasync": ("edge_to_durable", both[:1]),
            "edge_to_puback_vs_both_floors": ("edge_to_puback", both),
            "start_to_armed_vs_bare_import": ("start_to_armed", ("bare_import",)),
            "boot_to_armed_vs_kernel": ("boot_to_armed", ("kernel",)),
        }
        for level in HANGS:
            pairs[f"hang_to_armed_{level}_vs_floor"] = (
                f"hang_to_armed_{level}",
                (f"watchdog_and_boot_{level}",),
            )
        for unit in UNITS:
            pairs[f"hang_to_ready_{unit}_vs_watchdog"] = (f"hang_to_ready_{unit}", (f"watchdog_{unit}",))
        report.ratios = {
            name: round(middle[what] / sum(middle[floor] for floor in floors), 3)
            for name, (what, floors) in pairs.items()
            if what in middle
        }
        return report


def _seconds(text: str) -> float:
    """systemd's way of saying a time of less than an hour: ``10s``, ``1min 30s``."""
    units = {"min": 60.0, "s": 1.0, "ms": 0.001, "us": 0.000001}
    total = 0.0
    for word in text.split():
        number = word.rstrip("minsu")
        total += float(number) * units[word[len(number) :]]
    return total


async def measure(folder: Path, presses: int, idle_s: float, parts: Sequence[str]) -> Report:
    found = await guest()
    async with Centre(folder / "centre", found.pki, PORT) as centre:
        bench = VirtualBench(found, folder / "box")
        figures = Figures(bench, centre, presses, idle_s)
        try:
            await bench.start()
            await figures.world.linked()
            for part in parts:
                await getattr(figures, part)()
        finally:
            await bench.close()
    return figures.report()


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="hil_tests/run figures", description=__doc__)
    parser.add_argument("-n", type=int, default=20, help="presses")
    parser.add_argument("--idle", type=float, default=600, help="seconds at rest")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=f"of {PARTS}")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="edge-figures-", dir="/var/tmp"))
    try:
        report = asyncio.run(measure(folder, args.n, args.idle, args.only))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(report.as_json()) if args.json else report.as_table())
    return 0
