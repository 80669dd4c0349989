"""A simulated driver's end of the stage: one JSON object a line over a Unix socket, reconnecting by itself.

The stage (`edge.sim.stage`) is the physical world: it holds the contacts' levels and sees the outputs, and
it stays when a process of the box dies. See there for the messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

RETRY_S = 0.05
CLOSE_S = 1.0


class StageClient:
    """Connects as `role`; calls `on_message` for each object from the stage, on the loop.

    `send` never blocks; what is sent while the stage is away is dropped, as with a cable that is out, but
    `on_connect` runs at each connection so that a driver can say its outputs anew.
    """

    def __init__(
        self,
        path: Path,
        role: str,
        on_message: Callable[[dict[str, Any]], None],
        on_connect: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        self._role = role
        self._on_message = on_message
        self._on_connect = on_connect
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="stage")

    def send(self, message: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                await self._follow()
            await asyncio.sleep(RETRY_S)

    async def _follow(self) -> None:
        """One connection, to its end."""
        reader, writer = await asyncio.open_unix_connection(str(self._path))
        self._writer = writer
        try:
            self.send({"hello": self._role})
            self._on_connect()
            while line := await reader.readline():
                self._hand_on(line)
        finally:
            self._writer = None
            writer.close()
            # What was said last is on its way; a stage that hangs is not waited for.
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await writer.wait_closed()

    def _hand_on(self, line: bytes) -> None:
        try:
            self._on_message(json.loads(line))
        except Exception:
            # As with a real driver's callback: a fault in what follows is told; the next edge still comes.
            log.exception("stage message failed")

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
