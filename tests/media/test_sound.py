"""The sound drivers: the simulated card at the stage, and the real one over a stand-in for PortAudio."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from edge.clock import SystemClock
from edge.media import sound
from edge.media.sound import BLOCK_BYTES, CardSound, SimSound
from edge.sim.stage import Stage

QUIET, LOUD = bytes(BLOCK_BYTES), b"\x00\x40" * (BLOCK_BYTES // 2)


class Heard:
    """What the driver said, awaitable."""

    def __init__(self) -> None:
        self.log: asyncio.Queue[Any] = asyncio.Queue()

    def end(self) -> None:
        self.log.put_nowait("end")

    def fault(self, text: str | None) -> None:
        self.log.put_nowait(("fault", text))

    async def next(self) -> Any:
        async with asyncio.timeout(10):
            return await self.log.get()


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[tuple[Stage, Heard]]:
    stage, heard = Stage(tmp_path / "s.sock", ()), Heard()
    stage.observe(lambda kind, name, level, *_: heard.log.put_nowait((kind, name, level)))
    await stage.start()
    yield stage, heard
    await stage.close()


async def test_the_stage_hears_a_clip_from_its_first_loud_block_to_its_end(
    stage: tuple[Stage, Heard],
) -> None:
    world, heard = stage
    card = SimSound(world.path, SystemClock())
    card.start(heard.end, heard.fault)
    await world.wait_for("media")
    before = SystemClock().mono_ns()
    card.play("sent.hi", QUIET * 2 + LOUD * 2)
    said = {str(await heard.next()) for _ in range(4)}
    assert said == {"('fault', None)", "('sound', 'sent.hi', 1)", "('sound', 'sent.hi', 0)", "end"}
    assert SystemClock().mono_ns() - before >= 40_000_000, "a card takes its time"
    await card.close()


async def test_a_clip_that_is_cut_ends_in_silence_without_a_word(stage: tuple[Stage, Heard]) -> None:
    world, heard = stage
    card = SimSound(world.path, SystemClock())
    card.start(heard.end, lambda _: None)
    await world.wait_for("media")
    card.play("a", LOUD * 1000)
    assert await heard.next() == ("sound", "a", 1)
    card.play("b", LOUD * 1000)
    assert [await heard.next(), await heard.next()] == [("sound", "a", 0), ("sound", "b", 1)]
    card.stop()
    assert await heard.next() == ("sound", "b", 0)
    await card.close()


class Card:
    """A stand-in for sounddevice: one stream, whose callback the test calls as PortAudio's thread would."""

    class PortAudioError(Exception):
        pass

    def __init__(self) -> None:
        self.names = ["USB Audio: codec"]
        self.stream: Any = None
        self.started = asyncio.Event()
        self.aborted = asyncio.Event()
        self.refuse: str | None = None
        self.loop = asyncio.get_running_loop()

    def _terminate(self) -> None: ...
    def _initialize(self) -> None: ...
    def query_devices(self) -> list[dict[str, Any]]:
        return [{"name": n, "max_output_channels": 2} for n in self.names]

    def RawOutputStream(self, **kwargs: Any) -> Any:
        if self.refuse:
            raise self.PortAudioError(self.refuse)

        def abort() -> None:
            kwargs["finished_callback"]()
            self.loop.call_soon_threadsafe(self.aborted.set)

        self.stream = SimpleNamespace(
            start=lambda: self.loop.call_soon_threadsafe(self.started.set),
            abort=abort,
            close=lambda _ignore: None,
            fill=kwargs["callback"],
            finished=kwargs["finished_callback"],
        )
        return self.stream

    def pull(self) -> bytes:
        block = bytearray(b"\x01" * BLOCK_BYTES)
        self.stream.fill(block, BLOCK_BYTES // 2, None, None)
        return bytes(block)


@pytest_asyncio.fixture
async def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    card = Card()
    monkeypatch.setitem(sys.modules, "sounddevice", card)  # type: ignore[arg-type]
    monkeypatch.setattr(sound, "RETRY_S", 0.01)
    return card


async def test_the_card_runs_only_while_something_plays_and_says_when_it_ended(card: Card) -> None:
    heard = Heard()
    driver = CardSound(None)
    driver.start(heard.end, heard.fault)
    assert await heard.next() == ("fault", None)
    assert not card.started.is_set()
    driver.play("x", LOUD + LOUD[:100])
    async with asyncio.timeout(5):
        await card.started.wait()
    assert card.pull() == LOUD
    assert card.pull() == LOUD[:100] + bytes(BLOCK_BYTES - 100), "the last block is filled up with silence"
    assert await heard.next() == "end"
    async with asyncio.timeout(5):
        await card.aborted.wait()
    assert heard.log.empty(), "an end that was asked for is no fault"
    await driver.close()


async def test_a_cut_clip_is_not_taken_for_the_end_of_the_next(card: Card) -> None:
    heard = Heard()
    driver = CardSound(None)
    driver.start(heard.end, heard.fault)
    await heard.next()
    driver.play("a", LOUD)
    async with asyncio.timeout(5):
        await card.started.wait()
    card.pull()  # the end of "a" is on its way to the loop
    driver.play("b", LOUD)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert heard.log.empty()
    card.pull()
    assert await heard.next() == "end"
    driver.stop()
    assert card.pull() == QUIET
    await driver.close()


async def test_a_card_that_was_pulled_out_is_told_and_taken_again_when_it_is_back(card: Card) -> None:
    heard = Heard()
    driver = CardSound("usb")
    driver.start(heard.end, heard.fault)
    await heard.next()
    driver.play("a", LOUD * 100)
    async with asyncio.timeout(5):
        await card.started.wait()
    while not driver._running:  # noqa: ASYNC110 - set on the loop's next turns
        await asyncio.sleep(0)
    card.stream.finished()  # PortAudio: the stream ended, and nobody asked for it
    kind, text = await heard.next()
    assert (kind, text) == ("fault", "the sound card stopped: is it still plugged in?")
    assert await heard.next() == "end"
    assert await heard.next() == ("fault", None)
    await driver.close()


FAULTS: list[tuple[str, Callable[[Card], None], str]] = [
    ("none", lambda c: c.names.clear(), "there is no sound card: plug in"),
    (
        "other",
        lambda c: c.names.__setitem__(0, "HDMI"),
        "'usb': no sound card has it in its name; these are HDMI",
    ),
    (
        "busy",
        lambda c: setattr(c, "refuse", "Device unavailable"),
        "Device unavailable; another program may hold it",
    ),
]


@pytest.mark.parametrize(("change", "text"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
async def test_a_card_that_cannot_be_used_is_told_with_what_to_do_and_tried_again(
    card: Card, change: Callable[[Card], None], text: str
) -> None:
    heard = Heard()
    change(card)
    driver = CardSound("usb")
    driver.start(heard.end, heard.fault)
    driver.play("a", LOUD)
    kind, told = await heard.next()
    assert kind == "fault"
    assert text in told
    assert await heard.next() == "end", "what nobody can hear does not hold up what comes next"
    card.names, card.refuse = ["My USB card"], None
    while (await heard.next()) != ("fault", None):
        pass
    await driver.close()
