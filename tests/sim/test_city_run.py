"""A city that runs: three boxes in workers of their own, a real broker, a real desk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from edge.errors import Refused, SetupFailed
from edge.sim import city_run
from edge.sim.broker import Broker
from edge.sim.city import City, Happening
from edge.sim.city_run import CityRun, Pressed, Word
from edge.sim.operator import Operator
from edge.sim.pki import Pki
from edge.sim.record import Record
from edge.sim.stack import CITY, Stack
from tests.box import until

UPLINK = {"receipt_wait_s": 0.5, "repeat_s": 1, "retry_max_s": 0.5, "health_s": 1, "first_spread_s": 0}
WAIT_S = 30


@contextlib.asynccontextmanager
async def running(folder: Path, broker: Broker, pki: Pki, boxes: int = 3) -> AsyncIterator[CityRun]:
    run = CityRun(folder, "127.0.0.1", broker.port, pki, CITY, City(1, boxes), workers=2, uplink=UPLINK)
    async with run:
        await run.linked(timeout_s=WAIT_S)
        yield run


async def at_the_desk(operator: Operator, look: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The desk's boxes by device, once they are as `look` wants them."""
    async with asyncio.timeout(WAIT_S):
        while True:
            boxes = {box["device"]: box for box in await operator.call("GET", "/api/boxes")}
            if look(boxes):
                return boxes
            await asyncio.sleep(0.05)


async def test_I2_I3_a_press_is_stored_once_its_receipt_comes_back_and_closing_ends_it_at_the_box(
    tmp_path: Path,
) -> None:
    stack = Stack(tmp_path / "stack", roles=())
    pressed: list[Pressed] = []
    words: list[Word] = []
    async with stack, running(tmp_path / "city", stack.broker, stack.pki) as run:
        run.on_press(pressed.append)
        run.on_word(words.append)
        token = stack.token
        async with Operator(stack.desk_url, token, "Asha") as operator:
            known = await at_the_desk(
                operator, lambda boxes: all(boxes.get(d, {}).get("online") for d in run.devices)
            )
            for box in run.city.boxes:
                told = known[box.device]
                assert (told["name"], told["place"]) == (box.name, box.place.model_dump())

            device = run.devices[0]
            first = await run.press(device, "police")
            await run.until(
                lambda: (first.incident_id, "received") in run.words, WAIT_S, "the receipt is at the box"
            )
            second = await run.press(device, "women")
            record = Record(stack.folder / "desk")
            await operator.act(first.incident_id, "seen")
            await run.until(lambda: run.states[device].citizen == "seen", WAIT_S, "the box shows `seen`")
            assert run.words[first.incident_id, "seen"].by == "Asha"
            await until(lambda: len(record.presses()) == 2, "the second press at the desk")
            await operator.act(first.incident_id, "close", disposition="false")
            await run.until(
                lambda: run.states[device].incident_id is None, WAIT_S, "the box's incident is over"
            )
            assert sorted(record.presses()) == sorted(
                (press.press_id, first.incident_id) for press in (first, second)
            )
        assert pressed == [first, second]
        assert [press.device for press in pressed] == [device, device]
        assert first.edge_ns <= first.stored_ns <= first.at_ns
        assert first.at_ns <= run.words[first.incident_id, "received"].at_ns
        steps = [word.progress for word in words if word.incident_id == first.incident_id]
        assert steps[-1] == "closed"
        assert steps.index("received") < steps.index("seen")


async def test_I2_a_press_made_while_the_line_is_cut_arrives_when_it_is_whole_again(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "stack", roles=())
    async with stack, running(tmp_path / "city", stack.broker, stack.pki) as run:
        cut, whole = run.devices[0], run.devices[1]
        await run.cut(cut)
        await run.until(lambda: not run.states[cut].link, WAIT_S, "the link goes")
        pressed = await run.press(cut, "police")
        await run.until(lambda: (pressed.incident_id, "trying") in run.words, WAIT_S, "the box says so")
        assert run.states[whole].link
        assert run.links() == 2
        assert Record(stack.folder / "desk").presses() == []
        await run.restore(cut)
        await run.until(lambda: (pressed.incident_id, "received") in run.words, WAIT_S, "the receipt")
        assert Record(stack.folder / "desk").presses() == [(pressed.press_id, pressed.incident_id)]


