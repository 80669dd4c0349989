"""Reading a citizen state off the lamp, as a person across the road does."""

from __future__ import annotations

from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.callbox.indicator import SIGNALS
from edge.sim.observer import SLACK_MS, LampReader

BLINKING = sorted(s for s, signals in SIGNALS.items() if len(signals.lamp.ms) > 1 and signals.lamp.repeat)


def _show(reader: LampReader, state: str, edges: int, late_ms: list[float], at_ms: float = 0.0) -> float:
    for number, span in zip(range(edges), cycle(SIGNALS[state].lamp.ms), strict=False):  # type: ignore[index]
        reader.edge(1 - number % 2, round((at_ms + late_ms[number % len(late_ms)]) * 1e6))
        at_ms += span
    return at_ms


@given(
    st.sampled_from(BLINKING),
    st.integers(7, 16),
    st.lists(st.floats(0, SLACK_MS / 2), min_size=1, max_size=16),
)
def test_each_state_is_read_off_its_whole_pattern_at_whatever_point(
    state: str, edges: int, late_ms: list[float]
) -> None:
    reader = LampReader()
    _show(reader, state, edges, late_ms)
    read = reader.read()
    assert read is not None
    assert read[0] == state


@pytest.mark.parametrize("state", BLINKING)
def test_half_a_pattern_is_not_read(state: str) -> None:
    reader = LampReader()
    _show(reader, state, len(SIGNALS[state].lamp.ms), [0.0])  # type: ignore[index]
    assert reader.read() is None


def test_what_was_shown_before_is_not_read_again() -> None:
    reader = LampReader()
    end_ms = _show(reader, "seen", 9, [0.0])
    assert reader.read() is not None
    assert reader.read(after_ns=round(end_ms * 1e6)) is None
    _show(reader, "coming", 7, [0.0], at_ms=end_ms)
    read = reader.read(after_ns=round(end_ms * 1e6))
    assert read is not None
    assert read[0] == "coming"
