"""The uplink as a whole, on a real outbox; the broker is a list here and a real one at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given, settings

from edge.backoff import Backoff
from edge.bus import Bus
from edge.clock import Clock, ManualClock, SystemClock
from edge.mqtt import MqttSession, NotConnected, Options
from edge.protocol.common import Model
from edge.protocol.inner import (
    Alive,
    Custody,
    Delivery,
    Done,
    Incident,
    Inputs,
    Order,
    PressTold,
    Unsettled,
)
from edge.protocol.wire import Ack, Birth, Command, DeskBirth, Receipt, Result, dump
from edge.sim.broker import Broker
from edge.sim.pki import Pki
from edge.store.outbox import Outbox
from edge.uplink import uplink
from edge.uplink.delivery import IN_FLIGHT
from edge.uplink.uplink import Uplink
from edge.uplink.watch import BURST
from tests.box import CITY, DEVICE, WAIT_S, ListBus, config, told, turns, uid, until
from tests.uplink.test_inbox import messages

TO_BOX = f"{CITY}/v1/box/{DEVICE}"


@dataclass
class Sent:
    mid: int
    channel: str
    body: dict[str, Any]
    qos: int
    retain: bool
    expiry_s: float | None


class FakeSession:
    """Stands for `edge.mqtt.MqttSession`: the test is the broker."""

    def __init__(self, _options: Options, _backoff: Backoff, **calls: Any) -> None:
        self.calls = calls
        self.up = False
        self.connects = 0
        self.sent: list[Sent] = []
        self.hurried = 0
        self.dropped: list[str] = []
        self.running = False
        self.failing = False
        self.will: Birth | None = None

    async def run(self) -> None:
        self.running = True
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.up = False

    def hurry(self) -> None:
        self.hurried += 1

    def drop(self, reason: str) -> None:
        self.dropped.append(reason)
        self.down()

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: float | None = None
    ) -> int:
        if not self.up or self.failing:
            raise NotConnected("not up")
        mid = len(self.sent) + 1
        self.sent.append(Sent(mid, topic.rsplit("/", 1)[1], json.loads(payload), qos, retain, expiry_s))
        return mid

    # the test's side

    def connect(self) -> None:
        self.will = Birth.model_validate_json(self.calls["will"]().payload)
        self.up = True
        self.connects += 1
        self.calls["on_up"]()

    def down(self) -> None:
        if self.up:
            self.up = False
            self.calls["on_down"]("cut")

    def puback(self, sent: Sent, refusal: str = "") -> None:
        self.calls["on_puback"](sent.mid, refusal)

    def say(self, channel: str, message: Model | bytes) -> None:
        topic = channel if "/" in channel else f"{TO_BOX}/{channel}"
        self.calls["on_message"](topic, message if isinstance(message, bytes) else dump(message))

    def of(self, channel: str) -> list[Sent]:
        return [sent for sent in self.sent if sent.channel == channel]


class Box:
    """Uplinks come and go on one disk."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, ManualClock()
        self.bus, self.stop = ListBus(), asyncio.Event()
        self.uplink: Uplink | None = None

    @property
    def session(self) -> FakeSession:
        assert self.uplink is not None
        found: Any = self.uplink._session
        assert isinstance(found, FakeSession)
        return found

    async def start(self, *, connect: bool = True) -> Box:
        self.bus, self.stop = ListBus(), asyncio.Event()
        bus: Any = self.bus
        made = config(self.folder, uplink={"health_s": 600})
        self.uplink = Uplink(made, self.clock, bus, self.store(), self.stop)
        self.uplink.start()
        await until(lambda: self.session.running, "the outbox to be read")
        if connect:
            self.session.connect()
        return self

    def store(self) -> Outbox:
        return Outbox(self.folder / "data" / "uplink" / "outbox.db", max_rows=200, max_bytes=10**6)

    async def end(self) -> None:
        if self.uplink is not None:
            await self.uplink.close()
            self.uplink = None

    async def settled(self) -> None:
        """All that was handed to the outbox is done."""
        assert self.uplink is not None
        await turns()
        for _ in range(2):
            done = asyncio.Event()
            self.uplink._writer.submit(lambda _box: None, lambda _r, _e, d=done: d.set())  # type: ignore[misc]
            async with asyncio.timeout(WAIT_S):
                await done.wait()
            await turns()

    def rows(self) -> list[str]:
        store = self.store()
        found = [row.id for row in store.commit([Outbox.rows])[0]]
        store.close()
        return found

    def press(self, number: int, incident: int | None = None, durable: bool = True) -> PressTold:
        self.bus.hear(Incident(incident_id=uid(number if incident is None else incident)))
        made = told(number, incident, durable=durable)
        self.bus.hear(made)
        return made

    def alerts(self) -> list[str]:
        return [sent.body["id"] for sent in self.session.of("alert")]

    def progress(self) -> str:
        return self.bus.of(Delivery)[-1].incidents[0].progress

    def receipt(self, of: str) -> None:
        self.session.say(
            "receipt", Receipt(id=uid(0xEE), of=of, desk="desk-1", stored_utc="2026-01-01T00:00:00.000Z")
        )

    def ack(self, incident: int, state: Any, version: int = 1) -> None:
        self.session.say(
            "ack",
            Ack(id=uid(1), incident_id=uid(incident), state=state, version=version, desk="desk-1", by="Asha"),
        )

    def command(self, number: int, name: Any, **args: str) -> None:
        self.session.say("cmd", Command(id=uid(number), name=name, by="Asha", args=args))

    def results(self) -> list[Result]:
        return [Result.model_validate(sent.body) for sent in self.session.of("result")]


