"""One contact, from raw edges with kernel timestamps to presses. Pure: times in, events out.

Edges wake, the level decides: a contact counts once it has been closed for the stable window without an edge.
A lost edge is found by reading the level again. Late processing loses nothing: the timestamps are the
kernel's, so a contact that has opened again by the time it is looked at still counts if it lasted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

OPEN_NS = 30_000_000
"""A contact must have been open this long before it can count again: worn contacts bounce for longer when
they open, and no finger is as fast."""
_LATE = 2
"""With the opening edge lost, a contact seen open only after this many stable windows counts."""


class What(Enum):
    PRESSED = "pressed"
    RELEASED = "released"
    HELD = "held"
    """Held for the mute time."""
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class ContactEvent:
    what: What
    contact: str
    edge_ns: int
    """CLOCK_MONOTONIC of the edge that began it."""
    held_at_start: bool = False


class Contact:
    """The machine of one contact. Feed it `edge`, `sample` and `tick`; each returns what happened."""

    def __init__(
        self, name: str, *, stable_ns: int, hold_ns: int, stuck_ns: int, known_closed: bool = False
    ) -> None:
        """`known_closed`: the journal shows that the present contact was already counted."""
        self.name = name
        self._stable_ns = stable_ns
        self._hold_ns = hold_ns
        self._stuck_ns = stuck_ns
        self._level: bool | None = None
        """What the line is believed to be; None before the first look at it."""
        self._since_ns = 0
        """Last change of `_level`."""
        self._closed = known_closed
        """The settled state."""
        self._known_closed = known_closed
        self._first_edge_ns = 0
        self._closed_ns = 0
        self._told: set[What] = set()
        self._at_start = False
        self._known = False
        self._seen_open_ns: int | None = None

    @property
    def state(self) -> str:
        """``unknown`` until the line was seen to stand still once, then released, held or stuck."""
        if self._level is None or not self._known:
            return "unknown"
        if not self._closed:
            return "released"
        return "stuck" if What.STUCK in self._told else "held"

    @property
    def first_edge_ns(self) -> int:
        """The edge at which the press began that is now being made, or was made last."""
        return self._first_edge_ns

    @property
    def unseen(self) -> bool:
        """Nothing was seen of this line yet."""
        return self._level is None

    def count_as_known(self) -> None:
        """The journal, read late, shows that a contact still closed since start was already counted."""
        if self._level is None:
            self._closed = self._known_closed = True

    def edge(self, level: bool, at_ns: int) -> list[ContactEvent]:
        """The line changed to `level` (True: closed) at `at_ns`."""
        if self._level is None:
            # The first thing seen of this line is a change: it was not held at start.
            return self._first(level, at_ns, at_start=False)
        if level == self._level:
            return self._again(level, at_ns)
        events = self._settle(at_ns)
        if level and not self._closed and at_ns - self._since_ns >= self._stable_ns:
            self._first_edge_ns = at_ns
        self._level, self._since_ns, self._seen_open_ns = level, at_ns, None
        return events

    def _again(self, level: bool, at_ns: int) -> list[ContactEvent]:
        """An edge to where we already are."""
        if at_ns < self._since_ns:
            # The edge of a change that was read off the line before its edge came: it says when.
            if level and self._first_edge_ns == self._since_ns:
                self._first_edge_ns = at_ns
            self._since_ns = at_ns
            return []
        if level and self._seen_open_ns is not None and self._seen_open_ns < at_ns:
            # The edge that was lost had opened it, and the line was seen open: both changes were real.
            return self._found_open(self._seen_open_ns) + self.edge(True, at_ns)
        # The one between was lost, and with it an opposite level.
        self._since_ns = at_ns
        return []

    def sample(self, level: bool, at_ns: int) -> list[ContactEvent]:
        """The line was read. A disagreement that stands at two looks is a lost edge."""
        if self._level is None:
            return self._first(level, at_ns, at_start=level)
        if level == self._level:
            self._seen_open_ns = None
            return self.tick(at_ns, level)
        if level:
            # Closed without an edge: believe it; the stable window still has to pass.
            return self.edge(True, at_ns)
        if self._seen_open_ns is None:
            self._seen_open_ns = at_ns
            return []
        return self._found_open(self._seen_open_ns)

    def _found_open(self, opened_ns: int) -> list[ContactEvent]:
        """The opening edge was lost; the line was seen open at `opened_ns`."""
        if not self._closed and opened_ns - self._since_ns < _LATE * self._stable_ns:
            # Right after the window: a spike.
            self._level, self._since_ns, self._seen_open_ns = False, opened_ns, None
            return []
        return self.edge(False, opened_ns)

    def tick(self, at_ns: int, level: bool) -> list[ContactEvent]:
        """Time has passed; `level` is the line as read now."""
        if self._level is None or level != self._level:
            # Either an edge is on its way, and says when, or the next sample decides.
            if self._level and not level and self._seen_open_ns is None:
                self._seen_open_ns = at_ns
            return []
        return self._settle(at_ns)

    def due_ns(self) -> int | None:
        """When `tick` is wanted next; None when only an edge can change anything."""
        if self._level is None:
            return None
        if self._level != self._closed:
            return self._since_ns + self._window_ns()
        if self._closed and What.HELD not in self._told:
            return self._closed_ns + self._hold_ns
        if self._closed and What.STUCK not in self._told:
            return self._closed_ns + self._stuck_ns
        return None

    def _first(self, level: bool, at_ns: int, *, at_start: bool) -> list[ContactEvent]:
        self._level, self._since_ns, self._first_edge_ns = level, at_ns, at_ns
        self._at_start = at_start
        self._known = level == self._closed
        if not self._known_closed:
            return []
        if level and at_start:
            self._closed_ns = at_ns
            return []
        # It was let go while nobody looked; a closing edge that is seen is another press.
        self._closed, self._known = False, not level
        return [ContactEvent(What.RELEASED, self.name, at_ns)]

    def _window_ns(self) -> int:
        return self._stable_ns if self._level else OPEN_NS

    def _settle(self, at_ns: int) -> list[ContactEvent]:
        events: list[ContactEvent] = []
        if self._level != self._closed and at_ns - self._since_ns >= self._window_ns():
            self._closed = bool(self._level)
            self._known = True
            self._told.clear()
            if self._closed:
                self._closed_ns = self._since_ns
                events.append(
                    ContactEvent(What.PRESSED, self.name, self._first_edge_ns, held_at_start=self._at_start)
                )
            else:
                events.append(ContactEvent(What.RELEASED, self.name, self._since_ns))
            self._at_start = False
        if self._closed and self._level:
            for what, after_ns in ((What.HELD, self._hold_ns), (What.STUCK, self._stuck_ns)):
                if what not in self._told and at_ns - self._closed_ns >= after_ns:
                    self._told.add(what)
                    events.append(ContactEvent(what, self.name, self._closed_ns))
        return events
