"""The outbox: all or nothing, bounded, and never at the cost of an alert."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.clock import ManualClock
from edge.errors import StoreError
from edge.store import outbox
from edge.store.outbox import ALARM, ALERT, INFO, RESULT, WARNING, Outbox, OutboxWriter, Row
from tests.box import turns, uid, until


def row(number: int, priority: int = ALERT, size: int = 10, **more: Any) -> Row:
    channel = {ALERT: "alert", RESULT: "result"}.get(priority, "event")
    return Row(uid(number), channel, priority, b"x" * size, 1000, **more)


def box(path: Path, rows: int = 100, size: int = 100_000) -> Outbox:
    return Outbox(path / "outbox.db", max_rows=rows, max_bytes=size)


def put(store: Outbox, *rows: Row) -> list[list[str]]:
    return store.commit([lambda box, r=r: box.put(r) for r in rows])  # type: ignore[misc]


def look(store: Outbox) -> list[Row]:
    return store.commit([Outbox.rows])[0]  # type: ignore[no-any-return]


def ids(rows: list[Row]) -> list[str]:
    return [r.id for r in rows]


def test_I2_what_was_committed_is_there_after_a_restart(tmp_path: Path) -> None:
    rows = [row(1), row(2, ALARM, ttl_s=60), row(3, RESULT)]
    put(box(tmp_path), *rows)
    assert look(box(tmp_path)) == [rows[0], rows[1], rows[2]]


def test_a_row_of_the_same_id_is_replaced(tmp_path: Path) -> None:
    store = box(tmp_path)
    put(store, row(1, size=5))
    put(store, row(1, size=7))
    assert look(store) == [row(1, size=7)]


def test_I9_the_order_is_by_importance_and_then_as_they_came_whatever_the_clock_said(tmp_path: Path) -> None:
    """Ids begin with the time of their making; a clock set back a day must not make new rows the oldest."""
    store = box(tmp_path)
    put(store, row(900, INFO), row(800), row(5, INFO), row(7), row(6, WARNING))
    assert ids(look(store)) == [uid(800), uid(7), uid(6), uid(900), uid(5)]
    assert ids(look(box(tmp_path))) == [uid(800), uid(7), uid(6), uid(900), uid(5)]


def test_I9_the_oldest_is_shed_by_when_it_came_and_not_by_its_id(tmp_path: Path) -> None:
    store = box(tmp_path, rows=2)
    assert put(store, row(900, INFO), row(5, INFO), row(6, INFO))[-1] == [uid(900)]


def test_a_batch_is_committed_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    store = box(tmp_path)
    put(store, row(1))

    def fail(_box: Outbox) -> NoReturn:
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(StoreError, match="I/O"):
        store.commit([lambda b: b.put(row(2)), lambda b: b.receive(uid(1)), fail])
    assert ids(look(store)) == [uid(1)]
    assert store.commit([Outbox.received]) == [[]]


def test_a_job_that_is_wrong_by_itself_leaves_no_half_transaction(tmp_path: Path) -> None:
    store = box(tmp_path)
    with pytest.raises(StoreError):
        store.commit([lambda b: b.put(row(1)), lambda b: b.put(row(2, ttl_s=2**70))])
    put(store, row(3))
    assert ids(look(store)) == [uid(3)]


# -- the quota --------------------

ROWS = st.tuples(st.integers(1, 30), st.sampled_from([ALERT, ALERT, ALARM, RESULT, WARNING, INFO]))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(ROWS, st.integers(0, 60), st.sampled_from(["put", "put", "put", "receive"]))))
def test_I6_I4_it_is_bounded_and_sheds_the_least_important_first_and_never_an_alert(
    tmp_path: Path, steps: list[tuple[tuple[int, int], int, str]]
) -> None:
    for old in tmp_path.iterdir():
        old.unlink()
    store = box(tmp_path, rows=8, size=200)
    held: dict[str, Row] = {}
    for (number, priority), size, what in steps:
        one = row(number + 100 * priority, priority, size)
        if what == "receive":
            store.commit([lambda b, i=one.id: b.receive(i)])  # type: ignore[misc]
            held.pop(one.id, None)
            continue
        shed = put(store, one)[0]
        held.pop(one.id, None)
        held[one.id] = one
        for gone in shed:
            lost = held.pop(gone)
            assert lost.priority != ALERT
            assert lost.priority >= max((r.priority for r in held.values()), default=ALERT)
        assert {r.id: r for r in look(store)} == held
        if any(r.priority != ALERT for r in held.values()):
            assert len(held) <= 8
            assert sum(len(r.body) for r in held.values()) <= 200
    # What was counted is what is there, also for one who comes later.
    sizes: dict[int, list[int]] = {}
    for r in held.values():
        pair = sizes.setdefault(r.priority, [0, 0])
        pair[0] += 1
        pair[1] += len(r.body)
    again = box(tmp_path)
    again.open()
    assert again._size == sizes
    store.close()
    again.close()


def test_I3_alerts_alone_go_over_the_quota(tmp_path: Path) -> None:
    store = box(tmp_path, rows=3)
    assert put(store, *(row(n) for n in range(1, 11))) == [[]] * 10
    assert put(store, row(50, ALARM)) == [[uid(50)]], "nothing else does"
    assert len(look(store)) == 10


# -- what is remembered --------------------


def test_I6_as_many_receipts_are_remembered_as_it_says_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "KEEP_RECEIVED", 5)
    store = box(tmp_path)
    put(store, *(row(n) for n in range(1, 13)))
    for number in (*range(1, 11), 9, 9):
        store.commit([lambda b, n=number: b.receive(uid(n))])  # type: ignore[misc]
    assert store.commit([Outbox.received])[0][-2:] == [uid(9), uid(10)]
    assert len(store.commit([Outbox.received])[0]) <= 5
    assert ids(look(store)) == [uid(11), uid(12)]


def test_a_command_is_new_once_over_restarts_and_its_result_is_kept(tmp_path: Path) -> None:
    store = box(tmp_path)
    assert store.commit([lambda b: b.begin_command("a")]) == [(True, None)]
    assert box(tmp_path).commit([lambda b: b.begin_command("a")]) == [(False, None)]
    store.commit([lambda b: b.finish_command("a", b"done")])
    assert box(tmp_path).commit([lambda b: b.begin_command("a")]) == [(False, b"done")]


def test_I6_so_many_commands_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "KEEP_COMMANDS", 5)
    store = box(tmp_path)
    for number in range(20):
        store.commit([lambda b, n=number: b.begin_command(str(n))])  # type: ignore[misc]
    assert store.commit([lambda b: b.begin_command("16")]) == [(False, None)]
    assert store.commit([lambda b: b.begin_command("2")]) == [(True, None)]


def test_the_number_of_the_session_grows_over_restarts(tmp_path: Path) -> None:
    numbers = []
    for at_least in (1, 1, 10, 1, 1):
        store = box(tmp_path)
        numbers += store.commit([lambda b, n=at_least: b.next_session(n)])  # type: ignore[misc]
        store.close()
    assert numbers == [1, 2, 10, 11, 12]


# -- damage and faults --------------------


def noise(path: Path) -> None:
    path.write_bytes(os.urandom(9000))


def zeros(path: Path) -> None:
    path.write_bytes(bytes(9000))


def bad_page(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[4096:8192] = os.urandom(4096)
    path.write_bytes(raw)


def other_version(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 77")


def no_tables(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE rows")


def bad_schema_text(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA writable_schema = 1")
        db.execute("UPDATE sqlite_master SET sql = CAST(x'ff80' AS TEXT) WHERE name = 'rows'")


@pytest.mark.parametrize("damage", [noise, zeros, bad_page, other_version, no_tables, bad_schema_text])
def test_a_damaged_database_is_put_aside_and_a_new_one_begins(tmp_path: Path, damage: Any) -> None:
    """A file that was no database at all once made every commit fail for ever."""
    store = box(tmp_path)
    put(store, *(row(n, size=500) for n in range(1, 40)))
    store.close()
    damage(tmp_path / "outbox.db")
    again = box(tmp_path)
    put(again, row(100))
    assert ids(look(again)) == [uid(100)]
    assert (tmp_path / "outbox.db.damaged").exists()
    again.close()


def test_damage_that_shows_only_in_use_is_put_aside_too(tmp_path: Path) -> None:
    store = box(tmp_path)
    put(store, row(1))

    def malformed(_box: Outbox) -> NoReturn:
        raise sqlite3.DatabaseError("database disk image is malformed")

    with pytest.raises(StoreError):
        store.commit([malformed])
    put(store, row(2))
    assert ids(look(store)) == [uid(2)]
    assert (tmp_path / "outbox.db.damaged").exists()


def test_a_disk_that_is_not_there_is_an_error_and_not_damage(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    store = Outbox(tmp_path / "data" / "outbox.db", max_rows=10, max_bytes=1000)
    for _ in range(2):
        with pytest.raises(StoreError, match="cannot be opened"):
            store.commit([Outbox.rows])
    (tmp_path / "data").unlink()
    put(store, row(1))
    assert ids(look(store)) == [uid(1)]


CRASHER = """
import pathlib, sys
from edge.store.outbox import ALERT, Outbox, Row

