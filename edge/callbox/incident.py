"""The box's incident: which press belongs to which, and what may be told to the citizen. Pure.

What is told is always what is true: facts that a desk or a person has confirmed stay true while the uplink is
away; states of the link do not, and become `trying`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from edge.protocol.common import CitizenState
from edge.protocol.inner import IncidentDelivery

ARMED_NS = 120 * 10**9
"""A named technician's arming lasts this long (I10)."""
CLOSED_SHOWN_NS = 6 * 10**9
PRESSED_SHOWN_NS = 700_000_000
"""Each press is answered by the state `pressed` for so long, a later one in an open incident too."""
STALE_NS = 5 * 10**9
"""An uplink that was not heard of for this long is away."""
MAX_PRESSES = 256
_BY_A_PERSON: tuple[CitizenState, ...] = ("seen", "coming", "connected")


@dataclass
class Open:
    """An incident that the desk has not closed."""

    incident_id: str
    service: str
    test: bool
    began_ns: int
    waits_ns: int
    """Since when a person is waited for: the first press, or when a desk got it or lost its operator."""
    dark: bool = False
    pressed_ns: int = 0
    """The last press."""
    presses: list[str] = field(default_factory=list)
    progress: CitizenState = "pressed"
    heard_ns: int | None = None
    """Last word of the uplink about this incident."""
    unheld: set[str] = field(default_factory=set)
    """Presses that the uplink has not yet said to have."""


@dataclass(frozen=True, slots=True)
class Filing:
    """Where a new press belongs."""

    incident_id: str
    test: bool
    test_by: str | None


class IncidentBook:
    """At most one incident is open at a box; a real press puts an open test aside."""

    def __init__(self, *, trying_ns: int, nobody_ns: int) -> None:
        self._trying_ns = trying_ns
        self._nobody_ns = nobody_ns
        self.open: Open | None = None
        self._closed_ns: int | None = None
        self._closed_dark = False
        self._armed: tuple[str, int] | None = None

    def arm(self, by: str, now_ns: int) -> None:
        """A named technician will press: contacts count as a test until the time is over."""
        self._armed = (by, now_ns)

    def where(self, press_id: str, now_ns: int, *, ordered_test_by: str | None = None) -> Filing:
        """Where a press would belong that was made now; changes nothing.

        A contact is real unless a test is armed and no real incident is open. `ordered_test_by` marks a
        press that no contact made (ask `may_test` before).
        """
        test_by = ordered_test_by or self._armed_by(now_ns)
        real_is_open = self.open is not None and not self.open.test
        test = test_by is not None and not real_is_open
        joins = self.open is not None and self.open.test == test
        incident_id = self.open.incident_id if self.open is not None and joins else press_id
        return Filing(incident_id, test, test_by if test else None)

    def file(
        self, press_id: str, service: str, *, silent: bool, now_ns: int, ordered_test_by: str | None = None
    ) -> Filing:
        """Puts a new press where it belongs, and says so."""
        filing = self.where(press_id, now_ns, ordered_test_by=ordered_test_by)
        if self.open is None or self.open.incident_id != filing.incident_id:
            self.open = Open(press_id, service, filing.test, now_ns, now_ns, dark=silent)
            self._closed_ns = None
        book = self.open
        # A later press does not light up a dark incident: whoever made it dark is in danger. Nor does a
        # silent contact, pressed in an incident that is lit, get the lamp and tone of a press.
        if not silent or book.began_ns == now_ns:
            book.pressed_ns = now_ns
        book.unheld.add(press_id)
        if len(book.presses) < MAX_PRESSES:
            book.presses.append(press_id)
        return filing

    def may_test(self) -> bool:
        """A synthetic test press is refused while a real incident is open."""
        return self.open is None or self.open.test

    def restore(
        self, press_id: str, incident_id: str, service: str, *, test: bool, silent: bool, now_ns: int
    ) -> None:
        """A press from the journal, in its order, at start."""
        if self.open is None or self.open.incident_id != incident_id:
            self.open = Open(incident_id, service, test, now_ns, now_ns, dark=silent)
        self.open.unheld.add(press_id)
        self.open.presses.append(press_id)
        del self.open.presses[:-MAX_PRESSES]

    def darken(self) -> bool:
        """A long hold mutes what has begun; True if it was not dark before."""
        if self.open is None or self.open.dark:
            return False
        self.open.dark = True
        return True

    def heard(self, word: IncidentDelivery, now_ns: int) -> bool:
        """The uplink's view of an incident; True when the desk has just closed ours."""
        book = self.open
        if book is None or word.incident_id != book.incident_id:
            return False
        book.heard_ns = now_ns
        if word.progress == "closed":
            if book.unheld:
                # It was said before the last press was heard, which the desk will reopen the incident for.
                return False
            self.close(now_ns)
            return True
        by_a_person = book.progress in _BY_A_PERSON
        if word.progress in _BY_A_PERSON:
            book.progress = word.progress
        elif by_a_person and word.taken_back:
            book.progress, book.waits_ns = "received", now_ns
        elif not by_a_person and book.progress != "received":
            book.progress = word.progress
            if word.progress == "received":
                # It rings there now: after hours without a link that is news, and not yet in vain.
                book.waits_ns = now_ns
        return False

    def held(self, press_ids: Iterable[str]) -> None:
        """The uplink has these presses on disk, or a desk has them."""
        if self.open is not None:
            self.open.unheld.difference_update(press_ids)

    def close(self, now_ns: int) -> None:
        if self.open is not None:
            self._closed_dark = self.open.dark
            self.open, self._closed_ns = None, now_ns

    def citizen(self, now_ns: int) -> CitizenState:
        """What the person in front of the box is told now."""
        book = self.open
        if book is None:
            shown = self._closed_ns is not None and now_ns - self._closed_ns < CLOSED_SHOWN_NS
            return "closed" if shown else "idle"
        if now_ns - book.pressed_ns < PRESSED_SHOWN_NS:
            return "pressed"
        if book.progress in _BY_A_PERSON:
            return book.progress
        age_ns = now_ns - book.began_ns
        if now_ns - book.waits_ns >= self._nobody_ns:
            return "nobody"
        if book.progress == "received":
            return "received"
        away = book.heard_ns is None or now_ns - book.heard_ns >= STALE_NS
        if away:
            return "trying" if age_ns >= self._trying_ns else "pressed"
        return book.progress

    def dark(self) -> bool:
        return self.open.dark if self.open is not None else self._closed_dark

    def _armed_by(self, now_ns: int) -> str | None:
        if self._armed is None or now_ns - self._armed[1] > ARMED_NS:
            return None
        return self._armed[0]
