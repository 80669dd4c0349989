"""The line between the box and the broker: a TCP relay that can be cut or go deaf."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable


class Line:
    """Relays `port` to the broker. `cut` resets and refuses; `deafen` passes nothing on.

    host: the address it listens on, loopback alone unless a box of its own hardware is to reach it.
    """

    def __init__(self, port: int, broker_port: int, host: str = "127.0.0.1") -> None:
        self.port = port
        self._host = host
        self._broker_port = broker_port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._relays: set[asyncio.Task[None]] = set()
        self.on_data: Callable[[bool, int], None] = lambda _from_box, _size: None
        """Called before bytes are passed on: whether the box sent them, and how many."""
        self._open = asyncio.Event()
        self._open.set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._relay, self._host, self.port)

    async def cut(self) -> None:
        """Nothing listens any more and what was connected is reset."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._drop()
        await asyncio.gather(*self._relays, return_exceptions=True)

    def deafen(self) -> None:
        self._open.clear()

    async def restore(self) -> None:
        """Works again. What went deaf is reset, as by a router that has forgotten it."""
        if not self._open.is_set():
            self._drop()
            self._open.set()
        if self._server is None:
            await self.start()

    def _drop(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        task.add_done_callback(self._relays.discard)
        self._writers.add(writer)
        far: asyncio.StreamWriter | None = None
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._broker_port)
            self._writers.add(far)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far, from_box=True))
                group.create_task(self._pump(far_reader, writer, from_box=False))
        except (OSError, ExceptionGroup):
            pass
        finally:
            for end in (writer, far):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_box: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                self.on_data(from_box, len(data))
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        raise ConnectionResetError("one end is gone")
