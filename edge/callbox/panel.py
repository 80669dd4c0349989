"""The contacts of a box: raw lines in, what happened to them out. Carries; `edge.callbox.button` decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from edge.callbox.button import Contact, ContactEvent
from edge.callbox.pins import TAMPER, Pins
from edge.clock import Clock
from edge.config import Button

RESTORE_WAIT_S = 0.3
"""Edges wait so long at start for the journal, which knows the open incident."""
HELD_WAIT_S = 5.0
"""A contact held at start waits so long for the journal to say whether it was counted already."""
TAMPER_NS = 50_000_000
NEVER_NS = 2**62
MAX_WAITING = 1000


class Panel:
    """All contacts; callbacks come on the loop.

    on_event    something happened to a contact
    on_closing  a released button has closed, at that edge (ns): its stable window begins
    """

    def __init__(
        self,
        button: Button,
        pins: Pins,
        clock: Clock,
        *,
        on_event: Callable[[ContactEvent], None],
        on_closing: Callable[[str, int], None],
    ) -> None:
        self._button = button
        self._pins = pins
        self._clock = clock
        self._on_event = on_event
        self._on_closing = on_closing
        self._loop = asyncio.get_running_loop()
        self._contacts: dict[str, Contact] = {}
        self._waiting_edges: list[tuple[str, bool, int]] = []
        self._armed = False
        self._journal_known = False
        self._timer: asyncio.Handle | None = None

    def start(self) -> None:
        """Claims the lines: from here on an edge is seen. Raises `DriverError`."""
        self._loop.call_later(RESTORE_WAIT_S, self._arm)
        self._pins.start(self._edge)

    def journal_says(self, counted: Mapping[str, bool]) -> None:
        """The journal was read: which contacts it shows as closed and counted."""
        self._arm()
        for name, closed in counted.items():
            if closed and name in self._contacts:
                self._contacts[name].count_as_known()
        self._look_at_held()

    def buttons(self) -> dict[str, str]:
        """The state of each button: released, held, stuck or unknown."""
        return {name: c.state for name, c in self._contacts.items() if name != TAMPER}

    def tamper(self) -> str:
        """The state of the lid's contact, as a button's; unknown where there is none."""
        return self._contacts[TAMPER].state if TAMPER in self._contacts else "unknown"

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _arm(self) -> None:
        """From here on edges count; those that came before are taken in their order."""
        if self._armed:
            return
        self._armed = True
        button = self._button
        for name in button.contacts:
            self._contacts[name] = Contact(
                name,
                stable_ns=round(button.stable_ms * 1e6),
                hold_ns=round(button.mute_hold_s * 1e9),
                stuck_ns=round(button.stuck_s * 1e9),
            )
        if button.tamper_pin is not None:
            self._contacts[TAMPER] = Contact(TAMPER, stable_ns=TAMPER_NS, hold_ns=NEVER_NS, stuck_ns=NEVER_NS)
        waiting, self._waiting_edges = self._waiting_edges, []
        for line, level, at_ns in waiting:
            self._edge(line, level, at_ns)
        self._loop.call_later(HELD_WAIT_S, self._look_at_held)

    def _look_at_held(self) -> None:
        """The journal has spoken, or had its time: a contact that is closed by now counts."""
        self._journal_known = True
        self.sample()

    def _edge(self, line: str, level: bool, at_ns: int) -> None:
        contact = self._contacts.get(line)
        if contact is None:
            if not self._armed:
                self._waiting_edges.append((line, level, at_ns))
                del self._waiting_edges[:-MAX_WAITING]
            return
        self._tell(contact.edge(level, at_ns))
        if level and line != TAMPER and contact.state == "released":
            self._on_closing(line, contact.first_edge_ns)
        # The loop may be late: what is due by now is looked at now.
        self._tick_soon()

    def sample(self) -> None:
        """Reads every line again: a lost edge is found here."""
        now_ns = self._clock.mono_ns()
        for name, contact in self._contacts.items():
            level = self._pins.read(name)
            if level is not None and (self._journal_known or not contact.unseen):
                self._tell(contact.sample(level, now_ns))
        self._plan()

    def _tick_soon(self) -> None:
        """In the loop's next turn: an edge that waits for its own may say otherwise than the line."""
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        self._timer = None
        now_ns = self._clock.mono_ns()
        for name, contact in self._contacts.items():
            due_ns = contact.due_ns()
            if due_ns is not None and due_ns <= now_ns:
                level = self._pins.read(name)
                if level is not None:
                    self._tell(contact.tick(now_ns, level))
        self._plan()

    def _plan(self) -> None:
        """Sets the timer to the next moment a contact wants to be looked at."""
        due = [ns for ns in (c.due_ns() for c in self._contacts.values()) if ns is not None]
        if self._timer:
            self._timer.cancel()
            self._timer = None
        now_ns = self._clock.mono_ns()
        # What is overdue waits for its edge or the next look at the line, not for a spinning timer.
        ahead = [ns for ns in due if ns > now_ns]
        if ahead:
            self._timer = self._loop.call_later((min(ahead) - now_ns) / 1e9, self._tick_soon)

    def _tell(self, events: list[ContactEvent]) -> None:
        for event in events:
            self._on_event(event)
