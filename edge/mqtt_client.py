"""A paho-mqtt client for one connection: MQTT 5 over TLS with a client certificate."""

from __future__ import annotations

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
    maximum_packet: int = 16384
    """Bytes of the longest packet the broker may send; no message of the protocol comes near it."""


@dataclass(frozen=True)
class Will:
    """What the broker publishes, retained, `delay_s` after the session was lost."""

    topic: str
    payload: bytes
    delay_s: int = 10


Prepare = Callable[[paho.Client], None]
"""Sets the callbacks of a client that has not connected yet."""
Connect = Callable[[Options, Will | None, Prepare], paho.Client]


def connect(options: Options, will: Will | None, prepare: Prepare) -> paho.Client:
    """A paho client whose TLS handshake is done and whose CONNECT is queued; blocks for all of it.

    Raises:
        OSError: no connection; `ssl.SSLError` when a certificate is not good, `FileNotFoundError` when one is
            absent.
        ValueError: host name or key file cannot be used.
    """
    o = options
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(o.ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(str(o.cert), str(o.key))
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=o.client_id, protocol=paho.MQTTv5)
    client.tls_set_context(context)
    client.connect_timeout = o.connect_timeout_s
    prepare(client)
    if will is not None:
        delay = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=will.delay_s)
        client.will_set(will.topic, will.payload, qos=1, retain=True, properties=delay)
    extra = properties(
        PacketTypes.CONNECT,
        SessionExpiryInterval=o.session_expiry_s,
        ReceiveMaximum=o.receive_maximum,
        MaximumPacketSize=o.maximum_packet,
    )
    client.connect(o.host, o.port, keepalive=o.keepalive_s, clean_start=False, properties=extra)
    sock: Any = client.socket()
    if sock is None:
        raise ConnectionError("the broker hung up at once")
    # An alert is small and follows other small messages: it must not wait for their TCP ACK.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def properties(packet: int, **values: int) -> Properties:
    """MQTT 5 properties of a packet, by the names of section 2.2.2.2."""
    found: Any = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(found, name, value)
    return found  # type: ignore[no-any-return]
