"""Orders and answers to a program at the other end of a pipe: a line of JSON each, paired by id."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import Callable
from typing import Any

from hil_tests.bench.bench import BenchError


class Lines:
    """`who` names the other end in errors; `last_words` is asked for what it said when it went."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        who: str,
        last_words: Callable[[], str] = lambda: "",
    ) -> None:
        self._reader, self._writer = reader, writer
        self._who, self._last_words = who, last_words
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.on_other: Callable[[dict[str, Any]], None] = lambda _said: None
        """Called with what answers no order: an event."""
        self._task = asyncio.create_task(self._read())

    async def ask(self, order: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """The answer; raises `BenchError` when it is an error, or does not come."""
        ident = next(self._ids)
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[ident] = reply
        try:
            if self._task.done():
                raise self._gone()
            self._writer.write(json.dumps({"id": ident, **order}).encode() + b"\n")
            await self._writer.drain()
            async with asyncio.timeout(timeout_s):
                found = await reply
        except TimeoutError:
            words = f"{self._who} has not answered within {timeout_s:.0f} s: {str(order)[:200]}"
            raise BenchError(words) from None
        except OSError:
            raise self._gone() from None
        finally:
            self._waiting.pop(ident, None)
        if "error" in found:
            raise BenchError(f"{self._who}: {found['error']}")
        return found

    async def close(self) -> None:
        self._task.cancel()
        self._writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._writer.wait_closed()

    def _gone(self) -> BenchError:
        return BenchError(f"{self._who} is gone: {self._last_words() or 'it said nothing'}")

    async def _read(self) -> None:
        try:
            while line := await self._reader.readline():
                try:
                    said = json.loads(line)
                except ValueError:
                    continue  # what the other end's shell says when it starts
                reply = self._waiting.get(said.get("id", 0))
                if reply is None:
                    self.on_other(said)
                elif not reply.done():
                    reply.set_result(said)
        except OSError:
            pass
        finally:
            for reply in self._waiting.values():
                if not reply.done():
                    reply.set_exception(self._gone())
