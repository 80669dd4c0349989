"""`edge fsck`: every fault is found, mended without loss of evidence, and a live box is left alone."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.cli import main
from edge.clock import ManualClock
from edge.errors import StoreError
from edge.ids import uuid7
from edge.protocol.common import Place, Press, Stamp
from edge.protocol.inner import PressTold
from edge.protocol.wire import Alert, Result, dump
from edge.store import lock
from edge.store.files import RealFiles
from edge.store.findings import Report
from edge.store.fsck import fsck
from edge.store.journal import SEGMENT, SLOT, Journal, Kind, read
from edge.store.outbox import ALERT, RESULT, Outbox, Row

CLOCK = ManualClock()


def told(press_id: str, seq: int) -> PressTold:
    press = Press(
        press_id=press_id,
        incident_id=press_id,
        button="police",
        service="police",
        routing="112",
        at=Stamp.of(CLOCK.read(), seq),
    )
    return PressTold(press=press, durable=True, edge_ns=1, confirmed_ns=1, stored_ns=1)


def alert(press: PressTold) -> bytes:
    place = Place(lat=29, lon=76)
    return dump(
        Alert(
            id=press.press.press_id,
            device="box-1",
            name="Gate",
            place=place,
            press=press.press,
            durable=True,
            attempt=1,
        )
    )


class Box:
    """The data folder of a box with five presses: one received, three waiting, one not handed over."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.journal = data / "callbox" / "journal"
        self.outbox = data / "uplink" / "outbox.db"
        self.presses = [told(uuid7(CLOCK), seq) for seq in range(1, 6)]
        store = self.open_journal()
        for seq, press in enumerate(self.presses, 1):
            store.append(Kind.PRESS, seq, press.model_dump_json().encode())
        store.append(Kind.RELEASE, 6, b'{"button": "police"}')
        store.close()
        box = self.open_outbox()
        for press in self.presses[:4]:
            row = Row(press.press.press_id, "alert", ALERT, alert(press), CLOCK.utc_ns())
            box.commit([lambda o, r=row: o.put(r)])  # type: ignore[misc]
        box.commit([lambda o: o.receive(self.presses[0].press.press_id)])
        result = Result(
            id=uuid7(CLOCK), device="box-1", channel="cmd", status="done", at=Stamp.of(CLOCK.read(), 1)
        )
        box.commit([lambda o: o.put(Row(result.id, "result", RESULT, dump(result), 1, 60))])
        box.commit([lambda o: o.begin_command("c"), lambda o: o.finish_command("c", dump(result))])
        box.commit([lambda o: o.next_session(7)])
        box.close()

    def open_journal(self) -> Journal:
        store = Journal(self.journal, RealFiles(), 2)
        store.open()
        store.prepare()
        return store

    def open_outbox(self) -> Outbox:
        box = Outbox(self.outbox, max_rows=100, max_bytes=10**7)
        box.open()
        return box

    def sql(self, statement: str, *values: object) -> None:
        with sqlite3.connect(self.outbox) as db:
            db.execute(statement, values)
        db.close()

    def write(self, segment: str, at: int, data: bytes) -> None:
        with open(self.journal / segment, "r+b") as file:
            file.seek(at)
            file.write(data)

    def bytes(self) -> dict[str, bytes]:
        return {
            str(p.relative_to(self.data)): p.read_bytes() for p in sorted(self.data.rglob("*")) if p.is_file()
        }


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "data")


def codes(report: Report, severity: str = "fault") -> list[str]:
    return [f.code for f in report.findings if f.severity == severity]


# ------------------------------------------------------------------------------------------- a good box


def test_good_stores_are_clean_and_what_is_not_handed_over_is_told(box: Box) -> None:
    report = fsck(box.data)
    assert (report.status, codes(report)) == (0, [])
    assert report.counts == {
        "segments": 2,
        "records": 6,
        "presses": 5,
        "waiting": 4,
        "received": 1,
        "not_handed_over": 1,
    }
    assert box.presses[4].press.press_id in next(
        f.text for f in report.findings if f.code == "not_handed_over"
    )


