"""A worker of a simulated city: orders in, answers out, one JSON object a line."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from edge.config import Config
from edge.sim.broker import free_port
from edge.sim.city_worker import Worker
from tests.box import DEVICE, config, until


def plain(made: Config) -> dict[str, Any]:
    return {
        name: section
        for name, section in made.model_dump(mode="json", exclude_unset=True).items()
        if section is not None
    }


async def test_orders_are_answered_by_number_and_refused_with_a_reason(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    worker = Worker(told.append)
    orders = asyncio.StreamReader()
    table = plain(config(tmp_path, uplink={"port": free_port()}))
    for number, order in enumerate(
        (
            {"do": "press", "device": DEVICE, "button": "police"},
            {"do": "add", "device": DEVICE, "config": {**table, "box": {}}},
            {"do": "add", "device": DEVICE, "config": table},
            {"do": "facts", "device": DEVICE, "facts": {"temp_c": 90}},
            {"do": "dance", "device": DEVICE},
            {"do": "lid", "device": DEVICE},
        )
    ):
        orders.feed_data(json.dumps({"n": number, **order}).encode() + b"\n")
    orders.feed_eof()
    try:
        await worker.run(orders)

        def answers() -> dict[int, dict[str, Any]]:
            return {answer["n"]: answer for answer in told if "n" in answer}

        await until(lambda: len(answers()) == 6, "all answers")
        assert [answers()[n]["ok"] for n in range(6)] == [False, False, True, True, False, False]
        reasons = [answers()[n].get("reason", "") for n in range(6)]
        assert reasons[0] == "no box 'box-1' runs here"
        assert "box.city" in reasons[1]
        assert "dance" in reasons[4]
        assert "is_open" in reasons[5]
    finally:
        await worker.close()


async def test_a_worker_ends_when_nobody_orders_any_more() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge.sim.city_worker"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    async with asyncio.timeout(30):
        out, _ = await process.communicate(b'{"n": 1, "do": "lid", "device": "x"}\n')
    assert json.loads(out) == {"n": 1, "ok": False, "reason": "no box 'x' runs here"}
    assert process.returncode == 0
