"""Media on the bus: callbox's word becomes sound, an order becomes a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from edge.bus import Bus
from edge.clock import ManualClock
from edge.media.media import Media
from edge.media.prompts import Prompts
from edge.protocol.common import Model
from edge.protocol.inner import Done, Incident, Order, Sound

ID = "0190c4a0-0000-7000-8000-000000000001"
ORDER = Order(id=ID, process="media", name="indicator_test", by="asha")


class Card:
    """A driver that plays nothing and ends when it is told to."""

    def __init__(self) -> None:
        self.played: list[str] = []

    def start(self, on_end: Any, on_fault: Any) -> None:
        self.end, self.fault = on_end, on_fault

    def play(self, tag: str, pcm: bytes) -> None:
        assert pcm
        self.played.append(tag)

    def stop(self) -> None:
        self.played.append("|")

    async def close(self) -> None: ...


class House:
    """Media on a real bus with a callbox and an uplink at the other end."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.card = Card()
        self.bus = Bus(folder, "media", ("callbox", "uplink"))
        self.media = Media(["en"], Prompts(["en"]), self.card, self.bus, self.clock)
        self.peer = Bus(folder, "callbox", ("media",))
        self.heard: asyncio.Queue[Model] = asyncio.Queue()
        for model in (Done, Sound):
            self.peer.on(model, lambda _sender, message: self.heard.put_nowait(message))

    async def told(self, model: type[Model]) -> Any:
        while True:
            async with asyncio.timeout(5):
                message = await self.heard.get()
            if isinstance(message, model):
                return message

    async def say(self, message: Model, until: str) -> None:
        """Repeats as the bus's users do, until the card played that."""
        async with asyncio.timeout(5):
            while until not in self.card.played:
                self.peer.publish(message)
                await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    house.bus.open()
    house.peer.open()
    house.media.start()
    house.card.fault(None)
    yield house
    await house.media.close()
    await house.bus.close()
    await house.peer.close()


def _incident(citizen: Any, dark: bool = False) -> Incident:
    return Incident(incident_id=ID, citizen=citizen, dark=dark, service="police")


async def test_callboxs_word_is_played_and_what_plays_is_told(house: House) -> None:
    await house.say(_incident("pressed"), until="tone")
    while (await house.told(Sound)).playing != "tone":
        pass
    house.card.end()
    assert (await house.told(Sound)).playing == "pressed.en"
    await house.say(_incident("pressed", dark=True), until="|")
    assert (await house.told(Sound)).playing == ""


async def test_only_callbox_is_believed(house: House) -> None:
    house.media._on_incident("uplink", _incident("pressed"))
    assert house.card.played == []


async def test_a_test_is_answered_once_it_was_played_to_its_end_and_again_when_asked_again(
    house: House,
) -> None:
    await house.say(ORDER, until="tone")
    house.card.end()
    assert house.card.played == ["tone", "test.en"]
    house.card.end()
    done = await house.told(Done)
    assert (done.id, done.ok) == (ID, True)
    house.media._on_order("uplink", ORDER)
    assert await house.told(Done) == done
    assert house.card.played == ["tone", "test.en"]
    house.media._tell(always=True)
    assert (await house.told(Sound)).last_test.seq == 1


async def test_I10_a_press_ends_a_test_and_the_order_learns_it(house: House) -> None:
    house.media._on_order("uplink", ORDER)
    house.media._on_incident("callbox", _incident("pressed"))
    assert house.media._done[ID].reason == "a call for help came first"
    assert house.card.played == ["tone", "tone"]


async def test_a_silent_press_ends_a_test_as_well(house: House) -> None:
    house.media._on_order("uplink", ORDER)
    house.media._on_incident("callbox", _incident("pressed", dark=True))
    assert (house.media._done[ID].ok, house.card.played) == (False, ["tone", "|"])


async def test_orders_it_cannot_follow_are_answered_with_the_reason(house: House) -> None:
    house.media._on_order("uplink", ORDER.model_copy(update={"process": "callbox"}))
    assert house.media._done == {}
    house.media._on_order("uplink", ORDER.model_copy(update={"name": "restart"}))
    assert house.media._done[ID].reason == "media does not know restart"
    other = ORDER.model_copy(update={"id": ID.replace("1", "2")})
    house.card.fault("there is no sound card")
    house.media._on_order("uplink", other)
    assert house.media._done[other.id].reason == "there is no sound card"
    assert house.media.detail() == "there is no sound card"


async def test_a_card_that_fails_in_a_test_fails_the_test(house: House) -> None:
    house.media._on_order("uplink", ORDER)
    house.card.fault("the sound card stopped")
    house.card.end()
    house.card.end()
    assert (house.media._done[ID].ok, house.media._done[ID].reason) == (False, "the sound card stopped")
