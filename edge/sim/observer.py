"""What can truly be seen of a box from outside: its outputs at the stage, and its states on the bus."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

from edge.bus import Bus
from edge.callbox.indicator import SIGNALS, Pattern
from edge.clock import Clock, SystemClock
from edge.errors import SetupFailed
from edge.protocol.inner import Delivery, Incident, Inputs, PressTold, Sound
from edge.sim.stack import Stack
from edge.sim.stage import Kind

T = TypeVar("T")
STEPS = ("trying", "sent", "received", "seen", "coming", "closed")
"""How far the word of an incident comes, in order."""
SLACK_MS = 24.0
"""A span this exact is read; on a machine that is late, the next whole pattern is. Some differ by 50 ms."""


class Observer:
    """Listens to one stack. Times are this process's CLOCK_MONOTONIC ns, taken on arrival."""

    def __init__(self, stack: Stack, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._stage = stack.stage
        self._bus = Bus(stack.run / "bus", "observer", ("callbox", "uplink", "media"))
        self._changed = asyncio.Event()
        self._told: list[Callable[[], None]] = []
        self.incident: Incident | None = None
        self._open_id = ""
        self.inputs: Inputs | None = None
        self.sound: Sound | None = None
        self.link = False
        """The uplink has a session with the broker."""
        self.presses: dict[str, PressTold] = {}
        """By press id."""
        self.progress: dict[tuple[str, str], int] = {}
        """(incident id, how far the word of it has come) -> when that was first heard."""
        self.pubacks: dict[str, int] = {}
        """Incident id -> the uplink's own stamp of the first PUBACK for it."""
        self.citizen: dict[tuple[str, str], int] = {}
        """(incident id, what the citizen is told) -> when that was first heard."""
        self.outputs: list[tuple[str, int, int]] = []
        """(lamp, buzzer, beacon or ``sound``; level; when), oldest first."""
        self.lamp = LampReader()
        self._stage.observe(self._on_output)
        self._bus.on(PressTold, self._on_press)
        self._bus.on(Incident, self._on_incident)
        self._bus.on(Delivery, self._on_delivery)
        self._bus.on(Inputs, lambda _sender, m: self._set("inputs", m))
        self._bus.on(Sound, lambda _sender, m: self._set("sound", m))

    def open(self) -> None:
        self._bus.open()

    async def close(self) -> None:
        await self._bus.close()

    def on_change(self, told: Callable[[], None]) -> None:
        """Calls `told` whenever anything was seen."""
        self._told.append(told)

    async def until(self, what: str, look: Callable[[], T | None], timeout_s: float = 30) -> T:
        """Waits until `look` sees something, and returns it.

        Raises:
            SetupFailed: it did not in time; `what` names it.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while (found := look()) is None:
                    await self._changed.wait()
        except TimeoutError:
            raise SetupFailed(f"after {timeout_s:.0f} s still not: {what}") from None
        return found

    def pulse(self) -> None:
        """Something that `until` may look at has changed."""
        self._changed.set()
        self._changed = asyncio.Event()
        for told in self._told:
            told()

    def now_ns(self) -> int:
        return self._clock.mono_ns()

    def output_after(self, name: str, at_ns: int) -> int | None:
        """When that output was first on after `at_ns`."""
        return next((t for n, level, t in self.outputs if n == name and level and t >= at_ns), None)

    def _set(self, name: str, message: Inputs | Sound) -> None:
        setattr(self, name, message)
        self.pulse()

    def _on_output(self, kind: Kind, name: str, level: int, _box_ns: int, seen_ns: int) -> None:
        self.outputs.append((name if kind == "out" else "sound", level, seen_ns))
        del self.outputs[:-5000]
        if name == "lamp":
            self.lamp.edge(level, seen_ns)
        self.pulse()

    def _on_press(self, _sender: str, told: PressTold) -> None:
        self.presses.setdefault(told.press.press_id, told)
        self.pulse()

    def _on_incident(self, _sender: str, incident: Incident) -> None:
        self.incident = incident
        # A closed incident is no longer open, but the citizen is still told of it.
        self._open_id = incident.incident_id or self._open_id
        self.citizen.setdefault((self._open_id, incident.citizen), self._clock.mono_ns())
        self.pulse()

    def _on_delivery(self, _sender: str, delivery: Delivery) -> None:
        self.link = delivery.link
        for word in delivery.incidents:
            self.progress.setdefault((word.incident_id, word.progress), self._clock.mono_ns())
            if word.sent_ns is not None:
                self.pubacks.setdefault(word.incident_id, word.sent_ns)
        self.pulse()


def at_least(observer: Observer, incident_id: str, progress: str) -> int | None:
    """When the word of an incident had first come at least so far."""
    keys = [(incident_id, step) for step in STEPS[STEPS.index(progress) :]]
    times = [observer.progress[key] for key in keys if key in observer.progress]
    return min(times, default=None)


class LampReader:
    """Reads a citizen state off the lamp alone, as a person across the road does."""

    def __init__(self) -> None:
        self._edges: deque[tuple[int, int]] = deque(maxlen=16)

    def edge(self, level: int, at_ns: int) -> None:
        self._edges.append((level, at_ns))

    def read(self, after_ns: int = 0) -> tuple[str, int] | None:
        """The state whose whole pattern the lamp has just shown after `after_ns`, and when that began."""
        edges = [e for e in self._edges if e[1] >= after_ns]
        for state, signals in SIGNALS.items():
            began = _began(edges, signals.lamp)
            if began is not None:
                return state, began
        return None


def _began(edges: list[tuple[int, int]], pattern: Pattern) -> int | None:
    """When the last whole period of a blinking pattern began, at whatever point of it; None: not this one."""
    count = len(pattern.ms)
    if count < 2 or not pattern.repeat or len(edges) <= count:
        return None
    tail = edges[-count - 1 :]
    spans = [(level, (then - now) / 1e6) for (level, now), (_, then) in pairwise(tail)]
    wanted = [(1 - n % 2, ms) for n, ms in enumerate(pattern.ms)]
    for turn in range(count):
        turned = wanted[turn:] + wanted[:turn]
        if all(a[0] == b[0] and abs(a[1] - b[1]) <= SLACK_MS for a, b in zip(spans, turned, strict=True)):
            return tail[0][1]
    return None