@pytest_asyncio.fixture
async def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Box]:
    monkeypatch.setattr(uplink, "MqttSession", FakeSession)
    monkeypatch.setattr(uplink, "TICK_S", 0.005)
    made = Box(tmp_path)
    yield made
    await made.end()


# -- a press --------------------


async def test_I3_a_press_goes_out_at_once_and_each_step_is_told_as_it_becomes_true(box: Box) -> None:
    await box.start()
    box.press(1)
    (alert,) = box.session.of("alert")
    assert (alert.body["id"], alert.body["attempt"], alert.qos, alert.expiry_s) == (uid(1), 1, 1, None)
    assert box.bus.of(Custody) == [], "it is not on disk yet"
    await box.settled()
    assert box.bus.of(Custody)[-1].held == (uid(1),)
    assert box.progress() == "pressed"
    box.session.puback(alert)
    assert box.progress() == "sent"
    assert box.rows() == [uid(1)], "PUBACK is not receipt"
    box.receipt(uid(1))
    assert box.progress() == "received"
    await box.settled()
    assert box.rows() == []
    box.ack(1, "seen")
    assert box.progress() == "seen"
    box.ack(1, "closed", 2)
    assert box.progress() == "closed"


async def test_I2_a_press_that_was_committed_goes_out_after_any_restart_until_its_receipt(box: Box) -> None:
    await box.start(connect=False)
    box.press(1, durable=False)
    await box.settled()
    for _ in range(2):
        await box.end()
        await box.start()
        assert box.alerts() == [uid(1)]
        assert box.session.of("alert")[0].body["durable"] is False, "nothing better is known of it"
    box.receipt(uid(1))
    await box.settled()
    await box.end()
    await box.start()
    assert box.alerts() == []


async def test_I2_a_press_told_again_after_its_receipt_is_no_second_one_and_custody_is_answered(
    box: Box,
) -> None:
    await box.start()
    made = box.press(1)
    box.receipt(uid(1))
    await box.settled()
    await box.end()
    await box.start()
    box.bus.hear(Unsettled(presses=(made,)))
    assert box.bus.of(Custody)[-1].held == (uid(1),)
    assert box.alerts() == []


async def test_I3_after_a_restart_the_reminder_of_an_unacknowledged_incident_goes_on(box: Box) -> None:
    await box.start()
    made = box.press(1)
    box.receipt(uid(1))
    await box.settled()
    await box.end()
    await box.start()
    box.bus.hear(Incident(incident_id=uid(1)))
    box.bus.hear(Unsettled(presses=(made,)))
    await until(lambda: box.alerts(), "the reminder")
    assert box.progress() == "received"
    for _ in range(3):
        box.clock.advance(15)
        count = len(box.alerts())
        await until(lambda c=count: len(box.alerts()) > c)  # type: ignore[misc]
    box.ack(1, "coming")
    box.clock.advance(100)
    count = len(box.alerts())
    await turns(50)
    assert len(box.alerts()) == count


