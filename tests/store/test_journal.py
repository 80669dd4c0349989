"""The press journal under every cut, tear and fault: what it said it has, it has."""

from __future__ import annotations

import errno
import struct
import zlib
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from edge.errors import StoreError
from edge.protocol.inner import PressTold
from edge.store import journal
from edge.store.files import RealFiles
from edge.store.journal import (
    MAX_PAYLOAD,
    SEGMENT,
    SLOT,
    SLOTS_PER_SEGMENT,
    Journal,
    Kind,
    Record,
    decode,
    encode,
    read,
)
from edge.store.lossy import LossyFiles
from tests.box import told
from tests.store.memory import MemoryFile, MemoryFiles

FOLDER = Path("/disk/journal")
FIRST = FOLDER / "press-000.seg"


def opened(files: Any, segments: int = 2, folder: Path = FOLDER) -> Journal:
    book = Journal(folder, files, segments)
    book.open()
    book.prepare()
    return book


def seqs(files: Any, folder: Path = FOLDER) -> list[int]:
    return [r.seq for r in Journal(folder, files, 2).open()]


def fill(book: Journal, first: int, count: int, *, pin: bool = False) -> None:
    for seq in range(first, first + count):
        if pin:
            book.pin(seq)
        book.append(Kind.PRESS, seq, b"%d" % seq)


# -- records --------------------


@given(st.sampled_from(list(Kind)), st.integers(0, 2**64 - 1), st.binary(max_size=MAX_PAYLOAD))
def test_a_record_is_read_as_it_was_written(kind: Kind, seq: int, payload: bytes) -> None:
    assert decode(encode(kind, seq, payload)) == Record(seq, kind, payload)


def test_a_record_that_does_not_fit_its_slot_is_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        encode(Kind.PRESS, 1, bytes(MAX_PAYLOAD + 1))


def test_the_longest_press_that_the_protocol_allows_fits_a_slot() -> None:
    name, text = "n" * 40, "\U0001d11e" * 200  # four bytes a character
    longest = told(
        2**48 - 1,
        button=name,
        service=name,
        routing="1" * 16,
        silent=True,
        test=True,
        test_by=text,
        held_at_start=True,
    )
    assert len(longest.model_dump_json(by_alias=True).encode()) < MAX_PAYLOAD
    quotes = PressTold.model_validate(
        longest.model_copy(update={"press": told(1, test_by='"\\' * 100).press})
    )
    assert len(quotes.model_dump_json(by_alias=True).encode()) < MAX_PAYLOAD


@given(st.integers(0, SLOT - 1), st.integers(1, 255), st.binary(max_size=200))
def test_one_garbled_byte_gives_no_record_or_the_same(at: int, flip: int, payload: bytes) -> None:
    data = bytearray(encode(Kind.PRESS, 7, payload))
    data[at] ^= flip
    assert decode(bytes(data)) in (None, Record(7, Kind.PRESS, payload))


@given(st.binary(max_size=SLOT))
def test_noise_is_no_record(noise: bytes) -> None:
    assert decode(noise) is None
    assert decode(b"EJ01" + noise) is None


def test_a_record_of_a_kind_of_a_later_version_is_passed_over() -> None:
    rest = struct.pack("<QHB5x", 1, 0, 200)
    assert decode(b"EJ01" + struct.pack("<I", zlib.crc32(rest)) + rest) is None


# -- damage --------------------


@settings(max_examples=60)
@given(st.integers(0, 12 * SLOT), st.lists(st.integers(0, 900), min_size=1, max_size=10))
def test_I2_a_journal_cut_short_at_any_byte_keeps_every_record_that_is_left_whole(
    cut: int, lengths: list[int]
) -> None:
    files = MemoryFiles()
    book = opened(files)
    for seq, length in enumerate(lengths, 1):
        book.append(Kind.PRESS, seq, bytes(length))
    book.close()
    del files.disk[FIRST][cut:]
    whole = [s for s, length in enumerate(lengths, 1) if (s - 1) * SLOT + 24 + length <= cut]
    again = Journal(FOLDER, files, 2)
    assert [r.seq for r in again.open()] == whole
    # and it goes on: what was cut off is made up for.
    again.append(Kind.PRESS, 1000, b"new")
    assert seqs(files)[-1] == 1000
    assert set(whole) <= set(seqs(files))


