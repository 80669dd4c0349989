"""The one task that stores what comes in, and only then answers; the desk's presence is its pulse.

Inputs are applied to the core at once, so that an alert rings without waiting for a disk; their rows wait
here and are committed in batches from one writer thread. Receipts and states leave after the commit returned,
never before. The desk's presence is published by this same task after a commit of its own: a store that hangs
stops it, and the boxes learn that nobody receives.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from edge.clock import Clock, iso_utc
from edge.desk.records import BoxRow, Outcome, Row, Send
from edge.desk.store import Store
from edge.errors import NotFound, StoreError
from edge.supervision import notify

log = logging.getLogger(__name__)

RETRY_S = 1.0
LATE_S = 2.0
"""A commit that takes longer is a fault that the page shows."""
MAX_ROWS = 100_000
"""Rows that may wait for a store that fails; beyond, boxes are not listened to and keep what they have."""


@dataclass(slots=True)
class Batch:
    """What is committed together, and what follows from it."""

    rows: list[Row] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)
    waiters: list[asyncio.Future[None]] = field(default_factory=list)


class Keeper:
    """Owns the writer thread. Run `run` as a task; its end is the end of the desk."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        presence_s: float,
        box_row: Callable[[str], BoxRow],
        send: Callable[[Sequence[Send]], None],
        presence: Callable[[], None],
    ) -> None:
        """`send` and `presence` publish; `box_row` gives the present row of a box."""
        self._store = store
        self._clock = clock
        self._presence_ns = round(presence_s * 1e9)
        self._box_row = box_row
        self._send = send
        self._presence = presence
        self._writer = ThreadPoolExecutor(1, "desk-store")
        self._waiting = Batch()
        self._boxes: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._next_presence_ns = clock.mono_ns()
        self._began_ns: int | None = None
        self.fault = ""
        """Why the last attempt to write failed; empty when it did not."""

    # -- in ------------------------------------------------------------------------------------

    def submit(self, outcome: Outcome) -> None:
        """Takes over what follows from an input."""
        self._boxes.update(dict.fromkeys(outcome.boxes))
        if outcome.rows or outcome.sends:
            self._waiting.rows += outcome.rows
            self._waiting.sends += outcome.sends
            self._wake.set()

    async def stored(self) -> None:
        """Returns when everything submitted so far is committed."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.waiters.append(waiter)
        self._wake.set()
        await waiter

    @property
    def full(self) -> bool:
        return len(self._waiting.rows) >= MAX_ROWS

    def late_s(self) -> float:
        """How long the commit under way has taken so far, seconds; 0 when none is."""
        return 0.0 if self._began_ns is None else (self._clock.mono_ns() - self._began_ns) / 1e9

    # -- out -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self._something_to_do()
                pulse = self._clock.mono_ns() >= self._next_presence_ns
                batch, self._waiting = self._waiting, Batch()
                self._wake.clear()
                if pulse:
                    batch.rows += self._dirty_boxes()
                await self.settle(batch, pulse)
                if pulse:
                    self._presence()
                    self._next_presence_ns = self._clock.mono_ns() + self._presence_ns
        finally:
            self._writer.shutdown(wait=False, cancel_futures=True)

    async def settle(self, batch: Batch, pulse: bool) -> None:
        """First the store, then the answers (I3)."""
        await self.save(batch, pulse)
        self.answer(batch)

    async def save(self, batch: Batch, pulse: bool) -> None:
        """Commits; while the store fails it is tried again, and nothing is answered."""
        if not batch.rows and not pulse:
            return
        loop = asyncio.get_running_loop()
        self._began_ns = self._clock.mono_ns()
        while True:
            utc = iso_utc(self._clock.utc_ns()) if pulse else None
            try:
                await loop.run_in_executor(self._writer, self._store.commit, batch.rows, utc)
                break
            except StoreError as error:
                if str(error) != self.fault:
                    log.error("commit failed rows=%d reason=%r", len(batch.rows), str(error))
                self.fault = str(error)
                await asyncio.sleep(RETRY_S)
        self.fault, self._began_ns = "", None
        notify("WATCHDOG=1")

    def answer(self, batch: Batch) -> None:
        """What may leave now that the batch is stored."""
        if batch.sends:
            self._send(batch.sends)
        for waiter in batch.waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _something_to_do(self) -> None:
        if self._wake.is_set():
            return
        pause_s = max(0.0, (self._next_presence_ns - self._clock.mono_ns()) / 1e9)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._wake.wait()

    def _dirty_boxes(self) -> list[Row]:
        dirty, self._boxes = self._boxes, {}
        rows: list[Row] = []
        for device in dirty:
            try:
                rows.append(self._box_row(device))
            except NotFound:
                log.error("box vanished from the roster device=%s", device)
        return rows
