"""Pauses between attempts."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from edge.backoff import ALERT_CAP_S, REFUSED_FLOOR_S, Backoff

caps = st.floats(0.5, 3600)
histories = st.lists(st.sampled_from(["failed", "refused", "succeeded"]), min_size=1, max_size=60)


def after(history: list[str], cap_s: float, seed: int = 0) -> Backoff:
    backoff = Backoff("box-1", cap_s=cap_s, first_spread_s=20, rng=random.Random(seed))
    for what in history:
        if what == "succeeded":
            backoff.succeeded()
        else:
            backoff.failed(refused=what == "refused")
    return backoff


@given(histories, caps, st.booleans(), st.integers(0, 1000))
def test_no_pause_is_longer_than_the_ceiling(
    history: list[str], cap_s: float, alert: bool, seed: int
) -> None:
    pause = after(history, cap_s, seed).pause_s(alert=alert)
    assert 0 <= pause <= (min(cap_s, ALERT_CAP_S) if alert else cap_s)


@given(st.integers(1, 60), caps, st.integers(0, 1000))
def test_a_pause_is_no_longer_than_two_to_the_failures(failures: int, cap_s: float, seed: int) -> None:
    assert after(["failed"] * failures, cap_s, seed).pause_s(alert=False) <= 2.0**failures


@given(st.integers(1, 60), caps, st.integers(0, 1000))
def test_refused_credentials_are_not_tried_again_soon(failures: int, cap_s: float, seed: int) -> None:
    pause = after(["refused"] * failures, cap_s, seed).pause_s(alert=False)
    assert pause >= min(REFUSED_FLOOR_S, cap_s / 2)


@given(histories, st.integers(0, 1000))
def test_success_begins_at_the_bottom_again(history: list[str], seed: int) -> None:
    assert after([*history, "succeeded"], 120, seed).pause_s(alert=False) <= 1


def test_a_city_after_a_power_failure_comes_back_spread_out_and_each_box_at_its_own_moment() -> None:
    firsts = [Backoff(f"box-{n}", cap_s=120, first_spread_s=20).pause_s(alert=False) for n in range(5000)]
    per_second = [sum(second <= pause < second + 1 for pause in firsts) for second in range(20)]
    assert sum(per_second) == 5000
    assert max(per_second) < 1.3 * 5000 / 20
    assert Backoff("box-7", cap_s=120, first_spread_s=20).pause_s(alert=False) == firsts[7]


def test_the_pauses_of_a_city_after_many_failures_are_spread_too() -> None:
    pauses = sorted(after(["failed"] * 10, 120, seed).pause_s(alert=False) for seed in range(2000))
    assert pauses[500] < 40 < 80 < pauses[1500]


def test_the_first_attempt_with_an_alert_waits_for_nothing() -> None:
    assert Backoff("box-1", cap_s=120, first_spread_s=20).pause_s(alert=True) == 0