@settings(max_examples=60)
@given(st.integers(0, 9), st.lists(st.tuples(st.integers(0, SLOT - 1), st.binary(min_size=1, max_size=99))))
def test_I2_a_slot_garbled_in_any_way_hurts_no_other(slot: int, noise: list[tuple[int, bytes]]) -> None:
    files = MemoryFiles()
    fill(opened(files), 1, 10)
    for at, data in noise:
        start = slot * SLOT + at
        data = data[: SLOT - at]
        files.disk[FIRST][start : start + len(data)] = data
    found = Journal(FOLDER, files, 2).open()
    assert [r for r in found if r.seq != slot + 1] == [
        Record(s, Kind.PRESS, b"%d" % s) for s in range(1, 11) if s != slot + 1
    ]
    assert [r for r in found if r.seq == slot + 1] in ([], [Record(slot + 1, Kind.PRESS, b"%d" % (slot + 1))])


def test_I2_a_page_that_cannot_be_read_hurts_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    files = MemoryFiles()
    fill(opened(files), 1, 5)
    good = MemoryFile.read

    def bad_page(self: MemoryFile, offset: int, length: int) -> bytes:
        if offset == 2 * SLOT:
            raise OSError(errno.EIO, "bad page")
        return good(self, offset, length)

    monkeypatch.setattr(MemoryFile, "read", bad_page)
    book = Journal(FOLDER, files, 2)
    assert [r.seq for r in book.open()] == [1, 2, 4, 5]
    assert book.damaged >= 1


def test_a_journal_of_which_nothing_can_be_read_is_no_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    files = MemoryFiles()
    fill(opened(files), 1, 5)

    def bad(_self: MemoryFile, _offset: int, _length: int) -> NoReturn:
        raise OSError(errno.EIO, "bad disk")

    monkeypatch.setattr(MemoryFile, "read", bad)
    with pytest.raises(StoreError, match="cannot be read"):
        Journal(FOLDER, files, 2).open()


def test_I2_a_file_that_is_not_the_journals_own_hurts_nothing() -> None:
    """One `press-000 copy.seg` once made the whole journal unreadable, and its slots were used anew."""
    files = MemoryFiles()
    fill(opened(files), 1, 5)
    for name in ("press-000 copy.seg", "other.seg", "press-000.new", "press-999.seg"):
        files.disk[FOLDER / name] = bytearray(encode(Kind.PRESS, 77, b"foreign"))
    book = opened(files)
    assert seqs(files) == [1, 2, 3, 4, 5]
    book.append(Kind.PRESS, 6, b"")
    assert seqs(files) == [1, 2, 3, 4, 5, 6]
    assert len(files.disk) == 2 + 4, "no segments are made for what is foreign"


@pytest.mark.parametrize("size", [0, 1, SLOT - 1, SLOT * 3 + 5, SEGMENT + 9000])
def test_a_segment_of_a_foreign_size_is_used_as_far_as_it_goes(size: int) -> None:
    files = MemoryFiles()
    book = opened(files)
    fill(book, 1, 3)
    files.disk[FIRST] = (files.disk[FIRST] + bytearray(9000))[:size]
    left = [s for s in (1, 2, 3) if s * SLOT <= size or (s - 1) * SLOT + 25 <= size]
    assert seqs(files) == left
    fill(opened(files), 10, 2 * SLOTS_PER_SEGMENT - len(left))
    assert seqs(files) == [*left, *range(10, 10 + 2 * SLOTS_PER_SEGMENT - len(left))]


# -- order and rotation --------------------


def test_records_come_in_the_order_of_their_numbers_after_any_number_of_rounds() -> None:
    files = MemoryFiles()
    fill(opened(files), 1, 300)
    assert seqs(files) == list(range(300 - 2 * SLOTS_PER_SEGMENT + 1, 301))


def test_it_goes_on_after_the_newest_record_and_not_over_it() -> None:
    files = MemoryFiles()
    fill(opened(files), 1, 130)
    fill(opened(files), 131, 1)
    assert seqs(files) == list(range(4, 132))


def test_I2_a_record_written_a_moment_after_a_later_number_is_not_the_next_to_go() -> None:
    files = MemoryFiles()
    book = opened(files)
    for seq in (*range(1, 100), 101, 102, 100):
        book.append(Kind.PRESS, seq, b"")
    again = opened(files)
    again.append(Kind.PRESS, 103, b"")
    assert seqs(files) == list(range(1, 104))


def test_a_number_that_comes_twice_or_late_hurts_nothing() -> None:
    files = MemoryFiles()
    book = opened(files)
    for seq in (5, 5, 3, 2**53):
        book.append(Kind.PRESS, seq, b"")
    assert seqs(files) == [3, 5, 5, 2**53]
    book.append(Kind.PRESS, 2**53 + 1, b"")
    assert seqs(files)[-1] == 2**53 + 1


