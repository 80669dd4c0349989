"""The uplink: carries what the cores decide between bus, outbox and broker. One object a box, on the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge import supervision
from edge.backoff import Backoff
from edge.bus import BusEnd
from edge.clock import Clock
from edge.config import Config
from edge.errors import Refused, StoreError
from edge.ids import uuid7
from edge.mqtt import MqttSession, NotConnected, Options, Will
from edge.mqtt_client import Connect, connect
from edge.protocol import inbound, topics
from edge.protocol.common import Model
from edge.protocol.inner import Alive, Custody, Delivery, Done, Incident, Inputs, PressTold, Sound, Unsettled
from edge.protocol.wire import (
    TO_BOX,
    Ack,
    Alert,
    DeskBirth,
    Event,
    Receipt,
    dump,
)
from edge.store import outbox
from edge.store.outbox import Outbox, OutboxWriter, Row
from edge.uplink import machine
from edge.uplink.delivery import DeliveryBook
from edge.uplink.executor import PROCESSES, Executor
from edge.uplink.inbox import Inbox
from edge.uplink.reporter import Reporter
from edge.uplink.rowqueue import RowQueue
from edge.uplink.watch import BURST, PRIORITY, REFILL_NS, Allowance, Fact, Watch

log = logging.getLogger(__name__)

TICK_S = 0.25
DELIVERY_EVERY_NS = 1_000_000_000
RETRY_COMMIT_NS = 1_000_000_000
RESULT_TTL_S = 3600
EVENT_TTL_S = 7 * 86400
LOAD_WAIT_S = 1.0
"""The first connect waits this long for the outbox, which knows the number of the last session."""
DESK_AWAY_NS = 35_000_000_000


class Uplink:
    """Everything between this box and the centre."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        bus: BusEnd,
        store: Outbox,
        stop: asyncio.Event,
        *,
        connect: Connect = connect,
        read_machine: Callable[[Path], machine.Facts] = machine.read,
    ) -> None:
        self._config = config
        self._box = config.need_box()
        self._clock = clock
        self._bus = bus
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        u = config.uplink
        self._book = DeliveryBook(
            trying_ns=round(u.trying_after_s * 1e9),
            receipt_wait_ns=round(u.receipt_wait_s * 1e9),
            repeat_ns=round(u.repeat_s * 1e9),
        )
        self._queue = RowQueue()
        self._reporter = Reporter(config, clock, read_machine)
        self._watch = Watch(tuple(p for p in PROCESSES if p != "uplink"), clock.mono_ns())
        self._events_allowed = Allowance(BURST, REFILL_NS)
        self._refusals_allowed = Allowance(BURST, REFILL_NS)
        self._inflight: dict[int, tuple[str, str]] = {}
        """MQTT packet id -> (channel, message id), of this session."""
        self._fault = ""
        self._desks: dict[str, tuple[int, int]] = {}
        """Desk -> (last heard, people on duty)."""
        self._sound = Sound(ready=False)
        self._proof: dict[str, str | float | int | bool | None] = {}
        self._shed: set[str] = set()
        self._told: Delivery | None = None
        self._told_ns = 0
        self._retry_ns = 0
        self._counted = 0
        """The highest number of a session that is known, of this start or before."""
        self._committing: set[str] = set()
        """Presses whose row the outbox's thread has and has not answered for."""
        self._tasks: list[asyncio.Task[None]] = []
        self._loaded = asyncio.Event()
        self._writer = OutboxWriter(store, clock, self._store_fault)
        self._executor = Executor(
            clock,
            self._writer,
            bus,
            stop,
            make_result=self._reporter.result,
            keep=lambda result: self._keep(result.id, "result", outbox.RESULT, result, RESULT_TTL_S),
            again=lambda of, body: self._publish_raw("result", of, body, expiry_s=RESULT_TTL_S),
            rebirth=self._rebirth,
        )
        channels = tuple(topics.box(self._box.city, self._box.device, c) for c in TO_BOX)
        self._session = MqttSession(
            Options(
                host=u.host,
                port=u.port,
                client_id=self._box.device,
                ca=u.ca,
                cert=u.cert,
                key=u.key,
                subscriptions=(*channels, topics.desk(self._box.city, "+")),
                keepalive_s=u.keepalive_s,
                connect_timeout_s=u.connect_timeout_s,
                session_expiry_s=u.session_expiry_s,
                receive_maximum=u.receive_maximum,
            ),
            Backoff(self._box.device, cap_s=u.retry_max_s, first_spread_s=u.first_spread_s),
            on_up=self._up,
            on_down=self._down,
            on_message=lambda topic, payload: self._inbox.message(topic, payload),
            on_puback=self._on_puback,
            will=self._will,
            alert_waits=lambda: self._book.waits() > 0,
            connect=connect,
        )
        self._inbox = Inbox(
            self._box.device,
            {"receipt": self._on_receipt, "ack": self._on_ack, "cmd": self._executor.command},
            on_desk=self._on_desk,
            on_refused=self._on_refused,
        )
        for model, handler in (
            (PressTold, self._on_press),
            (Unsettled, self._on_unsettled),
            (Incident, self._on_incident),
            (Inputs, lambda _s, m: self._events(self._watch.inputs(m))),
            (
                Alive,
                lambda _s, m: self._events(self._watch.alive(m.process, m.pid, self._clock.mono_ns())),
            ),
            (Sound, self._on_sound),
            (Done, lambda _s, done: self._executor.done(done)),
        ):
            bus.on(model, handler)

    def start(self) -> None:
        self._writer.start()
        self._load()
        self._loop.call_later(LOAD_WAIT_S, self._loaded.set)
        self._tasks = [
            self._loop.create_task(self._connect(), name="mqtt"),
            self._loop.create_task(supervision.every(TICK_S, self._tick), name="tick"),
            self._loop.create_task(
                supervision.every(self._config.uplink.health_s, self._send_health), name="health"
            ),
        ]

    async def _connect(self) -> None:
        await self._loaded.wait()
        await self._session.run()

    async def close(self) -> None:
        if self._session.up:
            # A planned end says so itself, and then leaves without the will.
            self._publish("birth", self._reporter.birth(online=False), retain=True)
        await self._session.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._writer.close()

    # -- presses -----------------------------------------------------------------------------------

    def _on_press(self, _sender: str, told: PressTold) -> None:
        """A press goes out at once, and into the outbox at the same time."""
        if self._book.press(told, self._clock.mono_ns()):
            self._send_due()
            # The loop's next turns: the broker's answer is not kept waiting for them.
            self._loop.call_soon(self._commit_alert, told)
            self._loop.call_soon(self._tell_delivery)
            if not self._session.up:
                self._session.hurry()

    def _on_unsettled(self, sender: str, unsettled: Unsettled) -> None:
        for told in unsettled.presses:
            self._on_press(sender, told)
        self._tell_custody([told.press.press_id for told in unsettled.presses])

    def _on_incident(self, _sender: str, incident: Incident) -> None:
        self._book.current(incident.incident_id)

    def _tell_custody(self, press_ids: list[str]) -> None:
        if held := self._book.held(press_ids):
            self._bus.publish(Custody(held=tuple(held)))

    def _commit_alert(self, told: PressTold) -> None:
        press_id = told.press.press_id
        if press_id in self._committing:
            # A disk that hangs is not given the same row again each second.
            return
        self._committing.add(press_id)
        row = Row(press_id, "alert", outbox.ALERT, dump(self._alert(told, 1)), self._clock.utc_ns())

        def committed(shed: list[str] | None, error: StoreError | None) -> None:
            self._committing.discard(press_id)
            if error is None:
                self._book.committed(press_id)
                self._tell_custody([press_id])
                self._shed_rows(shed or [])

        self._writer.submit(lambda box: box.put(row), committed)

    def _alert(self, told: PressTold, attempt: int) -> Alert:
        return Alert(
            id=told.press.press_id,
            device=self._box.device,
            name=self._box.name,
            place=self._box.place,
            press=told.press,
            durable=told.durable,
            attempt=attempt,
        )

    def _send_due(self) -> None:
        """Alerts first; then what the window leaves for the rest."""
        now_ns = self._clock.mono_ns()
        for told in self._book.due(now_ns):
            attempt = self._book.published(told.press.press_id, now_ns)
            if not self._publish("alert", self._alert(told, attempt)):
                return
        for row in self._queue.take(now_ns) if self._session.up else []:
            if not self._publish_raw(row.channel, row.id, row.body, expiry_s=row.ttl_s):
                return

    # -- the session -------------------------------------------------------------------------------

    def _up(self) -> None:
        self._inflight.clear()
        self._book.link(True, self._clock.mono_ns())
        self._rebirth()
        self._send_due()
        self._tell_delivery()

    def _down(self, reason: str) -> None:
        log.warning("link down reason=%r", reason)
        self._inflight.clear()
        self._book.link(False, self._clock.mono_ns())
        self._queue.link_lost()
        self._tell_delivery()

    def _on_puback(self, mid: int, refusal: str) -> None:
        now_ns = self._clock.mono_ns()
        channel, message_id = self._inflight.pop(mid, ("", ""))
        if refusal:
            log.error("broker refused channel=%s id=%s reason=%r", channel, message_id, refusal)
        if channel == "alert":
            if refusal:
                self._book.refused(message_id)
            else:
                self._book.puback(message_id, now_ns)
            self._tell_delivery()
            self._send_due()
        elif channel in ("event", "result"):
            row = self._queue.puback(message_id, now_ns)
            if row is not None and channel == "result" and not refusal:
                self._remove(message_id)
            self._send_due()

    def _publish(
        self,
        channel: str,
        message: Model,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry_s: float | None = None,
    ) -> bool:
        message_id = str(getattr(message, "id", ""))
        return self._publish_raw(
            channel, message_id, dump(message), qos=qos, retain=retain, expiry_s=expiry_s
        )

    def _publish_raw(
        self,
        channel: str,
        message_id: str,
        body: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry_s: float | None = None,
    ) -> bool:
        topic = topics.box(self._box.city, self._box.device, channel)
        try:
            mid = self._session.publish(topic, body, qos=qos, retain=retain, expiry_s=expiry_s)
        except NotConnected:
            return False
        if qos:
            self._inflight[mid] = (channel, message_id)
        return True

    def _will(self) -> Will:
        """Made for each connection: the birth after it carries the same number."""
        self._counted += 1
        # Birth and heartbeats keep to the will's number, also when the outbox tells of a higher one later:
        # a will with a lower number than the birth's would be taken for an old one.
        number = self._reporter.session = self._counted

        def counted(stored: int | None, _error: StoreError | None) -> None:
            if stored is not None:
                self._counted = max(self._counted, stored)

        self._writer.submit(lambda box: box.next_session(number), counted)
        topic = topics.box(self._box.city, self._box.device, "birth")
        return Will(topic, dump(self._reporter.birth(online=False)))

    # -- inbound -----------------------------------------------------------------------------------

    def _on_desk(self, birth: DeskBirth) -> None:
        self._desks[birth.desk] = (self._clock.mono_ns(), birth.staffed)
        while len(self._desks) > 16:
            del self._desks[min(self._desks, key=lambda d: self._desks[d][0])]

    def _on_receipt(self, receipt: Receipt) -> None:
        """The only leave to drop a row of an alert or event."""
        self._book.receipt(receipt.of, self._clock.mono_ns())
        self._queue.remove(receipt.of)
        self._proof = {"last_receipt": receipt.stored_utc[:24]}
        of = receipt.of
        self._writer.submit(lambda box: box.receive(of), _logged("receipt", of))
        self._tell_custody([of])
        self._tell_delivery()

    def _on_ack(self, ack: Ack) -> None:
        if self._book.ack(ack):
            log.info(
                "ack incident_id=%s state=%s version=%d by=%r",
                ack.incident_id,
                ack.state,
                ack.version,
                ack.by,
            )
        self._tell_delivery()

    def _on_refused(self, channel: str, of: str | None, reason: str) -> None:
        """Every refusal is in the log; so many go back to the centre as it can stand."""
        if self._refusals_allowed.allow(self._clock.mono_ns()):
            result = self._reporter.result(of, channel, "refused", reason)
            self._publish("result", result, expiry_s=RESULT_TTL_S)

    def _rebirth(self) -> None:
        self._publish("birth", self._reporter.birth(online=True), retain=True)
        self._send_health()

    # -- events and rows ---------------------------------------------------------------------------

    def _events(self, facts: list[Fact]) -> None:
        for fact in facts:
            log.warning("event kind=%s severity=%s text=%r", fact.kind, fact.severity, fact.text)
            if not self._events_allowed.allow(self._clock.mono_ns()):
                self._shed.add("event")
                continue
            event = Event(
                id=uuid7(self._clock),
                device=self._box.device,
                place=self._box.place,
                kind=fact.kind,
                severity=fact.severity,
                at=self._reporter.stamp(),
                text=fact.text,
                data=fact.data,
            )
            self._keep(event.id, "event", PRIORITY[fact.severity], event, EVENT_TTL_S)

    def _keep(self, row_id: str, channel: str, priority: int, message: Model, ttl_s: int) -> None:
        """Into the outbox, and out as soon as the link lets it."""
        now = self._clock.read()
        # Age is told by UTC: what is made while nobody knows the time never grows too old.
        made_ns = now.utc_ns if now.trust == "synchronised" else 0
        row = Row(row_id, channel, priority, dump(message), made_ns, ttl_s)
        self._queue.add(row)

        def stored(shed: list[str] | None, error: StoreError | None) -> None:
            if error is not None:
                log.error("row only in memory id=%s reason=%r", row_id, str(error))
            self._shed_rows(shed or [])

        self._writer.submit(lambda box: box.put(row), stored)
        self._send_due()

    def _shed_rows(self, ids: list[str]) -> None:
        for row_id in ids:
            self._queue.remove(row_id)
            self._shed.add("event")

    def _remove(self, row_id: str) -> None:
        self._queue.remove(row_id)
        self._writer.submit(lambda box: box.remove(row_id), _logged("remove", row_id))

    def _load(self) -> None:
        """What the outbox has from before this start."""

        def loaded(found: tuple[list[Row], list[str], int] | None, error: StoreError | None) -> None:
            if found is None:
                log.error("outbox not read, trying again reason=%r", str(error))
                self._loop.call_later(1.0, self._load)
                return
            rows, received, number = found
            self._book.load_received(received)
            self._counted = max(self._counted, number)
            for row in rows:
                self._load_row(row)
            self._loaded.set()
            log.info("outbox read rows=%d received=%d", len(rows), len(received))
            self._send_due()
            if self._book.waits():
                self._session.hurry()

        self._writer.submit(lambda box: (box.rows(), box.received(), box.session()), loaded)

    def _load_row(self, row: Row) -> None:
        if row.channel != "alert":
            self._queue.add(row)
            return
        try:
            alert = inbound.parse(Alert, row.body)
        except Refused as refused:
            log.error("outbox row not understood id=%s reason=%r", row.id, str(refused))
            return
        edge_ns = alert.press.at.mono_ns
        told = PressTold(
            press=alert.press, durable=alert.durable, edge_ns=edge_ns, confirmed_ns=edge_ns, stored_ns=edge_ns
        )
        self._book.press(told, self._clock.mono_ns(), committed=True)

    def _store_fault(self, text: str) -> None:
        self._fault = text
        if text:
            log.error("outbox fault reason=%r", text)
            self._events([Fact("fault", "alarm", f"outbox: {text}"[:200], {"part": "outbox"})])
        else:
            self._events([Fact("fault", "info", "outbox works again", {"part": "outbox"})])

    # -- time --------------------------------------------------------------------------------------

    def _tick(self) -> None:
        now_ns = self._clock.mono_ns()
        self._send_due()
        if self._book.dead(now_ns):
            self._session.drop("an alert got no PUBACK")
        self._executor.tick()
        self._events(self._watch.tick(now_ns, self._clock.utc_ns()))
        if now_ns - self._retry_ns >= RETRY_COMMIT_NS:
            self._retry_ns = now_ns
            for told in self._book.uncommitted():
                self._commit_alert(told)
            self._expire()
        if now_ns - self._told_ns >= DELIVERY_EVERY_NS or self._delivery() != self._told:
            self._tell_delivery()

    def _expire(self) -> None:
        # Age is told by UTC, so a box that does not know the time throws nothing away.
        if self._clock.read().trust == "synchronised":
            for row_id in self._queue.expired(self._clock.utc_ns()):
                self._remove(row_id)

    def _delivery(self) -> Delivery:
        return Delivery(link=self._session.up, incidents=self._book.words(self._clock.mono_ns()))

    def _tell_delivery(self) -> None:
        self._told, self._told_ns = self._delivery(), self._clock.mono_ns()
        self._bus.publish(self._told)

    # -- health ------------------------------------------------------------------------------------

    def _on_sound(self, _sender: str, sound: Sound) -> None:
        self._sound = sound

    def _send_health(self) -> None:
        """At QoS 0 and with an expiry: a heartbeat that is late is worth nothing."""
        now_ns = self._clock.mono_ns()
        link: dict[str, str | float | int | bool | None] = {"connects": self._session.connects}
        if self._desks:
            heard_ns, staffed = max(self._desks.values())
            link.update(desk=now_ns - heard_ns < DESK_AWAY_NS, staffed=staffed)
        health = self._reporter.health(
            self._watch,
            link=link,
            incidents=self._book.open_incidents(),
            waiting=self._book.waits() + len(self._queue),
            outbox_fault=self._fault,
            sound=self._sound,
            proof=self._proof,
            shed=self._shed,
        )
        self._publish("health", health, qos=0, expiry_s=2 * self._config.uplink.health_s)


def _logged(what: str, of: str) -> Callable[[Any, StoreError | None], None]:
    """For writes that nothing waits for: they are repeated by what repeats the message."""

    def done(_result: Any, error: StoreError | None) -> None:
        if error is not None:
            log.error("outbox write failed what=%s id=%s reason=%r", what, of, str(error))

    return done
