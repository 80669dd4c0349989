"""The outbox: what waits for the centre, in SQLite (WAL, synchronous=FULL), written by the uplink alone.

An alert or event leaves it only when a desk says that it has stored it; a result when the broker has it. It
is bounded: when the quota is used up the least important and oldest goes first, and never an alert.
`OutboxWriter` is its thread: it commits whatever has queued up in one transaction, at the cost of one row.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.clock import Clock
from edge.errors import StoreError
from edge.store.lock import Lock

log = logging.getLogger(__name__)

ALERT, ALARM, RESULT, WARNING, INFO = range(5)
"""Priorities; the lower goes out first and is shed last."""
KEEP_RECEIVED = 4096
"""Ids of received messages that are remembered; more than the press journal can hold presses."""
KEEP_COMMANDS = 512

_SCHEMA = """
CREATE TABLE rows (
    id TEXT PRIMARY KEY NOT NULL, channel TEXT NOT NULL, priority INTEGER NOT NULL, body BLOB NOT NULL,
    created_utc_ns INTEGER NOT NULL, ttl_s INTEGER
);
CREATE TABLE received (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE);
CREATE TABLE commands (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, result BLOB);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 2;
"""
VERSION = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One message that waits."""

    id: str
    channel: str
    """The MQTT channel: alert, event or result."""
    priority: int
    body: bytes
    """JSON, as it goes out."""
    created_utc_ns: int
    """0: made while nobody knew the time."""
    ttl_s: int | None = None
    """Seconds after which it is of no use; None: never."""


