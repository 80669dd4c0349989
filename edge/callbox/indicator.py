"""Lamp, buzzer and beacon patterns for each state the citizen is told. A table; pure.

A pattern is milliseconds on, off, on, off ... from the moment the state began; `repeat` starts it again.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.protocol.common import CitizenState


@dataclass(frozen=True, slots=True)
class Pattern:
    ms: tuple[int, ...]
    """On, off, on, off ...; empty is always off."""
    repeat: bool = True

    def at(self, since_ms: float) -> tuple[bool, float | None]:
        """Level at a time since the beginning, and ms until it changes (None: never)."""
        total = sum(self.ms)
        if not self.ms or (not self.repeat and since_ms >= total):
            return False, None
        left = since_ms % total
        for index, span in enumerate(self.ms):
            if left < span:
                return index % 2 == 0, span - left
            left -= span
        return False, 0.0


@dataclass(frozen=True, slots=True)
class Signals:
    lamp: Pattern
    buzzer: Pattern


OFF = Pattern(())
STEADY = Pattern((1000,))


def _beeps(*ms: int) -> Pattern:
    return Pattern(ms, repeat=False)


# No two states share a lamp pattern: a technician, and a test, can tell them apart from across the road.
SIGNALS: dict[CitizenState, Signals] = {
    "idle": Signals(Pattern((60, 4940)), OFF),
    "pressed": Signals(STEADY, _beeps(200)),
    "trying": Signals(Pattern((500, 500)), OFF),
    "sent": Signals(Pattern((250, 250)), OFF),
    "received": Signals(Pattern((1800, 200)), _beeps(100, 100, 100)),
    "seen": Signals(Pattern((1400, 200, 200, 200)), _beeps(400)),
    "coming": Signals(Pattern((1000, 200, 200, 200, 200, 200)), _beeps(100, 100, 100, 100, 400)),
    "connected": Signals(Pattern((3000, 100)), OFF),
    "closed": Signals(Pattern((400, 200, 400, 60000), repeat=False), _beeps(800)),
    "nobody": Signals(Pattern((120, 120)), _beeps(300, 300, 300, 300, 300)),
}
FAULT = Signals(Pattern((60, 200, 60, 4680)), OFF)
"""In place of `idle` when something at the box is not right."""
TEST = Signals(Pattern((300, 300)), Pattern((300, 700)))
"""The indicator test."""


@dataclass(frozen=True, slots=True)
class Levels:
    lamp: bool
    buzzer: bool
    beacon: bool
    next_ms: float | None
    """Until something changes by itself."""


def levels(state: CitizenState, since_ms: float, *, dark: bool, fault: bool) -> Levels:
    """What the outputs should be `since_ms` after `state` began.

    A `dark` incident (duress) looks and sounds like an idle box.
    """
    if dark:
        state = "idle"
    signals = FAULT if state == "idle" and fault else SIGNALS[state]
    lamp, lamp_ms = signals.lamp.at(since_ms)
    buzzer, buzzer_ms = signals.buzzer.at(since_ms)
    changes = [ms for ms in (lamp_ms, buzzer_ms) if ms is not None]
    return Levels(lamp, buzzer, state not in ("idle", "closed"), min(changes, default=None))


def test_levels(since_ms: float) -> Levels:
    """What the outputs should be during the indicator test."""
    lamp, lamp_ms = TEST.lamp.at(since_ms)
    buzzer, buzzer_ms = TEST.buzzer.at(since_ms)
    return Levels(lamp, buzzer, True, min(ms for ms in (lamp_ms, buzzer_ms) if ms is not None))