def test_a_check_changes_nothing_not_even_a_time(box: Box) -> None:
    def times() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in box.data.rglob("*")}

    before, stamps = box.bytes(), times()
    fsck(box.data)
    assert (box.bytes(), times()) == (before, stamps)


def test_a_box_that_has_stored_nothing_yet_is_clean(tmp_path: Path) -> None:
    assert fsck(tmp_path).status == 0
    assert fsck(tmp_path, repair=True).status == 0


def test_a_live_box_is_checked_and_not_repaired(box: Box) -> None:
    journal, outbox = box.open_journal(), box.open_outbox()
    report = fsck(box.data)
    assert report.status == 0
    assert report.counts["waiting"] == 4
    with pytest.raises(StoreError, match="is running"):
        fsck(box.data, repair=True)
    outbox.commit([lambda o: o.next_session(1)])
    journal.append(Kind.PRESS, 9, box.presses[0].model_dump_json().encode())
    outbox.close()
    with pytest.raises(StoreError, match="callbox is running"):
        fsck(box.data, repair=True)
    journal.close()
    assert fsck(box.data, repair=True).status == 0


def test_rows_that_are_only_in_the_write_ahead_log_are_seen_after_a_crash(box: Box) -> None:
    outbox = box.open_outbox()
    row = Row(box.presses[4].press.press_id, "alert", ALERT, alert(box.presses[4]), 1)
    outbox.commit([lambda o: o.put(row)])
    crashed = box.data.parent / "crashed"
    (crashed / "uplink").mkdir(parents=True)
    for name in ("outbox.db", "outbox.db-wal"):
        (crashed / "uplink" / name).write_bytes((box.data / "uplink" / name).read_bytes())
    outbox.close()
    report = fsck(crashed)
    assert (report.status, report.counts["waiting"]) == (0, 5)
    assert sorted(p.name for p in (crashed / "uplink").iterdir()) == ["outbox.db", "outbox.db-wal"]


def test_a_process_arms_though_a_repair_holds_its_lock(box: Box) -> None:
    with lock.alone(box.data / "callbox"), lock.alone(box.data / "uplink"):
        journal, outbox = box.open_journal(), box.open_outbox()
        journal.append(Kind.PRESS, 9, b"{}")
        outbox.commit([lambda o: o.next_session(1)])
        journal.close()
        outbox.close()


def test_a_lock_that_cannot_be_had_stops_no_process(box: Box) -> None:
    for process in ("callbox", "uplink"):
        (box.data / process / lock.NAME).unlink()
        (box.data / process / lock.NAME).mkdir()
    journal, outbox = box.open_journal(), box.open_outbox()
    journal.append(Kind.PRESS, 9, b"{}")
    journal.close()
    outbox.close()
    with pytest.raises(StoreError, match="cannot be locked"):
        fsck(box.data, repair=True)


# ------------------------------------------------------------------------------------------- the faults


def torn_slot(box: Box) -> None:
    box.write("press-000.seg", 2 * SLOT + 100, b"\xff" * 50)


def noise_in_a_free_slot(box: Box) -> None:
    box.write("press-001.seg", 5 * SLOT, b"noise")


