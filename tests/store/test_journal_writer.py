"""The thread that writes the journal: every record is told as stored, and truly, whatever the disk does."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from edge.clock import ManualClock
from edge.store import journal_writer
from edge.store.files import RealFiles
from edge.store.journal import SLOTS_PER_SEGMENT, Journal, Kind, Record
from edge.store.journal_writer import JournalWriter
from edge.store.lossy import LossyFiles
from tests.box import turns, until
from tests.store.memory import MemoryFiles

DISK, RUN = Path("/disk/journal"), Path("/run/journal")
LONG_S = 30.0
"""A stall time that no test reaches."""


class Box:
    """One process after another on the same disk and the same memory."""

    def __init__(self) -> None:
        self.disk, self.memory = MemoryFiles(), MemoryFiles()
        self.clock = ManualClock()
        self.writers: list[JournalWriter] = []

    def process(self, stall_s: float = LONG_S, disk: Any = None) -> Process:
        files = disk or LossyFiles(under=self.disk)
        process = Process(self, files, stall_s)
        self.writers.append(process.writer)
        return process

    def on_disk(self) -> list[Record]:
        return Journal(DISK, self.disk, 2).open()

    def in_memory(self) -> list[Record]:
        return Journal(RUN, self.memory, 1).open()


class Process:
    def __init__(self, box: Box, files: Any, stall_s: float) -> None:
        self.files = files
        self.found: list[list[Record]] = []
        self.faults: list[str] = []
        self.stored: dict[int, list[tuple[bool, int]]] = {}
        self.journal = Journal(DISK, files, 2)
        self.writer = JournalWriter(
            self.journal,
            Journal(RUN, box.memory, 1),
            box.clock,
            stall_s=stall_s,
            on_ready=self.found.append,
            on_fault=self.faults.append,
        )

    def submit(self, payload: bytes = b"x", kind: Kind = Kind.PRESS) -> int:
        seq = self.writer.next_seq()
        self.stored[seq] = []
        self.writer.submit(kind, seq, payload, lambda *how: self.stored[seq].append(how))
        return seq

    def durable(self, seq: int) -> list[bool]:
        return [durable for durable, _ in self.stored[seq]]

    async def started(self) -> Process:
        self.writer.start()
        await until(lambda: self.found, "the journal's records")
        return self

    async def told(self, *seqs: int, times: int = 1) -> None:
        await until(lambda: all(len(self.stored[s]) >= times for s in seqs), f"{seqs} stored")


@pytest.fixture
async def box(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Box]:
    monkeypatch.setattr(journal_writer, "RETRY_S", 0.02)
    made = Box()
    yield made
    for writer in made.writers:
        files = writer._journal._files
        if isinstance(files, LossyFiles):
            files.stall_s = 0.0
        writer.close()


def numbers(records: Iterable[Record]) -> list[int]:
    return [r.seq for r in records]


async def test_I1_a_record_is_told_as_stored_when_the_disk_has_it_and_not_before(box: Box) -> None:
    process = await box.process().started()
    on_disk: list[list[int]] = []
    seq = process.writer.next_seq()
    process.writer.submit(Kind.PRESS, seq, b"x", lambda *_: on_disk.append(numbers(box.on_disk())))
    await until(lambda: on_disk)
    assert on_disk == [[seq]]


async def test_I2_records_keep_their_order_and_numbers_go_on_over_restarts(box: Box) -> None:
    process = await box.process().started()
    first = [process.submit(b"%d" % n) for n in range(20)]
    await process.told(*first)
    process.writer.close()
    again = await box.process().started()
    assert numbers(again.found[0]) == first
    assert again.writer.next_seq() > first[-1]


async def test_I1_a_disk_that_hangs_is_waited_for_so_long_and_then_memory_has_the_press(box: Box) -> None:
    process = await box.process(stall_s=0.05).started()
    process.files.stall_s = 600
    seq = process.submit(b"help")
    await process.told(seq)
    assert process.durable(seq) == [False]
    assert box.in_memory() == [Record(seq, Kind.PRESS, b"help")]
    process.files.stall_s = 0
    await process.told(seq, times=2)
    await turns()
    assert process.durable(seq) == [False, True], "told once more when it is durable, and only once"
    assert box.on_disk() == [Record(seq, Kind.PRESS, b"help")]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
async def test_I2_a_disk_that_refuses_costs_no_wait_and_no_press(box: Box, number: int) -> None:
    process = await box.process().started()
    process.files.fail_write = process.files.fail_sync = number
    seqs = [process.submit(b"%d" % n) for n in range(5)]
    await process.told(*seqs)
    assert all(process.durable(s) == [False] for s in seqs)
    assert numbers(box.in_memory()) == seqs
    assert os.strerror(number) in process.faults[-1]
    process.files.fail_write = process.files.fail_sync = None
    await process.told(*seqs, times=2)
    assert numbers(box.on_disk()) == seqs
    await until(lambda: process.faults[-1] == "", "the word that the disk works")
    assert sum(text != "" for text in process.faults) <= 2, "a fault is told when it comes, not at each try"


async def test_I2_what_only_memory_had_is_in_the_journal_after_a_restart_and_not_twice(box: Box) -> None:
    process = await box.process().started()
    before = process.submit(b"before")
    await process.told(before)
    process.files.fail_sync = errno.EIO
    during = [process.submit(b"during"), process.submit(b"more")]
    await process.told(*during)
    process.files.cut()
    for _ in range(2):
        again = await box.process().started()
        assert numbers(again.found[0]) == [before, *during]
        await until(lambda: numbers(box.on_disk()) == [before, *during])
        again.writer.close()


async def test_I2_a_stall_that_ends_after_the_process_did_gives_no_second_press(box: Box) -> None:
    """The record is in both journals then."""
    process = await box.process(stall_s=0.02).started()
    process.files.stall_s = 600
    seq = process.submit()
    await process.told(seq)
    process.files.stall_s = 0
    await process.told(seq, times=2)
    process.writer.close()
    assert numbers(box.in_memory()) == [seq]
    again = await box.process().started()
    assert numbers(again.found[0]) == [seq]


async def test_I2_presses_in_memory_are_not_overwritten_while_they_are_nowhere_else(box: Box) -> None:
    process = await box.process().started()
    process.files.fail_sync = errno.EIO
    seqs = [process.submit(b"%d" % n) for n in range(SLOTS_PER_SEGMENT + 20)]
    for n in range(SLOTS_PER_SEGMENT):
        process.submit(b"%d" % n, Kind.RELEASE)
    await process.told(*process.stored)
    assert set(seqs) <= set(numbers(box.in_memory()))
    # The uplink has some of them now: their place is free again.
    for seq in seqs[:30]:
        process.writer.settled(seq)
    more = [process.submit() for _ in range(30)]
    await process.told(*more)
    assert set(seqs[30:] + more) <= set(numbers(box.in_memory()))


async def test_I2_a_stalled_press_right_after_a_restart_does_not_overwrite_what_memory_had(box: Box) -> None:
    """The journal may take long to be read; memory is not written to before it was read itself."""
    process = await box.process().started()
    process.files.fail_sync = errno.EIO
    old = [process.submit(b"%d" % n) for n in range(3)]
    await process.told(*old)
    process.files.cut()
    again = box.process(stall_s=0.02)
    again.files.fail_sync = errno.EIO
    again.writer.start()
    seq = again.submit(b"new")
    await again.told(seq)
    assert numbers(box.in_memory()) == sorted([*old, seq])


class Unreadable(LossyFiles):
    """A disk that is not there yet."""

    absent = True

    def names(self, folder: Path) -> list[str]:
        if self.absent:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().names(folder)


async def test_I2_a_journal_that_cannot_be_read_is_not_written_over(box: Box) -> None:
    """It was once taken for an empty one: its unsettled presses were the first to be overwritten."""
    process = await box.process().started()
    old = [process.submit(b"%d" % n) for n in range(10)]
    await process.told(*old)
    process.writer.close()

    files = Unreadable(under=box.disk)
    late = box.process(disk=files)
    late.writer.start()
    new = [late.submit(b"new %d" % n) for n in range(5)]
    await late.told(*new)
    assert all(late.durable(s) == [False] for s in new)
    assert min(new) > max(old), "their order is right all the same"
    assert numbers(box.on_disk()) == old
    assert late.faults
    files.absent = False
    await late.told(*new, times=2)
    assert numbers(box.on_disk()) == old + new
    assert numbers(late.found[-1]) == old
    assert late.faults[-1] == ""
    assert late.writer.next_seq() > new[-1]


async def test_I2_a_journal_whose_disk_is_mounted_late_is_read_then_and_not_written_over(
    box: Box, tmp_path: Path
) -> None:
    before = Journal(tmp_path / "partition" / "journal", RealFiles(), 2)
    (tmp_path / "partition").mkdir()
    before.open()
    before.append(Kind.PRESS, 7, b"before")
    before.close()
    process = box.process()
    late = Journal(tmp_path / "callbox" / "journal", RealFiles(mounted=tmp_path / "callbox"), 2)
    process.journal = process.writer._journal = late
    process.writer.start()
    await until(lambda: process.faults, "the disk is missed")
    press = process.submit(b"now")
    await process.told(press)
    assert process.durable(press) == [False]
    (tmp_path / "partition").rename(tmp_path / "callbox")  # it is mounted
    await process.told(press, times=2)
    assert process.durable(press) == [False, True]
    assert [r.payload for r in process.found[-1]] == [b"before"]
    process.writer.close()
    assert [r.payload for r in late.open()] == [b"before", b"now"]


async def test_I2_presses_in_memory_do_not_wait_for_a_journal_that_cannot_be_read(box: Box) -> None:
    process = await box.process().started()
    kept = process.submit(b"kept")
    await process.told(kept)
    process.files.fail_sync = errno.EIO
    seq = process.submit(b"spare")
    await process.told(seq)
    process.files.cut()

    files = Unreadable(under=box.disk)
    late = await box.process(disk=files).started()
    assert numbers(late.found[0]) == [seq]
    files.absent = False
    await until(lambda: len(late.found) == 2)
    assert numbers(late.found[1]) == [kept, seq]
    await until(lambda: numbers(box.on_disk()) == [kept, seq])


async def test_I9_a_number_given_before_the_journal_was_read_is_above_all_it_has(box: Box) -> None:
    box.clock.jump_utc(-86400)
    early = box.process()
    seq = early.submit()
    await early.started()
    await early.told(seq)
    assert early.writer.next_seq() > seq
    box.clock.jump_utc(86400 * 2)
    early.writer.close()
    late = await box.process().started()
    assert late.writer.next_seq() > seq


async def test_a_loop_that_was_late_itself_does_not_call_the_disk_late(box: Box) -> None:
    process = await box.process(stall_s=0.01).started()
    seq = process.submit()
    # Holds the loop until the thread is done and the stall time is over.
    while process.journal.last_seq != seq:
        pass
    await turns(1)
    deadline = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.05, deadline.set_result, None)
    await deadline
    assert process.durable(seq) == [True]


async def test_I2_even_when_memory_refuses_too_the_press_is_told(box: Box) -> None:
    process = await box.process().started()
    process.files.fail_sync = errno.EIO

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    box.memory.create = full  # type: ignore[assignment,method-assign]
    seq = process.submit()
    await process.told(seq)
    assert process.durable(seq) == [False]


async def test_a_writer_that_never_started_can_be_closed(box: Box) -> None:
    box.process().writer.close()


async def test_a_record_that_is_expected_later_or_never_comes_holds_up_no_other(box: Box) -> None:
    process = await box.process().started()
    process.writer.expect(box.clock.mono_ns() + 3600 * 10**9)
    await process.told(process.submit())
    # This clock stands still, so the thread would look out for this one for ever.
    process.writer.expect(box.clock.mono_ns())
    await process.told(process.submit())
    process.writer.expect(box.clock.mono_ns())
    box.clock.advance(journal_writer.LATE_NS / 1e9 + 1)
    await process.told(process.submit())


async def test_I2_a_record_that_cannot_be_written_at_all_does_not_stop_the_next(box: Box) -> None:
    process = await box.process().started()
    good_append = process.journal.append

    def append(kind: Kind, seq: int, payload: bytes) -> None:
        if payload == b"bad":
            raise ValueError("no such record")
        good_append(kind, seq, payload)

    process.journal.append = append  # type: ignore[method-assign]
    bad, good = process.submit(b"bad"), process.submit()
    await process.told(bad, good)
    assert (process.durable(bad), process.durable(good)) == ([False], [True])
    assert [r.payload for r in box.in_memory()] == [b"bad"]


async def test_I1_a_journal_thread_that_ends_is_told_and_presses_go_out(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await box.process(stall_s=0.05).started()

    def fail(*_: Any) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(process.writer, "_take", fail)
    await process.told(process.submit())
    await until(lambda: process.faults, "a fault")
    assert "thread has ended" in process.faults[-1]
    press = process.submit()
    await process.told(press)
    assert process.durable(press) == [False]


def test_a_disk_that_hangs_does_not_keep_the_process_from_ending(tmp_path: Path) -> None:
    program = """
import asyncio, pathlib, sys
from edge.clock import SystemClock
from edge.store.files import RealFiles
from edge.store.journal import Journal, Kind
from edge.store.journal_writer import JournalWriter
from edge.store.files import RealFiles
from edge.store.lossy import LossyFiles

async def main():
    folder, files = pathlib.Path(sys.argv[1]), LossyFiles()
    stored, ready = asyncio.Event(), asyncio.Event()
    writer = JournalWriter(
        Journal(folder / "a", files, 2), Journal(folder / "b", RealFiles(), 1), SystemClock(),
        stall_s=0.05, on_ready=lambda r: ready.set(), on_fault=print)
    writer.start()
    await ready.wait()
    files.stall_s = 3600.0
    writer.submit(Kind.PRESS, writer.next_seq(), b"x", lambda d, n: stored.set())
    await stored.wait()
    writer.close()
    print("closed")

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "closed\n"), done.stderr
