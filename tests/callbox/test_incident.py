"""The box's incident: which press belongs to which, and nothing told that is not so."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.callbox.incident import (
    ARMED_NS,
    CLOSED_SHOWN_NS,
    MAX_PRESSES,
    PRESSED_SHOWN_NS,
    STALE_NS,
    IncidentBook,
)
from edge.protocol.inner import IncidentDelivery
from tests.box import uid

S = 1_000_000_000
TRYING_NS, NOBODY_NS = 3 * S, 45 * S
NOW = 1000 * S


def book() -> IncidentBook:
    return IncidentBook(trying_ns=TRYING_NS, nobody_ns=NOBODY_NS)


def word(incident: int, progress: str, **more: Any) -> IncidentDelivery:
    return IncidentDelivery.model_validate({"incident_id": uid(incident), "progress": progress, **more})


def pressed(made: IncidentBook, number: int, now_ns: int, *, silent: bool = False, held: bool = True) -> Any:
    filing = made.file(uid(number), "police", silent=silent, now_ns=now_ns)
    if held:
        made.held([uid(number)])
    return filing


# -- whatever happens --------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("press"), st.booleans()),
        st.tuples(st.just("wait"), st.sampled_from([S // 10, S, 6 * S, 50 * S])),
        st.tuples(
            st.just("word"),
            st.sampled_from(["pressed", "trying", "sent", "received", "seen", "coming", "closed"]),
        ),
        st.tuples(st.just("stale word"), st.sampled_from(["received", "seen", "closed"])),
        st.tuples(st.just("taken back"), st.none()),
        st.tuples(st.just("darken"), st.none()),
        st.tuples(st.just("arm"), st.none()),
        st.tuples(st.just("test"), st.none()),
        st.tuples(st.just("custody"), st.none()),
    ),
    max_size=40,
)


@given(STEPS)
def test_I3_I10_what_is_told_follows_from_what_was_said_and_tests_stay_tests(
    steps: list[tuple[str, Any]],
) -> None:
    made, now, number = book(), NOW, 0
    facts: dict[str, set[str]] = {}
    received_ns: dict[str, int] = {}
    dark: set[str] = set()
    kinds: dict[str, bool] = {}
    armed_ns: int | None = None
    for what, how in steps:
        before = made.open.incident_id if made.open else None
        if what in ("press", "test"):
            ordered = "Ravi" if what == "test" else None
            if what == "test" and not made.may_test():
                assert before is not None
                assert not kinds[before]
                continue
            number += 1
            filing = made.file(
                uid(number), "police", silent=what == "press" and how, now_ns=now, ordered_test_by=ordered
            )
            armed = armed_ns is not None and now - armed_ns <= ARMED_NS
            if what == "press" and not armed:
                assert not filing.test, "a contact is a real press unless a test is armed"
            if filing.test:
                assert filing.test_by is not None
            kinds.setdefault(filing.incident_id, filing.test)
            assert kinds[filing.incident_id] == filing.test, "no incident is half a test"
            if before is not None and not kinds[before]:
                assert filing.incident_id == before, "nothing puts an open real incident aside"
            if what == "press" and how and filing.incident_id == uid(number):
                dark.add(filing.incident_id)
        elif what == "wait":
            now += how
        elif what == "word" and before is not None:
            last_unheld = bool(made.open and made.open.unheld)
            closed = made.heard(word(int(before[-12:], 16), how), now)
            if how == "received":
                received_ns[before] = now
            assert closed == (how == "closed" and not last_unheld)
            facts.setdefault(before, set()).add(how)
        elif what == "stale word":
            made.heard(word(999_999, how), now)
        elif what == "taken back" and before is not None:
            made.heard(word(int(before[-12:], 16), "received", taken_back=True), now)
            received_ns[before] = now
            facts.setdefault(before, set()).difference_update({"seen", "coming"})
            facts[before].add("received")
        elif what == "darken":
            made.darken()
            if before is not None:
                dark.add(before)
        elif what == "arm":
            made.arm("Ravi", now)
            armed_ns = now
        elif what == "custody":
            made.held([uid(n) for n in range(number + 1)])
        told = made.citizen(now)
        current = made.open
        if current is None:
            assert told in ("closed", "idle")
            continue
        said = facts.get(current.incident_id, set())
        if told in ("received", "seen", "coming"):
            assert told in said
        if told == "sent":
            assert current.progress == "sent"
            assert current.heard_ns is not None
            assert now - current.heard_ns < STALE_NS
        waits = max(current.began_ns, received_ns.get(current.incident_id, 0))
        if now - current.pressed_ns >= PRESSED_SHOWN_NS and now - waits >= NOBODY_NS:
            assert told in ("nobody", "seen", "coming")
        assert made.dark() == (current.incident_id in dark)


# -- single cases --------------------


def test_later_presses_join_until_the_desk_closes() -> None:
    made = book()
    assert pressed(made, 1, NOW).incident_id == uid(1)
    assert pressed(made, 2, NOW + 500 * S).incident_id == uid(1)
    assert made.heard(word(1, "closed"), NOW + 501 * S)
    assert pressed(made, 3, NOW + 502 * S).incident_id == uid(3)


def test_I3_the_citizen_is_told_each_step() -> None:
    made = book()
    pressed(made, 1, NOW)
    assert made.citizen(NOW) == "pressed"
    at = NOW + S
    for progress in ("sent", "received", "seen", "coming"):
        made.heard(word(1, progress), at)
        assert made.citizen(at) == progress
    made.heard(word(1, "closed"), at)
    assert made.citizen(at + CLOSED_SHOWN_NS - 1) == "closed"
    assert made.citizen(at + CLOSED_SHOWN_NS) == "idle"


def test_I3_without_an_uplink_it_tries_and_in_the_end_nobody_was_reached() -> None:
    made = book()
    pressed(made, 1, NOW)
    assert made.citizen(NOW + TRYING_NS - 1) == "pressed"
    assert made.citizen(NOW + TRYING_NS) == "trying"
    assert made.citizen(NOW + NOBODY_NS) == "nobody"


def test_I3_an_uplink_that_went_away_takes_its_sent_with_it_and_not_what_a_desk_confirmed() -> None:
    made = book()
    pressed(made, 1, NOW)
    made.heard(word(1, "sent"), NOW + S)
    assert made.citizen(NOW + S + STALE_NS) == "trying"
    made.heard(word(1, "received"), NOW + 10 * S)
    assert made.citizen(NOW + 10 * S + STALE_NS) == "received"
    made.heard(word(1, "coming"), NOW + 20 * S)
    assert made.citizen(NOW + 500 * S) == "coming"


@pytest.mark.parametrize("known", ["received", "seen", "coming"])
@pytest.mark.parametrize("forgotten", ["pressed", "trying", "sent"])
def test_I3_an_uplink_that_was_restarted_and_forgot_takes_nothing_back(known: str, forgotten: str) -> None:
    made = book()
    pressed(made, 1, NOW)
    made.heard(word(1, known), NOW + S)
    made.heard(word(1, forgotten), NOW + 2 * S)
    assert made.citizen(NOW + 3 * S) == known


def test_I3_an_acknowledgement_that_the_desk_takes_back_is_no_longer_told() -> None:
    made = book()
    pressed(made, 1, NOW)
    made.heard(word(1, "seen"), NOW + S)
    made.heard(word(1, "received"), NOW + 2 * S)
    assert made.citizen(NOW + 3 * S) == "seen"
    made.heard(word(1, "received", taken_back=True), NOW + 3 * S)
    assert made.citizen(NOW + 2 * S + NOBODY_NS) == "received"
    assert made.citizen(NOW + 3 * S + NOBODY_NS) == "nobody"


def test_I3_what_a_desk_receives_late_rings_there_and_is_not_yet_in_vain() -> None:
    made = book()
    pressed(made, 1, NOW)
    assert made.citizen(NOW + 3 * NOBODY_NS) == "nobody"
    made.heard(word(1, "received"), NOW + 3 * NOBODY_NS)
    made.heard(word(1, "received"), NOW + 4 * NOBODY_NS - S)
    assert made.citizen(NOW + 4 * NOBODY_NS - 1) == "received"
    assert made.citizen(NOW + 4 * NOBODY_NS) == "nobody"


def test_I2_a_closed_that_was_said_before_the_last_press_was_heard_closes_nothing() -> None:
    """The desk reopens the incident for that press; at the box it would have been over."""
    made = book()
    pressed(made, 1, NOW)
    pressed(made, 2, NOW + 10 * S, held=False)
    assert not made.heard(word(1, "closed"), NOW + 10 * S)
    assert made.open is not None
    made.held([uid(2)])
    assert made.heard(word(1, "closed"), NOW + 11 * S)


def test_a_word_about_another_incident_changes_nothing() -> None:
    made = book()
    pressed(made, 1, NOW)
    for progress in ("closed", "coming", "received"):
        assert not made.heard(word(2, progress), NOW + S)
    assert made.citizen(NOW + S) == "pressed"


def test_each_press_is_answered_also_in_an_open_incident() -> None:
    made = book()
    pressed(made, 1, NOW)
    made.heard(word(1, "coming"), NOW + S)
    pressed(made, 2, NOW + 100 * S)
    assert made.citizen(NOW + 100 * S) == "pressed"
    assert made.citizen(NOW + 100 * S + PRESSED_SHOWN_NS) == "coming"


def test_a_silent_press_in_a_lit_incident_is_not_answered_by_light_or_tone() -> None:
    made = book()
    pressed(made, 1, NOW)
    made.heard(word(1, "received"), NOW + S)
    pressed(made, 2, NOW + 10 * S, silent=True)
    assert made.citizen(NOW + 10 * S) == "received"


def test_a_dark_incident_stays_dark_whatever_is_pressed() -> None:
    made = book()
    pressed(made, 1, NOW, silent=True)
    pressed(made, 2, NOW + 10 * S)
    assert made.dark()
    made.heard(word(1, "closed"), NOW + 11 * S)
    assert made.dark(), "its end is not shown either"
    pressed(made, 3, NOW + 12 * S)
    assert not made.dark()


def test_a_long_hold_darkens_once() -> None:
    made = book()
    assert not made.darken()
    pressed(made, 1, NOW)
    assert made.darken()
    assert not made.darken()


def test_I10_a_contact_is_a_test_only_within_120_s_of_the_arming() -> None:
    for after_ns, test in ((0, True), (ARMED_NS, True), (ARMED_NS + 1, False)):
        made = book()
        made.arm("Ravi", NOW)
        filing = pressed(made, 1, NOW + after_ns)
        assert (filing.test, filing.test_by) == (test, "Ravi" if test else None)
    assert ARMED_NS == 120 * S


def test_I10_a_real_press_puts_a_running_test_aside() -> None:
    made = book()
    made.arm("Ravi", NOW)
    assert pressed(made, 1, NOW).test
    real = pressed(made, 2, NOW + ARMED_NS + 1)
    assert (real.test, real.incident_id) == (False, uid(2))
    assert not made.may_test()


def test_I10_an_armed_test_does_not_touch_an_open_real_incident() -> None:
    made = book()
    pressed(made, 1, NOW)
    made.arm("Ravi", NOW + S)
    filing = pressed(made, 2, NOW + 2 * S)
    assert (filing.incident_id, filing.test, filing.test_by) == (uid(1), False, None)


def test_asking_where_a_press_would_belong_changes_nothing() -> None:
    made = book()
    assert made.where(uid(1), NOW).incident_id == uid(1)
    assert made.citizen(NOW) == "idle"
    pressed(made, 1, NOW)
    assert made.where(uid(2), NOW).incident_id == uid(1)
    assert made.open is not None
    assert made.open.presses == [uid(1)]


def test_what_is_kept_of_presses_is_bounded() -> None:
    made = book()
    for number in range(1, MAX_PRESSES + 50):
        pressed(made, number, NOW)
        made.restore(uid(number), uid(1), "police", test=False, silent=False, now_ns=NOW)
    assert made.open is not None
    assert len(made.open.presses) <= MAX_PRESSES


def test_an_incident_of_the_journal_is_open_again() -> None:
    made = book()
    made.restore(uid(1), uid(1), "women", test=False, silent=True, now_ns=NOW)
    made.restore(uid(2), uid(1), "police", test=False, silent=False, now_ns=NOW)
    assert made.open is not None
    assert (made.open.incident_id, made.open.presses) == (uid(1), [uid(1), uid(2)])
    assert made.dark()
    assert pressed(made, 3, NOW).incident_id == uid(1)
