"""The press journal: records in fixed slots of preallocated files, a CRC each, fdatasync before it is told.

Why not a database: a press must be on stable storage in the time of one flush, on a full disk too. A slot is
one page of 4096 bytes, so that a torn write can hurt only the record that was being written. Nothing but the
slots is read back: the order is in the records' sequence numbers, and any slot may be damaged without hurting
another. Slots are used round and round; the slot of a pinned record (a press that no other store holds yet)
is passed over.

Record, little endian: magic ``EJ01``, CRC-32 of the rest, sequence u64, length u16, kind u8, 5 zero bytes,
payload (JSON, at most 4072 bytes), zeros.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from edge.errors import StoreError
from edge.store.files import File, Files
from edge.store.lock import Lock

SLOT = 4096
SLOTS_PER_SEGMENT = 64
SEGMENT = SLOT * SLOTS_PER_SEGMENT
MAX_SEGMENTS = 64
_HEAD = struct.Struct("<4sIQHB5x")
_MAGIC = b"EJ01"
_NAME = re.compile(r"press-([0-9]{3})\.seg")
_OUT_OF_ORDER = 4
"""A record has its number before it is written: so many may have changed places on the disk."""
MAX_PAYLOAD = SLOT - _HEAD.size


class Kind(IntEnum):
    """What a record says."""

    PRESS = 1
    """A `edge.protocol.inner.PressTold`."""
    RELEASE = 2
    """``{"button": NAME}``: the contact of the last press opened."""
    DARK = 3
    """``{"incident_id": ID}``: the incident was muted by a long hold."""
    CLOSE = 4
    """``{"incident_id": ID}``: the desk closed it."""


@dataclass(frozen=True, slots=True)
class Record:
    seq: int
    kind: Kind
    payload: bytes


class Journal:
    """One folder of segments. Calls block on the disk: one thread uses it, neither the loop's nor GPIO's."""

    def __init__(self, folder: Path, files: Files, segments: int) -> None:
        self._folder = folder
        self._files = files
        self._segments = segments
        self._lock = Lock(folder.parent)
        self._open: list[File] = []
        self._used: dict[int, int] = {}
        """Slot -> sequence number of the record in it."""
        self._next_slot = 0
        self._pinned: set[int] = set()
        self.last_seq = 0
        self.damaged = 0
        """Slots found with something in them that is no whole record (a torn tail, a bad page)."""

    def open(self) -> list[Record]:
        """Reads what is there, then makes missing segments; returns the records in order of sequence.

        Raises:
            StoreError: the folder can neither be read nor made. A folder that can be read but not written
                gives its records; `append` then raises.
        """
        self.close()
        self._used.clear()
        records, self.damaged = read(self._folder, self._files)
        self._used = {slot: record.seq for slot, record in records}
        self.last_seq = max((r.seq for _, r in records), default=0)
        newest = sorted((record.seq, slot) for slot, record in records)[-_OUT_OF_ORDER:]
        # Where it goes on is where the newest ones end; behind the newest of all may be one that was numbered
        # a moment earlier and written a moment later.
        self._next_slot = newest[-1][1] + 1 if newest else 0
        while self._next_slot in (slot for _, slot in newest):
            self._next_slot += 1
        return sorted((record for _, record in records), key=lambda r: r.seq)

    def prepare(self) -> None:
        """Opens for writing and makes what is missing; raises StoreError (disk full, read-only, absent)."""
        self.close()
        try:
            there = _indices(self._files.names(self._folder))
            # Up to the highest that is there: growing must never make a segment in place of an old one.
            for index in range(max([self._segments, *(i + 1 for i in there)])):
                path = self._folder / _name(index)
                if index not in there:
                    self._files.create(path, SEGMENT)
                file = self._files.open(path, write=True)
                self._open.append(file)
                if file.size() < SEGMENT:
                    # Cut short, by a repair or a bad disk: what is left of it stays readable.
                    _extend(file)
        except OSError as error:
            self.close()
            raise StoreError(f"journal in {self._folder} cannot be written: {error}") from error
        self._lock.share()

    def append(self, kind: Kind, seq: int, payload: bytes) -> None:
        """Writes one record and returns when it is on stable storage.

        `seq` says the order, and no other record has it; one that is late by a few is read in its place.

        Raises:
            StoreError: it is not; the slot is tried again by the next record.
        """
        slot = self._free_slot()
        self._write(slot, encode(kind, seq, payload))
        self._sync(slot)
        self._used[slot] = seq
        self._next_slot = slot + 1
        self.last_seq = max(self.last_seq, seq)

    def pin(self, seq: int) -> None:
        """Keeps the record of `seq` from being overwritten until `unpin`."""
        self._pinned.add(seq)

    def unpin(self, seq: int) -> None:
        self._pinned.discard(seq)

    def close(self) -> None:
        for file in self._open:
            file.close()
        self._open.clear()
        self._lock.release()

    def _free_slot(self) -> int:
        if not self._open:
            self.prepare()
        total = len(self._open) * SLOTS_PER_SEGMENT
        for step in range(total):
            slot = (self._next_slot + step) % total
            if self._used.get(slot) not in self._pinned:
                return slot
        if len(self._open) >= MAX_SEGMENTS:
            raise StoreError(f"journal is full: {total} presses wait for the uplink")
        try:
            path = self._folder / _name(len(self._open))
            self._files.create(path, SEGMENT)
            self._open.append(self._files.open(path, write=True))
        except OSError as error:
            raise StoreError(f"journal cannot grow: {error}") from error
        return total

    def _write(self, slot: int, data: bytes) -> None:
        try:
            self._open[slot // SLOTS_PER_SEGMENT].write(slot % SLOTS_PER_SEGMENT * SLOT, data)
        except OSError as error:
            self.close()
            raise StoreError(f"journal write failed: {error}") from error

    def _sync(self, slot: int) -> None:
        try:
            self._open[slot // SLOTS_PER_SEGMENT].sync()
        except OSError as error:
            # After a failed fsync the kernel may have dropped the page: only a new open and write count.
            self.close()
            raise StoreError(f"journal sync failed: {error}") from error


def encode(kind: Kind, seq: int, payload: bytes) -> bytes:
    """One slot; raises ValueError for a payload over `MAX_PAYLOAD`."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"journal record of {len(payload)} bytes is longer than {MAX_PAYLOAD}")
    rest = _HEAD.pack(_MAGIC, 0, seq, len(payload), kind)[8:] + payload
    return (_MAGIC + struct.pack("<I", zlib.crc32(rest)) + rest).ljust(SLOT, b"\0")


