"""A box of a simulated city: the product's own parts on a bus, contacts and a disk in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from edge.clock import SystemClock
from edge.errors import Refused
from edge.media.prompts import Prompts
from edge.mqtt_client import Options
from edge.protocol.inner import Alive, Custody, Done, Incident, Inputs, Order, Sound
from edge.sim.broker import free_port
from edge.sim.city_box import BoxClock, CityBox, HandPins, Line, MemoryBus, MemoryFiles
from edge.store.journal import Journal, Kind
from tests.box import config, turns, uid, until


class Heard:
    """A box whose broker is away, and all that is said in it."""

    def __init__(self, folder: Path) -> None:
        self.told: list[dict[str, Any]] = []
        made = config(folder, uplink={"port": free_port(), "trying_after_s": 0.1}, button={"stuck_s": 10})
        self.box = CityBox(made, Prompts(("en",)), self.told.append)
        self.bus = MemoryBus(self.box._wire, "test")
        self.said: dict[type, Any] = {}
        self.pids: dict[str, set[int]] = {}
        for model in (Custody, Done, Incident, Inputs, Sound):
            self.bus.on(model, lambda _sender, message: self.said.update({type(message): message}))
        self.bus.on(Alive, lambda _sender, alive: self.pids.setdefault(alive.process, set()).add(alive.pid))

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [told for told in self.told if told["event"] == kind]

    def incident(self) -> str | None:
        found = self.said.get(Incident)
        return found.incident_id if found else None


@pytest_asyncio.fixture
async def heard(tmp_path: Path) -> AsyncIterator[Heard]:
    made = Heard(tmp_path)
    made.box.start()
    await until(lambda: Inputs in made.said and Sound in made.said, "the first words of callbox and media")
    yield made
    await made.box.close()


async def test_all_three_processes_say_that_they_are_alive(heard: Heard) -> None:
    await until(lambda: heard.pids.keys() == {"callbox", "uplink", "media"}, "each process")
    assert len({pid for pids in heard.pids.values() for pid in pids}) == 3
    assert heard.said[Sound].ready


async def test_I2_a_contact_is_one_press_which_the_uplink_holds_and_a_second_joins_its_incident(
    heard: Heard,
) -> None:
    first = await heard.box.press("police", hold_s=0)
    await until(lambda: heard.incident() == first.press.press_id, "its incident")
    second = await heard.box.press("medical", hold_s=0)
    assert second.press.incident_id == first.press.incident_id == first.press.press_id
    assert not first.press.silent
    await until(lambda: Custody in heard.said, "the outbox")
    presses = heard.events("press")
    assert [p["press_id"] for p in presses] == [first.press.press_id, second.press.press_id]
    assert [p["edge_ns"] <= p["stored_ns"] <= p["at_ns"] for p in presses] == [True, True]
    await until(
        lambda: "trying" in [p["progress"] for p in heard.events("progress")], "the truth of the link"
    )
    assert heard.events("link") == []


async def test_a_silent_contact_and_a_technicians_test_are_told_as_what_they_are(heard: Heard) -> None:
    test = await heard.box.press("police", hold_s=0, technician="A. Jain")
    assert (test.press.test, test.press.test_by) == (True, "A. Jain")
    await until(lambda: heard.said[Inputs].buttons["police"] == "released", "the finger to be gone")
    silent = await heard.box.press("women", hold_s=0)
    assert silent.press.silent
    assert [p["test"] for p in heard.events("press")] == [True, True], "armed is armed"


async def test_a_button_that_is_held_or_not_there_cannot_be_pressed(heard: Heard) -> None:
    await heard.box.press("police", hold_s=600)
    with pytest.raises(Refused, match="button police is held"):
        await heard.box.press("police")
    with pytest.raises(Refused, match="no contact 'fire'; it has police"):
        await heard.box.press("fire")
    await until(lambda: heard.said[Inputs].buttons["police"] == "held", "callbox to see it")


async def test_an_open_lid_is_told_and_a_closed_one_too(heard: Heard) -> None:
    await until(lambda: heard.said[Inputs].tamper == "closed", "the lid as it is")
    heard.box.lid(True)
    await until(lambda: heard.said[Inputs].tamper == "open", "the open lid")
    heard.box.lid(False)
    await until(lambda: heard.said[Inputs].tamper == "closed", "the closed lid")


async def test_a_process_that_is_told_to_restart_does_and_callbox_finds_its_incident_in_its_journal(
    heard: Heard,
) -> None:
    told = await heard.box.press("police", hold_s=0, technician="A. Jain")
    await until(lambda: heard.incident() == told.press.press_id, "its incident")
    await until(lambda: len(heard.pids.get("callbox", ())) == 1, "its first life")
    heard.said.clear()
    heard.bus.publish(Order(id=uid(1), process="callbox", name="restart", by="S. Verma"))
    await until(lambda: len(heard.pids["callbox"]) == 2, "its second life")
    assert heard.said[Done].ok
    heard.said.clear()
    await until(lambda: Incident in heard.said, "its first word")
    assert heard.incident() == told.press.press_id


async def test_the_bus_brings_a_message_to_the_others_whatever_one_of_them_does() -> None:
    wire: list[MemoryBus] = []
    one, two, gone = (MemoryBus(wire, name) for name in ("one", "two", "gone"))
    heard: list[tuple[str, str]] = []

    def fails(_sender: str, _message: Alive) -> None:
        raise ZeroDivisionError("a fault of ours")

    def hears(name: str) -> Callable[[str, Alive], None]:
        return lambda sender, alive: heard.append((name, f"{sender} {alive.process}"))

    two.on(Alive, fails)
    for name, end in (("one", one), ("two", two), ("gone", gone)):
        end.on(Alive, hears(name))
    gone.close()
    one.publish(Alive(process="uplink", pid=1))
    one.publish(Sound(ready=True))
    assert heard == [], "never inside of publish"
    await turns()
    assert heard == [("two", "one uplink")]


def test_a_journal_in_memory_is_read_again_by_the_next_life() -> None:
    files, folder = MemoryFiles(), Path("/nowhere/journal")
    first = Journal(folder, files, 1)
    assert first.open() == []
    first.append(Kind.PRESS, 7, b"{}")
    first.close()
    (record,) = Journal(folder, files, 1).open()
    assert (record.seq, record.kind, record.payload) == (7, Kind.PRESS, b"{}")
    with pytest.raises(FileNotFoundError):
        files.open(folder / "press-001.seg", write=False)


def test_contacts_tell_edges_of_a_moment_ago_only_while_somebody_listens() -> None:
    clock = SystemClock()
    pins = HandPins({"police": None}, clock)
    pins.put("police", True)
    edges: list[tuple[str, bool, int]] = []
    pins.start(lambda *edge: edges.append(edge))
    assert (pins.read("police"), pins.read("tamper"), pins.read("fire")) == (True, True, None)
    pins.put("police", False)
    ((line, level, at_ns),) = edges
    assert (line, level) == ("police", False)
    assert at_ns < clock.mono_ns()


def test_I9_a_boxs_clock_is_as_wrong_as_it_is_told_and_of_a_boot_of_its_own() -> None:
    one, other, true = BoxClock(), BoxClock(), SystemClock()
    one.offset_ns, one.trust = -190 * 10**9, "unsynchronised"
    before_ns, wrong, after_ns = true.utc_ns(), one.read(), true.utc_ns()
    assert before_ns <= wrong.utc_ns + 190 * 10**9 <= after_ns
    assert (wrong.trust, wrong.max_error_ms) == ("unsynchronised", None)
    assert other.read().trust == "synchronised"
    assert wrong.boot_id != other.read().boot_id


def test_a_line_that_is_cut_makes_no_connection(tmp_path: Path) -> None:
    nowhere = tmp_path / "none.pem"
    options = Options("127.0.0.1", free_port(), "box-1", nowhere, nowhere, nowhere, ())
    line = Line()
    line.cut()
    with pytest.raises(OSError, match="unreachable"):
        line.connect(options, None, lambda _client: None)
    line.restore()
    with pytest.raises(FileNotFoundError):
        line.connect(options, None, lambda _client: None)


async def test_what_a_box_says_of_its_machine_is_usual_until_told_otherwise(heard: Heard) -> None:
    usual = dict(heard.box.read_machine(Path()))
    heard.box.facts({"temp_c": 84.5, "disk_free_mb": 300})
    heard.box.facts({"disk_free_mb": None})
    assert heard.box.read_machine(Path()) == {**usual, "temp_c": 84.5}
    assert float(str(usual["temp_c"])) < 80
