"""The demo: one command brings everything up, and one press goes its whole way."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
from pathlib import Path

import httpx
import pytest

from edge.errors import SetupFailed
from edge.sim import demo, press
from edge.sim.boxpage import BoxPage
from edge.sim.broker import free_port
from edge.sim.observer import Observer
from edge.sim.operator import Operator
from edge.sim.stack import Stack

ROOT = Path(__file__).parents[2]
STEPS = [
    *(
        "contact closed",
        "lamp on",
        "buzzer on",
        "tone heard",
        "on the disk (fdatasync)",
        "broker has it (PUBACK)",
    ),
    *("desk has stored it (receipt)", "in the operator's list", "operator: seen", "box has `seen`"),
    *("lamp blinks `seen`", "operator: coming", "box has `coming`", "lamp blinks `coming`"),
    *("operator: closed as false", "box has `closed`"),
]


async def _edge(*words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-m", "edge", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


async def test_demo_once_shows_every_step_from_the_contact_to_the_closed_incident(tmp_path: Path) -> None:
    process = await _edge("demo", "--once", "--dir", str(tmp_path))
    async with asyncio.timeout(120):
        out = (await process.communicate())[0].decode()
    assert process.returncode == 0, out
    rows = re.findall(r"^  (\S.*?)\s{2,}([\d.]+) ms$", out, re.MULTILINE)
    assert [step for step, _ in rows] == STEPS, out


async def test_demo_serves_the_box_and_the_desk_until_it_is_told_to_end(tmp_path: Path) -> None:
    process = await _edge("demo", "--dir", str(tmp_path))
    assert process.stdout is not None
    out = ""
    async with asyncio.timeout(60):
        while "Ctrl-C" not in out:
            line = await process.stdout.readline()
            assert line, out
            out += line.decode()
    link, desk, box = re.findall(r"http://[^\s)]+", out)
    async with httpx.AsyncClient() as client:
        assert "आपातकालीन" in (await client.get(box)).text
        assert (await client.get(desk)).status_code == 200
        body = {
            "secret": link.partition("#invitation=")[2],
            "login": "asha",
            "name": "Asha",
            "password": "three words apart",
        }
        came_in = await client.post(f"{desk}api/invitations/accept", json=body)
        assert came_in.json()["role"] == "supervisor"
    await asyncio.to_thread(press.press, tmp_path / "run/stage.sock", "women", 0.1)
    async with asyncio.timeout(20):
        while "the box tells the citizen: pressed" not in out:
            out += (await process.stdout.readline()).decode()
    process.terminate()
    async with asyncio.timeout(30):
        await process.wait()
    assert process.returncode == 0
    assert not (tmp_path / "run/stage.sock").exists()


async def test_the_box_page_closes_and_opens_contacts_and_shows_the_lamp(tmp_path: Path) -> None:
    async with Stack(tmp_path, roles=["callbox"], with_desk=False) as stack:
        observer = Observer(stack)
        observer.open()
        page = BoxPage(stack, observer, free_port())
        await page.start()
        await stack.stage.wait_for("callbox")
        async with httpx.AsyncClient(base_url=page.url, timeout=10) as client:
            async with client.stream("GET", "events") as events:
                pictures = (json.loads(t[6:]) async for t in events.aiter_lines() if t.startswith("data: "))
                assert (await anext(pictures))["lines"]["police"] == 0
                answer = await client.post("touch", json={"line": "police", "level": 1})
                assert answer.status_code == 204
                async for picture in pictures:
                    if picture["citizen"] == "pressed" and picture["outputs"]["lamp"]:
                        break
                assert picture["lines"]["police"] == 1
            # The page is gone with a finger on the button: the contact opens.
            await observer.until("released", lambda: not stack.stage.lines["police"] or None, 10)
            assert (await client.post("touch", json={"line": "fire", "level": 1})).status_code == 404
            assert (await client.post("touch", json={"line": "police", "level": 7})).status_code == 422
            foreign = {"Origin": "http://elsewhere.example"}
            refused = await client.post("touch", json={"line": "police", "level": 1}, headers=foreign)
            assert refused.status_code == 403
            assert (await client.get("voice/pressed.hi.wav")).headers["content-type"].startswith("audio/")
        await page.close()
        await observer.close()


def test_a_port_that_was_asked_for_and_is_taken_is_an_error_and_a_default_gives_way() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SetupFailed, match=f"port {port} is taken"):
            demo._ports(port, once=False)
    assert len(set(demo._ports(None, once=True))) == 2


async def test_an_operator_without_a_desk_is_told_so() -> None:
    with pytest.raises(SetupFailed, match="the desk does not answer GET /api/people"):
        async with Operator(f"http://127.0.0.1:{free_port()}", "token", "Asha"):
            pass