async def test_I9_a_day_back_or_forward_changes_no_timer(box: Box) -> None:
    await box.start()
    box.press(1)
    for jump_s in (-86400, 2 * 86400):
        count = len(box.alerts())
        box.session.puback(box.session.of("alert")[-1])
        box.clock.jump_utc(jump_s)
        await turns(50)
        assert len(box.alerts()) == count
        box.clock.advance(15)
        await until(lambda c=count: len(box.alerts()) > c)  # type: ignore[misc]


async def test_without_a_link_a_press_asks_for_one_and_is_there_when_it_comes(box: Box) -> None:
    await box.start(connect=False)
    box.press(1)
    assert box.session.hurried == 1
    assert box.session.calls["alert_waits"]()
    box.session.connect()
    assert box.alerts() == [uid(1)]
    assert box.session.sent[0].channel == "birth"


async def test_a_broker_that_does_not_answer_an_alert_is_dropped_once(box: Box) -> None:
    await box.start()
    box.press(1)
    box.clock.advance(5)
    await until(lambda: box.session.dropped)
    box.clock.advance(60)
    await turns(50)
    assert len(box.session.dropped) == 1, "while a new connection is being made it is left alone"


async def test_a_session_that_dies_among_several_alerts_is_not_dropped_again_while_it_comes_back(
    box: Box,
) -> None:
    await box.start(connect=False)
    for number in (1, 2, 3):
        box.press(number, 1)
    box.session.failing = True
    box.session.connect()
    box.session.down()
    box.clock.advance(60)
    await turns(50)
    assert box.session.dropped == []


async def test_an_alert_that_the_broker_refuses_comes_again_and_costs_no_session(box: Box) -> None:
    await box.start()
    box.press(1)
    box.session.puback(box.session.of("alert")[0], "Not authorized")
    assert box.progress() == "pressed"
    box.clock.advance(5)
    await until(lambda: len(box.alerts()) == 2)
    assert box.session.dropped == []


async def test_a_backlog_goes_out_in_parts_and_as_fast_as_the_broker_takes_it(box: Box) -> None:
    await box.start(connect=False)
    for number in range(1, 61):
        box.press(number, 1)
    box.session.connect()
    assert len(box.alerts()) == IN_FLIGHT
    answered = 0
    while answered < len(box.session.of("alert")):
        box.session.puback(box.session.of("alert")[answered])
        answered += 1
    assert set(box.alerts()) == {uid(n) for n in range(1, 61)}


async def test_I1_a_dead_outbox_delays_no_alert_and_the_row_follows(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    await box.start()

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Outbox, "put", full)
    box.press(1)
    assert box.alerts() == [uid(1)]
    await box.settled()
    assert box.bus.of(Custody) == []
    monkeypatch.undo()
    box.clock.advance(1)
    await until(lambda: box.bus.of(Custody))
    assert uid(1) in box.rows()


