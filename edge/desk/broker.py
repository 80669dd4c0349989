"""The desk's end of MQTT: messages of boxes in through the one door, receipts, states and commands out.

What was handed to the transport is kept until the broker acknowledges it, and goes again over the next
connection. That saves the boxes a repetition; it is no promise. Promises are the store and repeated states.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence

from edge import config
from edge.backoff import Backoff
from edge.clock import Clock, iso_utc
from edge.desk.records import Send, SendAck, SendCommand, SendReceipt
from edge.desk.service import Service
from edge.errors import Refused
from edge.ids import uuid7
from edge.mqtt import MqttSession, NotConnected, Options
from edge.protocol import topics
from edge.protocol.common import Model
from edge.protocol.inbound import parse
from edge.protocol.wire import FROM_BOX, Ack, DeskBirth, Receipt, Result, dump

log = logging.getLogger(__name__)

SESSION_EXPIRY_S = 7 * 86400
RECEIVE_MAXIMUM = 100
RECONNECT_MAX_S = 10.0
"""A desk is one, and everybody waits for it: it tries again soon."""
PRESENCE_EXPIRY_S = 30.0
MAX_HELD = 5000
"""Messages held while the session is down; beyond that the oldest go, and boxes ask again by themselves."""


class Broker:
    """Give it to the keeper for `send` and `presence`; run `session.run` as a task."""

    def __init__(self, desk: config.Desk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock
        self._service: Service | None = None
        self._held: deque[Send] = deque(maxlen=MAX_HELD)
        self._flying: dict[int, Send] = {}
        self.session = MqttSession(
            Options(
                host=desk.broker_host,
                port=desk.broker_port,
                client_id=desk.id,
                ca=desk.ca,
                cert=desk.cert,
                key=desk.key,
                subscriptions=tuple(topics.box(desk.city, "+", channel) for channel in FROM_BOX),
                session_expiry_s=SESSION_EXPIRY_S,
                receive_maximum=RECEIVE_MAXIMUM,
            ),
            Backoff(desk.id, cap_s=RECONNECT_MAX_S, first_spread_s=0),
            on_up=self._up,
            on_down=self._down,
            on_message=self.receive,
            on_puback=self._acknowledged,
        )

    def attach(self, service: Service) -> None:
        self._service = service

    # -- in ------------------------------------------------------------------------------------

    def receive(self, topic: str, payload: bytes) -> None:
        """One message, whoever it claims to be from; refused with a reason, or taken."""
        assert self._service is not None
        device, channel = None, ""
        try:
            found = topics.parse(topic)
            if found.party != "box" or found.city != self._desk.city or found.channel not in FROM_BOX:
                raise Refused(f"not a topic this desk listens to: {topic[:80]!r}")
            device, channel = found.name, found.channel
            message = parse(FROM_BOX[channel], payload)
            claimed = getattr(message, "device", None)
            if claimed != device:
                raise Refused("device: is not the device of the topic")
        except Refused as error:
            self._service.refuse(device, channel, str(error))
            return
        if isinstance(message, Result) and message.status == "refused":
            log.warning("box refused a message device=%s of=%s reason=%r", device, message.of, message.reason)
        self._service.take(message, channel)  # type: ignore[arg-type]

    # -- out -----------------------------------------------------------------------------------

    def send(self, sends: Sequence[Send]) -> None:
        """Publishes, or holds until the session is up."""
        for send in sends:
            if self.session.up:
                self._publish(send)
            else:
                self._hold(send)

    def presence(self) -> None:
        """This desk stores alerts, and so many people watch. Skipped while the session is down."""
        assert self._service is not None
        birth = DeskBirth(
            id=uuid7(self._clock),
            desk=self._desk.id,
            utc=iso_utc(self._clock.utc_ns()),
            staffed=self._service.hub.staffed,
        )
        topic = topics.desk(self._desk.city, self._desk.id)
        try:
            self.session.publish(topic, dump(birth), retain=True, expiry_s=PRESENCE_EXPIRY_S)
        except NotConnected as error:
            log.debug("presence not sent reason=%r", str(error))

    def _publish(self, send: Send) -> None:
        channel, message, expiry_s = self._message(send)
        topic = topics.box(self._desk.city, send.device, channel)
        try:
            self._flying[self.session.publish(topic, dump(message), expiry_s=expiry_s)] = send
        except NotConnected:
            self._hold(send)

    def _hold(self, send: Send) -> None:
        # A command is for now: late, it would surprise whoever stands at the box. It shows as unanswered.
        if not isinstance(send, SendCommand):
            self._held.append(send)

    def _message(self, send: Send) -> tuple[str, Model, float | None]:
        match send:
            case SendReceipt():
                utc = iso_utc(self._clock.utc_ns())
                receipt = Receipt(id=uuid7(self._clock), of=send.of, desk=self._desk.id, stored_utc=utc)
                return "receipt", receipt, None
            case SendAck():
                ack = Ack(
                    id=uuid7(self._clock),
                    incident_id=send.incident_id,
                    state=send.state,
                    version=send.version,
                    desk=self._desk.id,
                    by=send.by,
                    disposition=send.disposition,
                )
                return "ack", ack, None
            case SendCommand():
                return "cmd", send.command, send.command.ttl_s

    # -- the session ---------------------------------------------------------------------------

    def _up(self) -> None:
        assert self._service is not None
        self._service.link_changed(True)
        held = list(self._held)
        self._held.clear()
        self.send(held)

    def _down(self, reason: str) -> None:
        assert self._service is not None
        for send in self._flying.values():
            self._hold(send)
        self._flying.clear()
        self._service.link_changed(False, reason)

    def _acknowledged(self, mid: int, refusal: str) -> None:
        send = self._flying.pop(mid, None)
        if refusal and send is not None:
            log.warning("broker refused a message device=%s reason=%s", send.device, refusal)
