"""The reference broker configuration of a centre, proved on a real Mosquitto."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
import pytest_asyncio
from paho.mqtt.enums import CallbackAPIVersion

from edge.errors import SetupFailed
from edge.sim.broker import Broker, acl, configuration
from edge.sim.pki import Identity, Pki

NOT_AUTHORISED = 135
CITY = "karnal"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broker]:
    folder = tmp_path_factory.mktemp("b")
    broker = Broker(folder / "broker", Pki(folder / "pki"), CITY, desks=("desk-1", "desk-2"))
    await broker.start()
    yield broker
    await broker.stop()


class Peer:
    """An MQTT 5 client with what it heard and which reason codes it was given."""

    def __init__(self, broker: Broker, identity: Identity | None, ca: Path, client_id: str) -> None:
        self.heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.closed = threading.Event()
        self._answers: queue.Queue[int] = queue.Queue()
        self._acks: queue.Queue[int] = queue.Queue()
        self.connected: queue.Queue[int] = queue.Queue()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=mqtt.MQTTv5)
        context = ssl.create_default_context(cafile=str(ca))
        if identity is not None:
            context.load_cert_chain(identity.cert, identity.key)
        self.client.tls_set_context(context)
        self.client.on_message = lambda _c, _u, m: self.heard.put((m.topic, m.payload))
        self.client.on_publish = lambda _c, _u, _mid, code, _p: self._acks.put(code.value)
        self.client.on_subscribe = lambda _c, _u, _mid, codes, _p: self._answers.put(codes[0].value)
        self.client.on_connect = lambda _c, _u, _f, code, _p: self.connected.put(code.value)
        self.client.on_disconnect = lambda *_: self.closed.set()
        self._port = broker.port

    def __enter__(self) -> Peer:
        self.client.connect("127.0.0.1", self._port)
        self.client.loop_start()
        assert self.connected.get(timeout=5) == 0
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def publish(self, topic: str, payload: bytes = b"x", retain: bool = False) -> int:
        """The reason code of the PUBACK."""
        self.client.publish(f"{CITY}/v1/{topic}", payload, 1, retain)
        return self.next_ack()

    def next_ack(self) -> int:
        return self._acks.get(timeout=10)

    def subscribe(self, pattern: str) -> None:
        self.client.subscribe(pattern, qos=1)
        self._answers.get(timeout=5)

    def next(self) -> str:
        return self.heard.get(timeout=5)[0].removeprefix(f"{CITY}/v1/")


@contextlib.contextmanager
def peer(broker: Broker, name: str, client_id: str | None = None) -> Iterator[Peer]:
    pki = broker._pki
    with Peer(broker, pki.client(name), pki.ca, client_id or name) as peer:
        yield peer


FROM_BOX = ("birth", "health", "alert", "event", "call", "result", "reported")
TO_BOX = ("ack", "receipt", "cmd", "config", "signal")


def test_every_channel_goes_its_way_between_a_box_and_a_desk(broker: Broker) -> None:
    with peer(broker, "box-1") as box, peer(broker, "desk-1") as desk:
        desk.subscribe(f"{CITY}/v1/box/+/+")
        box.subscribe(f"{CITY}/v1/box/box-1/+")
        for channel in FROM_BOX:
            assert box.publish(f"box/box-1/{channel}") in (0, 16)  # 16: granted, nobody subscribed
            assert desk.next() == f"box/box-1/{channel}"
        for channel in TO_BOX:
            assert desk.publish(f"box/box-1/{channel}") == 0
            assert box.next() == f"box/box-1/{channel}"


def _denied(broker: Broker, *tries: tuple[str, str]) -> None:
    """Each (client, topic) is refused. All at once and each client once: Mosquitto takes a second over it."""
    with contextlib.ExitStack() as stack:
        peers = [(stack.enter_context(peer(broker, name)), topic) for name, topic in tries]
        for client, topic in peers:
            client.client.publish(f"{CITY}/v1/{topic}", b"x", 1)
        codes = {topic: client.next_ack() for client, topic in peers}
    assert {topic: code for topic, code in codes.items() if code != NOT_AUTHORISED} == {}


def test_a_box_cannot_write_another_boxs_topics(broker: Broker) -> None:
    _denied(broker, *((f"box-{c}", f"box/box-2/{c}") for c in (*FROM_BOX, *TO_BOX)))


def test_a_box_cannot_write_its_own_inbound_topics_nor_any_of_another_form(broker: Broker) -> None:
    _denied(broker, *((f"box-{c}", f"box/box-{c}/{c}") for c in TO_BOX))
    strange = ("box/box-0", "box/box-1/alert/more", "box/box-2/other", "alert")
    _denied(broker, *((f"box-{n}", topic) for n, topic in enumerate(strange)))


def test_a_box_cannot_pose_as_a_desk(broker: Broker) -> None:
    topics = ("desk/desk-1/birth", "desk/box-1/birth", "desk/new/birth")
    _denied(broker, *((f"box-{n}", topic) for n, topic in enumerate(topics)))


def test_a_desk_cannot_speak_for_a_box_or_for_another_desk(broker: Broker) -> None:
    _denied(broker, ("desk-1", "desk/desk-2/birth"), ("desk-2", "box/box-1/alert"))
    _denied(broker, ("desk-1", "box/box-1/birth"))


def test_a_desk_without_a_section_has_no_more_rights_than_a_box(broker: Broker) -> None:
    _denied(broker, ("desk-8", "desk/desk-8/birth"), ("desk-9", "box/box-1/ack"))


@pytest.mark.parametrize("pattern", ["#", f"{CITY}/v1/box/+/+", f"{CITY}/v1/box/box-2/+", "+/+/+/+/+"])
def test_a_box_hears_nothing_of_another_whatever_it_subscribes(broker: Broker, pattern: str) -> None:
    with peer(broker, "box-1") as box, peer(broker, "box-2") as other, peer(broker, "desk-1") as desk:
        box.subscribe(pattern)
        other.publish("box/box-2/alert")
        other.publish("box/box-2/birth", retain=True)
        desk.publish("box/box-2/ack")
        box.publish("box/box-1/alert")
        box.subscribe(f"{CITY}/v1/box/box-1/cmd")
        desk.publish("box/box-1/cmd")
        # What was published before it would have come before it.
        heard = [box.next()]
        with contextlib.suppress(queue.Empty):
            while True:  # twice, where both subscriptions match
                heard.append(box.heard.get(timeout=0.2)[0].removeprefix(f"{CITY}/v1/"))
        assert set(heard) == {"box/box-1/cmd"}


def test_a_box_hears_that_a_desk_is_there(broker: Broker) -> None:
    with peer(broker, "box-1") as box, peer(broker, "desk-2") as desk:
        box.subscribe(f"{CITY}/v1/desk/+/birth")
        assert desk.publish("desk/desk-2/birth") == 0
        assert box.next() == "desk/desk-2/birth"


def test_a_client_id_other_than_the_name_in_the_certificate_is_replaced(broker: Broker) -> None:
    with peer(broker, "box-2") as other:
        with peer(broker, "box-1", client_id="box-2"):
            assert other.publish("box/box-2/alert") in (0, 16)  # box-2's session was not taken over
        with peer(broker, "box-1", client_id="any") as first, peer(broker, "box-1", client_id="thing"):
            assert first.closed.wait(5)  # both are box-1, and a client id has one session


def _refused(broker: Broker, identity: Identity | None, ca: Path) -> None:
    peer = Peer(broker, identity, ca, "box-1")
    with contextlib.suppress(OSError):
        # With TLS 1.3 the refusal comes after the client's own handshake is over.
        peer.client.connect("127.0.0.1", peer._port)
        while peer.client.loop(1) == mqtt.MQTT_ERR_SUCCESS:
            assert peer.connected.empty()
    assert peer.connected.empty()


def test_without_a_certificate_nobody_connects(broker: Broker) -> None:
    _refused(broker, None, broker._pki.ca)


def test_with_a_certificate_of_another_ca_nobody_connects(broker: Broker, tmp_path: Path) -> None:
    _refused(broker, Pki(tmp_path).client("box-1"), broker._pki.ca)


def test_a_client_refuses_a_broker_of_another_ca(broker: Broker, tmp_path: Path) -> None:
    stranger = Peer(broker, broker._pki.client("box-1"), Pki(tmp_path).ca, "box-1")
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.client.connect("127.0.0.1", broker.port)


async def test_a_clean_stop_keeps_what_is_retained_and_a_wiped_store_forgets_it(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "b", Pki(tmp_path / "pki"), CITY)

    def heard() -> str:
        with peer(broker, "desk-1") as desk:
            desk.subscribe(f"{CITY}/v1/box/+/birth")
            say("box-2")  # retained messages come before new ones
            return desk.next()

    def say(box: str) -> None:
        with peer(broker, box) as client:
            client.publish(f"box/{box}/birth", b"on", retain=True)

    await broker.start()
    await asyncio.to_thread(say, "box-1")
    with pytest.raises(SetupFailed, match="stop or kill it"):
        broker.wipe_store()
    await broker.stop()
    assert broker.pid is None
    await broker.start()
    assert await asyncio.to_thread(heard) == "box/box-1/birth"
    await broker.kill()
    broker.wipe_store()
    await broker.start()
    assert await asyncio.to_thread(heard) == "box/box-2/birth"
    await broker.stop()


async def test_a_broker_that_cannot_start_says_why_in_its_own_words(tmp_path: Path) -> None:
    first = Broker(tmp_path / "1", Pki(tmp_path / "pki"), CITY)
    await first.start()
    second = Broker(tmp_path / "2", Pki(tmp_path / "pki"), CITY, port=first.port)
    second._listens = lambda: asyncio.sleep(0, False)  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(SetupFailed, match="Address already in use"):
        await second.start()
    await first.stop()


def test_the_reference_acl_gets_a_section_for_each_desk_and_the_citys_name() -> None:
    reference = (Path(__file__).parents[2] / "firmware_config/centre/acl").read_text()
    rules = acl(reference, "pune", ("north", "south")).splitlines()
    granted = [line for line in rules if line and not line.startswith("#")]
    assert "topic write pune/v1/desk/north/birth" in granted
    assert granted.count("topic write pune/v1/box/+/ack") == 2
    assert not any("city/" in line or "desk-1" in line for line in granted)
    assert all(line.split()[-1].count("/") == 4 for line in granted if not line.startswith("user"))


def test_a_key_the_reference_lacks_is_put_in_front_of_it() -> None:
    assert configuration("a 1\n# b 2\nb 3\n", {"b": "4", "c": "5"}) == "c 5\na 1\n# b 2\nb 4\n"


def test_the_listener_asks_for_a_certificate_and_tls_1_2(broker: Broker) -> None:
    written: Any = dict(
        line.split(" ", 1)
        for line in (broker._folder / "mosquitto.conf").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert written["tls_version"] == "tlsv1.2"
    for key in ("require_certificate", "use_identity_as_username", "use_username_as_clientid", "persistence"):
        assert written[key] == "true", key
    assert written["allow_anonymous"] == "false"
    assert written["max_queued_messages"] == "0"
