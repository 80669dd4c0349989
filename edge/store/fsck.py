"""``edge fsck DATA_DIR``: proves the stores of a box, and repairs what can be repaired.

A check changes nothing and may run on a live box. A repair wants the box's processes stopped, and never
destroys evidence: what it takes away is first kept in a folder ``aside`` next to its store.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.errors import StoreError
from edge.store import journal_check, lock, outbox_check
from edge.store.findings import Checker, Report

MAX_LISTED = 5


@dataclass(frozen=True, slots=True)
class Store:
    """One row of the table of what a box keeps."""

    name: str
    process: str
    """Whose folder it is in: the one process that writes it."""
    check: Checker


STORES = (
    Store("journal", "callbox", journal_check.check),
    Store("outbox", "uplink", outbox_check.check),
)


def fsck(data: Path, *, repair: bool = False) -> Report:
    """Checks every store below `data`, in the order of the table.

    Raises:
        StoreError: `data` is not there, or a repair is asked for while a process of the box runs.
    """
    if not data.is_dir():
        raise StoreError(f"{data} is no folder: give the one of [paths] data")
    report = Report(repair)
    with contextlib.ExitStack() as held:
        if repair:
            for process in dict.fromkeys(store.process for store in STORES):
                if (data / process).is_dir():
                    held.enter_context(lock.alone(data / process))
        for store in STORES:
            live = not repair and lock.in_use(data / store.process)
            try:
                store.check(data, report, live=live)
            except OSError as error:
                if repair:
                    report.fault(store.name, "repair", f"{store.name} cannot be repaired: {error}")
                else:
                    report.unreadable(store.name, f"{store.name} cannot be read: {error}")
    _compare(report)
    return report


def _compare(report: Report) -> None:
    """Presses that only the journal has: the uplink takes them over when it runs."""
    if report.handed_over is None:
        return
    only = sorted(set(report.presses) - report.handed_over, key=lambda i: report.presses[i])
    report.counts["not_handed_over"] = len(only)
    if only:
        more = f" and {len(only) - MAX_LISTED} more" if len(only) > MAX_LISTED else ""
        listed = ", ".join(only[:MAX_LISTED])
        report.info("journal", "not_handed_over", f"not yet handed over to the uplink: {listed}{more}")


# -- the command ---------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, metavar="DATA_DIR", help="the folder of [paths] data")
    parser.add_argument("--repair", action="store_true", help="mend what can be mended; the box must be down")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def main(args: argparse.Namespace) -> int:
    try:
        report = fsck(args.data, repair=args.repair)
    except StoreError as error:
        if args.json:
            print(json.dumps({"status": 2, "error": str(error), "counts": {}, "findings": []}))
        else:
            print(f"edge fsck: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(report.plain(), indent=2))
    else:
        print("\n".join(_lines(report)))
    return report.status


def _lines(report: Report) -> Iterator[str]:
    for found in report.findings:
        word = "repaired" if found.repaired else found.severity
        yield f"{found.store}: {word}: {found.text}"
    yield " ".join(f"{name}={count}" for name, count in report.counts.items()) or "nothing stored yet"
    yield ("clean", "faults are left: run it with --repair", "something cannot be read")[report.status]
