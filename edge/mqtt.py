"""One MQTT 5 session over TLS on an asyncio loop: paho-mqtt as transport and nothing more.

A new paho client for each connection, so that nothing of an old one is sent unasked; what must survive is in
the outbox. Publishing is possible only while the session is up (from SUBACK to disconnect): before that paho
would reorder what it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.backoff import Backoff
from edge.errors import EdgeError

log = logging.getLogger(__name__)

# MQTT 5 section 3.2.2.2: who we are was not accepted, so trying again soon is of no use.
_REFUSED = {133, 134, 135, 138, 140}
_MISC_S = 1.0


class NotConnected(EdgeError, ConnectionError):
    """The session is not up; what was to be published stays where it is."""


@dataclass(frozen=True)
class Options:
    """Where to connect, and as whom."""

    host: str
    port: int
    client_id: str
    ca: Path
    cert: Path
    key: Path
    subscriptions: tuple[str, ...]
    keepalive_s: int = 20
    connect_timeout_s: float = 8
    session_expiry_s: int = 86400
    receive_maximum: int = 20


@dataclass(frozen=True)
class Will:
    """What the broker publishes, retained, `delay_s` after the session was lost."""

    topic: str
    payload: bytes
    delay_s: int = 10


class MqttSession:
    """Keeps one session up; `run` it as a task. All callbacks come on the loop.

    on_up()                       subscribed, publishing is possible
    on_down(reason)               not possible any longer
    on_message(topic, payload)
    on_puback(mid, refusal)       the broker has it; `refusal` is its reason when it did not take it, else ""
    """

    def __init__(
        self,
        options: Options,
        backoff: Backoff,
        *,
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        on_message: Callable[[str, bytes], None],
        on_puback: Callable[[int, str], None],
        will: Callable[[], Will] | None = None,
        alert_waits: Callable[[], bool] = lambda: False,
    ) -> None:
        self._options = options
        self._backoff = backoff
        self._on_up, self._on_down = on_up, on_down
        self._on_message, self._on_puback = on_message, on_puback
        self._will = will
        self._alert_waits = alert_waits
        self._client: paho.Client | None = None
        self._socket: Any = None
        self._up = False
        self._ended = asyncio.Event()
        self._reason = ""
        self._refused = False
        self._hurry = asyncio.Event()
        self._reading = False
        self.connects = 0
        """Sessions that came up since start."""

    @property
    def up(self) -> bool:
        return self._up

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: float | None = None
    ) -> int:
        """Hands a message to the transport; returns its MQTT packet id, which `on_puback` names.

        Raises:
            NotConnected: the session is not up.
        """
        if not self._up or self._client is None:
            raise NotConnected("the MQTT session is not up")
        expiry = {} if expiry_s is None else {"MessageExpiryInterval": max(1, round(expiry_s))}
        properties = _properties(PacketTypes.PUBLISH, **expiry)
        info = self._client.publish(topic, payload, qos=qos, retain=retain, properties=properties)
        self._flush()
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise NotConnected(paho.error_string(info.rc))
        return info.mid

    def hurry(self) -> None:
        """Ends the present pause: one attempt at once, for an alert."""
        self._hurry.set()

    def drop(self, reason: str) -> None:
        """Gives up a connection that does not answer; `run` makes a new one."""
        if self._client is not None:
            self._end(reason)

    async def run(self) -> None:
        """Connects, serves, and connects again, until cancelled."""
        try:
            while True:
                self._hurry.clear()
                pause = self._backoff.pause_s(alert=self._alert_waits())
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), pause)
                was_up = await self._one_connection()
                if not was_up:
                    self._backoff.failed(refused=self._refused)
        finally:
            self._end("closed")

    async def close(self) -> None:
        """Says good-bye, so that the broker does not send the will. Cancel `run` afterwards."""
        if self._client is not None and self._up:
            self._client.disconnect()
            self._flush()

    # -- one connection ------------------------------------------------------------------------

    async def _one_connection(self) -> bool:
        """From connect to the end of it; True if the session came up."""
        loop = asyncio.get_running_loop()
        self._ended.clear()
        self._reason, self._refused = "", False
        before = self.connects
        try:
            will = self._will() if self._will is not None else None
            client = await loop.run_in_executor(None, self._connect, will)
        except (OSError, ValueError) as error:
            # ssl.SSLError is an OSError; bad certificates are as hopeless as a refused name.
            self._refused = isinstance(error, (ssl.SSLError, FileNotFoundError, PermissionError))
            log.warning(
                "connect failed host=%s port=%d reason=%r", self._options.host, self._options.port, str(error)
            )
            return False
        self._client = client
        self._socket = client.socket()
        if self._socket is None:
            self._client = None
            return False
        loop.add_reader(self._socket, self._readable)
        self._flush()
        misc = loop.create_task(self._misc(client), name="mqtt-misc")
        try:
            await self._ended.wait()
        finally:
            misc.cancel()
            self._end("closed")
        log.warning("session ended reason=%r", self._reason)
        return self.connects > before

    def _connect(self, will: Will | None) -> paho.Client:
        """In a thread: name look-up, TCP and TLS handshake block."""
        o = self._options
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(o.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(str(o.cert), str(o.key))
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=o.client_id, protocol=paho.MQTTv5)
        client.tls_set_context(context)
        client.connect_timeout = o.connect_timeout_s
        client.max_inflight_messages_set(100)
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_message = lambda _c, _u, m: self._on_message(m.topic, bytes(m.payload))
        client.on_publish = self._published
        client.on_disconnect = lambda _c, _u, _f, code, _p: self._end(str(code))
        client.on_socket_close = lambda _c, _u, sock: self._forget(sock)
        if will is not None:
            delay = _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=will.delay_s)
            client.will_set(will.topic, will.payload, qos=1, retain=True, properties=delay)
        properties = _properties(
            PacketTypes.CONNECT, SessionExpiryInterval=o.session_expiry_s, ReceiveMaximum=o.receive_maximum
        )
        client.connect(o.host, o.port, keepalive=o.keepalive_s, clean_start=False, properties=properties)
        sock = client.socket()
        if sock is not None and hasattr(sock, "setsockopt"):
            # An alert is small and follows other small messages: it must not wait for their TCP ACK.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def _connected(self, client: paho.Client, _u: Any, _flags: Any, code: ReasonCode, _p: Any) -> None:
        if code.is_failure:
            self._refused = code.value in _REFUSED
            self._end(f"broker refused: {code}")
            return
        client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in self._options.subscriptions])

    def _subscribed(self, _c: paho.Client, _u: Any, _mid: int, codes: list[ReasonCode], _p: Any) -> None:
        bad = [
            f"{topic}: {code}"
            for topic, code in zip(self._options.subscriptions, codes, strict=False)
            if code.is_failure
        ]
        if bad:
            self._refused = True
            self._end(f"subscription refused: {'; '.join(bad)}")
            return
        self._up = True
        self.connects += 1
        self._backoff.succeeded()
        log.info(
            "session up host=%s port=%d connects=%d", self._options.host, self._options.port, self.connects
        )
        self._on_up()

    def _published(self, _c: paho.Client, _u: Any, mid: int, code: ReasonCode, _p: Any) -> None:
        self._on_puback(mid, str(code) if code.is_failure else "")

    def _readable(self) -> None:
        client, sock = self._client, self._socket
        if client is None:
            return
        self._reading = True
        while True:
            client.loop_read()
            # TLS may hold decrypted bytes that no select() will ever announce.
            if self._socket is not sock or sock is None or not sock.pending():
                break
        self._reading = False
        self._flush()

    def _flush(self) -> None:
        """Writes what paho has queued; waits for the socket only when it is full."""
        client = self._client
        # Inside a callback paho holds a lock that writing wants too; `_readable` flushes after it.
        if client is None or self._socket is None or self._reading:
            return
        if client.want_write():
            client.loop_write()
        if self._socket is None:
            return
        loop = asyncio.get_running_loop()
        if client.want_write():
            loop.add_writer(self._socket, self._flush)
        else:
            loop.remove_writer(self._socket)

    async def _misc(self, client: paho.Client) -> None:
        while True:
            await asyncio.sleep(_MISC_S)
            client.loop_misc()
            self._flush()

    def _forget(self, sock: Any) -> None:
        """paho is about to close the socket: the loop must not watch it any longer."""
        if sock is self._socket:
            loop = asyncio.get_running_loop()
            loop.remove_reader(sock)
            loop.remove_writer(sock)
            self._socket = None

    def _end(self, reason: str) -> None:
        """The connection is over; safe to call from anywhere, any number of times."""
        client, self._client = self._client, None
        was_up, self._up = self._up, False
        self._reason = self._reason or reason
        if self._socket is not None:
            sock = self._socket
            self._forget(sock)
            with contextlib.suppress(OSError):
                sock.close()
        if client is not None:
            client.on_disconnect = None
        self._ended.set()
        if was_up:
            self._on_down(reason)


def _properties(packet: int, **values: int) -> Properties:
    properties: Any = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties  # type: ignore[no-any-return]