def short_segment(box: Box) -> None:
    os.truncate(box.journal / "press-001.seg", SEGMENT // 2 + 17)


def missing_segment(box: Box) -> None:
    (box.journal / "press-000.seg").rename(box.journal / "press-002.seg")


def unparsable_row(box: Box) -> None:
    box.sql(
        "UPDATE rows SET body = ? WHERE id = ?", b'{"schema": "edge/alert/1"}', box.presses[2].press.press_id
    )


def row_under_another_id(box: Box) -> None:
    box.sql("UPDATE rows SET id = 'x' WHERE id = ?", box.presses[2].press.press_id)


def row_of_no_channel(box: Box) -> None:
    box.sql("UPDATE rows SET channel = 'cmd' WHERE channel = 'result'")


def row_that_is_no_bytes(box: Box) -> None:
    box.sql("UPDATE rows SET body = 5 WHERE channel = 'result'")


def row_of_no_priority(box: Box) -> None:
    box.sql("UPDATE rows SET priority = 9 WHERE channel = 'result'")


def row_of_no_time(box: Box) -> None:
    box.sql("UPDATE rows SET ttl_s = 'soon' WHERE channel = 'result'")


def waiting_and_received(box: Box) -> None:
    box.sql("INSERT INTO received (id) VALUES (?)", box.presses[2].press.press_id)


def unparsable_result(box: Box) -> None:
    box.sql("UPDATE commands SET result = ?", b"\x00")


def session_that_is_no_number(box: Box) -> None:
    box.sql("UPDATE meta SET value = 'many'")


def database_of_noise(box: Box) -> None:
    box.outbox.write_bytes(os.urandom(9000))


def database_with_a_bad_page(box: Box) -> None:
    raw = bytearray(box.outbox.read_bytes())
    raw[4096:8192] = os.urandom(4096)
    box.outbox.write_bytes(raw)


def database_of_another_version(box: Box) -> None:
    box.sql("PRAGMA user_version = 9")


def database_that_is_empty(box: Box) -> None:
    box.outbox.write_bytes(b"")


FAULTS: dict[Callable[[Box], None], str] = {
    torn_slot: "slot",
    noise_in_a_free_slot: "slot",
    short_segment: "size",
    missing_segment: "missing",
    unparsable_row: "row",
    row_under_another_id: "row",
    row_of_no_channel: "row",
    row_that_is_no_bytes: "row",
    row_of_no_priority: "row",
    row_of_no_time: "row",
    waiting_and_received: "row",
    unparsable_result: "row",
    session_that_is_no_number: "row",
    database_of_noise: "database",
    database_with_a_bad_page: "database",
    database_of_another_version: "database",
    database_that_is_empty: "database",
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda f: f.__name__)
def test_a_fault_is_found_mended_and_gone_and_the_processes_start_on_it(
    box: Box, spoil: Callable[[Box], None]
) -> None:
    spoil(box)
    before = box.bytes()
    found = fsck(box.data)
    assert set(codes(found)) == {FAULTS[spoil]}
    assert found.status == 1
    assert box.bytes() == before
    mended = fsck(box.data, repair=True)
    assert (set(codes(mended)), mended.status) == ({FAULTS[spoil]}, 0)
    after = fsck(box.data)
    assert (codes(after), after.status) == ([], 0)
    records, damaged = read(box.journal, RealFiles())
    assert damaged == 0
    assert len(records) >= 5
    journal, outbox = box.open_journal(), box.open_outbox()
    journal.append(Kind.PRESS, 99, b"{}")
    assert len(outbox.commit([lambda o: o.rows()])) == 1
    journal.close()
    outbox.close()


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda f: f.__name__)
def test_a_repair_destroys_no_evidence(box: Box, spoil: Callable[[Box], None]) -> None:
    spoil(box)
    taken = None
    if FAULTS[spoil] == "slot":
        name = "press-000.seg" if spoil is torn_slot else "press-001.seg"
        at = 2 * SLOT if spoil is torn_slot else 5 * SLOT
        taken = (box.journal / name).read_bytes()[at : at + SLOT]
    elif FAULTS[spoil] == "database":
        taken = box.outbox.read_bytes()
    fsck(box.data, repair=True)
    aside = [p.read_bytes() for p in box.data.rglob("aside/*")]
    if taken is not None:
        assert taken in aside
    elif FAULTS[spoil] == "row":
        assert len(aside) == 1
        assert json.loads(aside[0])[0] in ("rows", "commands", "meta")
    infos = codes(fsck(box.data), "info")
    assert ("aside" in infos) == bool(aside)


