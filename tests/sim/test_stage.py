"""The stage: the world that drivers touch and that outlives them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from edge.clock import SystemClock
from edge.errors import DriverError, Refused
from edge.sim import press
from edge.sim.client import StageClient
from edge.sim.stage import Stage


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path / "stage.sock", contacts=("police", "women"))
    await stage.start()
    yield stage
    await stage.close()


class Driver:
    """A driver's end that remembers what came."""

    def __init__(self, stage: Stage, role: str) -> None:
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.client = StageClient(stage.path, role, self.heard.put_nowait)

    async def __aenter__(self) -> Driver:
        self.client.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            return await self.heard.get()


class Watch:
    """An observer whose changes can be awaited."""

    def __init__(self, stage: Stage) -> None:
        self.seen: asyncio.Queue[tuple[str, str, int]] = asyncio.Queue()
        self.stamps: list[tuple[int, int]] = []
        stage.observe(self._on)

    def _on(self, kind: str, name: str, level: int, box_ns: int, seen_ns: int) -> None:
        self.seen.put_nowait((kind, name, level))
        self.stamps.append((box_ns, seen_ns))

    async def next(self) -> tuple[str, str, int]:
        async with asyncio.timeout(5):
            return await self.seen.get()


async def test_a_driver_is_told_the_present_level_of_every_line_without_an_edge(stage: Stage) -> None:
    stage.set_line("women", 1)
    async with Driver(stage, "callbox") as driver:
        told = [await driver.next() for _ in range(3)]
    assert {m["line"]: m["level"] for m in told} == {"police": 0, "women": 1, "tamper": 1}
    assert not any(m["edge"] for m in told)


async def test_a_press_is_two_edges_with_the_stamps_of_the_contact(stage: Stage) -> None:
    async with Driver(stage, "callbox") as driver:
        for _ in range(3):
            await driver.next()
        closed_ns = await stage.press("police", hold_s=0)
        down, up = await driver.next(), await driver.next()
    assert (down["line"], down["level"], down["edge"], down["t"]) == ("police", 1, True, closed_ns)
    assert (up["level"], up["edge"]) == (0, True)
    assert up["t"] >= down["t"]


async def test_a_lost_edge_changes_the_level_and_says_so(stage: Stage) -> None:
    async with Driver(stage, "callbox") as driver:
        for _ in range(3):
            await driver.next()
        stage.set_line("police", 1, edge=False)
        assert (await driver.next())["edge"] is False


async def test_the_contact_stays_pressed_while_the_box_is_dead(stage: Stage) -> None:
    async with Driver(stage, "callbox"):
        await stage.wait_for("callbox")
    stage.set_line("police", 1)
    async with Driver(stage, "callbox") as driver:
        assert (await driver.next())["level"] == 1


async def test_outputs_are_observed_on_change_with_a_stamp_of_the_stages_own(stage: Stage) -> None:
    watch = Watch(stage)
    before = SystemClock().mono_ns()
    async with Driver(stage, "callbox") as driver:
        await stage.wait_for("callbox")
        for level in (1, 1, 0):
            driver.client.send({"out": "lamp", "level": level, "t": 7})
        assert await watch.next() == ("out", "lamp", 1)
        assert await watch.next() == ("out", "lamp", 0)
    assert watch.stamps[0][0] == 7
    assert before < watch.stamps[0][1] <= SystemClock().mono_ns()


async def test_lamp_and_sound_end_with_the_process_that_drove_them(stage: Stage) -> None:
    watch = Watch(stage)
    async with Driver(stage, "callbox") as callbox, Driver(stage, "media") as media:
        await stage.wait_for("callbox")
        await stage.wait_for("media")
        callbox.client.send({"out": "lamp", "level": 1, "t": 1})
        media.client.send({"sound": 1, "tag": "pressed.hi", "t": 1})
        assert {await watch.next(), await watch.next()} == {("out", "lamp", 1), ("sound", "pressed.hi", 1)}
    assert {await watch.next(), await watch.next()} == {("out", "lamp", 0), ("sound", "pressed.hi", 0)}
    assert stage.outputs["lamp"] == 0
    assert stage.sound is None


