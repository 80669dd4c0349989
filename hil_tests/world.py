"""A box and a centre, and what a test asks of both."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable
from typing import Any

from edge.sim.observer import LampReader
from hil_tests.bench.bench import Bench, BenchError, armed
from hil_tests.bench.centre import Centre

LONGEST_PATTERN_S = 5.3
UNITS = ("edge-callbox", "edge-uplink", "edge-media")
HANGS = {"kernel": "echo c > /proc/sysrq-trigger", "systemd": "kill -SEGV 1"}
"""systemd cannot be stopped by a signal; a crash leaves it frozen, with the watchdog open and unfed."""


class World:
    """`bench` is the box, `centre` what is around it."""

    def __init__(self, bench: Bench, centre: Centre) -> None:
        self.bench = bench
        self.centre = centre

    async def rest(self) -> None:
        """Powered, linked, fingers off, nothing open."""
        if not self.bench.powered:
            await self.bench.restore()
        for button in self.bench.held:
            await self.bench.release(button)
        await self.bench.lid(False)
        await self.bench.link(True)
        await self.linked()
        await self.centre.close_all()
        await self.until(self.idle, "the box has no incident")

    async def idle(self) -> bool:
        return not self.centre.record.open_incidents() and await self.citizen() == "idle"

    async def citizen(self) -> str:
        """What the box tells the citizen now, by callbox's log."""
        return await self._last("edge-callbox", "citizen state=")

    async def armed(self) -> None:
        """Callbox has said that it is ready."""
        await armed(self.bench, 120)

    async def hang(self, level: str) -> None:
        """Hangs it as HANGS says; returns when the hardware's watchdog has reset it and it is armed."""
        order = asyncio.create_task(
            self.bench.sh(f"sleep 0.5; {HANGS[level]}", check=False, timeout_s=5)  # it must be taken first
        )
        await self.bench.wait_for_reset(120)
        await asyncio.gather(order, return_exceptions=True)
        await self.armed()

    async def linked(self) -> None:
        """The uplink has its session."""
        await self.until(self._link, "the box has its link")

    async def _link(self) -> bool:
        return await self._last("edge-uplink", "session ") == "up"

    async def _last(self, unit: str, text: str) -> str:
        """The word after the last `text` in a unit's log; "" when there is none."""
        out = await self.bench.sh(
            f"journalctl -b -u {unit} -o cat --no-pager | grep '{text}' | tail -1", check=False
        )
        found = re.search(f"{text}([a-z]+)", out)
        return found[1] if found else ""

    async def until(self, true: Callable[[], Any], what: str, timeout_s: float = 90) -> None:
        """Waits for a condition, plain or asynchronous; raises `BenchError` with the box's last words."""
        until_s = self.centre.now_s() + timeout_s
        while True:
            found = true()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            if self.centre.now_s() > until_s:
                words = await self.bench.sh(
                    "journalctl -b -u 'edge-*' -o cat --no-pager | tail -20", check=False
                )
                raise BenchError(f"after {timeout_s:.0f} s still not: {what}; the box says:\n{words}")
            await asyncio.sleep(0.2)

    async def lamp(self, wanted: str, timeout_s: float = 60) -> None:
        """Waits until the lamp alone, as seen across the road, says a state; raises `BenchError`."""
        until_s = self.centre.now_s() + timeout_s
        seen = ""
        while self.centre.now_s() < until_s:
            reader = LampReader()
            edges = await self.bench.watch(LONGEST_PATTERN_S, "lamp")
            for edge in edges[1:]:  # the first is the level at the beginning
                reader.edge(edge.level, edge.at_ns)
            read = reader.read()
            if read is not None and read[0] == wanted:
                return
            seen = " ".join(f"{(b.at_ns - a.at_ns) / 1e6:.0f}" for a, b in itertools.pairwise(edges))
        raise BenchError(f"the lamp does not say {wanted}: {seen} ms")

    async def main_pid(self, unit: str) -> int:
        return int(await self.bench.sh(f"systemctl show -P MainPID {unit}"))

    async def active(self, unit: str) -> bool:
        return (await self.bench.sh(f"systemctl is-active {unit}", check=False)).strip() == "active"

    async def press_arrives(self, button: str = "police", hold_s: float = 0.4) -> None:
        """One press, and exactly one at the desk; the incident stays open."""
        before = self.centre.presses()
        await self.bench.press(button, hold_s)
        await self.centre.stored(before + 1)
        assert self.centre.presses() == before + 1

    async def mark(self) -> str:
        """This moment, for `log`."""
        return (await self.bench.sh("date +%s.%N")).strip()

    async def log(self, unit: str, text: str, since: str = "0") -> bool:
        """Whether the unit's log has a line with `text` (a regular expression) since a mark."""
        out = await self.bench.sh(f"journalctl -b -u {unit} -o cat --no-pager --since=@{since}", check=False)
        return re.search(text, out) is not None
