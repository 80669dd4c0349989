"""The thread that writes the press journal, and what happens when its disk is slow, full or gone.

A record is handed over from the loop and told back as stored: durable when the journal has it, not durable
when the disk refused it or did not answer within the time a press may wait; then the fallback journal in
memory (`/run/edge`) has it (I1, I2). What only the fallback has is written to the journal as soon as that
works again, and told as stored once more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import select
import threading
from collections.abc import Callable
from dataclasses import dataclass

from edge.clock import Clock
from edge.errors import StoreError
from edge.store.journal import Journal, Kind, Record

log = logging.getLogger(__name__)

RETRY_S = 1.0
EARLY_NS, LATE_NS = 500_000, 2_000_000
"""The thread stays awake from so long before an expected record until so long after it: to wake a thread, and
the processor that slept with it, takes half as long as the disk."""
STILL_ON_THE_WAY = 8
"""A release in memory that is older than so many records of the journal was in it and is written over."""
_NOTHING = select.poll()
Stored = Callable[[bool, int], None]
"""Called on the loop with ``durable`` and the CLOCK_MONOTONIC ns at which the store had the record."""


@dataclass(eq=False)
class _Job:
    record: Record
    stored: Stored
    in_memory: bool = False
    told: bool = False
    """Whether `stored` was called at least once."""
    stored_ns: int | None = None
    """Set by the thread when the journal has it; the loop may hear of it later."""


class JournalWriter:
    """Owns the journal and its fallback. Create and use it on the loop."""

    def __init__(
        self,
        journal: Journal,
        fallback: Journal,
        clock: Clock,
        *,
        stall_s: float,
        on_ready: Callable[[list[Record]], None],
        on_fault: Callable[[str], None],
    ) -> None:
        """`on_ready` gets the records found at start, and once more when the journal could be read only
        later than its fallback; `on_fault` a text when the journal's disk starts to fail and "" when it works
        again. Both are called on the loop."""
        self._journal = journal
        self._fallback = fallback
        self._clock = clock
        self._stall_s = stall_s
        self._on_ready = on_ready
        self._on_fault = on_fault
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Job | int | None] = queue.SimpleQueue()
        """A record, the CLOCK_MONOTONIC ns at which one is expected, or None: the end."""
        self._next_seq: int | None = None
        self._spare: list[Record] = []
        """What the fallback held at start."""
        self._read = False
        """The journal was read: before that nothing may be written, for its slots are not known."""
        self._fault = ""
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def start(self) -> None:
        try:
            # In memory and short, and before the loop writes to it: a stalled press must find what it holds.
            self._spare = self._fallback.open()
        except StoreError as error:
            log.error("fallback journal cannot be read reason=%r", str(error))
        for record in self._spare:
            if record.kind is Kind.PRESS:
                self._fallback.pin(record.seq)
        self._thread.start()

    def next_seq(self) -> int:
        """The sequence number of the next record.

        A press may come before the journal could be read (a disk that is slow to appear): then it gets one
        from the clock in milliseconds, which is above any count this journal will reach.
        """
        if self._next_seq is None:
            self._next_seq = max(self._clock.utc_ns() // 1_000_000, self._fallback.last_seq + 1)
        seq, self._next_seq = self._next_seq, self._next_seq + 1
        return seq

    def submit(self, kind: Kind, seq: int, payload: bytes, stored: Stored) -> None:
        """Hands a record to the disk; `stored` follows on the loop, and again when a fallback came good.

        A release goes into memory at once too: a process that dies before the disk has it must not take the
        next contact, closed when it starts again, for the one it has counted.
        """
        job = _Job(Record(seq, kind, payload), stored)
        if kind is Kind.PRESS:
            self._journal.pin(seq)
        elif kind is Kind.RELEASE:
            self._remember(job)
        self._queue.put(job)
        self._loop.call_later(self._stall_s, self._stalled, job)

    def expect(self, at_ns: int) -> None:
        """A record may come at about that CLOCK_MONOTONIC ns, a moment ahead: the thread is awake then."""
        self._queue.put(at_ns)

    def settled(self, seq: int) -> None:
        """The uplink's own copy of this press is on disk: its slots may be used again."""
        self._journal.unpin(seq)
        self._fallback.unpin(seq)

    def close(self) -> None:
        """Lets the thread finish what it has; does not wait for a disk that hangs."""
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)

    # -- on the loop -----------------------------------------------------------------------------

    def _stalled(self, job: _Job) -> None:
        # A loop that was late itself is no reason to call the disk late.
        if not job.told and job.stored_ns is None:
            self._fall_back(job, f"no answer within {self._stall_s * 1000:.0f} ms")

    def _fall_back(self, job: _Job, reason: str) -> None:
        job.told = True
        if job.record.kind is Kind.PRESS:
            # Until the journal has it, this is the one copy that outlives the process.
            self._fallback.pin(job.record.seq)
        self._remember(job)
        log.error("journal record not durable seq=%d reason=%r", job.record.seq, reason)
        job.stored(False, self._clock.mono_ns())

    def _remember(self, job: _Job) -> None:
        if job.in_memory:
            return
        job.in_memory = True
        try:
            self._fallback.append(job.record.kind, job.record.seq, job.record.payload)
        except StoreError as error:
            # Even memory refuses: a press still goes out, it is on the bus in a moment.
            log.error("fallback journal failed reason=%r", str(error))

    def _done(self, job: _Job) -> None:
        assert job.stored_ns is not None
        job.told = True
        self._fallback.unpin(job.record.seq)
        job.stored(True, job.stored_ns)

    def _failed(self, job: _Job, reason: str) -> None:
        if not job.told:
            self._fall_back(job, reason)

    def _ready(self, records: list[Record], last_seq: int | None) -> None:
        """`last_seq`: the highest there is; None while the journal could not be read."""
        if last_seq is not None:
            self._next_seq = max(self._next_seq or 0, last_seq + 1)
        self._on_ready(records)

    # -- in the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            # It must not end unheard: from here on nothing is durable.
            log.exception("journal thread ended")
            self._post(self._on_fault, f"the journal's thread has ended: {error!r}")

    def _serve(self) -> None:
        waiting = self._write([])
        if not self._read and self._spare:
            # The disk says nothing, but these presses must not wait for it.
            self._post(self._ready, self._spare, None)
        expected_ns = 0
        while True:
            try:
                job = self._take(expected_ns, RETRY_S if waiting or self._fault else None)
            except queue.Empty:
                pass
            else:
                if job is None:
                    return
                if isinstance(job, int):
                    expected_ns = job
                    continue
                waiting.append(job)
            waiting = self._write(waiting)

    def _take(self, expected_ns: int, wait_s: float | None) -> _Job | int | None:
        """What comes next; raises queue.Empty after `wait_s`. Does not sleep while a record is expected."""
        ahead_s = (expected_ns - EARLY_NS - self._clock.mono_ns()) / 1e9
        if ahead_s > 0:
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=ahead_s)
        while self._queue.empty() and self._clock.mono_ns() < expected_ns + LATE_NS:
            _NOTHING.poll(0)  # lets the loop have the interpreter, and comes back at once
        return self._queue.get(timeout=wait_s)

    def _first_read(self) -> list[_Job]:
        """Reads the journal; what only the fallback had is to be written. Raises StoreError."""
        kept = self._journal.open()
        # By content too: numbers given while the journal could not be read may be there twice.
        have = set(kept)
        newest = max((r.seq for r in kept), default=0) - STILL_ON_THE_WAY
        only_spare = [
            record
            for record in self._spare
            if record not in have and (record.kind is not Kind.RELEASE or record.seq > newest)
        ]
        records = sorted(kept + only_spare, key=lambda r: r.seq)
        for record in records:
            if record.kind is Kind.PRESS:
                self._journal.pin(record.seq)
        self._read = True
        self._post(self._ready, records, max((r.seq for r in records), default=0))
        return [_Job(r, lambda _durable, _ns: None, told=True) for r in only_spare]

    def _write(self, jobs: list[_Job]) -> list[_Job]:
        """Writes in order; returns what could not be written."""
        written = 0
        try:
            if not self._read:
                jobs = self._first_read() + jobs
            if not jobs:
                self._journal.prepare()
            for job in jobs:
                self._append(job)
                written += 1
        except StoreError as error:
            self._tell_fault(str(error))
            for left in jobs[written:]:
                if not left.told:
                    self._post(self._failed, left, str(error))
        else:
            self._tell_fault("")
        return jobs[written:]

    def _append(self, job: _Job) -> None:
        """Raises `StoreError` when it is worth trying again."""
        try:
            self._journal.append(job.record.kind, job.record.seq, job.record.payload)
        except StoreError:
            raise
        except Exception as error:
            # No disk's fault: this one can never be written, and must not stand in the way of the next.
            log.exception("journal record cannot be written seq=%d", job.record.seq)
            self._post(self._failed, job, repr(error))
        else:
            job.stored_ns = self._clock.mono_ns()
            self._post(self._done, job)

    def _tell_fault(self, text: str) -> None:
        if text != self._fault:
            self._fault = text
            self._post(self._on_fault, text)

    def _post(self, call: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            log.warning("journal record stored while the loop is gone")
