"""The incident book under every order and repetition of what boxes and people do."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import ManualClock
from edge.desk.book import KEEP_CLOSED, MAX_PRESSES, Book, Incident
from edge.desk.core import AnswerTest, Close, Coming, Core, Reopen, Seen
from edge.desk.people import Actor
from edge.desk.records import IncidentRow, PressRow, SendAck, SendReceipt
from edge.errors import Conflict, EdgeError, NotFound, Refused
from tests.desk.wire import alert, uid

NOW = ManualClock().read()

# Two boxes with two incidents each and three presses an incident: small enough that everything collides.
PRESSES = st.tuples(st.sampled_from([1, 2]), st.sampled_from([1, 2]), st.sampled_from([0, 1, 2])).map(
    lambda t: (t[0], t[0] * 100 + t[1] * 10, t[0] * 100 + t[1] * 10 + t[2])
)
INPUTS = st.lists(
    st.one_of(
        st.tuples(st.just("press"), PRESSES, st.booleans()),
        st.tuples(
            st.sampled_from(["seen", "coming", "close", "reopen", "confirm", "deny"]),
            PRESSES,
            st.booleans(),
        ),
    ),
    max_size=60,
)


def act(book: Book, what: str, incident: int, by: str = "Asha") -> list[object]:
    incident_id = uid(incident)
    outcome = {
        "seen": lambda: book.acknowledge(incident_id, "seen", Actor(by), NOW),
        "coming": lambda: book.acknowledge(incident_id, "coming", Actor(by), NOW),
        "close": lambda: book.close(incident_id, "real", by, NOW),
        "reopen": lambda: book.reopen(incident_id, by, NOW),
        "confirm": lambda: book.answer_test(incident_id, True, by, NOW),
        "deny": lambda: book.answer_test(incident_id, False, by, NOW),
    }[what]()
    return [*outcome.rows, *outcome.sends]


@given(INPUTS)
def test_I2_each_press_is_in_exactly_one_incident_however_often_and_in_whatever_order_it_comes(
    inputs: list[tuple[str, tuple[int, int, int], bool]],
) -> None:
    book = Book()
    stored: Counter[str] = Counter()
    accepted: set[str] = set()
    versions: dict[str, int] = {}
    for what, (box, incident, press), flag in inputs:
        try:
            if what == "press":
                message = alert(press, incident, f"box-{box}", test=flag, test_by="Ravi" if flag else None)
                outcome = book.take(message, NOW)
                assert SendReceipt(f"box-{box}", uid(press)) in outcome.sends
                accepted.add(uid(press))
                made: list[object] = [*outcome.rows, *outcome.sends]
            else:
                made = act(book, what, incident, "Asha" if flag else "Vikram")
        except (Conflict, NotFound):
            continue
        for one in made:
            if isinstance(one, PressRow):
                stored[one.press_id] += 1
            if isinstance(one, IncidentRow):
                assert one.version > versions.get(one.incident_id, 0), "every change has a version of its own"
                versions[one.incident_id] = one.version
            if isinstance(one, SendAck):
                assert one.version == versions[one.incident_id]
    held = Counter(p.press_id for i in book.listed() for p in i.presses)
    assert held == stored
    assert set(held) == accepted
    assert all(count == 1 for count in held.values())


@given(INPUTS)
def test_I10_an_incident_with_a_real_press_is_never_called_a_test(
    inputs: list[tuple[str, tuple[int, int, int], bool]],
) -> None:
    book = Book()
    for what, (box, incident, press), flag in inputs:
        try:
            if what == "press":
                book.take(alert(press, incident, f"box-{box}", test=flag), NOW)
            else:
                act(book, what, incident)
        except EdgeError:
            continue
    for one in book.listed():
        assert one.test == all(p.test for p in one.presses)


@given(st.permutations(range(6)))
def test_ringing_comes_oldest_first_and_the_closed_last(order: list[int]) -> None:
    book = Book()
    for press in order:
        book.take(alert(press + 1, device=f"box-{press}"), NOW)
    book.acknowledge(uid(1), "seen", Actor("Asha"), NOW)
    book.acknowledge(uid(2), "seen", Actor("Asha"), NOW)
    book.close(uid(2), "false", "Asha", NOW)
    listed = [i.incident_id for i in book.listed()]
    ringing = [uid(p + 1) for p in order if p + 1 not in (1, 2)]
    assert listed == [*ringing, uid(1), uid(2)]


def test_a_later_press_joins_and_is_told_the_state() -> None:
    book = Book()
    book.take(alert(1), NOW)
    book.acknowledge(uid(1), "seen", Actor("Asha"), NOW)
    outcome = book.take(alert(2, 1), NOW)
    incident = book.get(uid(1))
    assert [p.press_id for p in incident.presses] == [uid(1), uid(2)]
    assert incident.state == "seen"
    assert SendReceipt("box-1", uid(2)) in outcome.sends
    assert incident.ack() in outcome.sends


def test_a_press_into_a_closed_incident_reopens_it_and_rings_again() -> None:
    book = Book()
    book.take(alert(1), NOW)
    book.take(alert(5, device="box-2"), NOW)
    book.acknowledge(uid(1), "seen", Actor("Asha"), NOW)
    book.close(uid(1), "false", "Asha", NOW)
    outcome = book.take(alert(2, 1), NOW)
    incident = book.get(uid(1))
    assert (incident.state, incident.by, incident.disposition) == ("open", "", None)
    assert incident.ack() in outcome.sends
    assert [i.incident_id for i in book.listed()] == [uid(5), uid(1)], "it rings as a new one, so after box-2"


def test_I3_a_repeated_alert_gets_the_state_and_then_its_receipt_again() -> None:
    book = Book()
    book.take(alert(1), NOW)
    again = book.take(alert(1, attempt=2), NOW)
    assert again.rows == []
    assert again.sends == [book.get(uid(1)).ack(), SendReceipt("box-1", uid(1))]
    book.acknowledge(uid(1), "seen", Actor("Asha"), NOW)
    assert book.take(alert(1, attempt=3), NOW).sends == [
        book.get(uid(1)).ack(),
        SendReceipt("box-1", uid(1)),
    ]


def test_I3_a_box_hears_that_its_incident_is_open_again_before_that_its_press_was_received() -> None:
    book = Book()
    book.take(alert(1), NOW)
    book.acknowledge(uid(1), "seen", Actor("Asha"), NOW)
    book.close(uid(1), "false", "Asha", NOW)
    reopened = book.take(alert(2, 1), NOW)
    assert book.get(uid(1)).state == "open"
    assert reopened.sends == [book.get(uid(1)).ack(), SendReceipt("box-1", uid(2))]
    assert book.take(alert(2, 1, attempt=2), NOW).sends == reopened.sends


def test_the_first_acknowledgement_wins_and_the_second_is_told_who_was_first() -> None:
    book = Book()
    book.take(alert(1), NOW)
    book.acknowledge(uid(1), "seen", Actor("Asha"), NOW)
    with pytest.raises(Conflict, match="Asha was first"):
        book.acknowledge(uid(1), "seen", Actor("Vikram"), NOW)
    assert book.acknowledge(uid(1), "seen", Actor("Asha"), NOW).rows == [], "her second click changes nothing"
    book.acknowledge(uid(1), "coming", Actor("Vikram"), NOW)
    assert book.get(uid(1)).by == "Asha"


def test_what_nobody_has_acknowledged_cannot_be_closed() -> None:
    book = Book()
    book.take(alert(1), NOW)
    with pytest.raises(Conflict, match="acknowledge"):
        book.close(uid(1), "prank", "Asha", NOW)


def test_I10_an_armed_test_asks_and_a_denial_makes_it_a_call_for_help() -> None:
    book = Book()
    book.take(alert(1, test=True, test_by="Ravi"), NOW)
    incident = book.get(uid(1))
    assert (incident.test, incident.question, incident.test_by) == (True, "asked", "Ravi")
    core = Core(90)
    core.book = book
    core.act(Actor("Asha"), AnswerTest(uid(1), False), NOW)
    assert (incident.test, incident.question, incident.state) == (False, "denied", "open")
    with pytest.raises(Conflict):
        core.act(Actor("Asha"), AnswerTest(uid(1), True), NOW)


def test_I10_a_real_press_during_a_test_rings_anew_as_real() -> None:
    book = Book()
    book.take(alert(1, test=True, test_by="Ravi"), NOW)
    book.acknowledge(uid(1), "seen", Actor("Asha"), NOW)
    outcome = book.take(alert(2, 1), NOW)
    incident = book.get(uid(1))
    assert (incident.test, incident.question, incident.state) == (False, "none", "open")
    assert incident.ack() in outcome.sends


def test_a_press_or_incident_id_of_another_box_is_refused() -> None:
    book = Book()
    book.take(alert(1), NOW)
    with pytest.raises(Refused, match="another box"):
        book.take(alert(2, 1, device="box-2"), NOW)
    with pytest.raises(Refused, match="another box"):
        book.take(alert(1, device="box-2"), NOW)


def test_a_contact_gone_wild_is_bounded() -> None:
    book = Book()
    for press in range(MAX_PRESSES):
        book.take(alert(press + 1, 1), NOW)
    with pytest.raises(Refused, match="more than"):
        book.take(alert(MAX_PRESSES + 1, 1), NOW)
    assert book.take(alert(7, 1), NOW).sends, "what it has is still receipted"


def test_I2_a_press_into_an_incident_of_long_ago_finds_it_again() -> None:
    core = Core(90)
    kept: list[Incident] = []
    for press in range(1, KEEP_CLOSED + 2):
        core.take(alert(press, device=f"box-{press}"), NOW)
        core.act(Actor("Asha"), Seen(uid(press)), NOW)
        kept.append(core.book.get(uid(press)))
        core.act(Actor("Asha"), Close(uid(press), "false"), NOW)
    again = alert(1, device="box-1", attempt=9)
    assert core.needs(again) == uid(1)
    with pytest.raises(NotFound):
        core.act(Actor("Asha"), Reopen(uid(1)), NOW)
    core.book.recall(kept[0])
    assert core.needs(again) is None
    assert core.take(again, NOW).rows == []
    core.act(Actor("Asha"), Reopen(uid(1)), NOW)
    core.act(Actor("Asha"), Coming(uid(1)), NOW)
    assert core.book.get(uid(1)).state == "coming"