store = Outbox(pathlib.Path(sys.argv[1]), max_rows=10000, max_bytes=10**8)
for n in range(100000):
    rows = [Row(f"{n}-{part}", "alert", ALERT, b"x" * 300, n) for part in "ab"]
    store.commit([lambda box, r=r: box.put(r) for r in rows])
    print(n, flush=True)
"""


def test_I2_a_killed_process_loses_nothing_that_it_had_committed(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    child = subprocess.Popen([sys.executable, "-c", CRASHER, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    told = [child.stdout.readline() for _ in range(25)]
    os.kill(child.pid, signal.SIGKILL)
    told += child.stdout.readlines()
    child.wait()
    child.stdout.close()
    last = int([line for line in told if line.endswith("\n")][-1])
    found = ids(look(Outbox(path, max_rows=10, max_bytes=1000)))
    assert {f"{n}-{part}" for n in range(last + 1) for part in "ab"} <= set(found)
    assert len(found) % 2 == 0, "a batch is there as a whole or not at all"


def put_and_say(number: int, store: Outbox) -> int:
    store.put(row(number))
    return number


# -- the thread --------------------


class Listener:
    def __init__(self, store: Outbox) -> None:
        self.faults: list[str] = []
        self.answers: list[tuple[Any, StoreError | None]] = []
        self.writer = OutboxWriter(store, ManualClock(), self.faults.append)

    def submit(self, job: Any) -> None:
        self.writer.submit(job, lambda result, error: self.answers.append((result, error)))


@pytest.fixture
async def listener(tmp_path: Path) -> AsyncIterator[Listener]:
    made = Listener(box(tmp_path))
    yield made
    made.writer.close()


async def test_answers_come_in_order_on_the_loop(listener: Listener) -> None:
    for number in range(250):
        listener.submit(partial(put_and_say, number))
    listener.writer.start()
    await until(lambda: len(listener.answers) == 250)
    assert listener.answers == [(n, None) for n in range(250)]


async def test_a_fault_is_told_once_and_when_it_is_over_and_the_thread_goes_on(listener: Listener) -> None:
    listener.writer.start()

    def fail(_box: Outbox) -> NoReturn:
        raise sqlite3.OperationalError("disk is full")

    def wrong(_box: Outbox) -> NoReturn:
        raise ZeroDivisionError("ours")

    for job in (fail, fail, wrong):
        count = len(listener.answers)
        listener.submit(job)
        await until(lambda c=count: len(listener.answers) > c)  # type: ignore[misc]
    assert all(isinstance(error, StoreError) for _, error in listener.answers)
    listener.submit(partial(put_and_say, 1))
    await until(lambda: listener.answers[-1] == (1, None))
    assert len(listener.faults) == 3
    assert "full" in listener.faults[0]
    assert listener.faults[-1] == ""


async def test_close_commits_what_was_submitted(tmp_path: Path) -> None:
    listener = Listener(box(tmp_path))
    listener.writer.start()
    for number in range(30):
        listener.submit(lambda b, n=number: b.put(row(n)))
    listener.writer.close()
    assert len(look(box(tmp_path))) == 30
    await turns()


async def test_one_that_never_started_can_be_closed(tmp_path: Path) -> None:
    Listener(box(tmp_path)).writer.close()
    await asyncio.sleep(0)