def test_evidence_of_two_repairs_is_kept_apart(box: Box) -> None:
    for text in (b"first", b"second"):
        box.write("press-000.seg", 2 * SLOT, text.ljust(SLOT, b"\xee"))
        assert fsck(box.data, repair=True).status == 0
    kept = sorted(p.read_bytes()[:6] for p in (box.journal / "aside").iterdir())
    assert kept == [b"first\xee", b"second"]


def test_a_slot_is_not_cleared_when_its_copy_cannot_be_kept(box: Box) -> None:
    torn_slot(box)
    (box.journal / "aside").write_text("a file where the folder should be")
    before = (box.journal / "press-000.seg").read_bytes()
    report = fsck(box.data, repair=True)
    assert report.status != 0
    assert (box.journal / "press-000.seg").read_bytes() == before


def test_presses_of_a_damaged_outbox_are_known_from_the_journal_I2(box: Box) -> None:
    database_of_noise(box)
    report = fsck(box.data, repair=True)
    assert report.counts["not_handed_over"] == 5


def test_twice_and_gaps_and_words_of_a_newer_version_are_no_faults(box: Box) -> None:
    journal = box.open_journal()
    journal.append(Kind.PRESS, 6, box.presses[0].model_dump_json().encode())
    journal.append(Kind.CLOSE, 20, b"not json")
    journal.close()
    (box.journal / "press-001.new").write_bytes(b"draft")
    with open(box.journal / "press-001.seg", "ab") as file:
        file.write(b"more")
    report = fsck(box.data)
    assert report.status == 0
    assert {"twice", "gap", "content", "foreign", "size"} <= set(codes(report, "info"))


def test_what_cannot_be_read_is_told_and_the_rest_is_checked(box: Box) -> None:
    (box.journal / "press-001.seg").unlink()
    (box.journal / "press-001.seg").mkdir()
    report = fsck(box.data)
    assert report.status == 2
    assert codes(report, "unreadable") == ["unreadable"]
    assert report.counts["waiting"] == 4


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 8 * SLOT), st.binary(min_size=1, max_size=300)), max_size=4))
def test_any_damage_to_the_journal_is_found_as_the_reader_finds_it_and_mended(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, bytes]]
) -> None:
    box = Box(tmp_path_factory.mktemp("b"))
    for at, data in damage:
        box.write("press-000.seg", at, data)
    _, damaged = read(box.journal, RealFiles())
    assert codes(fsck(box.data)).count("slot") == damaged
    assert fsck(box.data, repair=True).status == 0
    assert codes(fsck(box.data)) == []


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 8 * 4096), st.binary(min_size=1, max_size=200)), min_size=1, max_size=4)
)
def test_any_damage_to_the_outbox_leaves_a_box_that_starts(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, bytes]]
) -> None:
    box = Box(tmp_path_factory.mktemp("b"))
    raw = bytearray(box.outbox.read_bytes())
    for at, data in damage:
        raw[at : at + len(data)] = data
    box.outbox.write_bytes(raw)
    assert fsck(box.data).status in (0, 1)
    assert fsck(box.data, repair=True).status == 0
    assert fsck(box.data).status == 0
    outbox = box.open_outbox()
    outbox.commit([lambda o: o.rows(), lambda o: o.received(), lambda o: o.next_session(1)])
    outbox.close()


# ------------------------------------------------------------------------------------------ the command


def test_the_command_says_it_in_lines_and_in_json(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    torn_slot(box)
    assert main(["fsck", str(box.data)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("journal: fault: ")
    assert lines[-1] == "faults are left: run it with --repair"
    assert main(["fsck", str(box.data), "--repair", "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["findings"][0]["repaired"] is True
    assert plain["status"] == 0
    assert main(["fsck", str(box.data)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "clean"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fsck", str(tmp_path / "absent")]) == 2
    assert "is no folder" in capsys.readouterr().err
