"""The desk as a process against a real Mosquitto with TLS, with a box played by a bare MQTT session."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge import cli, config
from edge.backoff import Backoff
from edge.clock import ManualClock
from edge.desk import main
from edge.desk.broker import Broker as DeskBroker
from edge.desk.records import timeline
from edge.desk.store import Store
from edge.errors import ConfigError
from edge.mqtt import MqttSession, Options
from edge.protocol import topics
from edge.protocol.inbound import parse
from edge.protocol.wire import TO_BOX, DeskBirth, dump
from edge.sim.broker import Broker, free_port
from edge.sim.pki import Pki
from tests.desk.wire import alert, birth, event, health, uid

CITY = "karnal"


class BoxEnd:
    """A box's end of MQTT, and what the desk has told it."""

    def __init__(self, pki: Pki, port: int, device: str = "box-1") -> None:
        identity = pki.client(device)
        self.device = device
        self.heard: list[tuple[str, Any]] = []
        self.news = asyncio.Condition()
        self.up = asyncio.Event()
        watched = [topics.box(CITY, device, channel) for channel in TO_BOX] + [topics.desk(CITY, "+")]
        self.session = MqttSession(
            Options(
                "127.0.0.1", port, device, pki.ca, identity.cert, identity.key, subscriptions=tuple(watched)
            ),
            Backoff(device, cap_s=0.2, first_spread_s=0),
            on_up=self.up.set,
            on_down=lambda _reason: self.up.clear(),
            on_message=self._message,
            on_puback=lambda _mid, _refusal: None,
        )
        self.task = asyncio.get_running_loop().create_task(self.session.run())

    def _message(self, topic: str, payload: bytes) -> None:
        channel = topic.rsplit("/", 1)[1]
        self.heard.append((channel, parse({**TO_BOX, "birth": DeskBirth}[channel], payload)))
        self.tasks = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        async with self.news:
            self.news.notify_all()

    def say(self, message: Any, channel: str, retain: bool = False) -> None:
        self.raw(dump(message), channel, retain)

    def raw(self, payload: bytes, channel: str, retain: bool = False) -> None:
        self.session.publish(topics.box(CITY, self.device, channel), payload, retain=retain)

    async def told(self, wanted: Callable[[str, Any], bool], count: int = 1) -> list[Any]:
        """The first messages that fit, as soon as there are so many."""
        async with asyncio.timeout(20), self.news:
            await self.news.wait_for(lambda: sum(wanted(c, m) for c, m in self.heard) >= count)
        return [m for c, m in self.heard if wanted(c, m)]

    async def close(self) -> None:
        await self.session.close()
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


class Centre:
    """Broker and desk; the desk can be ended and begun again."""

    def __init__(self, folder: Path) -> None:
        self.pki = Pki(folder / "pki")
        self.broker = Broker(folder / "broker", self.pki, CITY, ["desk-1"])
        identity = self.pki.client("desk-1")
        self.desk = config.Desk(
            id="desk-1",
            city=CITY,
            data=folder / "desk",
            broker_port=self.broker.port,
            ca=self.pki.ca,
            cert=identity.cert,
            key=identity.key,
            http_port=free_port(),
            token_file=folder / "token",
            presence_s=0.2,
        )
        self.stop = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        self.stop.clear()
        self.task = asyncio.get_running_loop().create_task(main.run(self.desk, self.stop))

    async def end(self) -> None:
        self.stop.set()
        if self.task is not None:
            await self.task
            self.task = None

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.desk.http_port}",
            headers={"Authorization": f"Bearer {self.desk.token_file.read_text().strip()}"},
        )


@pytest.fixture
async def centre(tmp_path: Path) -> AsyncIterator[Centre]:
    made = Centre(tmp_path)
    await made.broker.start()
    await made.begin()
    yield made
    await made.end()
    await made.broker.stop()


@pytest.fixture
async def box(centre: Centre) -> AsyncIterator[BoxEnd]:
    end = BoxEnd(centre.pki, centre.broker.port)
    async with asyncio.timeout(20):
        await end.up.wait()
    await end.told(lambda channel, _m: channel == "birth")
    yield end
    await end.close()


