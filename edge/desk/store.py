"""The desk's store: SQLite in WAL mode, synchronous=FULL, written from one thread.

What is append-only is so by trigger: a row of the timeline, a press and an event can be added and never
changed; the rows of the timeline are chained besides (`audit`). `commit` takes a batch, because fifty rows
cost one sync as one row does.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from edge.clock import Reading
from edge.desk import audit
from edge.desk.book import KEEP_CLOSED, Dispatched, Incident, TakenPress
from edge.desk.core import SEEN_EVENTS, Core
from edge.desk.people import Invitation, Person, Token
from edge.desk.records import (
    BoxRow,
    EventRow,
    HealthRow,
    IncidentRow,
    InvitationRow,
    PersonRow,
    PressRow,
    Row,
    SessionRow,
    TimelineRow,
    TokenRow,
)
from edge.desk.roster import Box
from edge.errors import StoreError
from edge.protocol.wire import Alert
from edge.store.files import sync_folder

M = TypeVar("M", bound=BaseModel)

_FIRST = """
CREATE TABLE incidents (
    incident_id TEXT PRIMARY KEY, device TEXT NOT NULL, state TEXT NOT NULL, version INTEGER NOT NULL,
    test INTEGER NOT NULL, question TEXT NOT NULL, by TEXT NOT NULL, disposition TEXT,
    ordinal INTEGER NOT NULL, opened_utc TEXT NOT NULL, rang_utc TEXT NOT NULL,
    changed_utc TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX incidents_by_ordinal ON incidents (ordinal);
CREATE INDEX incidents_by_box ON incidents (device, ordinal);
CREATE TABLE presses (
    press_id TEXT PRIMARY KEY, incident_id TEXT NOT NULL REFERENCES incidents, device TEXT NOT NULL,
    test INTEGER NOT NULL, received_utc TEXT NOT NULL, alert TEXT NOT NULL
);
CREATE INDEX presses_by_incident ON presses (incident_id);
CREATE TABLE events (
    event_id TEXT PRIMARY KEY, device TEXT NOT NULL, incident_id TEXT, received_utc TEXT NOT NULL,
    event TEXT NOT NULL
);
CREATE INDEX events_by_incident ON events (incident_id) WHERE incident_id IS NOT NULL;
CREATE TABLE boxes (device TEXT PRIMARY KEY, known TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE timeline (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, incident_id TEXT, device TEXT,
    by TEXT NOT NULL, data TEXT NOT NULL, utc TEXT NOT NULL, mono_ns INTEGER NOT NULL,
    boot_id TEXT NOT NULL, trust TEXT NOT NULL, box_stamp TEXT
);
CREATE INDEX timeline_by_incident ON timeline (incident_id) WHERE incident_id IS NOT NULL;
CREATE INDEX timeline_by_box ON timeline (device) WHERE device IS NOT NULL;
CREATE TABLE sessions (
    digest TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, on_shift INTEGER NOT NULL,
    over INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE pulse (one INTEGER PRIMARY KEY CHECK (one = 1), utc TEXT NOT NULL);
CREATE TRIGGER timeline_kept BEFORE UPDATE ON timeline BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER timeline_stays BEFORE DELETE ON timeline BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER presses_kept BEFORE UPDATE ON presses BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER presses_stay BEFORE DELETE ON presses BEGIN SELECT RAISE(ABORT, 'append only'); END;
"""


def _chain(db: sqlite3.Connection) -> None:
    """Gives each row of the timeline its hash."""
    db.execute("DROP TRIGGER timeline_kept")
    db.execute("ALTER TABLE timeline ADD COLUMN hash TEXT NOT NULL DEFAULT ''")
    # Numbers that SQLite passed over would look like rows that were taken out.
    old = db.execute(f"SELECT {audit.COLUMNS} FROM timeline ORDER BY seq").fetchall()  # noqa: S608
    before = audit.BEGIN
    for number, row in enumerate(old, 1):
        before = audit.link(before, (number, *row[1:]))
        db.execute("UPDATE timeline SET seq = ?, hash = ? WHERE seq = ?", (number, before, row[0]))
    db.execute(
        "CREATE TRIGGER timeline_kept BEFORE UPDATE ON timeline BEGIN SELECT RAISE(ABORT, 'append only'); END"
    )


_PEOPLE = """
ALTER TABLE incidents ADD COLUMN level INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN assigned TEXT NOT NULL DEFAULT '';
ALTER TABLE incidents ADD COLUMN assigned_name TEXT NOT NULL DEFAULT '';
ALTER TABLE incidents ADD COLUMN case_id TEXT;
ALTER TABLE incidents ADD COLUMN dispatched TEXT NOT NULL DEFAULT '[]';
ALTER TABLE incidents ADD COLUMN answer_ms INTEGER;
ALTER TABLE incidents ADD COLUMN device_name TEXT NOT NULL DEFAULT '';
ALTER TABLE incidents ADD COLUMN service TEXT NOT NULL DEFAULT '';
ALTER TABLE incidents ADD COLUMN silent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN presses INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN road TEXT NOT NULL DEFAULT '';
ALTER TABLE incidents ADD COLUMN lat REAL NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN lon REAL NOT NULL DEFAULT 0;
CREATE INDEX incidents_by_case ON incidents (case_id) WHERE case_id IS NOT NULL;
CREATE INDEX incidents_by_opening ON incidents (opened_utc);
CREATE INDEX incidents_live ON incidents (ordinal) WHERE state <> 'closed';
CREATE TABLE people (login TEXT PRIMARY KEY, known TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE invitations (digest TEXT PRIMARY KEY, known TEXT NOT NULL, over INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE tokens (digest TEXT PRIMARY KEY, known TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX timeline_by_person ON timeline (by, seq) WHERE by <> '';
UPDATE sessions SET over = 1;
CREATE TABLE health (
    device TEXT NOT NULL, slot INTEGER NOT NULL, heard INTEGER NOT NULL, temp_c REAL, disk_free_mb REAL,
    mem_free_mb REAL, waiting INTEGER NOT NULL, PRIMARY KEY (device, slot)
) WITHOUT ROWID;
CREATE TABLE health_hours (
    device TEXT NOT NULL, slot INTEGER NOT NULL, heard INTEGER NOT NULL, temp_c REAL, disk_free_mb REAL,
    mem_free_mb REAL, waiting INTEGER NOT NULL, PRIMARY KEY (device, slot)
) WITHOUT ROWID;
CREATE TRIGGER health_grows AFTER INSERT ON health BEGIN
    INSERT INTO health_hours VALUES (NEW.device, NEW.slot / 3600 * 3600, NEW.heard, NEW.temp_c,
        NEW.disk_free_mb, NEW.mem_free_mb, NEW.waiting)
    ON CONFLICT (device, slot) DO UPDATE SET heard = heard + excluded.heard,
        temp_c = coalesce(max(temp_c, excluded.temp_c), temp_c, excluded.temp_c),
        disk_free_mb = coalesce(min(disk_free_mb, excluded.disk_free_mb), disk_free_mb,
            excluded.disk_free_mb),
        mem_free_mb = coalesce(min(mem_free_mb, excluded.mem_free_mb), mem_free_mb, excluded.mem_free_mb),
        waiting = max(waiting, excluded.waiting);
    DELETE FROM health WHERE device = NEW.device AND slot < NEW.slot - 8 * 86400;
    DELETE FROM health_hours WHERE device = NEW.device AND slot < NEW.slot - 400 * 86400;
END;
"""


def _describe(db: sqlite3.Connection) -> None:
    """Gives the rows of incidents what lists and figures ask for, which stood in their alerts alone."""
    rows = db.execute(
        "SELECT incident_id, json_extract(alert, '$.name'), json_extract(alert, '$.press.service'),"
        " json_extract(alert, '$.press.silent'), coalesce(json_extract(alert, '$.place.civic.RD'), ''),"
        " json_extract(alert, '$.place.lat'), json_extract(alert, '$.place.lon')"
        " FROM presses GROUP BY incident_id HAVING rowid = min(rowid)"
    ).fetchall()
    db.executemany(
        "UPDATE incidents SET device_name = ?2, service = ?3, silent = coalesce(?4, 0), road = ?5,"
        " lat = ?6, lon = ?7, presses = (SELECT count(*) FROM presses p WHERE p.incident_id = ?1)"
        " WHERE incident_id = ?1",
        rows,
    )


_COVERING = """
DROP INDEX incidents_by_opening;
CREATE INDEX incidents_by_opening ON incidents (opened_utc, test, device, device_name, answer_ms);
"""
"""What answer times are reckoned from stands in the index: their rows need not be read."""

MIGRATIONS: tuple[str | Callable[[sqlite3.Connection], None], ...] = (
    _FIRST,
    _chain,
    _PEOPLE,
    _describe,
    _COVERING,
)
"""Step n takes the schema from version n to n + 1 (PRAGMA user_version), each in one transaction."""

_INCIDENT = [field.name for field in fields(IncidentRow)]
_UPSERT_INCIDENT = (  # nothing but the names of a class's fields goes into the text
    f"INSERT INTO incidents ({', '.join(_INCIDENT)}) VALUES ({', '.join('?' * len(_INCIDENT))})"  # noqa: S608
    f" ON CONFLICT (incident_id) DO UPDATE SET {', '.join(f'{n} = excluded.{n}' for n in _INCIDENT[1:])}"
    " WHERE excluded.version >= incidents.version"
)
_SQL: dict[type[Row], str] = {
    # The key makes a press count once even if everything above failed to see that it came before (I2).
    PressRow: "INSERT OR IGNORE INTO presses (press_id, incident_id, device, test, received_utc, alert)"
    " VALUES (?, ?, ?, ?, ?, ?)",
    IncidentRow: _UPSERT_INCIDENT,
    EventRow: "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?)",
    BoxRow: "INSERT INTO boxes VALUES (?, ?) ON CONFLICT (device) DO UPDATE SET known = excluded.known",
    SessionRow: "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?)",
    HealthRow: "INSERT OR IGNORE INTO health VALUES (?, ?, ?, ?, ?, ?, ?)",
    PersonRow: "INSERT OR REPLACE INTO people VALUES (?, ?)",
    InvitationRow: "INSERT OR REPLACE INTO invitations VALUES (?, ?, ?)",
    TokenRow: "INSERT OR REPLACE INTO tokens VALUES (?, ?)",
    TimelineRow: "INSERT INTO timeline (seq, kind, incident_id, device, by, data, utc, mono_ns, boot_id,"
    " trust, box_stamp, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
}


class Store:
    """One connection to the desk's database. Use it from one thread; open another for reading."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Opens, makes or migrates the database.

        Raises:
            StoreError: it cannot be opened, is damaged, or is newer than this program.
        """
        self.path = path
        try:
            if not read_only:
                path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=5,
            )
            if not read_only:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._migrate()
            self._head = self.head()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"desk store {path} cannot be opened: {error}") from error

    def _migrate(self) -> None:
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version > len(MIGRATIONS):
            raise StoreError(
                f"desk store {self.path} has schema {version}, this program knows {len(MIGRATIONS)}:"
                " start the newer program that wrote it"
            )
        for number, step in enumerate(MIGRATIONS[version:], version + 1):
            self._db.execute("BEGIN IMMEDIATE")
            if isinstance(step, str):
                for statement in _statements(step):
                    self._db.execute(statement)
            else:
                step(self._db)
            self._db.execute(f"PRAGMA user_version={number}")
            self._db.execute("COMMIT")

    def commit(self, rows: Sequence[Row], pulse_utc: str | None = None) -> None:
        """Writes a batch in one transaction; on stable storage when it returns.

        Raises:
            StoreError: nothing of the batch is stored; it may be tried again.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                head = self._head
                for row in sorted(rows, key=_rank):
                    values = astuple(row)
                    if isinstance(row, TimelineRow):
                        values = (head.number + 1, *values)
                        head = audit.Head(head.number + 1, audit.link(head.hash, values))
                        values = (*values, head.hash)
                    self._db.execute(_SQL[type(row)], values)
                if pulse_utc is not None:
                    self._db.execute("INSERT OR REPLACE INTO pulse VALUES (1, ?)", (pulse_utc,))
                self._db.execute("COMMIT")
                self._head = head
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StoreError(f"desk store {self.path} was not written: {error}") from error

    def close(self) -> None:
        self._db.close()

    # -- the audit, and copies -----------------------------------------------------------------

    def head(self) -> audit.Head:
        """Of the audit chain, as it is stored."""
        last = self._all("SELECT seq, hash FROM timeline ORDER BY seq DESC LIMIT 1", ())
        return audit.Head(int(last[0][0]), str(last[0][1])) if last else audit.EMPTY

    def verify(self, known: audit.Head | None = None) -> audit.Head:
        """Walks the audit chain; raises StoreError where it breaks, see `audit.verify`."""
        try:
            rows = self._db.execute(f"SELECT {audit.COLUMNS}, hash FROM timeline ORDER BY seq")  # noqa: S608
            return audit.verify(rows, known)
        except sqlite3.Error as error:
            raise StoreError(f"desk store {self.path} cannot be read: {error}") from error

    def backup(self, target: Path) -> audit.Head:
        """A whole and consistent copy, made while the desk goes on; returns the head of its audit.

        Raises:
            StoreError: `target` is there already or cannot be written, or what was copied is damaged.
        """
        draft = target.with_name(f"{target.name}.part")
        try:
            if target.exists():
                raise FileExistsError(17, "is there already: give another name", str(target))
            os.close(os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
            copy = sqlite3.connect(draft)
            try:
                copy.execute("PRAGMA synchronous=FULL")
                self._db.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")
                found = copy.execute("PRAGMA integrity_check").fetchone()[0]
                if found != "ok":
                    raise StoreError(f"desk store {self.path} is damaged: {found}")
            finally:
                copy.close()
            made = Store(draft, read_only=True)
            try:
                head = made.verify()
            finally:
                made.close()
            draft.rename(target)
            sync_folder(target.parent)
        except (sqlite3.Error, OSError) as error:
            draft.unlink(missing_ok=True)
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"backup {target}: {error}") from error
        return head

    # -- reading -------------------------------------------------------------------------------

    def load_into(self, core: Core, now: Reading) -> None:
        """Rebuilds the core at start.

        Raises:
            StoreError: a row does not read back as what was written.
        """
        live = self._incidents("state <> 'closed' ORDER BY ordinal", ())
        recent = self._incidents("state = 'closed' ORDER BY ordinal DESC LIMIT ?", (KEEP_CLOSED,))
        whole = {i.incident_id: i for i in [*live, *recent]}
        ids = (str(r[0]) for r in self._all("SELECT incident_id FROM incidents", ()))
        last = self._all("SELECT coalesce(max(ordinal), 0) FROM incidents", ())[0][0]
        core.book.load(whole.values(), (i for i in ids if i not in whole), int(last), now)
        core.roster.load((_read(Box, r[0]) for r in self._all("SELECT known FROM boxes", ())), now)
        events = self._all("SELECT event_id FROM events ORDER BY rowid DESC LIMIT ?", (SEEN_EVENTS,))
        core.load_events(str(r[0]) for r in reversed(events))
        core.people.load(
            [_read(Person, r[0]) for r in self._all("SELECT known FROM people", ())],
            [_read(Invitation, r[0]) for r in self._all("SELECT known FROM invitations WHERE NOT over", ())],
            [_read(Token, r[0]) for r in self._all("SELECT known FROM tokens", ())],
        )

    def sessions(self) -> list[SessionRow]:
        """Those that are not over."""
        return [SessionRow(*row) for row in self._all("SELECT * FROM sessions WHERE NOT over", ())]

    def incident(self, incident_id: str) -> Incident | None:
        """One incident, however old."""
        found = self._incidents("incident_id = ?", (incident_id,))
        return found[0] if found else None

    def timeline(self, incident_id: str, limit: int = 2000) -> list[dict[str, Any]]:
        """Everything that happened to an incident, oldest first."""
        names = "seq, kind, by, data, utc, mono_ns, boot_id, trust, box_stamp"
        rows = self._all(
            f"SELECT {names} FROM timeline WHERE incident_id = ? ORDER BY seq LIMIT ?",  # noqa: S608
            (incident_id, limit),
        )
        entries = [dict(zip(names.split(", "), row, strict=True)) for row in rows]
        for entry in entries:
            entry["data"] = json.loads(entry["data"])
            entry["box_stamp"] = json.loads(entry["box_stamp"]) if entry["box_stamp"] else None
        return entries

    def _incidents(self, where: str, values: tuple[Any, ...]) -> list[Incident]:
        rows = self._all(  # `where` is one of this module's own texts
            f"SELECT {', '.join(_INCIDENT)} FROM incidents WHERE {where}",  # noqa: S608
            values,
        )
        return [self._incident(IncidentRow(*row)) for row in rows]

    def _incident(self, row: IncidentRow) -> Incident:
        taken = [
            (_read(Alert, alert), str(utc))
            for alert, utc in self._all(
                "SELECT alert, received_utc FROM presses WHERE incident_id = ? ORDER BY rowid",
                (row.incident_id,),
            )
        ]
        if not taken:
            raise StoreError(f"desk store {self.path}: incident {row.incident_id} has no press")
        alerts = [alert for alert, _ in taken]
        real = [a.press for a in alerts if not a.press.test]
        wanted = real[-1] if real else alerts[0].press
        asked_of = [a.press.test_by for a in alerts if a.press.test and a.press.test_by]
        return Incident(
            incident_id=row.incident_id,
            device=row.device,
            name=alerts[0].name,
            place=alerts[0].place,
            service=wanted.service,
            routing=wanted.routing,
            silent=any(a.press.silent for a in alerts),
            test=bool(row.test),
            question=row.question,
            test_by=asked_of[-1] if asked_of else None,
            state=row.state,
            version=row.version,
            by=row.by,
            disposition=row.disposition,
            ordinal=row.ordinal,
            opened_utc=row.opened_utc,
            rang_utc=row.rang_utc,
            changed_utc=row.changed_utc,
            level=row.level,
            assigned=row.assigned,
            assigned_name=row.assigned_name,
            case_id=row.case_id,
            dispatched=[Dispatched.model_validate(d) for d in json.loads(row.dispatched)],
            answer_ms=row.answer_ms,
            presses=[TakenPress.of(alert, utc) for alert, utc in taken],
        )

    def _all(self, sql: str, values: Iterable[Any]) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"desk store {self.path} cannot be read: {error}") from error


def _statements(script: str) -> Iterable[str]:
    """The statements of a script one by one: sqlite3's own way of running one ends the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _rank(row: Row) -> int:
    """Incidents before their presses; otherwise the order of the batch."""
    return 0 if isinstance(row, IncidentRow) else 1


def _read(model: type[M], text: str) -> M:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise StoreError(f"desk store: a stored {model.__name__} does not read back: {error}") from error
