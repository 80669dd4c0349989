"""The desk's store: what was committed is there again, and nothing else is."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from edge.clock import ManualClock
from edge.desk.book import KEEP_CLOSED
from edge.desk.core import AnswerTest, Close, Coming, Core, Reopen, Seen
from edge.desk.people import Actor
from edge.desk.records import Outcome
from edge.desk.service import box_row
from edge.desk.store import MIGRATIONS, Store
from edge.errors import EdgeError, StoreError
from tests.desk.test_book import INPUTS
from tests.desk.wire import alert, birth, event, health, uid

NOW = ManualClock().read()
ASHA = Actor("Asha")
ACTS: dict[str, Any] = {
    "seen": Seen,
    "coming": Coming,
    "close": lambda i: Close(i, "prank"),
    "reopen": Reopen,
    "confirm": lambda i: AnswerTest(i, True),
    "deny": lambda i: AnswerTest(i, False),
}


def reopened(path: Path) -> Core:
    core, store = Core(90), Store(path)
    store.load_into(core, NOW)
    store.close()
    return core


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(INPUTS)
def test_I2_the_core_rebuilt_from_the_store_is_the_one_that_was_lost(
    tmp_path: Path, inputs: list[tuple[str, tuple[int, int, int], bool]]
) -> None:
    path = tmp_path / "desk.sqlite3"
    for old in tmp_path.iterdir():
        old.unlink()
    core, store = Core(90), Store(path)
    for what, (box, incident, press), flag in inputs:
        try:
            if what == "press":
                by = "Ravi" if flag else None
                message = alert(press, incident, f"box-{box}", test=flag, test_by=by, silent=press % 2 == 0)
                outcome = core.take(message, NOW)
            else:
                outcome = core.act(ASHA, ACTS[what](uid(incident)), NOW)
        except EdgeError:
            continue
        store.commit(outcome.rows)
    store.close()
    again = reopened(path)
    assert again.book.listed() == core.book.listed()
    for incident in core.book.listed():
        for press in incident.presses:
            assert again.book.find_press(press.press_id) is not None


def test_I2_a_press_is_stored_once_even_when_it_is_given_twice(tmp_path: Path) -> None:
    store = Store(tmp_path / "desk.sqlite3")
    rows = Core(90).take(alert(1), NOW).rows
    store.commit(rows)
    store.commit(rows)
    store.close()
    assert len(reopened(store.path).book.get(uid(1)).presses) == 1


def test_a_batch_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path / "desk.sqlite3")
    rows = Core(90).take(alert(1), NOW).rows
    broken = Core(90).take(alert(2, device="box-2"), NOW).rows
    object.__setattr__(broken[-1], "kind", None)
    with pytest.raises(StoreError, match="NOT NULL"):
        store.commit([*rows, *broken])
    assert store.incident(uid(1)) is None
    store.commit(rows)
    assert store.incident(uid(1)) is not None


def test_the_timeline_and_the_presses_can_be_added_to_and_never_changed(tmp_path: Path) -> None:
    store = Store(tmp_path / "desk.sqlite3")
    store.commit(Core(90).take(alert(1), NOW).rows)
    other = sqlite3.connect(store.path)
    for change in (
        "UPDATE timeline SET kind = 'x'",
        "DELETE FROM timeline",
        "UPDATE presses SET test = 1",
        "DELETE FROM presses",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="append only"):
            other.execute(change)


def test_boxes_and_events_come_back_and_an_event_is_not_taken_twice(tmp_path: Path) -> None:
    core, store = Core(90), Store(tmp_path / "desk.sqlite3")
    rows = Outcome()
    for message in (birth(3, session=4), health(), alert(1), event(5, incident=1)):
        rows.add(core.take(message, NOW))
    store.commit([*rows.rows, box_row(core, "box-1")])
    store.close()
    again = reopened(store.path)
    assert again.roster.get("box-1") == core.roster.get("box-1")
    assert again.take(event(5, incident=1), NOW).rows == []


def test_an_incident_of_long_ago_stays_in_the_store_and_out_of_memory(tmp_path: Path) -> None:
    core, store = Core(90), Store(tmp_path / "desk.sqlite3")
    for press in range(1, KEEP_CLOSED + 3):
        rows = core.take(alert(press, device=f"box-{press}"), NOW).rows
        rows += core.act(ASHA, Seen(uid(press)), NOW).rows
        store.commit(rows + core.act(ASHA, Close(uid(press), "false"), NOW).rows)
    again = reopened(store.path)
    assert len(again.book.listed()) == KEEP_CLOSED
    assert again.needs(alert(1)) == uid(1)
    assert again.needs(alert(KEEP_CLOSED)) is None
    old = store.incident(uid(1))
    assert old is not None
    assert old.disposition == "false"


def test_a_store_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "desk.sqlite3"
    Store(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(StoreError, match="newer program"):
        Store(path)


def test_a_file_that_is_no_store_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "desk.sqlite3"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(path)


def test_what_is_committed_is_synced_in_full(tmp_path: Path) -> None:
    store = Store(tmp_path / "desk.sqlite3")
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)


WRITER = """
import sys
from pathlib import Path
from edge.clock import ManualClock
from edge.desk.core import Core
from edge.desk.store import Store
from tests.desk.wire import alert
core, store = Core(90), Store(Path(sys.argv[1]))
for press in range(1, 100_000):
    store.commit(core.take(alert(press, device=f"box-{press}"), ManualClock().read()).rows)
    print(press, flush=True)
"""


def test_I2_what_was_said_to_be_committed_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "desk.sqlite3"
    said = 0
    for stop_after in (3, 17, 40):
        path.unlink(missing_ok=True)
        for tail in ("-wal", "-shm"):
            path.with_name(path.name + tail).unlink(missing_ok=True)
        root = str(Path(__file__).parents[2])
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": root},
            cwd=root,
        ) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                said = int(line)
                if said >= stop_after:
                    break
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().split()
            said = int(rest[-1]) if rest else said
        kept = {i.incident_id for i in reopened(path).book.listed()}
        assert {uid(n) for n in range(1, said + 1)} <= kept
        assert len(kept) <= said + 1
