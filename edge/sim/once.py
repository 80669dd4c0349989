"""One press, its whole way to a person and back, without a person: `edge demo --once`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from edge.errors import EdgeError, SetupFailed
from edge.sim.observer import Observer, at_least
from edge.sim.operator import Operator
from edge.sim.stack import DEVICE, Stack

STEP_S = 30.0
BUTTON = "police"
HOLD_S = 0.4


@dataclass
class Way:
    """The steps and when each was seen, in ms from the contact's edge; None where it was not."""

    edge_ns: int
    rows: list[tuple[str, float | None]] = field(default_factory=list)

    def seen(self, step: str, at_ns: int) -> None:
        self.rows.append((step, (at_ns - self.edge_ns) / 1e6))

    def table(self) -> str:
        width = max(len(step) for step, _ in self.rows)
        times = (("not seen" if ms is None else f"{ms:.1f} ms") for _, ms in self.rows)
        return "\n".join(
            f"  {step:<{width}}  {ms:>11}" for (step, _), ms in zip(self.rows, times, strict=True)
        )


class Once:
    """Presses once and follows; `way` holds what was seen, also when a step fails."""

    def __init__(self, stack: Stack, observer: Observer) -> None:
        self._stack = stack
        self._observer = observer
        self._in_list: dict[str, tuple[str, int]] = {}
        """Press id -> its incident, and when the operator's list had it."""
        self._health: Any = None
        self.way: Way | None = None

    async def run(self) -> None:
        """Raises `SetupFailed` with the step that did not come within 30 s."""
        observer = self._observer
        async with Operator(self._stack.desk_url, self._stack.token, "Asha (demo)", self._on_event) as asha:
            await observer.until("the box reaches the broker", lambda: observer.link or None, STEP_S)
            await observer.until("the desk reaches the broker", self._desk_up, STEP_S)
            await self._settle(asha)
            edge_ns = self._stack.stage.set_line(BUTTON, 1)
            self.way = Way(edge_ns, [("contact closed", 0.0)])
            release = asyncio.get_running_loop().call_later(HOLD_S, self._stack.stage.set_line, BUTTON, 0)
            try:
                incident_id = await self._there(edge_ns)
            finally:
                release.cancel()
                self._stack.stage.set_line(BUTTON, 0)
            await self._back(asha, incident_id)

    async def _settle(self, asha: Operator) -> None:
        """Closes what an earlier run left open: a press would join it."""
        for incident in await asha.call("GET", "/api/incidents"):
            if incident["device"] == DEVICE and incident["state"] != "closed":
                await asha.act(incident["incident_id"], "seen")
                await asha.act(incident["incident_id"], "close", disposition="false")
        await self._observer.until("the box is at rest", self._at_rest, STEP_S)

    def _at_rest(self) -> bool | None:
        """Idle, and between two blinks: the lamp's next edge is the press's."""
        incident = self._observer.incident
        idle = incident is not None and incident.citizen == "idle"
        return True if idle and not self._stack.stage.outputs["lamp"] else None

    async def _there(self, edge_ns: int) -> str:
        """From the contact to the operator's list."""
        observer, way = self._observer, self.way
        assert way is not None
        until = observer.until
        way.seen("lamp on", await until("lamp on", lambda: observer.output_after("lamp", edge_ns)))
        way.seen("buzzer on", await until("buzzer on", lambda: observer.output_after("buzzer", edge_ns)))
        way.seen("tone heard", await until("tone heard", lambda: observer.output_after("sound", edge_ns)))
        told = await until(
            "press on the bus",
            lambda: next((p for p in observer.presses.values() if p.edge_ns >= edge_ns), None),
        )
        if not told.durable:
            raise SetupFailed(
                "the press went out before it was on the disk: the disk is full or does not answer"
            )
        press_id, incident_id = told.press.press_id, told.press.incident_id
        way.seen("on the disk (fdatasync)", told.stored_ns)
        for step, progress in (
            ("broker has it (PUBACK)", "sent"),
            ("desk has stored it (receipt)", "received"),
        ):
            seen_ns = await until(step, lambda p=progress: at_least(observer, incident_id, p))  # type: ignore[misc]
            way.seen(step, seen_ns)
        in_list = await until("in the operator's list", lambda: self._in_list.get(press_id))
        if in_list[0] != incident_id:
            raise SetupFailed(f"the desk has the press in incident {in_list[0]}, the box in {incident_id}")
        way.seen("in the operator's list", in_list[1])
        return incident_id

    async def _back(self, asha: Operator, incident_id: str) -> None:
        """From the operator's hand to the citizen's eye."""
        observer, way = self._observer, self.way
        assert way is not None
        for act in ("seen", "coming"):
            began_ns = observer.now_ns()
            way.seen(f"operator: {act}", began_ns)
            await asha.act(incident_id, act)
            step = f"box has `{act}`"
            way.seen(step, await observer.until(step, lambda a=act: observer.citizen.get((incident_id, a))))  # type: ignore[misc]
            step = f"lamp blinks `{act}`"
            way.seen(step, await observer.until(step, lambda a=act, t=began_ns: self._lamp(a, t)))  # type: ignore[misc]
        way.seen("operator: closed as false", observer.now_ns())
        await asha.act(incident_id, "close", disposition="false")
        step = "box has `closed`"
        way.seen(step, await observer.until(step, lambda: observer.citizen.get((incident_id, "closed"))))

    def _lamp(self, state: str, after_ns: int) -> int | None:
        read = self._observer.lamp.read(after_ns)
        return read[1] if read is not None and read[0] == state else None

    def _desk_up(self) -> bool | None:
        return True if self._health and self._health["ok"] and self._health["broker"] else None

    def _on_event(self, kind: str, data: Any, at_ns: int) -> None:
        if kind in ("tick", "snapshot"):
            self._health = data if kind == "tick" else data["health"]
        if kind == "incident":
            for press in data["presses"]:
                self._in_list.setdefault(press["press_id"], (data["incident_id"], at_ns))
        self._observer.pulse()


async def once(stack: Stack, observer: Observer) -> int:
    """Runs it and prints the table; 0 when every step was seen."""
    journey = Once(stack, observer)
    try:
        await journey.run()
    except EdgeError as error:
        if journey.way is not None:
            print(journey.way.table())
        print(f"FAILED: {error}")
        return 1
    assert journey.way is not None
    print(journey.way.table())
    print("one press, one incident, one acknowledgement: all seen")
    return 0
