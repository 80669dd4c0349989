"""Proves the outbox: the database as such, and every row against the message it should be."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edge.errors import Refused
from edge.protocol.inbound import parse
from edge.protocol.wire import FROM_BOX, Result
from edge.store.findings import ASIDE, Report, keep_aside, move_aside
from edge.store.outbox import ALERT, INFO, VERSION

STORE = "outbox"
CHANNELS = ("alert", "event", "result")
SUFFIXES = ("", "-wal", "-shm")


def check(data: Path, report: Report, *, live: bool) -> None:
    """The outbox below a box's data folder."""
    path = data / "uplink" / "outbox.db"
    for old in sorted(path.parent.glob(f"{path.name}.damaged*")) + sorted(path.parent.glob(f"{ASIDE}/*")):
        report.info(STORE, "aside", f"{old} was put aside; look at it, then take it away")
    try:
        with open(path, "rb") as file:
            file.read(1)
    except FileNotFoundError:
        report.info(STORE, "absent", f"{path} does not exist yet")
        report.handed_over = set()
        return
    except OSError as error:
        report.unreadable(STORE, f"{path} cannot be read: {error.strerror}")
        return
    try:
        with _opened(path, live=live, write=report.repair) as db:
            fault = _database(db)
            if not fault:
                _contents(db, path.parent, report)
                return
    except sqlite3.OperationalError as error:
        if live:
            # Busy, or a file of the log that only its owner may open: nothing is known to be wrong.
            report.unreadable(STORE, f"{path} cannot be read while the uplink runs: {error}")
            return
        fault = str(error)
    except sqlite3.Error as error:
        fault = str(error)
    told = f"{path} is damaged: {fault}"
    if report.repair:
        kept = [move_aside(old) for s in SUFFIXES if (old := Path(f"{path}{s}")).exists()]
        told += f"; kept as {kept[0]}. The uplink makes a new one, and the journal has the presses"
        report.handed_over = set()
    report.fault(STORE, "database", told, repaired=report.repair)


@contextlib.contextmanager
def _opened(path: Path, *, live: bool, write: bool) -> Iterator[sqlite3.Connection]:
    """The database itself for a repair, or while a process has it open; else a copy, for even a reader of a
    write-ahead log writes files beside it."""
    if live or write:
        mode = "rw" if write else "ro"
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as db:
            yield db
        return
    with tempfile.TemporaryDirectory(prefix="edge-fsck-") as folder:
        copy = Path(folder) / path.name
        for suffix in SUFFIXES[:2]:
            if Path(f"{path}{suffix}").exists():
                shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as db:
            yield db


def _database(db: sqlite3.Connection) -> str:
    """What is wrong with the database as such; empty when nothing is."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        return f"its format is {version}, this version knows {VERSION}"
    try:
        said = str(db.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except UnicodeDecodeError:
        # It quotes names out of the damaged page.
        said = "its schema holds what is no text"
    return "" if said == "ok" else said


def _contents(db: sqlite3.Connection, folder: Path, report: Report) -> None:
    rows = db.execute("SELECT id, channel, priority, body, created_utc_ns, ttl_s FROM rows").fetchall()
    received = {found[0] for found in db.execute("SELECT id FROM received")}
    for row in rows:
        fault = _row_fault(row)
        if not fault and row[0] in received:
            fault = "it waits, and is known as received"
        if fault:
            _take(db, folder, report, "rows", "id", row, fault)
    for command_id, result in db.execute("SELECT id, result FROM commands").fetchall():
        if result is not None and (fault := _fault(lambda r=result: parse(Result, _bytes(r)))):  # type: ignore[misc]
            _take(db, folder, report, "commands", "id", (command_id, result), fault)
    for key, value in db.execute("SELECT key, value FROM meta").fetchall():
        if key == "session" and not (isinstance(value, str) and value.isdecimal() and value.isascii()):
            _take(db, folder, report, "meta", "key", (key, value), "is no number")
    report.handed_over = received | {row[0] for row in rows if not _row_fault(row)}
    report.counts.update(waiting=len(rows), received=len(received))
    if report.repair:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _row_fault(row: tuple[Any, ...]) -> str:
    row_id, channel, priority, body, created_ns, ttl_s = row
    if channel not in CHANNELS:
        return "it goes to no channel of this version"
    if not (isinstance(priority, int) and ALERT <= priority <= INFO):
        return "its priority is none"
    if not isinstance(created_ns, int) or not isinstance(ttl_s, int | None):
        return "its times are no numbers"

    def read() -> None:
        message = parse(FROM_BOX[channel], _bytes(body))
        if getattr(message, "id", None) != row_id:
            raise Refused("id: is not the row's")

    return _fault(read)


def _fault(read: Callable[[], object]) -> str:
    try:
        read()
    except Refused as refused:
        return str(refused)
    return ""


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise Refused("it is no text in bytes")
    return value


def _take(
    db: sqlite3.Connection,
    folder: Path,
    report: Report,
    table: str,
    key: str,
    row: tuple[Any, ...],
    fault: str,
) -> None:
    told = f"{table} {str(row[0])[:60]!r}: {fault}"
    if report.repair:
        plain = [base64.b64encode(v).decode() if isinstance(v, bytes) else v for v in row]
        kept = keep_aside(folder, f"outbox-{table}.json", json.dumps([table, fault, *plain]).encode())
        db.execute(f"DELETE FROM {table} WHERE {key} = ?", (row[0],))  # noqa: S608 - names of ours
        told += f"; kept as {kept} and taken out"
    report.fault(STORE, "row", told, repaired=report.repair)
