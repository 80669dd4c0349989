"""What is said next: a queue that follows the citizen's state. No I/O; time comes in, acts come out.

- `pressed` begins with a short tone; then each language says its sentence, in the box's order.
- A sentence that is still true may end (half a word helps nobody); one that is no longer true is cut.
- What is waited for is said again while it holds, but never on the word of a callbox that fell silent.
- A press in an open incident gets the tone and what holds, and never cuts what is being said: people press
  again and again, and must not thereby lose the answer.
- In the dark (a silent contact, a long hold) nothing is ever heard.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from edge.protocol.common import CitizenState, Language

SECOND = 1_000_000_000
REPEAT_S: dict[str, int] = {"trying": 20, "sent": 20, "received": 20, "nobody": 20, "seen": 60, "coming": 60}
"""Pause after the last word before a state is said again."""
STALE_S = 5
"""Callbox repeats itself each second while an incident is open; after this long its word is old."""

_STILL_TRUE: dict[str, frozenset[str]] = {
    "pressed": frozenset({"trying", "sent", "received", "seen", "coming", "connected", "nobody"}),
    "sent": frozenset({"received", "seen", "coming"}),
    "received": frozenset({"seen", "coming"}),
    "seen": frozenset({"coming"}),
    "closed": frozenset({"idle"}),
}
"""What is being said -> the states in which it may end."""


class Clip(NamedTuple):
    """One piece of sound: a state in one language, or the tone."""

    state: str
    language: Language | None = None

    @property
    def tag(self) -> str:
        """``pressed.hi``: also the name of its file."""
        return f"{self.state}.{self.language}" if self.language else self.state


TONE = Clip("tone")


class Play(NamedTuple):
    """Start this clip; whatever plays is cut."""

    clip: Clip


class Stop(NamedTuple):
    """Silence, at once."""


Act = Play | Stop


class Player:
    """One box's voice. Times are CLOCK_MONOTONIC ns; `ended` must follow each `Play` that was not cut."""

    def __init__(self, languages: Iterable[Language]) -> None:
        self._languages = tuple(languages)
        self._incident: str | None = None
        self._citizen: CitizenState = "idle"
        self._said: str = "idle"
        """The state that was announced last."""
        self._again = False
        """A press asked for it: what holds is said again."""
        self._dark = False
        self._heard_ns = 0
        self._queue: deque[Clip] = deque()
        self._repeat_ns: int | None = None
        self.playing: Clip | None = None

    @property
    def testing(self) -> bool:
        """A test sound plays or waits."""
        waiting = [*self._queue, *([self.playing] if self.playing else [])]
        return any(clip.state == "test" for clip in waiting)

    def tell(self, incident: str | None, citizen: CitizenState, dark: bool, now_ns: int) -> list[Act]:
        """Callbox's word, new or repeated."""
        self._heard_ns = now_ns
        new = incident is not None and incident != self._incident
        changed = new or citizen != self._citizen
        if incident is not None:
            self._incident = incident
        self._citizen, self._dark = citizen, dark
        if dark:
            return self._hush()
        if not changed:
            return []
        if citizen == "idle":
            self._said, self._again, self._repeat_ns = "idle", False, None
            return [] if self._may_end("idle") or self.testing else self._hush()
        if citizen == "pressed" and not new and self._said != "idle":
            return self._pressed_again()
        if citizen == self._said and not new and not self._again:
            return []
        return self._announce(citizen, new)

    def test(self) -> str | None:
        """Queues the test sound; `next` starts it. Returns why not, when an incident is open."""
        if self._citizen not in ("idle", "closed"):
            return "an incident is open"
        self._queue = deque([TONE, *(Clip("test", language) for language in self._languages)])
        return None

    def ended(self, now_ns: int) -> list[Act]:
        """The clip came to its end."""
        self.playing = None
        return self.next(now_ns)

    def next(self, now_ns: int) -> list[Act]:
        """Starts what waits, when nothing plays; call it when `due_ns` has come as well."""
        if self.playing is not None:
            return []
        if not self._queue and self._repeat_ns is not None and now_ns >= self._repeat_ns:
            self._repeat_ns = None
            if now_ns - self._heard_ns <= STALE_S * SECOND:
                self._queue.extend(self._sentences(self._said))
        if self._queue:
            self.playing = self._queue.popleft()
            return [Play(self.playing)]
        if (
            self._repeat_ns is None
            and self._citizen == self._said
            and self._said in REPEAT_S
            and not self._dark
        ):
            self._repeat_ns = now_ns + REPEAT_S[self._said] * SECOND
        return []

    def due_ns(self) -> int | None:
        """When `next` wants to be called, without anything happening."""
        return self._repeat_ns if self.playing is None and not self._queue else None

    def _announce(self, state: CitizenState, new: bool) -> list[Act]:
        self._said, self._again, self._repeat_ns = state, False, None
        self._queue = deque(self._sentences(state))
        if state == "pressed":
            self._queue.appendleft(TONE)
        if self.playing is not None and not new and self._may_end(state):
            return []
        self.playing = self._queue.popleft()
        return [Play(self.playing)]

    def _pressed_again(self) -> list[Act]:
        if self.playing is not None or self._queue:
            return []
        self._again, self._repeat_ns = True, None
        self.playing = TONE
        return [Play(TONE)]

    def _may_end(self, state: str) -> bool:
        """Whether what is being said is still true in `state`; the tone says nothing and may end."""
        playing = self.playing
        if playing is None or playing == TONE:
            return True
        return playing.state == state or state in _STILL_TRUE.get(playing.state, ())

    def _hush(self) -> list[Act]:
        self._queue.clear()
        self._repeat_ns, self._again = None, False
        if self.playing is None:
            return []
        self.playing = None
        return [Stop()]

    def _sentences(self, state: str) -> list[Clip]:
        return [Clip(state, language) for language in self._languages]