def test_I2_rotation_never_overwrites_a_press_that_no_other_store_has() -> None:
    files = MemoryFiles()
    book = opened(files)
    for seq in range(1, 1001):
        if seq % 10 == 0:
            book.pin(seq)
        book.append(Kind.PRESS, seq, b"")
        if seq % 50 == 0:
            book.unpin(seq)
    assert {s for s in range(10, 1001, 10) if s % 50} <= set(seqs(files))


def test_I6_a_ring_full_of_such_presses_grows_and_then_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MAX_SEGMENTS", 4)
    files = MemoryFiles()
    book = opened(files)
    total = 4 * SLOTS_PER_SEGMENT
    fill(book, 1, total, pin=True)
    assert len(files.disk) == 4
    with pytest.raises(StoreError, match="full"):
        book.append(Kind.PRESS, total + 1, b"")
    assert seqs(files) == list(range(1, total + 1))
    book.unpin(7)
    book.append(Kind.PRESS, total + 1, b"")
    assert set(seqs(files)) == {*range(1, total + 2)} - {7}


def test_I2_growing_never_takes_the_place_of_an_old_segment() -> None:
    """With a segment missing between others, the count of files is not the next free number."""
    files = MemoryFiles()
    book = opened(files, 2)
    fill(book, 1, 3 * SLOTS_PER_SEGMENT + 5, pin=True)
    assert len(files.disk) == 4
    del files.disk[FOLDER / "press-001.seg"]
    again = opened(files, 2)
    left = seqs(files)
    for seq in left:
        again.pin(seq)
    fill(again, 1000, 3 * SLOTS_PER_SEGMENT, pin=True)
    assert set(left) <= set(seqs(files))
    assert len(seqs(files)) == len(left) + 3 * SLOTS_PER_SEGMENT


def test_fewer_segments_in_the_configuration_lose_nothing() -> None:
    files = MemoryFiles()
    fill(opened(files, 4), 1, 4 * SLOTS_PER_SEGMENT)
    book = opened(files, 2)
    assert len(seqs(files)) == 4 * SLOTS_PER_SEGMENT
    book.append(Kind.PRESS, 9999, b"")
    assert seqs(files)[-1] == 9999


# -- faults --------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_I2_an_append_that_could_not_be_written_raises_and_the_next_succeeds(number: int) -> None:
    files = LossyFiles(under=MemoryFiles())
    book = opened(files)
    fill(book, 1, 3)
    files.fail_write = number
    with pytest.raises(StoreError):
        book.append(Kind.PRESS, 4, b"")
    files.fail_write = None
    book.append(Kind.PRESS, 4, b"")
    files.cut()
    assert seqs(files._under) == [1, 2, 3, 4]


def test_I2_after_a_failed_sync_the_file_is_opened_and_written_anew() -> None:
    """The kernel may have dropped the page and call the next sync a success."""
    under = MemoryFiles()
    files = LossyFiles(under=under)
    book = opened(files)
    before = len(under.opened)
    files.fail_sync = errno.EIO
    with pytest.raises(StoreError):
        book.append(Kind.PRESS, 1, b"")
    assert under.open_count() == 0
    files.fail_sync = None
    book.append(Kind.PRESS, 1, b"")
    assert len(under.opened) > before
    files.cut()
    assert seqs(under) == [1]


def test_a_full_disk_does_not_stop_a_journal_that_is_there(tmp_path: Path) -> None:
    """Only making a segment needs room."""
    under = MemoryFiles()
    fill(opened(under), 1, 1)
    files = LossyFiles(under=under)

    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "full")

    files.create = full  # type: ignore[assignment,method-assign]
    book = opened(files)
    fill(book, 2, 200)
    assert seqs(under)[-1] == 201
    with pytest.raises(StoreError, match="cannot be written"):
        opened(files, 3)


def test_a_journal_that_cannot_be_mended_leaves_no_files_open() -> None:
    """It is tried every second for as long as the disk is bad."""
    under = MemoryFiles()
    opened(under).close()
    del under.disk[FIRST][5000:]
    files = LossyFiles(under=under)
    files.fail_write = errno.ENOSPC
    for _ in range(50):
        with pytest.raises(StoreError):
            Journal(FOLDER, files, 2).prepare()
    assert under.open_count() == 0


def test_reading_leaves_no_files_open_and_changes_nothing() -> None:
    files = MemoryFiles()
    book = opened(files)
    fill(book, 1, 3)
    book.close()
    before = {path: bytes(data) for path, data in files.disk.items()}
    read(FOLDER, files)
    assert files.disk == before
    assert files.open_count() == 0