async def shown(client: httpx.AsyncClient, path: str, wanted: Callable[[Any], bool]) -> None:
    """Returns when the API's answer is as wanted."""
    while not wanted((await client.get(path)).json()):  # noqa: ASYNC110 - there is nothing to be woken by
        await asyncio.sleep(0.02)


def receipt_of(number: int) -> Callable[[str, Any], bool]:
    return lambda channel, message: channel == "receipt" and message.of == uid(number)


def state(name: str) -> Callable[[str, Any], bool]:
    return lambda channel, message: channel == "ack" and message.state == name


async def test_I3_a_press_gets_its_receipt_and_then_what_people_do(centre: Centre, box: BoxEnd) -> None:
    box.say(birth(1, session=1), "birth", retain=True)
    box.say(alert(1), "alert")
    box.say(event(2, incident=1), "event")
    await box.told(receipt_of(1))
    await box.told(receipt_of(2))
    async with centre.client() as client:
        acts = f"/api/incidents/{uid(1)}/acts"
        for act, name in (("seen", "seen"), ("coming", "coming")):
            assert (await client.post(acts, json={"act": act})).status_code == 200
            (told,) = await box.told(state(name))
            assert told.by == "administrator"
        await client.post(acts, json={"act": "close", "disposition": "false"})
        (closed,) = await box.told(state("closed"))
        assert (closed.version, closed.disposition) == (4, "false")
        detail = (await client.get(f"/api/incidents/{uid(1)}")).json()
        assert [e["kind"] for e in detail["timeline"]] == ["press", "event", "seen", "coming", "closed"]
        given = (await client.post("/api/boxes/box-1/commands", json={"name": "ping"})).json()
    (command,) = await box.told(lambda channel, _m: channel == "cmd")
    assert (command.id, command.by) == (given["command_id"], "administrator")


async def test_I3_a_box_that_missed_the_closing_is_told_again(centre: Centre, box: BoxEnd) -> None:
    box.say(alert(1), "alert")
    await box.told(receipt_of(1))
    async with centre.client() as client:
        acts = f"/api/incidents/{uid(1)}/acts"
        await client.post(acts, json={"act": "seen"})
        await client.post(acts, json={"act": "close", "disposition": "prank"})
    await box.told(state("closed"))
    box.say(health(incidents={1: "seen"}), "health")
    first, second = await box.told(state("closed"), 2)
    assert first.version == second.version


async def test_I2_a_desk_that_was_ended_and_begun_again_has_each_press_once(
    centre: Centre, box: BoxEnd
) -> None:
    for press in (1, 2, 3):
        box.say(alert(press, 1), "alert")
    for press in (1, 2, 3):
        await box.told(receipt_of(press))
    await centre.end()
    box.say(alert(4, 1), "alert")
    await centre.begin()
    await box.told(receipt_of(4))
    for press in (1, 2, 3, 4):
        box.say(alert(press, 1, attempt=2), "alert")
    for press in (1, 2, 3, 4):
        await box.told(receipt_of(press), 2)
    store = Store(centre.desk.data / main.DATABASE, read_only=True)
    found = store.incident(uid(1))
    assert found is not None
    assert sorted(p.press_id for p in found.presses) == [uid(n) for n in (1, 2, 3, 4)]


async def test_a_message_that_is_refused_is_a_fault_on_its_box_and_harms_nothing(
    centre: Centre, box: BoxEnd
) -> None:
    box.say(health(), "health")
    for payload in (b"", b"{", b"\xff\xfe", b"[" * 500, b"x" * 9000, dump(alert(9, device="box-2"))):
        box.raw(payload, "alert")
    box.say(event(5), "event")
    await box.told(receipt_of(5))
    async with centre.client() as client:
        told = (await client.get("/api/boxes/box-1")).json()
        assert told["refused_count"] == 6
        assert told["alarms"] == [
            {"kind": "refused", "severity": "warning", "detail": "device: is not the device of the topic"}
        ]
        assert (await client.get("/api/health")).json()["refused"] == 6
        assert (await client.get("/api/incidents")).json() == []


