"""``edge bench NAME``: every bench prints one form, as a table or with ``--json``.

``{"bench", "n", "machine", "metrics": {NAME: {"unit", "p50", "p95", "p99", "max"}}, "floors": {the same},
"ratios": {NAME: number}, "counts": {NAME: number}}``. The floor is what the disk, the broker or the bare
interpreter alone can do, measured in the same run. The benches live beside what they measure.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from edge.errors import SetupFailed

# name -> (module with add_arguments(parser) and run(args) -> Report, what it measures)
BENCHES: dict[str, tuple[str, str]] = {
    "press": ("edge.sim.bench_press", "from the edge to lamp, tone, disk, broker and browser"),
    "start": ("edge.callbox.bench_start", "from exec to the button armed"),
    "weight": ("edge.sim.bench_weight", "memory, idle disk writes, size of a heartbeat"),
    "desk": ("edge.sim.bench_desk", "a city of boxes: from publish to store and browser; cost of a box"),
    "year": (
        "edge.sim.bench_year",
        "a desk with a year behind it: how long its pages take to open",
    ),
    "faults": ("edge.sim.bench_faults", "presses counted through crashes, dead disks and dead brokers"),
}
SLOW_ENOUGH_US = 20
"""A disk whose fdatasync is faster than this does not sync."""
_MEMORY = {"tmpfs", "ramfs"}


@dataclass(frozen=True)
class Spread:
    """The distribution of a measured quantity."""

    unit: str
    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float], unit: str) -> Spread:
        """Percentiles by the nearest rank, so each is a value that was measured; ValueError without any."""
        ordered = sorted(values)
        if not ordered:
            raise ValueError("no values were measured")

        def rank(share: float) -> float:
            return round(ordered[math.ceil(share * len(ordered)) - 1], 4)

        return cls(unit, rank(0.5), rank(0.95), rank(0.99), round(ordered[-1], 4))


@dataclass
class Report:
    """What a bench found."""

    bench: str
    n: int
    metrics: dict[str, Spread] = field(default_factory=dict)
    floors: dict[str, Spread] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    """Facts that must never be, such as a press that was lost; the command then exits with 1."""
    missed: list[str] = field(default_factory=list)
    """Targets of time and size that this run does not show. They depend on what else the machine does, so a
    short run tells them and does not exit with 1."""

    def as_json(self) -> dict[str, Any]:
        return {
            "bench": self.bench,
            "n": self.n,
            "machine": machine(),
            "metrics": {name: asdict(spread) for name, spread in self.metrics.items()},
            "floors": {name: asdict(spread) for name, spread in self.floors.items()},
            "ratios": self.ratios,
            "counts": self.counts,
        }

    def as_table(self) -> str:
        lines = [f"bench {self.bench}, n = {self.n}, {machine()}"]
        wide = (
            max((len(n) for n in (*self.metrics, *self.floors, *self.ratios, *self.counts)), default=10) + 8
        )
        if self.metrics or self.floors:
            lines.append(f"{'':{wide}}{'p50':>12}{'p95':>12}{'p99':>12}{'max':>12}")
        for label, spreads in (("", self.metrics), ("floor ", self.floors)):
            for name, s in spreads.items():
                cells = "".join(f"{value:>12.3f}" for value in (s.p50, s.p95, s.p99, s.max))
                lines.append(f"{label + name:{wide}}{cells} {s.unit}")
        lines += [f"{'ratio ' + name:{wide}}{value:>12.3f}" for name, value in self.ratios.items()]
        lines += [f"{'count ' + name:{wide}}{value:>12g}" for name, value in self.counts.items()]
        return "\n".join(lines)

    def verdict(self) -> list[str]:
        """One line for each thing that is not as it must be."""
        return [f"FAILED: {reason}" for reason in self.failed] + [f"missed: {text}" for text in self.missed]


def machine() -> str:
    """One line: processor, cores, kernel, Python."""
    model = platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model")):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


def progress(text: str) -> None:
    """Says on a terminal how far the run has come; a log has no use for it."""
    if sys.stderr.isatty():
        print(f"\r{text}".ljust(70), end="", file=sys.stderr, flush=True)


def need_real_disk(folder: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """Raises `SetupFailed` when a folder is in memory: nothing durable can be measured there."""
    folder.mkdir(parents=True, exist_ok=True)
    where = folder.resolve()
    best, kind = Path("/"), ""
    for line in mounts.read_text().splitlines():
        _, point, filesystem, *_ = line.split()
        if where.is_relative_to(point) and len(point) >= len(str(best)):
            best, kind = Path(point), filesystem
    if kind in _MEMORY:
        raise SetupFailed(f"{folder} is {kind}, which is memory: give --dir a folder on a disk")


def need_syncing_disk(fdatasync_us_p50: float) -> None:
    """Raises `SetupFailed` for a disk that says it has synced sooner than any disk can."""
    if fdatasync_us_p50 < SLOW_ENOUGH_US:
        raise SetupFailed(
            f"fdatasync takes {fdatasync_us_p50:.1f} µs here: this disk does not sync; give --dir another"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _add_common(parser, None)
    names = parser.add_subparsers(dest="bench", required=True, metavar="NAME")
    for name, (module, text) in BENCHES.items():
        sub = names.add_parser(name, help=text, description=text)
        # May stand before NAME or after; what is not given there must not undo what was given here.
        _add_common(sub, argparse.SUPPRESS)
        import_module(module).add_arguments(sub)


def _add_common(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument("--json", action="store_true", default=default, help="print JSON instead of a table")
    parser.add_argument("--out", type=Path, metavar="FILE", default=default, help="write the JSON there too")
    parser.add_argument(
        "--short",
        action="store_true",
        default=default,
        help="for a machine that does other things too: JSON on one line, and targets are told, not judged",
    )


def main(args: argparse.Namespace) -> int:
    report: Report = import_module(BENCHES[args.bench][0]).run(args)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    found = report.as_json()
    text = json.dumps(found, indent=2, ensure_ascii=False)
    if args.out:
        args.out.write_text(text + "\n")
    if args.short:
        text = json.dumps(found, ensure_ascii=False)
    print(text if args.json or args.short else report.as_table())
    for line in report.verdict():
        print(line, file=sys.stderr)
    return 1 if report.failed or (report.missed and not args.short) else 0