class Outbox:
    """The database. Blocking; one thread uses it."""

    def __init__(self, path: Path, *, max_rows: int, max_bytes: int) -> None:
        self._path = path
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._lock = Lock(path.parent)
        self._db: sqlite3.Connection | None = None
        self._suspect = ""
        """Why the file must be put aside although it opens: a commit found it damaged."""
        self._size: dict[int, list[int]] = {}
        """Priority -> [rows, bytes]."""

    def open(self) -> None:
        """Opens or makes the database; one that is damaged is put aside, for the journal has the presses.

        Raises:
            StoreError: the disk is absent, read-only or full.
        """
        try:
            try:
                self._open()
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                if _may_pass(error):
                    raise
                self._put_aside(str(error))
                self._open()
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StoreError(f"outbox {self._path} cannot be opened: {error}") from error

    def _open(self) -> None:
        self.close()
        self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._lock.share()
        self._db = connect(self._path)
        if fault := self._suspect or check(self._db):
            raise sqlite3.DatabaseError(fault)
        with self._db:
            cursor = self._db.execute("SELECT priority, COUNT(*), SUM(LENGTH(body)) FROM rows GROUP BY 1")
            self._size = {p: [n, b] for p, n, b in cursor}

    def close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None
        self._lock.release()

    def commit(self, jobs: list[Callable[[Outbox], Any]]) -> list[Any]:
        """Runs all jobs in one transaction; returns their results once that is on stable storage.

        Raises:
            StoreError: nothing of it was written.
        """
        if self._db is None:
            self.open()
        assert self._db is not None
        size = {p: list(pair) for p, pair in self._size.items()}
        try:
            self._db.execute("BEGIN IMMEDIATE")
            results = [job(self) for job in jobs]
            self._db.execute("COMMIT")
            return results
        except Exception as error:
            # Also what a job did wrong by itself: half a transaction must not stay open, nor its thread end.
            self._size = size
            if type(error) in (sqlite3.DatabaseError, sqlite3.OperationalError, UnicodeDecodeError) and (
                not _may_pass(error)
            ):
                self._suspect = str(error)
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            self.close()
            raise StoreError(f"outbox {self._path} cannot be written: {error}") from error

    # -- jobs: only inside `commit` ----------------------------------------------------------------

    def put(self, row: Row) -> list[str]:
        """Adds a row, or replaces the one of the same id; returns the ids that were shed for it."""
        self._take(row.id)
        shed = self._make_room(row)
        if row.id in shed:
            return shed
        self._execute(
            "INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)",
            (row.id, row.channel, row.priority, row.body, row.created_utc_ns, row.ttl_s),
        )
        self._count(row.priority, 1, len(row.body))
        return shed

    def remove(self, row_id: str) -> None:
        self._take(row_id)

    def receive(self, row_id: str) -> None:
        """A desk has it: the row goes and its id is remembered."""
        self._take(row_id)
        self._execute("INSERT OR IGNORE INTO received (id) VALUES (?)", (row_id,))
        self._execute("DELETE FROM received WHERE n <= (SELECT MAX(n) FROM received) - ?", (KEEP_RECEIVED,))

    def rows(self) -> list[Row]:
        """All rows, the most important first, then in the order they were put (never by a clock: I9)."""
        cursor = self._execute(
            "SELECT id, channel, priority, body, created_utc_ns, ttl_s FROM rows ORDER BY priority, rowid"
        )
        return [Row(*found) for found in cursor]

    def received(self) -> list[str]:
        return [found[0] for found in self._execute("SELECT id FROM received ORDER BY n")]

    def begin_command(self, command_id: str) -> tuple[bool, bytes | None]:
        """(True, None) for a new command, else (False, its result if it came to one)."""
        found = self._execute("SELECT result FROM commands WHERE id = ?", (command_id,)).fetchone()
        if found is not None:
            return False, found[0]
        self._execute("INSERT INTO commands (id) VALUES (?)", (command_id,))
        self._execute("DELETE FROM commands WHERE n <= (SELECT MAX(n) FROM commands) - ?", (KEEP_COMMANDS,))
        return True, None

    def finish_command(self, command_id: str, result: bytes) -> None:
        self._execute("UPDATE commands SET result = ? WHERE id = ?", (result, command_id))

    def session(self) -> int:
        """The number of the last session that was counted."""
        found = self._execute("SELECT value FROM meta WHERE key = 'session'").fetchone()
        return int(found[0]) if found else 0

    def next_session(self, at_least: int) -> int:
        """Counts the sessions of this box, over restarts."""
        number = max(self.session() + 1, at_least)
        self._execute("INSERT OR REPLACE INTO meta VALUES ('session', ?)", (str(number),))
        return number

    # -- inside ------------------------------------------------------------------------------------

    def _execute(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        assert self._db is not None
        return self._db.execute(sql, values)

    def _count(self, priority: int, rows: int, size: int) -> None:
        pair = self._size.setdefault(priority, [0, 0])
        pair[0] += rows
        pair[1] += size

    def _take(self, row_id: str) -> None:
        found = self._execute(
            "DELETE FROM rows WHERE id = ? RETURNING priority, LENGTH(body)", (row_id,)
        ).fetchone()
        if found is not None:
            self._count(found[0], -1, -found[1])

    def _make_room(self, row: Row) -> list[str]:
        """Sheds the least important and oldest until `row` fits; never an alert, never for a lesser row."""
        shed: list[str] = []
        while not self._fits(len(row.body)):
            least = max((p for p, pair in self._size.items() if pair[0] > 0), default=ALERT)
            if least == ALERT or least < row.priority:
                # All that is left matters more than the row, or is alerts: an alert goes over the quota.
                return shed if row.priority == ALERT else [*shed, row.id]
            oldest = self._execute(
                "SELECT id FROM rows WHERE priority = ? ORDER BY rowid LIMIT 1", (least,)
            ).fetchone()[0]
            self._take(oldest)
            shed.append(oldest)
        return shed

    def _fits(self, size: int) -> bool:
        rows = sum(pair[0] for pair in self._size.values())
        used = sum(pair[1] for pair in self._size.values())
        return rows < self._max_rows and used + size <= self._max_bytes

    def _put_aside(self, fault: str) -> None:
        """A damaged database is kept for a person to look at; a new one begins."""
        self.close()
        log.error("outbox damaged reason=%r", fault)
        for suffix in ("", "-wal", "-shm"):
            old = Path(f"{self._path}{suffix}")
            if old.exists():
                os.replace(old, Path(f"{self._path}.damaged{suffix}"))
        self._suspect = ""


def _may_pass(error: Exception) -> bool:
    """Whether it is the disk's or the moment's, and not the file's.

    OperationalError is both: SQLITE_ERROR is what sqlite says of a header or table it does not understand.
    """
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR


def connect(path: Path) -> sqlite3.Connection:
    """Opens the database file as the outbox wants it, making its tables when it is new.

    Raises:
        sqlite3.Error: as sqlite3 does.
    """
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA wal_autocheckpoint = 200")
        db.execute("PRAGMA journal_size_limit = 1048576")
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    except sqlite3.Error:
        db.close()
        raise
    return db


def check(db: sqlite3.Connection) -> str:
    """What is wrong with an outbox database; empty when nothing is."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        return f"its format is {version}, this version knows {VERSION}"
    tables = {found[0] for found in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if missing := {"rows", "received", "commands", "meta"} - tables:
        return f"it has no table {', '.join(sorted(missing))}"
    found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    return "" if found == "ok" else str(found)


Done = Callable[[Any, StoreError | None], None]
"""Called on the loop with the job's result, or the error for which it was not committed."""


class OutboxWriter:
    """The outbox's one thread. `submit` from the loop; the answer comes on the loop."""

    def __init__(self, outbox: Outbox, clock: Clock, on_fault: Callable[[str], None]) -> None:
        self._outbox = outbox
        self._clock = clock
        self._on_fault = on_fault
        self._fault = ""
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[tuple[Callable[[Outbox], Any], Done] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, job: Callable[[Outbox], Any], done: Done) -> None:
        self._queue.put((job, done))

    def close(self) -> None:
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)

    def _run(self) -> None:
        ended = False
        while not ended:
            batch = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < 100:
                    batch.append(self._queue.get_nowait())
            jobs = [item for item in batch if item is not None]
            ended = len(jobs) < len(batch)
            if jobs:
                self._commit(jobs)
        self._outbox.close()

    def _commit(self, jobs: list[tuple[Callable[[Outbox], Any], Done]]) -> None:
        error: StoreError | None = None
        results: list[Any] = [None] * len(jobs)
        try:
            results = self._outbox.commit([job for job, _ in jobs])
        except StoreError as failure:
            error = failure
        self._post(self._tell, error)
        for (_, done), result in zip(jobs, results, strict=True):
            self._post(done, result, error)

    def _tell(self, error: StoreError | None) -> None:
        text = str(error) if error else ""
        if text != self._fault:
            self._fault = text
            self._on_fault(text)

    def _post(self, call: Callable[..., None], *args: object) -> None:
        # The loop may be gone already when the process ends.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *args)