async def test_I6_a_disk_that_hangs_is_not_given_the_same_row_again_and_again(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    await box.start()
    puts: list[str] = []
    monkeypatch.setattr(box.uplink._writer, "submit", lambda job, _done: puts.append(str(job)))  # type: ignore[union-attr]
    box.press(1)
    for _ in range(10):
        box.clock.advance(1)
        await turns(20)
        await asyncio.sleep(0.01)  # a tick
    assert sum("_commit_alert" in job for job in puts) == 1


# -- the session --------------------


async def test_birth_and_will_carry_one_number_that_grows_over_sessions_and_restarts(box: Box) -> None:
    numbers = []
    for _ in range(2):
        await box.start()
        for _ in range(2):
            assert box.session.will is not None
            birth = Birth.model_validate(box.session.of("birth")[-1].body)
            assert birth.online
            assert not box.session.will.online
            assert birth.session == box.session.will.session
            assert box.session.of("birth")[-1].retain
            numbers.append(birth.session)
            await box.settled()
            box.session.down()
            box.session.connect()
        await box.end()
    assert numbers == sorted(set(numbers))


async def test_an_outbox_that_is_read_late_does_not_part_birth_and_will(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A birth above its will's number made that will an old one, which nobody believes."""
    await box.start()
    for _ in range(5):
        box.session.down()
        box.session.connect()
    await box.settled()
    await box.end()
    monkeypatch.setattr(uplink, "LOAD_WAIT_S", 0.0)
    await box.start()
    await box.settled()
    box.command(1, "rebirth")
    await box.settled()
    assert box.session.will is not None
    assert {sent.body["session"] for sent in box.session.of("birth")} == {box.session.will.session}
    box.session.down()
    box.session.connect()
    assert box.session.will.session > 6


async def test_a_planned_end_says_so(box: Box) -> None:
    await box.start()
    session = box.session
    await box.end()
    last = session.of("birth")[-1]
    assert (last.body["online"], last.retain) == (False, True)


async def test_health_follows_each_birth_and_is_worth_nothing_later(box: Box) -> None:
    await box.start()
    box.session.say(f"{CITY}/v1/desk/desk-1/birth", DeskBirth(id=uid(1), desk="desk-1", utc="", staffed=3))
    box.command(1, "rebirth")
    await box.settled()
    health = box.session.of("health")[-1]
    assert (health.qos, health.expiry_s) == (0, 1200)
    assert health.body["link"] == {"connects": 1, "desk": True, "staffed": 3}
    assert len(box.session.of("birth")) == 2


async def test_I6_desks_that_come_and_go_are_forgotten(box: Box) -> None:
    await box.start()
    for number in range(100):
        name = f"desk-{number}"
        box.session.say(f"{CITY}/v1/desk/{name}/birth", DeskBirth(id=uid(1), desk=name, utc="", staffed=1))
    assert len(box.uplink._desks) <= 16  # type: ignore[union-attr]


# -- commands --------------------


async def test_a_ping_is_answered_and_the_answer_goes_when_the_broker_has_it(box: Box) -> None:
    await box.start()
    box.command(1, "ping")
    await box.settled()
    (result,) = box.results()
    assert (result.of, result.status) == (uid(1), "done")
    assert box.rows() == [result.id]
    box.session.puback(box.session.of("result")[0])
    await box.settled()
    assert box.rows() == []


async def test_a_test_is_ordered_from_callbox_and_its_answer_goes_to_the_desk(box: Box) -> None:
    await box.start()
    box.command(1, "press_test", button="medical")
    await box.settled()
    order = box.bus.of(Order)[0]
    assert (order.process, order.name, order.by, order.args) == (
        "callbox",
        "press_test",
        "Asha",
        {"button": "medical"},
    )
    box.bus.hear(Done(id=order.id, ok=False, reason="a real incident is open"))
    await box.settled()
    assert [(r.status, r.reason) for r in box.results()] == [("failed", "a real incident is open")]


async def test_I10_a_test_is_labelled_to_the_desk(box: Box) -> None:
    await box.start()
    box.bus.hear(told(1, test=True, test_by="Ravi"))
    press = box.session.of("alert")[0].body["press"]
    assert (press["test"], press["test_by"]) == (True, "Ravi")


async def test_results_and_events_without_a_link_wait_for_it(box: Box) -> None:
    await box.start()
    box.command(1, "ping")
    box.session.down()
    box.bus.hear(Inputs(buttons={}, tamper="open"))
    await box.settled()
    await box.end()
    await box.start()
    await box.settled()
    assert [r.of for r in box.results()] == [uid(1)]
    assert [sent.body["kind"] for sent in box.session.of("event")] == ["tamper"]


# -- events --------------------


async def test_I3_an_event_leaves_the_outbox_with_its_receipt_and_not_before(box: Box) -> None:
    await box.start()
    box.bus.hear(Inputs(buttons={}, tamper="open"))
    (event,) = box.session.of("event")
    box.session.puback(event)
    await box.settled()
    assert box.rows() == [event.body["id"]]
    box.receipt(event.body["id"])
    await box.settled()
    assert box.rows() == []


async def test_a_box_that_starts_with_everything_well_has_nothing_to_tell(box: Box) -> None:
    await box.start()
    for tamper in ("unknown", "closed", "closed"):
        box.bus.hear(Inputs.model_validate({"buttons": {"police": "released"}, "tamper": tamper}))
    box.bus.hear(Alive(process="callbox", pid=5))
    await box.settled()
    assert box.session.of("event") == []


async def test_I6_a_box_that_flaps_is_held_to_a_slow_stream_and_says_what_it_shed(box: Box) -> None:
    await box.start()
    for _ in range(3 * BURST):
        for tamper in ("open", "closed"):
            box.bus.hear(Inputs.model_validate({"buttons": {}, "tamper": tamper}))
    await box.settled()
    assert len(box.rows()) == BURST
    box.command(1, "rebirth")
    await box.settled()
    assert box.session.of("health")[-1].body["shed"] == ["event"]


async def test_I9_events_of_a_box_that_did_not_know_the_time_are_not_too_old_when_it_learns_it(
    box: Box,
) -> None:
    box.clock.trust = "unsynchronised"
    box.clock.jump_utc(-30 * 86400)
    await box.start(connect=False)
    box.bus.hear(Inputs(buttons={}, tamper="open"))
    await box.settled()
    box.clock.trust = "synchronised"
    box.clock.jump_utc(30 * 86400)
    box.clock.advance(5)
    await asyncio.sleep(0.05)  # some ticks
    await box.settled()
    box.session.connect()
    assert box.session.of("event")[0].body["kind"] == "tamper"


# -- what comes down --------------------


async def test_a_refusal_goes_back_with_its_reason_and_so_many_as_the_centre_can_stand(box: Box) -> None:
    await box.start()
    for _ in range(5 * BURST):
        box.session.say("ack", json.dumps({"id": uid(7), "state": "gone"}).encode())
    results = box.results()
    assert len(results) == BURST
    assert {(r.of, r.channel, r.status) for r in results} == {(uid(7), "ack", "refused")}
    assert all(r.reason for r in results)
    box.clock.advance(61)
    box.session.say("ack", b"{}")
    assert len(box.results()) == BURST + 1
    assert box.rows() == [], "they are not worth the disk"


async def test_receipts_for_what_nobody_sent_and_acks_for_unknown_incidents_change_nothing(box: Box) -> None:
    await box.start()
    box.press(1)
    for number in range(100, 130):
        box.receipt(uid(number))
        box.ack(number, "closed")
    assert box.progress() == "pressed"
    await box.settled()
    assert box.rows() == [uid(1)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.AbstractEventLoop, Box]]:
    """One uplink for all examples below, as it runs on a box for months."""
    loop = asyncio.new_event_loop()
    box = Box(tmp_path_factory.mktemp("fuzz"))
    with pytest.MonkeyPatch.context() as patch:
        # Not for longer: a test with a real session may come before the end of this fixture.
        patch.setattr(uplink, "MqttSession", FakeSession)
        loop.run_until_complete(box.start())
    yield loop, box
    loop.run_until_complete(box.end())
    loop.close()


@settings(max_examples=100)
@given(messages())
def test_whatever_comes_down_costs_no_crash_and_nothing_that_waits(
    running: tuple[asyncio.AbstractEventLoop, Box], message: tuple[str, bytes]
) -> None:
    loop, box = running

    async def feed() -> None:
        box.session.say(message[0] if "/" in message[0] else "/", message[1])
        box.clock.advance(61)
        await turns()
        assert box.uplink is not None
        assert not [task for task in box.uplink._tasks if task.done()]

    loop.run_until_complete(feed())


# -- with a real broker and a real bus --------------------


class Centre:
    """A desk that does what the test says."""

    def __init__(self, pki: Pki, port: int) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        identity = pki.client("desk-1")
        topics = tuple(f"{CITY}/v1/box/+/{c}" for c in ("birth", "alert", "event", "result"))
        self.session = MqttSession(
            Options(
                host="127.0.0.1",
                port=port,
                client_id="desk-1",
                ca=pki.ca,
                cert=identity.cert,
                key=identity.key,
                subscriptions=topics,
            ),
            Backoff("desk-1", cap_s=0.2, first_spread_s=0),
            on_up=lambda: None,
            on_down=lambda _reason: None,
            on_message=lambda topic, body: self.heard.append((topic.rsplit("/", 1)[1], json.loads(body))),
            on_puback=lambda _mid, _refusal: None,
        )

    def of(self, channel: str) -> list[dict[str, Any]]:
        return [body for name, body in self.heard if name == channel]

    def say(self, channel: str, message: Model | bytes) -> None:
        body = message if isinstance(message, bytes) else dump(message)
        self.session.publish(f"{TO_BOX}/{channel}", body)


@dataclass
class Real:
    """An uplink between a real bus and a real broker; the test is callbox and desk."""

    folder: Path
    broker: Broker
    pki: Pki
    clock: Clock

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        identity = self.pki.client(DEVICE)
        made = config(
            self.folder,
            uplink={
                "port": self.broker.port,
                "ca": self.pki.ca,
                "cert": identity.cert,
                "key": identity.key,
                "first_spread_s": 0,
                "retry_max_s": 0.2,
                "receipt_wait_s": 0.2,
            },
        )
        bus = Bus(self.folder / "bus", "uplink", ("callbox",))
        store = Outbox(self.folder / "outbox.db", max_rows=100, max_bytes=10**6)
        box = Uplink(made, self.clock, bus, store, asyncio.Event())
        bus.open()
        box.start()
        try:
            yield
        finally:
            await box.close()
            await bus.close()


@pytest_asyncio.fixture
async def real(tmp_path: Path) -> AsyncIterator[Real]:
    pki = Pki(tmp_path / "pki")
    broker = Broker(tmp_path / "broker", pki, CITY)
    await broker.start()
    yield Real(tmp_path, broker, pki, SystemClock())
    await broker.stop()


def holding(callbox: Bus, said: Callable[[], Model | None]) -> asyncio.Task[None]:
    """A process says its state again and again, as states on the bus are said."""

    async def repeat() -> None:
        while True:
            if (message := said()) is not None:
                callbox.publish(message)
            await asyncio.sleep(0.05)

    return asyncio.get_running_loop().create_task(repeat())


async def test_I2_I3_a_press_reaches_the_desk_over_a_killed_broker_and_a_restarted_uplink(real: Real) -> None:
    centre = Centre(real.pki, real.broker.port)
    desk = asyncio.create_task(centre.session.run())
    callbox = Bus(real.folder / "bus", "callbox", ("uplink",))
    custody: set[str] = set()
    words: list[str] = []
    orders: list[Order] = []
    callbox.on(Custody, lambda _s, m: custody.update(m.held))
    callbox.on(Delivery, lambda _s, m: words.extend(w.progress for w in m.incidents))
    callbox.on(Order, lambda _s, m: orders.append(m))
    callbox.open()
    press = told(1)
    states: list[Model] = [Incident(incident_id=uid(1)), Unsettled(presses=(press,))]
    turn = iter(range(10**9))
    saying = holding(callbox, lambda: states[next(turn) % len(states)])
    try:
        async with real.running():
            # The uplink was only starting when the press was told: the repeat brings it.
            await until(lambda: centre.of("alert"), "the alert")
            await until(lambda: uid(1) in custody, "custody")
            await until(lambda: "sent" in words, "sent")
            await real.broker.kill()
        await real.broker.start()
        centre.heard.clear()
        words.clear()
        async with real.running():
            await until(lambda: centre.session.up and centre.of("alert"), "the alert, from the outbox")
            assert {a["id"] for a in centre.of("alert")} == {uid(1)}
            centre.say("receipt", Receipt(id=uid(2), of=uid(1), desk="desk-1", stored_utc=""))
            await until(lambda: "received" in words, "received")
            centre.say("ack", json.dumps({"id": uid(3), "incident_id": uid(1), "state": "gone"}).encode())
            await until(lambda: centre.of("result"), "the refusal")
            refusal = centre.of("result")[0]
            assert (refusal["of"], refusal["channel"], refusal["status"]) == (uid(3), "ack", "refused")
            centre.say(
                "ack", Ack(id=uid(4), incident_id=uid(1), state="coming", version=1, desk="desk-1", by="Asha")
            )
            await until(lambda: "coming" in words, "coming")
            centre.say("cmd", Command(id=uid(5), name="arm_test", by="Ravi"))
            await until(lambda: orders, "the order")
            assert (orders[0].name, orders[0].by) == ("arm_test", "Ravi")
            states.append(Done(id=uid(5), ok=True, reason="armed"))
            await until(lambda: len(centre.of("result")) == 2, "the answer")
            assert centre.of("result")[1]["of"] == uid(5)
            assert [b["online"] for b in centre.of("birth")][-1]
        await until(lambda: not centre.of("birth")[-1]["online"], "the planned end")
    finally:
        for task in (saying, desk):
            task.cancel()
        await asyncio.gather(saying, desk, return_exceptions=True)
        await callbox.close()
