"""The table of lamp and buzzer patterns."""

from __future__ import annotations

from itertools import combinations
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.callbox import indicator
from edge.callbox.indicator import FAULT, SIGNALS, Pattern, levels
from edge.protocol.common import CitizenState

STATES = get_args(CitizenState)


def test_I3_every_state_has_its_signals_and_no_two_look_alike() -> None:
    assert set(SIGNALS) == set(STATES)
    lamps = [signals.lamp for signals in SIGNALS.values()] + [FAULT.lamp]
    assert all(a != b for a, b in combinations(lamps, 2))


def test_what_follows_a_press_is_seen_at_once() -> None:
    assert levels("pressed", 0, dark=False, fault=False).lamp
    assert levels("pressed", 0, dark=False, fault=False).buzzer


@given(
    st.lists(st.integers(1, 5000), min_size=2, max_size=8).filter(lambda ms: len(ms) % 2 == 0),
    st.booleans(),
    st.floats(0, 1e7),
)
def test_a_pattern_says_when_it_changes(ms: list[int], repeat: bool, since_ms: float) -> None:
    pattern = Pattern(tuple(ms), repeat)
    level, next_ms = pattern.at(since_ms)
    if next_ms is None:
        assert not repeat
        assert not level
        assert since_ms >= sum(ms)
        return
    assert 0 < next_ms <= max(ms)
    half, _ = pattern.at(since_ms + next_ms / 2)
    assert half == level
    after, after_ms = pattern.at(since_ms + next_ms + 1e-3)
    assert after != level or after_ms is None


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("fault", [False, True])
@pytest.mark.parametrize("since_ms", [0, 59, 61, 300, 4999, 5000])
def test_a_dark_incident_cannot_be_told_from_an_idle_box(
    state: CitizenState, fault: bool, since_ms: float
) -> None:
    assert levels(state, since_ms, dark=True, fault=fault) == levels(
        "idle", since_ms, dark=False, fault=fault
    )


@pytest.mark.parametrize("state", [s for s in STATES if s != "idle"])
def test_a_fault_at_the_box_does_not_change_what_a_citizen_is_told(state: CitizenState) -> None:
    assert levels(state, 0, dark=False, fault=True) == levels(state, 0, dark=False, fault=False)


def test_the_test_moves_every_output() -> None:
    on, off = indicator.test_levels(0), indicator.test_levels(301)
    assert (on.lamp, on.buzzer, on.beacon) == (True, True, True)
    assert (off.lamp, off.buzzer) == (False, False)
