"""The audit chain: what was changed, taken out, put in, cut off or written anew is found."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import ManualClock
from edge.desk import audit
from edge.desk.records import timeline
from edge.desk.store import MIGRATIONS, Store
from edge.errors import StoreError

NOW = ManualClock().read()


def chain(length: int) -> list[tuple[object, ...]]:
    rows, before = [], audit.BEGIN
    for number in range(1, length + 1):
        row = (
            number,
            "seen",
            f"i{number}",
            None,
            "आशा",
            '{"a": 1}',
            "2026-11-22T00:00:00.000Z",
            5,
            "b",
            "t",
            None,
        )
        before = audit.link(before, row)
        rows.append((*row, before))
    return rows


def test_a_whole_chain_has_the_head_of_its_last_row() -> None:
    rows = chain(5)
    assert audit.verify(rows) == audit.Head(5, str(rows[-1][-1]))
    assert audit.verify([]) == audit.EMPTY


@given(st.integers(0, 9), st.integers(1, 10), st.sampled_from(["x", None, 7]))
def test_any_value_that_was_changed_is_found(row: int, column: int, value: object) -> None:
    rows = chain(10)
    if rows[row][column] == value:
        return
    rows[row] = (*rows[row][:column], value, *rows[row][column + 1 :])
    with pytest.raises(StoreError, match=rf"row {row + 1} was changed"):
        audit.verify(rows)


@given(st.integers(0, 8))
def test_a_row_that_was_taken_out_is_found(row: int) -> None:
    rows = chain(10)
    del rows[row]
    with pytest.raises(StoreError, match=rf"rows {row + 1} to {row + 1} are missing"):
        audit.verify(rows)


def test_two_rows_that_changed_places_are_found() -> None:
    rows = chain(4)
    rows[1], rows[2] = (2, *rows[2][1:]), (3, *rows[1][1:])
    with pytest.raises(StoreError, match="row 2 was changed"):
        audit.verify(rows)


def test_a_chain_that_was_cut_off_or_written_anew_does_not_hold_the_head_that_was_kept() -> None:
    kept = audit.Head.parse(f"5:{chain(5)[-1][-1]}")
    assert audit.verify(chain(9), kept).number == 9
    with pytest.raises(StoreError, match="it ends at row 4, but row 5 was there once"):
        audit.verify(chain(4), kept)
    other = [(*row[:2], "another", *row[3:-1]) for row in chain(6)]
    anew, before = [], audit.BEGIN
    for row in other:
        before = audit.link(before, row)
        anew.append((*row, before))
    assert audit.verify(anew).number == 6
    with pytest.raises(StoreError, match="all was written anew"):
        audit.verify(anew, kept)


@pytest.mark.parametrize("text", ["", "5", "5:abc", "x:" + "0" * 64, "5:" + "0" * 63 + "G"])
def test_what_is_no_head_says_how_one_looks(text: str) -> None:
    with pytest.raises(ValueError, match="NUMBER:HASH"):
        audit.Head.parse(text)


def test_what_the_store_writes_is_a_chain_and_stays_one_over_a_restart(tmp_path: Path) -> None:
    for _ in range(3):
        store = Store(tmp_path / "desk.sqlite3")
        store.commit([timeline(NOW, "seen", by="Asha", text="नमस्ते"), timeline(NOW, "coming", by="Asha")])
        store.close()
    store = Store(tmp_path / "desk.sqlite3", read_only=True)
    assert store.verify() == store.head()
    assert store.head().number == 6


def test_a_store_that_was_changed_behind_the_desks_back_is_found(tmp_path: Path) -> None:
    store = Store(tmp_path / "desk.sqlite3")
    store.commit([timeline(NOW, "closed", by="Asha", disposition="prank") for _ in range(3)])
    behind = sqlite3.connect(tmp_path / "desk.sqlite3")
    with pytest.raises(sqlite3.DatabaseError, match="append only"):
        behind.execute("UPDATE timeline SET by = 'Ravi' WHERE seq = 2")
    behind.execute("DROP TRIGGER timeline_kept")
    behind.execute("UPDATE timeline SET by = 'Ravi' WHERE seq = 2")
    behind.commit()
    with pytest.raises(StoreError, match="row 2 was changed"):
        store.verify()


def test_the_rows_of_a_store_from_before_the_chain_are_taken_into_it(tmp_path: Path) -> None:
    path = tmp_path / "desk.sqlite3"
    old = sqlite3.connect(path)
    first = MIGRATIONS[0]
    assert isinstance(first, str)
    old.executescript(first)
    for number in (1, 2, 4):  # a number was passed over, as AUTOINCREMENT may
        old.execute(
            "INSERT INTO timeline VALUES (?, 'seen', 'i', 'd', 'Asha', '{}', 'u', 5, 'b', 't', NULL)",
            (number,),
        )
    old.execute("PRAGMA user_version = 1")
    old.commit()
    old.close()
    store = Store(path)
    assert store.verify().number == 3
    store.commit([timeline(NOW, "coming", by="Asha")])
    assert store.verify().number == 4


def test_a_backup_is_whole_and_is_never_written_over(tmp_path: Path) -> None:
    store = Store(tmp_path / "desk.sqlite3")
    store.commit([timeline(NOW, "seen", by="Asha")])
    target = tmp_path / "copy.sqlite3"
    assert store.backup(target) == store.head()
    assert target.stat().st_mode & 0o077 == 0
    copy = Store(target, read_only=True)
    assert copy.verify() == store.head()
    with pytest.raises(StoreError, match="is there already"):
        store.backup(target)
    with pytest.raises(StoreError, match="backup"):
        store.backup(tmp_path / "nowhere" / "copy.sqlite3")
    assert sorted(p.name for p in tmp_path.iterdir() if "copy" in p.name) == ["copy.sqlite3"]