async def test_a_second_driver_takes_over_and_the_firsts_end_darkens_nothing(stage: Stage) -> None:
    watch = Watch(stage)
    async with Driver(stage, "callbox") as first:
        await first.next()
        second = Driver(stage, "callbox")
        second.client.start()
        await second.next()
        second.client.send({"out": "lamp", "level": 1, "t": 1})
        assert await watch.next() == ("out", "lamp", 1)
    second.client.send({"out": "buzzer", "level": 1, "t": 1})
    assert await watch.next() == ("out", "buzzer", 1)
    assert stage.outputs["lamp"] == 1
    await second.client.close()


async def test_nonsense_from_a_driver_is_refused_and_the_next_line_still_counts(stage: Stage) -> None:
    watch = Watch(stage)
    reader, writer = await asyncio.open_unix_connection(str(stage.path))
    writer.write(b'{"hello":"callbox"}\n{"out":"siren","level":1,"t":1}\n[]\nnot json\n{"out":"lamp"}\n')
    writer.write(b'{"out":"buzzer","level":1,"t":1}\n')
    assert await watch.next() == ("out", "buzzer", 1)
    writer.write(b"x" * 10_000)
    async with asyncio.timeout(5):
        while await reader.readline():
            pass  # the levels at connect, then the end: the overlong line cost the connection
    writer.close()


@pytest.mark.parametrize("steps", range(12))
async def test_a_driver_that_is_closed_while_the_stage_goes_away_ends(tmp_path: Path, steps: int) -> None:
    """Each step of the loop on which the one may meet the other."""
    stage = Stage(tmp_path / "stage.sock", contacts=("police",))
    await stage.start()
    driver = Driver(stage, "callbox")
    driver.client.start()
    await driver.next()
    closing = asyncio.create_task(stage.close())
    for _ in range(steps):
        await asyncio.sleep(0)
    # Not timeout(): close() holds the cancellation of its own task for the one it waits for.
    _, hangs = await asyncio.wait({asyncio.create_task(driver.client.close()), closing}, timeout=5)
    assert not hangs


async def test_edge_press_closes_and_opens_the_contact_of_another_process(stage: Stage) -> None:
    async with Driver(stage, "callbox") as driver:
        for _ in range(3):
            await driver.next()
        await asyncio.to_thread(press.press, stage.path, "women", 0.0)
        levels = [(await driver.next())["level"] for _ in range(2)]
    assert levels == [1, 0]


async def test_edge_press_names_the_buttons_there_are(stage: Stage) -> None:
    with pytest.raises(Refused, match="no contact 'fire'; it has police, women"):
        await asyncio.to_thread(press.press, stage.path, "fire")
    with pytest.raises(Refused, match="0 to 600 s"):
        await asyncio.to_thread(press.press, stage.path, "women", -1)


def test_edge_press_without_a_box_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match=r"start one with `\./run demo`"):
        press.press(tmp_path / "none.sock", "police")


async def test_a_hand_may_set_a_line_and_learns_why_not(stage: Stage) -> None:
    reader, writer = await asyncio.open_unix_connection(str(stage.path))
    writer.write(b'{"hello":"hand"}\n{"set":"tamper","level":0}\n{"set":"tamper","level":2}\n{"wave":1}\n')
    async with asyncio.timeout(15):
        answers = [json.loads(await reader.readline()) for _ in range(3)]
    writer.close()
    assert answers[0] == {"ok": True}
    assert [a["ok"] for a in answers[1:]] == [False, False]
    assert stage.lines["tamper"] == 0


async def test_two_stages_do_not_share_a_socket_but_a_dead_ones_is_taken_over(tmp_path: Path) -> None:
    first = Stage(tmp_path / "s.sock", ())
    await first.start()
    with pytest.raises(DriverError, match="another stage listens"):
        await Stage(tmp_path / "s.sock", ()).start()
    await first.close()
    (tmp_path / "s.sock").touch()
    second = Stage(tmp_path / "s.sock", ())
    await second.start()
    await second.close()