async def test_what_is_odd_about_a_box_is_seen_at_the_desk(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "stack", roles=())
    async with stack, running(tmp_path / "city", stack.broker, stack.pki) as run:
        device = run.devices[2]

        def said(boxes: dict[str, Any], *path: str) -> Any:
            found: Any = boxes.get(device, {})
            for key in path:
                found = found.get(key, {})
            return found

        def kinds(boxes: dict[str, Any]) -> set[str]:
            return {event["kind"] for event in said(boxes, "events")}

        async with Operator(stack.desk_url, stack.token, "Asha") as operator:
            await run.facts(device, temp_c=84.5, disk_free_mb=310)
            await run.lid(device, is_open=True)
            boxes = await at_the_desk(
                operator,
                lambda boxes: (
                    said(boxes, "health", "machine", "temp_c") == 84.5
                    and said(boxes, "health", "tamper") == "open"
                    and "tamper" in kinds(boxes)
                ),
            )
            assert said(boxes, "health", "machine", "disk_free_mb") == 310
            assert {name for name, p in said(boxes, "health", "processes").items() if p["up"]} == {
                *("callbox", "media", "uplink")
            }
            assert said(boxes, "health", "at", "trust") == "synchronised"
            await run.clock(device, "unsynchronised", offset_s=-190)
            await at_the_desk(
                operator,
                lambda boxes: (
                    said(boxes, "health", "at", "trust") == "unsynchronised" and "clock" in kinds(boxes)
                ),
            )


async def test_a_day_is_played_and_what_was_meant_is_known_for_each_incident(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(city_run, "LEAST_S", 0.1)
    monkeypatch.setattr(city_run, "AGAIN_S", 1.0)
    pki = Pki(tmp_path / "pki")
    broker = Broker(tmp_path / "broker", pki, CITY)
    await broker.start()
    try:
        async with running(tmp_path / "city", broker, pki) as run:
            one, two, three = run.devices
            conditions = [
                Happening(3000, what, (three,), for_s=60) for what in ("disk", "heat", "lid", "clock")
            ]
            day = [
                Happening(100, "call", (one,), "medical"),  # before it began
                Happening(1000, "call", (one,), "police", times=2),
                Happening(2000, "test", (two,), "police", by="A. Jain"),
                *conditions,
                Happening(3000, "link", (one, two), for_s=60),
                Happening(3600, "stuck", (three,), "police", for_s=3600 * 10),
                Happening(9000, "prank", (three,), "police"),  # at a button that is stuck: it does not happen
            ]
            await run.play(day, speed=3600, from_s=500)
            incidents = {press.incident_id: press for press in run.presses.values()}
            assert {run.truth[i]: press.device for i, press in incidents.items()} == {
                "call": one,
                "test": two,
                "stuck": three,
            }
            made = [(press.device, press.button, press.test) for press in run.presses.values()]
            assert sorted(made) == [
                (one, "police", False),
                (one, "police", False),
                (two, "police", True),
                (three, "police", False),
            ]
            await run.linked(timeout_s=WAIT_S)
    finally:
        await broker.stop()


async def test_what_cannot_be_done_is_refused_and_a_worker_that_ends_is_told(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    broker = Broker(tmp_path / "broker", pki, CITY)
    await broker.start()
    try:
        async with running(tmp_path / "city", broker, pki) as run:
            with pytest.raises(Refused, match="no box 'nowhere' is there"):
                await run.press("nowhere", "police")
            with pytest.raises(Refused, match="no contact 'fire'"):
                await run.press(run.devices[0], "fire")
            with pytest.raises(SetupFailed, match="4 boxes have a session; 3 have one"):
                await run.linked(4, timeout_s=0.05)
            process = run._workers[0]._process
            assert process is not None
            os.kill(process.pid, signal.SIGKILL)
            with pytest.raises(SetupFailed, match="a worker of the city has ended"):
                await run.until(lambda: False, WAIT_S, "nothing")
            with pytest.raises(SetupFailed, match="a worker of the city has ended"):
                await run.press(run.devices[0], "police")
            await run.press(run.devices[1], "police")
            outboxes = run._temporary
        assert outboxes is not None
        assert not outboxes.exists(), "nothing of it stays in memory"
    finally:
        await broker.stop()


async def test_certificates_are_made_once_and_a_box_that_never_comes_is_not_there(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    broker = Broker(tmp_path / "broker", pki, CITY)
    await broker.start()
    try:
        made: list[bytes] = []
        for _ in range(2):
            async with running(tmp_path / "city", broker, pki, boxes=10) as run:
                assert len(run.devices) == 9
                assert run.links() == 9
                made.append(pki.client(run.devices[0]).cert.read_bytes())
                (absent,) = (box.device for box in run.city.boxes if not box.comes)
                with pytest.raises(Refused, match=f"no box '{absent}' is there"):
                    await run.press(absent, "police")
        assert made[0] == made[1]
    finally:
        await broker.stop()