def test_the_whole_of_it_on_the_real_file_system(tmp_path: Path) -> None:
    book = opened(RealFiles(), folder=tmp_path / "journal")
    fill(book, 1, 130, pin=True)
    book.close()
    assert seqs(RealFiles(), tmp_path / "journal") == list(range(1, 131))
    assert sorted(p.name for p in (tmp_path / "journal").iterdir()) == [
        "press-000.seg",
        "press-001.seg",
        "press-002.seg",
    ]


# -- everything at once, against a model --------------------

SLOTS = 4
"""A segment of the machine below: small, so that the ring comes round often."""


class CutInSync(LossyFiles):
    """Its power can go while a sync is under way."""

    cut_in_sync = False

    def before_sync(self, *_: Any) -> None:
        super().before_sync()
        if self.cut_in_sync:
            self.cut()


class JournalMachine(RuleBasedStateMachine):
    """Appends, settles, faults, restarts and power cuts; after each restart what was accepted is there."""

    honest = True

    def __init__(self) -> None:
        super().__init__()
        self.patched = pytest.MonkeyPatch()
        self.patched.setattr(journal, "SLOTS_PER_SEGMENT", SLOTS)
        self.patched.setattr(journal, "SEGMENT", SLOTS * SLOT)
        self.patched.setattr(journal, "MAX_SEGMENTS", 8)
        self.under = MemoryFiles()
        self.seq = 0
        self.unsettled: dict[int, bytes] = {}
        """Presses whose append returned and that nobody else has."""
        self.last: tuple[int, bytes] | None = None
        self.tried: set[tuple[int, bytes]] = set()
        self.cuts = 0
        self.start()

    def teardown(self) -> None:
        try:
            self.restart()
        finally:
            self.patched.undo()

    def start(self) -> None:
        self.files = CutInSync(self.cuts, self.under)
        self.files.honest = self.honest
        self.book = Journal(FOLDER, self.files, 2)
        found = {(r.seq, r.payload) for r in self.book.open()}
        for seq, payload in self.unsettled.items():
            assert (seq, payload) in found, "an accepted press is lost"
        if self.last is not None:
            assert self.last in found, "the last record is lost"
        assert found <= self.tried, "a record that nobody wrote"
        assert len(found) == len({seq for seq, _ in found}), "a record is there twice"
        for seq in self.unsettled:
            self.book.pin(seq)

    @rule(payload=st.binary(max_size=2000), press=st.booleans())
    def append(self, payload: bytes, press: bool) -> None:
        self.seq += 1
        if press:
            self.book.pin(self.seq)
        self.tried.add((self.seq, payload))
        try:
            self.book.append(Kind.PRESS if press else Kind.RELEASE, self.seq, payload)
        except StoreError:
            self.book.unpin(self.seq)
            # It may be on the disk all the same, and then the ring has gone on.
            self.last = None
            return
        self.last = (self.seq, payload)
        if press:
            self.unsettled[self.seq] = payload

    @precondition(lambda self: self.unsettled)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        seq = data.draw(st.sampled_from(sorted(self.unsettled)))
        self.book.unpin(seq)
        del self.unsettled[seq]

    @rule(
        write=st.sampled_from([None, None, errno.ENOSPC, errno.EROFS, errno.EIO]),
        sync=st.sampled_from([None, None, errno.EIO]),
        leak=st.sampled_from([0.0, 0.3, 1.0]),
    )
    def fault(self, write: int | None, sync: int | None, leak: float) -> None:
        self.files.fail_write, self.files.fail_sync, self.files.leak = write, sync, leak

    @rule(payload=st.binary(max_size=2000))
    def cut_while_it_is_written(self, payload: bytes) -> None:
        self.files.cut_in_sync = True
        self.append(payload, press=True)
        self.cut()

    @rule()
    def cut(self) -> None:
        self.files.cut()
        self.cuts += 1
        self.start()

    @rule()
    def restart(self) -> None:
        """The process ends and comes again; the machine goes on."""
        self.book.close()
        self.files.cut()
        self.start()

    @invariant()
    def it_is_bounded(self) -> None:
        assert len(self.under.disk) <= 8


MACHINE = settings(
    max_examples=60, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow], deadline=None
)


def test_I2_what_an_append_returned_for_survives_whatever_happens() -> None:
    run_state_machine_as_test(JournalMachine, settings=MACHINE)


def test_the_test_above_finds_a_disk_that_lies_about_its_syncs() -> None:
    class OnALyingDisk(JournalMachine):
        honest = False

    quick = settings(MACHINE, derandomize=True, database=None, report_multiple_bugs=False, print_blob=False)
    with pytest.raises(AssertionError, match="is lost"):
        run_state_machine_as_test(OnALyingDisk, settings=quick)
