"""A worker process of a simulated city: ``python -m edge.sim.city_worker``, started by `edge.sim.city_run`.

It is ordered by one JSON object a line on its standard input, and answers and tells on its standard output.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from edge import log as edge_log
from edge import supervision
from edge.config import Config
from edge.errors import EdgeError, Refused
from edge.media.prompts import Prompts
from edge.sim.city_box import CityBox, Tell

START_APART_S = 0.02
"""Boxes of a worker start so far apart: what each does once a second then does not fall on one moment."""

_device: ContextVar[str] = ContextVar("device", default="-")


class Worker:
    """Some boxes of a city.

    Each order has a number ``n``, what to ``do`` and a ``device``, and is answered with ``{"n", "ok"}`` and
    a ``reason``, or the ``press_id`` of a press. ``add`` puts up the box of a ``config``; the others are
    methods of `CityBox`, by name.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._boxes: dict[str, CityBox] = {}
        self._prompts: Prompts | None = None
        self._acting: set[asyncio.Task[None]] = set()

    async def run(self, orders: asyncio.StreamReader) -> None:
        """Carries out orders until they end."""
        while line := await orders.readline():
            order = json.loads(line)
            task = asyncio.get_running_loop().create_task(self._answer(**order))
            self._acting.add(task)  # the loop keeps only a weak reference
            task.add_done_callback(self._acting.discard)
            if order["do"] == "add":
                await asyncio.sleep(START_APART_S)

    async def close(self) -> None:
        await asyncio.gather(*(box.close() for box in self._boxes.values()))

    async def _answer(self, n: int, do: str, device: str, **values: Any) -> None:
        try:
            more = await self._do(do, device, values)
        except (EdgeError, LookupError, TypeError, ValueError) as error:
            self._tell({"n": n, "ok": False, "reason": str(error)})
        else:
            self._tell({"n": n, "ok": True, **more})

    async def _do(self, do: str, device: str, values: dict[str, Any]) -> dict[str, Any]:
        if do == "add":
            _device.set(device)  # in this task, and so in all that the box begins
            self._add(Config.model_validate(values["config"]))
            return {}
        if device not in self._boxes:
            raise Refused(f"no box {device[:40]!r} runs here")
        box = self._boxes[device]
        if do == "press":
            return {"press_id": (await box.press(**values)).press.press_id}
        acts: dict[str, Callable[..., None]] = {
            "link": box.link,
            "facts": box.facts,
            "lid": box.lid,
            "clock": box.clock,
        }
        acts[do](**values)
        return {}

    def _add(self, config: Config) -> None:
        box = config.need_box()
        # Nobody hears them: they are read once for all boxes.
        self._prompts = self._prompts or Prompts(box.languages)
        made = self._boxes[box.device] = CityBox(config, self._prompts, self._tell)
        made.start()


class _Named(logging.Filter):
    """In a worker's log each line says whose it is."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = f"device={_device.get()} {record.msg}"
        return True


def main() -> int:
    """Runs a worker until its standard input ends; returns the exit status."""
    # Five files a box, for its connection and its outbox; many systems give a process 1024 unless it asks.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def serve(stop: asyncio.Event) -> None:
        edge_log.set_level("warning")
        for handler in logging.getLogger().handlers:
            handler.addFilter(_Named())
        loop = asyncio.get_running_loop()
        orders = asyncio.StreamReader(limit=2**20)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
        out, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout)
        worker = Worker(lambda message: out.write(json.dumps(message).encode() + b"\n"))
        tasks = {loop.create_task(worker.run(orders)), loop.create_task(stop.wait())}
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await worker.close()
        out.close()
        for task in done:
            task.result()

    return supervision.serve("city", serve)


if __name__ == "__main__":
    sys.exit(main())
