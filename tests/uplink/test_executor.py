"""Commands from the centre: at most once, over repeats and restarts, and always answered."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from edge.clock import ManualClock
from edge.protocol.inner import Done, Order
from edge.protocol.wire import Command, Result, dump
from edge.store.outbox import Outbox, OutboxWriter
from edge.uplink.commands import MAX_PENDING
from edge.uplink.executor import Executor
from tests.box import ListBus, stamp, turns, uid, until
from tests.uplink.test_commands import command


class Box:
    """An executor on a real outbox; results go into lists."""

    def __init__(self, path: Path) -> None:
        self.path, self.clock, self.bus, self.stop = path, ManualClock(), ListBus(), asyncio.Event()
        self.results: list[Result] = []
        self.again: list[tuple[str, bytes]] = []
        self.rebirths = 0
        self.start()

    def start(self) -> None:
        self.writer = OutboxWriter(
            Outbox(self.path / "outbox.db", max_rows=100, max_bytes=10**6), self.clock, lambda _text: None
        )
        bus: Any = self.bus
        self.executor = Executor(
            self.clock,
            self.writer,
            bus,
            self.stop,
            make_result=self._result,
            keep=self.results.append,
            again=lambda of, body: self.again.append((of, body)),
            rebirth=self._rebirth,
        )
        self.writer.start()

    def _result(self, of: str | None, channel: str, status: Any, reason: str) -> Result:
        return Result(
            id=uid(0xAAA), device="box-1", of=of, channel=channel, status=status, reason=reason, at=stamp()
        )

    def _rebirth(self) -> None:
        self.rebirths += 1

    async def settled(self) -> None:
        """Everything handed to the outbox so far is done and has been heard of."""
        done = asyncio.Event()
        self.writer.submit(lambda _box: None, lambda _result, _error: done.set())
        async with asyncio.timeout(15):
            await done.wait()
        await turns()

    async def give(self, *given: Command) -> None:
        for one in given:
            self.executor.command(one)
        await self.settled()
        await self.settled()

    def statuses(self, results: Iterable[Result] | None = None) -> list[str]:
        return [r.status for r in (self.results if results is None else results)]


@pytest_asyncio.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    made = Box(tmp_path)
    yield made
    made.writer.close()


async def test_a_ping_is_done_and_answered(box: Box) -> None:
    await box.give(command(1, "ping"))
    assert [(r.of, r.status, r.channel) for r in box.results] == [(uid(1), "done", "cmd")]


async def test_a_command_heard_twice_is_carried_out_once_and_its_answer_given_again(box: Box) -> None:
    await box.give(command(1, "rebirth"))
    await box.give(command(1, "rebirth"))
    assert box.rebirths == 1
    assert box.statuses() == ["done"]
    assert box.again == [(uid(1), dump(box.results[0]))]


async def test_two_copies_in_one_breath_give_one_answer(box: Box) -> None:
    """The second was once answered `failed: was interrupted`, and that was the answer that was kept."""
    await box.give(*[command(1, "rebirth")] * 3)
    assert box.rebirths == 1
    assert box.statuses() == ["done"]
    await box.give(command(1, "rebirth"))
    assert box.again == [(uid(1), dump(box.results[0]))]


async def test_over_a_restart_a_finished_command_is_answered_and_not_done_again(box: Box) -> None:
    await box.give(command(1, "rebirth"))
    box.writer.close()
    box.start()
    await box.give(command(1, "rebirth"))
    assert box.rebirths == 1
    assert len(box.again) == 1


async def test_over_a_restart_a_command_that_was_interrupted_is_failed_and_not_done_again(box: Box) -> None:
    await box.give(command(1, "press_test"))
    assert len(box.bus.of(Order)) == 1
    box.writer.close()
    box.start()
    await box.give(command(1, "press_test"))
    assert len(box.bus.of(Order)) == 1
    assert [(r.status, r.reason) for r in box.results] == [("failed", "was interrupted; not executed again")]


async def test_an_order_goes_to_its_process_until_done(box: Box) -> None:
    await box.give(command(1, "arm_test"))
    for _ in range(3):
        box.clock.advance(0.5)
        box.executor.tick()
    orders = box.bus.of(Order)
    assert len(orders) == 4
    assert {(o.id, o.process, o.name, o.by) for o in orders} == {(uid(1), "callbox", "arm_test", "Asha")}
    for _ in range(2):
        box.executor.done(Done(id=uid(1), ok=True, reason="armed"))
    assert [(r.status, r.reason) for r in box.results] == [("done", "armed")]
    box.clock.advance(100)
    box.executor.tick()
    assert len(box.bus.of(Order)) == 4


async def test_a_process_that_never_answers_lets_the_command_expire(box: Box) -> None:
    await box.give(command(1, "press_test", ttl_s=10))
    box.clock.jump_utc(-86400)
    box.clock.advance(9.9)
    box.executor.tick()
    assert box.results == []
    box.clock.advance(0.2)
    box.executor.tick()
    assert box.statuses() == ["expired"]


async def test_a_command_whose_time_is_over_before_it_could_be_recorded_is_not_carried_out(box: Box) -> None:
    box.executor.command(command(1, "rebirth", ttl_s=1))
    box.clock.advance(5)
    await box.settled()
    assert box.rebirths == 0
    assert box.statuses() == ["expired"]


async def test_what_cannot_be_recorded_is_not_carried_out(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("disk full")

    monkeypatch.setattr(Outbox, "begin_command", full)
    await box.give(command(1, "rebirth"))
    assert box.rebirths == 0
    assert box.statuses() == ["failed"]
    monkeypatch.undo()
    await box.give(command(1, "rebirth"))
    assert box.rebirths == 1


async def test_a_command_that_makes_no_sense_is_refused_with_a_reason_and_not_recorded(box: Box) -> None:
    await box.give(command(1, "restart", process="desk"))
    assert box.statuses() == ["refused"]
    assert "process" in box.results[0].reason


async def test_I6_a_flood_of_commands_is_bounded_and_each_is_answered(box: Box) -> None:
    """All of them in one breath, before the first was recorded."""
    count = MAX_PENDING + 20
    await box.give(*[command(n, "press_test", ttl_s=5) for n in range(count)])
    assert box.statuses() == ["refused"] * 20
    assert {o.id for o in box.bus.of(Order)} == {uid(n) for n in range(MAX_PENDING)}
    await box.give(command(999, "press_test"))
    assert box.statuses() == ["refused"] * 21
    box.clock.advance(6)
    box.executor.tick()
    assert len(box.results) == count + 1


async def test_a_restart_of_the_uplink_is_answered_before_it_happens(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.supervision.RESTART_AFTER_S", 0.01)
    await box.give(command(1, "restart"))
    assert box.statuses() == ["done"]
    await until(box.stop.is_set)
    box.writer.close()
    box.start()
    await box.give(command(1, "restart"))
    assert len(box.again) == 1, "and not once more after it"


async def test_the_log_level_of_the_uplink(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        await box.give(command(1, "log_level", level="error"), command(2, "log_level", level="info"))
    assert box.statuses() == ["done", "done"]
