"""What changed at the box that the centre should know: tamper, stuck button, dead process, clock. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edge.protocol.inner import Inputs
from edge.protocol.wire import ProcessHealth
from edge.store import outbox
from edge.supervision import ALIVE_S

DOWN_NS = round(3 * ALIVE_S * 1e9)
JUMP_NS = 2_000_000_000
Severity = Literal["info", "warning", "alarm"]
PRIORITY: dict[Severity, int] = {"info": outbox.INFO, "warning": outbox.WARNING, "alarm": outbox.ALARM}
BURST = 20
REFILL_NS = 60_000_000_000
"""Events of a box that flaps: `BURST` at once, then one in this time."""


@dataclass(frozen=True, slots=True)
class Fact:
    """The content of an `Event`."""

    kind: str
    severity: Severity
    text: str
    data: dict[str, str | float | int | bool | None] = field(default_factory=dict)


@dataclass(slots=True)
class _Process:
    pid: int | None
    heard_ns: int
    restarts: int = 0
    down: bool = False


class Watch:
    """Feed it what is heard; each call returns the facts that follow."""

    def __init__(self, processes: tuple[str, ...], now_ns: int) -> None:
        self._processes = {name: _Process(None, now_ns) for name in processes}
        self._inputs: Inputs | None = None
        self._tamper = "closed"
        """As last known: an unknown lid (callbox is starting) is neither opened nor closed."""
        self._stuck: set[str] = set()
        self._offset_ns: int | None = None

    def alive(self, process: str, pid: int, now_ns: int) -> list[Fact]:
        known = self._processes.get(process)
        if known is None:
            return []
        facts: list[Fact] = []
        if known.pid is not None and known.pid != pid:
            known.restarts += 1
            facts.append(Fact("process", "warning", f"{process} was restarted", {"process": process}))
        elif known.down:
            facts.append(Fact("process", "info", f"{process} answers again", {"process": process}))
        known.pid, known.heard_ns, known.down = pid, now_ns, False
        return facts

    def inputs(self, inputs: Inputs) -> list[Fact]:
        before, self._inputs = self._inputs, inputs
        facts: list[Fact] = []
        if inputs.tamper not in (self._tamper, "unknown"):
            self._tamper = inputs.tamper
            opened = inputs.tamper == "open"
            text = "the box was opened" if opened else "the box is closed again"
            facts.append(Fact("tamper", "alarm" if opened else "info", text, {"open": opened}))
        for name, state in inputs.buttons.items():
            if state == "stuck" and name not in self._stuck:
                self._stuck.add(name)
                facts.append(Fact("stuck", "alarm", f"button {name} is stuck", {"button": name}))
            elif state == "released" and name in self._stuck:
                self._stuck.discard(name)
                facts.append(Fact("stuck", "info", f"button {name} is free again", {"button": name}))
        faults_before = before.faults if before else {}
        for name, text in inputs.faults.items():
            if name not in faults_before:
                facts.append(Fact("fault", "alarm", f"{name}: {text}"[:200], {"part": name}))
        for name in faults_before:
            if name not in inputs.faults:
                facts.append(Fact("fault", "info", f"{name} works again", {"part": name}))
        return facts

    def tick(self, now_ns: int, utc_ns: int) -> list[Fact]:
        facts: list[Fact] = []
        for name, process in self._processes.items():
            if not process.down and now_ns - process.heard_ns > DOWN_NS:
                process.down = True
                facts.append(Fact("process", "alarm", f"{name} does not answer", {"process": name}))
        offset_ns = utc_ns - now_ns
        if self._offset_ns is not None and abs(offset_ns - self._offset_ns) > JUMP_NS:
            jump_s = round((offset_ns - self._offset_ns) / 1e9, 3)
            facts.append(Fact("clock", "warning", f"the clock jumped by {jump_s} s", {"jump_s": jump_s}))
        self._offset_ns = offset_ns
        return facts

    def last_inputs(self) -> Inputs:
        """As last heard; everything unknown before."""
        return self._inputs or Inputs(buttons={}, tamper="unknown")

    def processes(self, own: str) -> dict[str, ProcessHealth]:
        """For the heartbeat; the process that asks is up."""
        health = {
            name: ProcessHealth(up=not p.down and p.pid is not None, restarts=p.restarts)
            for name, p in self._processes.items()
        }
        health[own] = ProcessHealth(up=True)
        return health


class Allowance:
    """A bucket of tokens: lets a burst through, then a slow stream, and counts what it held back."""

    def __init__(self, burst: int, refill_ns: int) -> None:
        self._burst = self._left = burst
        self._refill_ns = refill_ns
        self._from_ns: int | None = None
        self.held_back = 0

    def allow(self, now_ns: int) -> bool:
        if self._from_ns is None:
            self._from_ns = now_ns
        grown = (now_ns - self._from_ns) // self._refill_ns
        if grown > 0:
            self._left = min(self._burst, self._left + grown)
            self._from_ns += grown * self._refill_ns
        if self._left <= 0:
            self.held_back += 1
            return False
        self._left -= 1
        return True
