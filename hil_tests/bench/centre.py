"""The centre on the host: the real broker and the real desk, a line that can be cut, and an operator."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path
from typing import Any, Self

from edge.clock import SystemClock
from edge.errors import SetupFailed
from edge.sim.line import Line
from edge.sim.operator import Operator
from edge.sim.record import Record
from edge.sim.stack import Stack
from hil_tests.bench.bench import BenchError


class Centre:
    """`pki`: the folder of the CA that the box trusts; `host`, `port`: where it looks for the broker."""

    def __init__(self, folder: Path, pki: Path, port: int, host: str = "127.0.0.1") -> None:
        shutil.copytree(pki, folder / "pki", dirs_exist_ok=True)
        self.stack = Stack(folder, roles=())
        self.line = Line(port, self.stack.broker.port, host)
        self.record = Record(folder / "desk")
        self._operator: Operator | None = None
        self._clock = SystemClock()

    async def __aenter__(self) -> Self:
        await self.stack.start()
        try:
            await self.line.start()
        except OSError as error:
            await self.stack.stop()
            raise BenchError(
                f"cannot listen on port {self.line.port}: {error}; is another bench at work?"
            ) from error
        self._operator = Operator(self.stack.desk_url, self.stack.token, "Bench")
        await self._operator.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._operator is not None:
            await self._operator.__aexit__()
        await self.line.cut()
        await self.stack.stop()

    def now_s(self) -> float:
        return self._clock.mono_ns() / 1e9

    def utc_s(self) -> float:
        return self._clock.utc_ns() / 1e9

    def presses(self) -> int:
        return len(self.record.presses())

    async def stored(self, count: int, timeout_s: float = 60) -> None:
        """Waits until the desk has stored so many presses in all; raises `BenchError`."""
        until_s = self.now_s() + timeout_s
        while self.presses() < count:
            if self.now_s() > until_s:
                raise BenchError(
                    f"the desk has {self.presses()} presses after {timeout_s:.0f} s, not {count}"
                )
            await asyncio.sleep(0.05)

    async def act(self, incident_id: str, act: str, **more: Any) -> None:
        assert self._operator is not None
        await self._operator.act(incident_id, act, **more)

    async def acknowledge(self, act: str = "seen") -> None:
        for incident_id in self.record.open_incidents():
            await self.act(incident_id, act)

    async def close_all(self) -> None:
        """Acknowledges and closes what is open, as an operator does."""
        for incident_id in self.record.open_incidents():
            with contextlib.suppress(SetupFailed):  # somebody was first
                await self.act(incident_id, "seen")
            await self.act(incident_id, "close", disposition="false")
