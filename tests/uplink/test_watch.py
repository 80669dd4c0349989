"""What the centre should know of a box: told when it changes, once, and only when it is known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.protocol.inner import Inputs
from edge.uplink.watch import DOWN_NS, Allowance, Fact, Watch

S = 1_000_000_000


def inputs(tamper: str = "closed", faults: dict[str, str] | None = None, **buttons: str) -> Inputs:
    return Inputs.model_validate({"buttons": buttons, "tamper": tamper, "faults": faults or {}})


def watch() -> Watch:
    return Watch(("callbox", "media"), 0)


def told(facts: list[Fact]) -> list[tuple[str, str]]:
    return [(fact.kind, fact.severity) for fact in facts]


@pytest.mark.parametrize(
    "first", [["closed"], ["unknown", "closed"], ["unknown", "unknown", "closed", "closed"]]
)
def test_a_lid_that_is_closed_at_start_is_no_news(first: list[str]) -> None:
    made = watch()
    assert [fact for state in first for fact in made.inputs(inputs(state))] == []


@given(st.lists(st.sampled_from(["closed", "open", "unknown"])))
def test_the_lid_is_told_at_each_change_of_what_is_known(states: list[str]) -> None:
    made, before = watch(), "closed"
    for state in states:
        facts = made.inputs(inputs(state))
        if state in ("unknown", before):
            assert facts == []
        else:
            before = state
            assert told(facts) == [("tamper", "alarm" if state == "open" else "info")]


@given(st.lists(st.sampled_from(["released", "held", "stuck", "unknown"])))
def test_a_stuck_button_is_told_once_and_is_free_only_when_it_was_seen_released(states: list[str]) -> None:
    made, stuck = watch(), False
    for state in states:
        facts = made.inputs(inputs(police=state))
        if state == "stuck" and not stuck:
            stuck = True
            assert told(facts) == [("stuck", "alarm")]
        elif state == "released" and stuck:
            stuck = False
            assert told(facts) == [("stuck", "info")]
        else:
            assert facts == []


def test_a_fault_is_told_when_it_comes_and_when_it_goes() -> None:
    made = watch()
    assert told(made.inputs(inputs(faults={"journal": "x" * 200}))) == [("fault", "alarm")]
    assert made.inputs(inputs(faults={"journal": "another text"})) == []
    assert told(made.inputs(inputs())) == [("fault", "info")]


def test_a_process_that_falls_silent_is_told_and_that_it_answers_again() -> None:
    made = watch()
    made.alive("callbox", 7, 0)
    made.alive("media", 8, 0)
    assert made.tick(DOWN_NS, DOWN_NS) == []
    made.alive("callbox", 7, DOWN_NS)
    assert [f.data for f in made.tick(DOWN_NS + 1, DOWN_NS + 1)] == [{"process": "media"}]
    assert made.tick(DOWN_NS + 2, DOWN_NS + 2) == []
    assert made.processes("uplink")["media"].up is False
    assert told(made.alive("media", 8, DOWN_NS + 3)) == [("process", "info")]
    assert told(made.alive("media", 9, DOWN_NS + 4)) == [("process", "warning")]
    health = made.processes("uplink")
    assert {name: (h.up, h.restarts) for name, h in health.items()} == {
        "callbox": (True, 0),
        "media": (True, 1),
        "uplink": (True, 0),
    }
    assert made.alive("somebody", 1, 0) == []


@pytest.mark.parametrize("jump_s", [-86400, -3, 3, 86400])
def test_I9_a_clock_that_jumps_is_told_once(jump_s: int) -> None:
    made = watch()
    assert made.tick(0, 1000 * S) == []
    assert made.tick(S // 4, 1000 * S + S // 4) == []
    facts = made.tick(S // 2, 1000 * S + S // 2 + jump_s * S)
    assert [fact.data for fact in facts] == [{"jump_s": float(jump_s)}]
    assert made.tick(S, 1000 * S + S + jump_s * S) == []


@given(st.lists(st.integers(0, 200 * S), max_size=200), st.integers(1, 20))
def test_an_allowance_lets_a_burst_through_and_then_a_slow_stream(steps: list[int], burst: int) -> None:
    made, now, allowed = Allowance(burst, 60 * S), 10**15, 0
    for step in steps:
        now += step
        allowed += made.allow(now)
        assert allowed <= burst + sum(steps) // (60 * S)
    assert allowed + made.held_back == len(steps)


def test_what_is_not_known_is_said_to_be_unknown() -> None:
    assert watch().last_inputs() == Inputs(buttons={}, tamper="unknown")


def test_every_fact_fits_an_event() -> None:
    from edge.protocol.wire import Event
    from tests.box import stamp, uid

    made = watch()
    facts = made.inputs(inputs("open", {"journal": "x" * 200}, **{"n" * 40: "stuck"}))
    for fact in facts:
        values: dict[str, Any] = {
            "kind": fact.kind,
            "severity": fact.severity,
            "text": fact.text,
            "data": fact.data,
        }
        Event.model_validate(
            {"id": uid(1), "device": "box-1", "place": {"lat": 1, "lon": 1}, "at": stamp(), **values}
        )