async def test_what_could_not_be_told_while_the_broker_was_away_is_told_when_it_is_back(
    centre: Centre, box: BoxEnd
) -> None:
    box.say(alert(1), "alert")
    await box.told(receipt_of(1))
    await centre.broker.stop()
    async with centre.client() as client, asyncio.timeout(20):
        await shown(client, "/api/health", lambda told: not told["broker"])
        acted = await client.post(f"/api/incidents/{uid(1)}/acts", json={"act": "seen"})
        assert acted.json()["state"] == "seen"
        await centre.broker.start()
        await box.told(state("seen"))


async def test_presence_stops_with_the_task_that_stores(
    centre: Centre, box: BoxEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung, goes_on, presences = asyncio.Event(), threading.Event(), 0
    loop = asyncio.get_running_loop()
    presence = DeskBroker.presence

    def counted(self: DeskBroker) -> None:
        nonlocal presences
        presences += 1
        presence(self)

    def hanging(self: Store, *_: Any) -> None:
        loop.call_soon_threadsafe(hung.set)
        goes_on.wait(20)

    monkeypatch.setattr(DeskBroker, "presence", counted)
    await box.told(lambda channel, _m: channel == "birth", 2)
    commit = Store.commit
    monkeypatch.setattr(Store, "commit", hanging)
    async with asyncio.timeout(20):
        await hung.wait()
    before = presences
    box.say(alert(1), "alert")
    async with centre.client() as client, asyncio.timeout(20):
        await shown(client, "/api/incidents", bool)
        await shown(client, "/api/health", lambda told: not told["store"])
    assert presences == before
    assert not [m for c, m in box.heard if receipt_of(1)(c, m)]
    monkeypatch.setattr(Store, "commit", commit)
    goes_on.set()


async def test_a_taken_port_says_what_to_do(centre: Centre) -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1 port \d+: Address already in use"):
        main.listen("127.0.0.1", centre.desk.http_port)
    with pytest.raises(ConfigError, match=r"desk\.http_host"):
        main.listen("192.0.2.1", 9)


async def test_answers_do_not_wait_for_nagle(centre: Centre) -> None:
    with main.listen("127.0.0.1", free_port()) as listener:
        assert listener.proto == socket.IPPROTO_TCP, "asyncio sets TCP_NODELAY only then: 48 ms an act, or 6"


async def test_it_listens_on_loopback_unless_told_otherwise(centre: Centre) -> None:
    assert centre.desk.http_host == "127.0.0.1"
    with socket.socket() as probe:
        probe.settimeout(2)
        assert probe.connect_ex(("127.0.0.1", centre.desk.http_port)) == 0


def test_audit_and_backup_are_commands_that_need_no_running_desk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).touch()
    file = tmp_path / "desk.toml"
    file.write_text(
        f'[desk]\nid = "desk-1"\ncity = "karnal"\ndata = "{tmp_path}"\nca = "{tmp_path}/ca"\n'
        f'cert = "{tmp_path}/cert"\nkey = "{tmp_path}/key"\ntoken_file = "{tmp_path}/token"\n'
    )
    store = Store(tmp_path / main.DATABASE)
    store.commit([timeline(ManualClock().read(), "seen", by="Asha")])
    head, config_is = str(store.head()), ["desk", "--config", str(file)]
    assert cli.main([*config_is, "audit", "verify"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == head
    assert cli.main([*config_is, "audit", "verify", "--head", head]) == 0
    assert cli.main([*config_is, "backup", str(tmp_path / "copy")]) == 0
    assert cli.main([*config_is, "backup", str(tmp_path / "copy")]) == 1
    assert "is there already" in capsys.readouterr().err
    other = head.replace(":", ":" + "0" * 8)[: len(head)]
    assert cli.main([*config_is, "audit", "verify", "--head", other]) == 1
    assert "all was written anew" in capsys.readouterr().err
