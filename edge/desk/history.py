"""What the store remembers: lists, figures and courses over months, read on a connection of its own.

No alert waits for it: it runs in threads beside the loop. Lists are bounded in rows; what goes through all
rows (answer times, exports) has a thread and a connection for itself (`Service.count`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from edge.errors import StoreError
from edge.protocol.common import Disposition

MOST = 200
"""Rows of one answer; `before` goes on from there."""
MOST_EXPORTED = 100_000
Period = tuple[str, str]
"""From (included) and to (not included): RFC 3339 UTC as the store has it."""


class Summary(BaseModel):
    """An incident as lists and exports show it."""

    incident_id: str
    ordinal: int
    device: str
    name: str
    road: str
    lat: float
    lon: float
    service: str
    state: str
    test: bool
    silent: bool
    by: str
    disposition: Disposition | None
    presses: int
    opened_utc: str
    changed_utc: str
    answer_ms: int | None
    """From the first ring to the first acknowledgement."""
    case_id: str | None


class Filter(BaseModel):
    """What is None does not narrow."""

    since: str | None = None
    until: str | None = None
    device: str | None = None
    service: str | None = None
    disposition: Disposition | None = None
    test: bool | None = None
    state: Literal["live", "closed"] | None = None
    case_id: str | None = None
    text: str | None = None
    """In the name of the place."""

    def where(self) -> tuple[str, list[Any]]:
        clauses, values = ["1"], []
        for clause, value in (
            ("opened_utc >= ?", self.since),
            ("opened_utc < ?", self.until),
            ("device = ?", self.device),
            ("service = ?", self.service),
            ("disposition = ?", self.disposition),
            ("test = ?", self.test),
            ("case_id = ?", self.case_id),
        ):
            if value is not None:
                clauses.append(clause)
                values.append(value)
        if self.state is not None:
            clauses.append("state <> 'closed'" if self.state == "live" else "state = 'closed'")
        if self.text:
            clauses.append("(instr(lower(device_name), lower(?)) OR instr(lower(road), lower(?)))")
            values += [self.text, self.text]
        return " AND ".join(clauses), values


class Answers(BaseModel):
    """How soon alerts were acknowledged."""

    key: str
    """The hour of the day (00 to 23), or the box."""
    name: str = ""
    incidents: int
    answered: int
    p50_ms: int | None
    p95_ms: int | None
    """By the nearest rank."""


class HealthPoint(BaseModel):
    """A box over five minutes, or over an hour."""

    utc_s: int
    """Its beginning."""
    heard: int
    """Heartbeats."""
    temp_c: float | None
    """Highest."""
    disk_free_mb: float | None
    """Lowest."""
    mem_free_mb: float | None
    waiting: int
    """Most alerts and events that waited for a receipt."""


class AuditEntry(BaseModel):
    """A row of the timeline as the audit shows it."""

    seq: int
    utc: str
    kind: str
    by: str
    incident_id: str | None
    device: str | None
    data: dict[str, str | bool | int]
    hash: str


_SUMMARY = (
    "incident_id, ordinal, device, device_name, road, lat, lon, service, state, test, silent, by,"
    " disposition, presses, opened_utc, changed_utc, answer_ms, case_id"
)
_GROUPED: dict[str, tuple[str, str]] = {
    # India is five and a half hours ahead: no whole hour of it is one of UTC.
    "hour": ("strftime('%H', opened_utc, '{:+d} minutes')", "''"),
    # As an expression: in the order of the boxes' index every row of every year would be read.
    "place": ("+device", "device_name"),
}


class History:
    """Use it from one thread."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError when the database cannot be opened."""
        self._path = path
        try:
            self._db = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False, timeout=5
            )
        except sqlite3.Error as error:
            raise StoreError(f"desk store {path} cannot be opened: {error}") from error

    def close(self) -> None:
        """From any thread; a question that is being answered is broken off."""
        self._db.interrupt()
        self._db.close()

    def incidents(self, wanted: Filter, before: int | None = None, limit: int = 50) -> list[Summary]:
        """Newest first; `before` is the last ordinal of the page before."""
        where, values = wanted.where()
        if before is not None:
            where, values = f"{where} AND ordinal < ?", [*values, before]
        rows = self._all(
            f"SELECT {_SUMMARY} FROM incidents WHERE {where} ORDER BY ordinal DESC LIMIT ?",  # noqa: S608
            [*values, limit],
        )
        names = list(Summary.model_fields)
        return [Summary.model_validate(dict(zip(names, row, strict=True))) for row in rows]

    def answers(self, by: Literal["hour", "place"], wanted: Filter, offset_min: int = 0) -> list[Answers]:
        """Over the incidents that `wanted` leaves; hours are those of a clock so far ahead of UTC."""
        key, name = _GROUPED[by]
        key = key.format(offset_min)
        where, values = wanted.where()
        # Grouped by SQLite, which leaves the interpreter to the loop meanwhile. The name is the latest: it
        # comes from the maximum's row. Key, name and where are this module's own texts; what came
        # from outside is among the values.
        sql = (
            f"SELECT {key}, {name}, max(opened_utc), count(*), group_concat(answer_ms)"  # noqa: S608
            f" FROM incidents WHERE {where} GROUP BY 1 ORDER BY 1"
        )
        return [
            _answers(group, latest, incidents, sorted(map(int, times.split(","))) if times else [])
            for group, latest, _, incidents, times in self._rows(sql, values)
        ]

    def health(self, device: str, since_s: int, *, hourly: bool) -> list[HealthPoint]:
        """The course of a box, oldest first; `since_s`: UNIX time."""
        table = "health_hours" if hourly else "health"
        rows = self._all(
            "SELECT slot, heard, temp_c, disk_free_mb, mem_free_mb, waiting"  # noqa: S608
            f" FROM {table} WHERE device = ? AND slot >= ? ORDER BY slot LIMIT 10000",
            (device, since_s),
        )
        names = list(HealthPoint.model_fields)
        return [HealthPoint.model_validate(dict(zip(names, row, strict=True))) for row in rows]

    def box_events(self, device: str, limit: int = 100) -> list[AuditEntry]:
        """The latest rows of the timeline about a box, newest first."""
        return self._entries("device = ?", [device], limit)

    def audit(self, by: str | None, before: int | None, limit: int) -> list[AuditEntry]:
        """What people and programs did, newest first."""
        where = "by = ?" if by else "by <> ''"
        values: list[str | int] = [by] if by else []
        if before is not None:
            where, values = f"{where} AND seq < ?", [*values, before]
        return self._entries(where, values, limit)

    def _entries(self, where: str, values: Sequence[Any], limit: int) -> list[AuditEntry]:
        rows = self._all(
            "SELECT seq, utc, kind, by, incident_id, device, data, hash FROM timeline"  # noqa: S608
            f" WHERE {where} ORDER BY seq DESC LIMIT ?",
            [*values, limit],
        )
        names = list(AuditEntry.model_fields)
        entries = [dict(zip(names, row, strict=True)) for row in rows]
        return [AuditEntry.model_validate({**e, "data": json.loads(e["data"])}) for e in entries]

    def _all(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        return list(self._rows(sql, values))

    def _rows(self, sql: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._db.execute(sql, tuple(values))
        except sqlite3.Error as error:
            raise StoreError(f"desk store {self._path} cannot be read: {error}") from error


def _answers(key: str, name: str, incidents: int, answered: list[int]) -> Answers:
    def rank(percent: int) -> int | None:
        # In whole numbers: 0.95 of something may be a hair more than it is.
        return answered[-(-len(answered) * percent // 100) - 1] if answered else None

    return Answers(
        key=key,
        name=name,
        incidents=incidents,
        answered=len(answered),
        p50_ms=rank(50),
        p95_ms=rank(95),
    )
