"""The audit chain: each row of the timeline carries a hash over itself and the hash of the row before it.

Who changes, removes or inserts a row behind the desk's back has to change all that follow. What no chain
can show by itself is that its end was cut off, or that all of it was written anew: for that, keep a head
(``number:hash``) somewhere else, and give it to `verify`. Hash: SHA-256 (FIPS 180-4) over the hash before, a
line feed, and the row as a JSON array without spaces, UTF-8.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edge.errors import StoreError

BEGIN = "0" * 64
COLUMNS = "seq, kind, incident_id, device, by, data, utc, mono_ns, boot_id, trust, box_stamp"
"""Of the table `timeline`, in the order in which they are hashed."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last row of a chain; printed and read as ``number:hash``."""

    number: int
    hash: str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Raises ValueError for anything else than ``number:hash``."""
        found = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", text.strip())
        if found is None:
            raise ValueError("not a head of the audit: NUMBER:HASH as `edge desk audit verify` prints it")
        return cls(int(found[1]), found[2])


EMPTY = Head(0, BEGIN)


def link(before: str, row: Sequence[Any]) -> str:
    """The hash of a row, whose values are those of `COLUMNS`."""
    text = json.dumps(list(row), ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(f"{before}\n{text}".encode("utf-8", "surrogatepass")).hexdigest()


def verify(rows: Iterable[Sequence[Any]], known: Head | None = None) -> Head:
    """Walks a whole chain and returns its head.

    Args:
        rows: the values of `COLUMNS` and then the hash, by number.
        known: a head that was kept elsewhere; the chain must hold it.

    Raises:
        StoreError: the text says at which row the chain breaks, and how.
    """
    head = EMPTY
    met = known is None or known == EMPTY
    for *row, told in rows:
        number = int(row[0])
        if number != head.number + 1:
            raise StoreError(f"audit: rows {head.number + 1} to {number - 1} are missing")
        if link(head.hash, row) != told:
            raise StoreError(f"audit: row {number} was changed, or the one before it")
        head = Head(number, str(told))
        if known is not None and number == known.number:
            if head != known:
                raise StoreError(f"audit: row {number} is not the one that was kept: all was written anew")
            met = True
    if not met:
        assert known is not None
        raise StoreError(f"audit: it ends at row {head.number}, but row {known.number} was there once")
    return head
