"""One MQTT 5 session over TLS on an asyncio loop: paho-mqtt as transport and nothing more.

A new paho client for each connection, so that nothing of an old one is sent unasked; what must survive is in
the outbox. Publishing is possible only while the session is up (from SUBACK to disconnect): before that paho
would reorder what it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
import threading
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.backoff import Backoff
from edge.errors import EdgeError
from edge.mqtt_client import Connect, connect, properties
from edge.mqtt_client import Options as Options
from edge.mqtt_client import Will as Will

log = logging.getLogger(__name__)

# MQTT 5 section 3.2.2.2: who we are was not accepted, so trying again soon is of no use.
_REFUSED = {133, 134, 135, 138, 140}
_TAKEN_OVER = 142
# With TLS 1.3 a broker refuses our certificate after our end of the handshake is done. Its alert is lost when
# our CONNECT crosses it, so one who hangs up on us again before it answered is taken to have said the same.
_TLS_REFUSED = re.compile(r"ALERT_\w*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)")
_UNANSWERED = 2
_MISC_S = 1.0
_IN_FLIGHT = 20
STEADY_S = 10.0
"""A session that ended sooner counts as a failure: a broker that drops what it accepted is spared too."""


class NotConnected(EdgeError, ConnectionError):
    """The session is not up; what was to be published stays where it is."""


class MqttSession:
    """Keeps one session up; `run` it as a task. All callbacks come on the loop, and may publish and drop.

    A callback that raises is logged, and what it was told is passed over: told again it would raise again.

    on_up()                       subscribed, publishing is possible
    on_down(reason)               not possible any longer
    on_message(topic, payload)
    on_puback(mid, refusal)       of QoS 1: the broker has it; `refusal` is why it did not take it, else ""
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
        connect: Connect = connect,
    ) -> None:
        """`connect` makes a connection, in a thread of its own."""
        self._options = options
        self._backoff = backoff
        self._on_up, self._on_down = on_up, on_down
        self._on_message, self._on_puback = on_message, on_puback
        self._will = will
        self._alert_waits = alert_waits
        self._connect = connect
        self._client: paho.Client | None = None
        self._socket: Any = None
        self._up = False
        self._ended = asyncio.Event()
        self._reason = ""
        self._refused = False
        self._complaint = ""
        """paho's last word about the socket."""
        self._hurry = asyncio.Event()
        self._inside = False
        """In a call into paho, and so perhaps in one of its callbacks."""
        self._unanswered = 0
        """Connections in a row that ended before CONNACK."""
        self._in_flight = _IN_FLIGHT
        """Messages at QoS 1 that may be with the broker unacknowledged."""
        self._unacknowledged: set[int] = set()
        self._steady: asyncio.TimerHandle | None = None
        self._was_steady = False
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
        extra = properties(PacketTypes.PUBLISH, **expiry)
        info = self._client.publish(topic, payload, qos=qos, retain=retain, properties=extra)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise NotConnected(paho.error_string(info.rc))
        if qos:
            self._unacknowledged.add(info.mid)
        self._flush()
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
                    async with asyncio.timeout(pause):
                        await self._hurry.wait()
                steady = await self._one_connection()
                if not steady:
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
        """From connect to the end of it; True if the session was a steady one."""
        loop = asyncio.get_running_loop()
        self._ended.clear()
        self._reason, self._refused, self._complaint = "", False, ""
        self._unacknowledged.clear()
        self._was_steady = False
        try:
            will = self._will() if self._will is not None else None
            client = await self._connecting(will)
        except (OSError, ValueError) as error:
            # ssl.SSLError is an OSError; bad certificates are as hopeless as a refused name.
            self._refused = isinstance(error, (ssl.SSLError, FileNotFoundError, PermissionError))
            o = self._options
            log.warning("connect failed host=%s port=%d reason=%r", o.host, o.port, str(error))
            return False
        self._client = client
        self._socket = client.socket()
        self._unanswered += 1
        loop.add_reader(self._socket, self._readable)
        self._flush()
        misc = loop.create_task(self._misc(client), name="mqtt-misc")
        try:
            await self._ended.wait()
        finally:
            misc.cancel()
            self._end("closed")
        log.warning("session ended reason=%r", self._reason)
        self._refused = self._refused or self._unanswered >= _UNANSWERED
        return self._was_steady

    async def _connecting(self, will: Will | None) -> paho.Client:
        """`connect` in a thread that nobody waits for: the process may end while no broker answers."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[paho.Client] = loop.create_future()

        def settle(client: paho.Client | Exception) -> None:
            if outcome.cancelled():
                if isinstance(client, paho.Client) and (sock := client.socket()) is not None:
                    sock.close()
            elif isinstance(client, Exception):
                outcome.set_exception(client)
            else:
                outcome.set_result(client)

        def work() -> None:
            try:
                found: paho.Client | Exception = self._connect(self._options, will, self._prepare)
            except Exception as error:
                found = error
            with contextlib.suppress(RuntimeError):  # the loop may be gone already
                loop.call_soon_threadsafe(settle, found)

        threading.Thread(target=work, name="connect", daemon=True).start()
        return await outcome

    def _prepare(self, client: paho.Client) -> None:
        client.max_inflight_messages_set(self._in_flight)
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_message = lambda _c, _u, m: self._tell(self._message, m)
        client.on_publish = self._published
        client.on_disconnect = self._disconnected
        client.on_log = self._complained
        client.on_socket_close = lambda _c, _u, sock: self._forget(sock)
        # With this paho only queues what it is given, and writes when `_flush` lets it.
        client.on_socket_register_write = lambda _c, _u, _sock: None

    def _connected(
        self, client: paho.Client, _u: Any, _flags: Any, code: ReasonCode, answer: Properties | None
    ) -> None:
        self._unanswered = 0
        if code.is_failure:
            self._refused = code.value in _REFUSED
            self._end(f"broker refused: {code}")
            return
        takes = getattr(answer, "ReceiveMaximum", self._in_flight)
        if takes < self._in_flight:
            # MQTT 5 section 3.3.4: it may end the session of one who sends more than it takes at a time, and
            # paho can be told only before it connects.
            self._in_flight = takes
            self._end(f"the broker takes {takes} messages at a time: connecting again to keep to that")
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
        self._steady = asyncio.get_running_loop().call_later(STEADY_S, self._is_steady)
        o = self._options
        log.info("session up host=%s port=%d connects=%d", o.host, o.port, self.connects)
        self._tell(self._on_up)

    def _is_steady(self) -> None:
        self._was_steady = True
        self._backoff.succeeded()

    def _message(self, message: paho.MQTTMessage) -> None:
        self._on_message(message.topic, bytes(message.payload))

    def _published(self, _c: paho.Client, _u: Any, mid: int, code: ReasonCode, _p: Any) -> None:
        # paho calls this for QoS 0 too, when it was written; that is no word of the broker.
        if mid in self._unacknowledged:
            self._unacknowledged.discard(mid)
            self._tell(self._on_puback, mid, str(code) if code.is_failure else "")

    def _complained(self, _c: paho.Client, _u: Any, level: int, text: str) -> None:
        if level == paho.MQTT_LOG_ERR:
            self._complaint = text

    def _disconnected(self, _c: paho.Client, _u: Any, _flags: Any, code: ReasonCode, _p: Any) -> None:
        if code.value == _TAKEN_OVER:
            log.error("another client has our identity client_id=%s", self._options.client_id)
        # Both ends of a stolen or doubled identity would throw each other out without a pause.
        self._refused = code.value == _TAKEN_OVER or bool(_TLS_REFUSED.search(self._complaint))
        self._end(f"{code} ({self._complaint})" if self._complaint else str(code))

    @staticmethod
    def _tell(callback: Callable[..., None], *args: object) -> None:
        try:
            callback(*args)
        except Exception:
            log.exception("callback failed name=%s", getattr(callback, "__name__", "?"))

    def _readable(self) -> None:
        client, sock = self._client, self._socket
        if client is None:
            return
        while True:
            self._call(client.loop_read)
            # TLS may hold decrypted bytes that no select() will ever announce.
            if self._socket is not sock or sock is None or not sock.pending():
                break
        self._flush()

    def _call(self, into_paho: Callable[[], object]) -> None:
        """A call into paho. Callbacks run inside of it, holding a lock that writing wants too.

        It raises for packets it cannot take apart: then there is no going on with this connection.
        """
        self._inside = True
        try:
            into_paho()
        except Exception as error:
            log.exception("transport failed")
            self._end(f"transport failed: {error!r}")
        finally:
            self._inside = False

    def _flush(self) -> None:
        """Writes what paho has queued; waits for the socket only when it is full."""
        client = self._client
        # Whoever called paho flushes when it is out of there.
        if client is None or self._socket is None or self._inside:
            return
        if client.want_write():
            self._call(client.loop_write)
        if self._socket is None or self._client is not client:
            return
        loop = asyncio.get_running_loop()
        if client.want_write():
            loop.add_writer(self._socket, self._flush)
        else:
            loop.remove_writer(self._socket)

    async def _misc(self, client: paho.Client) -> None:
        while True:
            await asyncio.sleep(_MISC_S)
            self._call(client.loop_misc)
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
        if self._steady is not None:
            self._steady.cancel()
            self._steady = None
        self._ended.set()
        if was_up:
            self._tell(self._on_down, reason)
