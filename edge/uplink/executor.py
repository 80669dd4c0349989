"""Carries commands out: recorded before they begin, executed once, always answered."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Callable

from edge import supervision
from edge.bus import BusEnd
from edge.clock import Clock
from edge.errors import StoreError
from edge.protocol.inner import Done
from edge.protocol.wire import Command, Result, dump
from edge.store.outbox import KEEP_COMMANDS, OutboxWriter
from edge.uplink import commands
from edge.uplink.commands import CommandBook, Status, Verdict

log = logging.getLogger(__name__)

PROCESSES = ("callbox", "media", "uplink")
"""Every process of a box that can be told to restart or to log more."""


class Executor:
    """`command` takes what the inbox validated; results leave through `keep` and `again`."""

    def __init__(
        self,
        clock: Clock,
        writer: OutboxWriter,
        bus: BusEnd,
        stop: asyncio.Event,
        *,
        make_result: Callable[[str | None, str, Status, str], Result],
        keep: Callable[[Result], None],
        again: Callable[[str, bytes], object],
        rebirth: Callable[[], None],
    ) -> None:
        """`keep` puts a result into the outbox; `again` publishes the stored result of an old command."""
        self._clock = clock
        self._writer = writer
        self._bus = bus
        self._stop = stop
        self._make_result = make_result
        self._keep = keep
        self._again = again
        self._rebirth = rebirth
        self._book = CommandBook()
        self._begun: OrderedDict[str, None] = OrderedDict()
        """Commands that this process has begun; their result is on its way or in the outbox."""

    def command(self, command: Command) -> None:
        received_ns = self._clock.mono_ns()
        if reason := commands.fault(command, PROCESSES):
            self._answer(Verdict(command, "refused", reason), record=False)
            return
        if not self._book.has_room():
            self._answer(Verdict(command, "refused", "too many commands wait"), record=False)
            return

        def begun(found: tuple[bool, bytes | None] | None, error: StoreError | None) -> None:
            if error is not None or found is None:
                self._answer(Verdict(command, "failed", "cannot be recorded, so not executed"), record=False)
            elif found[0]:
                self._execute(command, received_ns)
            elif found[1] is not None:
                self._again(command.id, found[1])
            elif command.id not in self._begun:
                self._answer(Verdict(command, "failed", "was interrupted; not executed again"))

        self._writer.submit(lambda box: box.begin_command(command.id), begun)

    def done(self, done: Done) -> None:
        """Another process has answered its order."""
        verdict = self._book.answered(done.id, done.ok, done.reason)
        if verdict is not None:
            self._answer(verdict)

    def tick(self) -> None:
        orders, verdicts = self._book.tick(self._clock.mono_ns())
        for order in orders:
            self._bus.publish(order)
        for verdict in verdicts:
            self._answer(verdict)

    def _execute(self, command: Command, received_ns: int) -> None:
        log.info("command id=%s name=%s by=%s", command.id, command.name, json.dumps(command.by))
        self._begun[command.id] = None
        while len(self._begun) > KEEP_COMMANDS:
            self._begun.popitem(last=False)
        if self._clock.mono_ns() - received_ns > command.ttl_s * 10**9:
            self._answer(Verdict(command, "expired", "its time was over before it could begin"))
        elif commands.target(command) != "uplink":
            if not self._book.has_room():
                # Many came at once, before the first of them was recorded.
                self._answer(Verdict(command, "refused", "too many commands wait"))
                return
            self._book.add(command, received_ns)
            self.tick()
        elif command.name == "rebirth":
            self._rebirth()
            self._answer(Verdict(command, "done"))
        elif command.name == "ping":
            self._answer(Verdict(command, "done"))
        else:
            done = supervision.common_order(command.id, command.name, command.args, self._stop)
            self._answer(Verdict(command, "done" if done.ok else "failed", done.reason))

    def _answer(self, verdict: Verdict, *, record: bool = True) -> None:
        """The result goes into the outbox; `record` keeps it for a command that is heard again."""
        command = verdict.command
        log.info("command id=%s status=%s reason=%r", command.id, verdict.status, verdict.reason)
        result = self._make_result(command.id, "cmd", verdict.status, verdict.reason)
        if record:
            body = dump(result)
            self._writer.submit(lambda box: box.finish_command(command.id, body), _unwaited)
        self._keep(result)


def _unwaited(_result: object, error: StoreError | None) -> None:
    if error is not None:
        log.error("result of a command not recorded reason=%r", str(error))