def decode(data: bytes) -> Record | None:
    """The record in a slot, or None when there is no whole one."""
    if len(data) < _HEAD.size or data[:4] != _MAGIC:
        return None
    _, crc, seq, length, kind = _HEAD.unpack_from(data)
    rest = data[8 : _HEAD.size + length]
    if len(rest) != _HEAD.size - 8 + length or zlib.crc32(rest) != crc or kind not in list(Kind):
        return None
    return Record(seq, Kind(kind), data[_HEAD.size : _HEAD.size + length])


def read(folder: Path, files: Files) -> tuple[list[tuple[int, Record]], int]:
    """Every whole record of a folder with its slot, and the number of damaged slots; changes nothing.

    Raises:
        StoreError: the folder, a segment as such, or all that is in them cannot be read.
    """
    found: list[tuple[int, Record]] = []
    damaged = good = 0
    fault: OSError | None = None
    try:
        for index in _indices(files.names(folder)):
            file = files.open(folder / _name(index), write=False)
            try:
                for number in range(min(SLOTS_PER_SEGMENT, -(-file.size() // SLOT))):
                    try:
                        data = file.read(number * SLOT, SLOT)
                    except OSError as error:
                        # The disk cannot give this page; the others may still be good.
                        fault, damaged = error, damaged + 1
                        continue
                    good += 1
                    record = decode(data)
                    if record is not None:
                        found.append((index * SLOTS_PER_SEGMENT + number, record))
                    elif data.strip(b"\0"):
                        damaged += 1
            finally:
                file.close()
    except OSError as error:
        fault, good = error, 0
    if fault is not None and not good:
        raise StoreError(f"journal in {folder} cannot be read: {fault}") from fault
    return found, damaged


def _indices(names: list[str]) -> list[int]:
    """The numbers of the segments among the names in a folder; what has another name is not ours."""
    found = (int(match[1]) for name in names if (match := _NAME.fullmatch(name)))
    return sorted(index for index in found if index < MAX_SEGMENTS)


def _extend(file: File) -> None:
    size = file.size()
    file.write(size, bytes(SEGMENT - size))
    file.sync()


def _name(index: int) -> str:
    return f"press-{index:03d}.seg"
