"""Proves the press journal: every slot of every segment, and what its records say."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from edge.clock import pause
from edge.protocol.inner import PressTold
from edge.store.files import File, RealFiles
from edge.store.findings import ASIDE, Report, keep_aside
from edge.store.journal import SEGMENT, SLOT, SLOTS_PER_SEGMENT, Kind, Record, decode
from edge.store.lock import give

STORE = "journal"
_SEGMENT_NAME = re.compile(r"press-([0-9]{3})\.seg")
_SETTLE_S = 0.05
"""On a live box a slot may be looked at while it is written; it is whole a moment later."""
_LOOKS = 4


def check(data: Path, report: Report, *, live: bool) -> None:
    """The journal below a box's data folder."""
    folder = data / "callbox" / "journal"
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        report.info(STORE, "absent", f"{folder} does not exist yet")
        return
    except OSError as error:
        report.unreadable(STORE, f"{folder} cannot be read: {error.strerror}")
        return
    segments = [name for name in names if _SEGMENT_NAME.fullmatch(name)]
    for name in names:
        if name == ASIDE:
            report.info(
                STORE, "aside", f"{folder / name} holds what was put aside; look at it, then take it away"
            )
        elif name not in segments:
            report.info(STORE, "foreign", f"{folder / name} is no segment; nothing reads it")
    records: list[Record] = []
    for name in segments:
        try:
            records += _segment(folder / name, report, live=live)
        except OSError as error:
            report.unreadable(STORE, f"{folder / name} cannot be read: {error.strerror or error}")
    _holes(folder, segments, report)
    _contents(sorted(records, key=lambda r: r.seq), report)
    report.counts.update(segments=len(segments), records=len(records), presses=len(report.presses))


def _segment(path: Path, report: Report, *, live: bool) -> Iterator[Record]:
    file = RealFiles().open(path, write=report.repair)
    try:
        size = file.size()
        if size != SEGMENT:
            _size(file, path, size, report)
        for number in range(min(SLOTS_PER_SEGMENT, -(-size // SLOT))):
            try:
                content = _slot(file, number, looks=_LOOKS if live else 1)
            except OSError as error:
                # The disk cannot give this page; the others may still be good.
                report.unreadable(STORE, f"{path} slot {number} cannot be read: {error.strerror or error}")
                continue
            record = decode(content)
            if record is not None:
                yield record
            elif content.strip(b"\0"):
                _damaged(file, path, number, content, report)
    finally:
        file.close()


def _slot(file: File, number: int, *, looks: int) -> bytes:
    content = file.read(number * SLOT, SLOT)
    for _ in range(looks - 1):
        if decode(content) is not None or not content.strip(b"\0"):
            break
        pause(_SETTLE_S)
        content = file.read(number * SLOT, SLOT)
    return content


def _size(file: File, path: Path, size: int, report: Report) -> None:
    told = f"{path} has {size} bytes and not {SEGMENT}"
    if size > SEGMENT:
        # Nothing reads what is beyond, and nothing is hurt by it.
        report.info(STORE, "size", f"{told}; what is beyond is never read")
        return
    if report.repair:
        file.write(size, bytes(SEGMENT - size))
        file.sync()
        told += "; filled with zeros"
    report.fault(STORE, "size", told, repaired=report.repair)


def _damaged(file: File, path: Path, number: int, content: bytes, report: Report) -> None:
    told = f"{path} slot {number} (byte {number * SLOT}) holds no whole record"
    if report.repair:
        # First the copy is safe, then the slot is cleared.
        kept = keep_aside(path.parent, f"{path.stem}-slot-{number:02d}.bin", content)
        file.write(number * SLOT, bytes(SLOT))
        file.sync()
        told += f"; kept as {kept} and cleared"
    report.fault(STORE, "slot", told, repaired=report.repair)


def _holes(folder: Path, segments: list[str], report: Report) -> None:
    there = {int(name[6:9]) for name in segments}
    for index in sorted(set(range(max(there, default=-1) + 1)) - there):
        path = folder / f"press-{index:03d}.seg"
        told = f"{path} is missing between others"
        if report.repair:
            RealFiles().create(path, SEGMENT)
            give(path, folder)
            told += "; made anew, empty"
        report.fault(STORE, "missing", told, repaired=report.repair)


def _contents(records: list[Record], report: Report) -> None:
    counted = Counter(record.seq for record in records)
    for seq, times in counted.items():
        if times > 1:
            report.info(STORE, "twice", f"sequence {seq} is there {times} times; readers count it once by id")
    for record in records:
        try:
            if record.kind is Kind.PRESS:
                report.presses[PressTold.model_validate_json(record.payload).press.press_id] = record.seq
            elif not isinstance(json.loads(record.payload), dict):
                raise ValueError
        except (ValidationError, ValueError, RecursionError):
            # Its CRC is right, so it was meant; it may be of a newer version.
            report.info(STORE, "content", f"sequence {record.seq} is whole but not understood")
    first, last = min(counted, default=0), max(counted, default=-1)
    gap = last - first + 1 - len(counted)
    if gap:
        report.info(
            STORE, "gap", f"{gap} sequence numbers between {first} and {last} are not there (overwritten)"
        )
