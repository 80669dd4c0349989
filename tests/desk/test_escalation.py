"""Alerts that nobody answers go on; what an operator left behind rings again; what else is done."""

from __future__ import annotations

from typing import Any

import pytest

from edge.clock import ManualClock
from edge.desk.book import GONE_S, MAX_DISPATCHED, Contact, Duty, Rules
from edge.desk.core import (
    Assign,
    Close,
    Coming,
    Core,
    Dispatch,
    Group,
    Note,
    Reopen,
    Seen,
    Ungroup,
)
from edge.desk.people import SCOPES, Actor
from edge.desk.records import Outcome, SendAck, TimelineRow
from edge.errors import Conflict, NotFound, Unauthorised
from tests.desk.wire import alert, uid

CONTACTS = (Contact("police", "Police control room", "112", "police"),)
ASHA = Actor("Asha", SCOPES["operator"], "asha")
ALL_DUTY = Duty(frozenset({"asha"}), frozenset({0, 1, 2}))


class Shift:
    def __init__(self, groups: int = 3) -> None:
        self.clock = ManualClock()
        self.core = Core(1e6, Rules(15, groups, CONTACTS))
        self.duty = ALL_DUTY
        for login, role in (("asha", "operator"), ("meera", "observer")):
            self.core.people.invite(login, role, 0, "", "test", self.clock.read())  # type: ignore[arg-type]
            self.core.people.accept(login, login, login.title(), "", self.clock.read())

    def press(self, number: int = 1, **more: Any) -> None:
        self.core.take(alert(number, **more), self.clock.read())

    def wait(self, seconds: float) -> Outcome:
        self.clock.advance(seconds)
        return self.core.tick(self.duty, self.clock.read())

    def act(self, action: Any, who: Actor = ASHA) -> Outcome:
        return self.core.act(who, action, self.clock.read())

    def incident(self, number: int = 1) -> Any:
        return self.core.book.get(uid(number))


@pytest.fixture
def shift() -> Shift:
    return Shift()


def kinds(outcome: Outcome) -> list[str]:
    return [r.kind for r in outcome.rows if isinstance(r, TimelineRow)]


def test_an_alert_goes_on_each_15_s_until_the_last_group_has_it(shift: Shift) -> None:
    shift.press()
    levels = []
    for _ in range(5):
        assert kinds(shift.wait(14.5)) == []
        shift.wait(0.5)
        levels.append(shift.incident().level)
    assert levels == [1, 2, 2, 2, 2]


@pytest.mark.parametrize("groups", [1, 2])
def test_supervisors_hear_of_it_even_where_there_is_no_second_group(groups: int) -> None:
    shift = Shift(groups)
    shift.press()
    shift.wait(15)
    assert shift.incident().level == 1
    shift.wait(100)
    assert shift.incident().level == 1


def test_a_group_with_nobody_on_duty_is_not_waited_for(shift: Shift) -> None:
    shift.duty = Duty(frozenset(), frozenset({2}))
    shift.press()
    assert kinds(shift.wait(0.1)) == ["escalated"]
    shift.wait(0.1)
    assert shift.incident().level == 2
    shift.duty = Duty()
    shift.press(5, device="box-2")
    for _ in range(4):
        shift.wait(0.1)
    assert shift.incident(5).level == 2, "with nobody on duty at all everybody hears of it"


def test_what_somebody_has_taken_goes_on_to_nobody_and_its_answer_is_counted_once(shift: Shift) -> None:
    shift.press()
    shift.clock.advance(9.25)
    shift.act(Seen(uid(1)))
    assert shift.incident().answer_ms == 9250
    assert kinds(shift.wait(100)) == []
    shift.act(Close(uid(1), "prank"))
    shift.act(Reopen(uid(1)))
    shift.clock.advance(3)
    shift.act(Seen(uid(1)))
    assert shift.incident().answer_ms == 9250
    assert shift.incident().level == 0


def test_I10_a_test_is_not_taken_on_but_one_that_was_denied_is(shift: Shift) -> None:
    shift.press(test=True, test_by="Ravi")
    assert kinds(shift.wait(100)) == []
    shift.core.book.answer_test(uid(1), False, "Asha", shift.clock.read())
    assert kinds(shift.wait(0.1)) == ["escalated"]


def test_I3_without_its_operator_an_incident_rings_again_and_the_box_is_told(shift: Shift) -> None:
    shift.press()
    shift.act(Coming(uid(1)))
    shift.duty = Duty(frozenset({"ravi"}), frozenset({0}))
    shift.wait(1)
    assert kinds(shift.wait(GONE_S - 1)) == []
    shift.duty = ALL_DUTY
    shift.wait(1)
    shift.duty = Duty(frozenset({"ravi"}), frozenset({0}))
    shift.wait(1)
    assert kinds(shift.wait(GONE_S - 1)) == [], "a page that was reloaded is no operator gone"
    gone = shift.wait(1)
    assert kinds(gone) == ["operator_gone"]
    (ack,) = [s for s in gone.sends if isinstance(s, SendAck)]
    assert (ack.state, ack.by) == ("open", "")
    assert shift.incident().assigned == ""


def test_what_a_program_acknowledged_does_not_wait_for_a_page(shift: Shift) -> None:
    shift.press()
    shift.act(Seen(uid(1)), Actor("ICCC", SCOPES["operator"], "", "program"))
    shift.duty = Duty(frozenset(), frozenset())
    shift.wait(1)
    assert kinds(shift.wait(1000)) == []


def test_of_two_people_of_one_name_only_the_first_has_it(shift: Shift) -> None:
    shift.press()
    shift.act(Seen(uid(1)))
    assert shift.act(Seen(uid(1))).rows == [], "her second click"
    with pytest.raises(Conflict, match="Asha was first"):
        shift.act(Seen(uid(1)), Actor("Asha", SCOPES["operator"], "asha-2"))


def test_an_incident_is_handed_to_somebody_who_works_with_incidents(shift: Shift) -> None:
    shift.press()
    with pytest.raises(Conflict, match="acknowledge the alert first"):
        shift.act(Assign(uid(1), "asha"))
    shift.act(Seen(uid(1)), Actor("ICCC", SCOPES["operator"], "", "program"))
    assert kinds(shift.act(Assign(uid(1), "asha"))) == ["assigned"]
    assert shift.incident().assigned_name == "Asha"
    for other in ("meera", "nobody"):
        with pytest.raises(Conflict, match="does not work with incidents"):
            shift.act(Assign(uid(1), other))


def test_a_note_belongs_to_an_incident_in_any_state_and_tells_the_box_nothing(shift: Shift) -> None:
    shift.press()
    told = shift.act(Note(uid(1), "वह घर पहुँच गई"))
    assert kinds(told) == ["note"]
    assert told.sends == []
    with pytest.raises(Unauthorised):
        shift.act(Note(uid(1), "x"), Actor("Meera", SCOPES["observer"], "meera", "observer"))


def test_who_was_sent_is_written_down_and_help_is_coming(shift: Shift) -> None:
    shift.press()
    shift.act(Seen(uid(1)))
    with pytest.raises(NotFound, match="no contact fire"):
        shift.act(Dispatch(uid(1), "fire"))
    told = shift.act(Dispatch(uid(1), "police"))
    assert [s.state for s in told.sends if isinstance(s, SendAck)] == ["coming"]
    assert [(d.name, d.number, d.by) for d in shift.incident().dispatched] == [
        ("Police control room", "112", "Asha")
    ]
    assert shift.act(Dispatch(uid(1), "police")).sends == [], "the box knows that help is coming"
    for _ in range(MAX_DISPATCHED - 2):
        shift.act(Dispatch(uid(1), "police"))
    with pytest.raises(Conflict, match="more than"):
        shift.act(Dispatch(uid(1), "police"))


def test_a_case_is_named_after_its_oldest_incident_whoever_joins_whom(shift: Shift) -> None:
    for number in (1, 2, 3, 4):
        shift.press(number, device=f"box-{number}")
        shift.clock.advance(1)
    shift.act(Group(uid(3), uid(4)))
    assert shift.incident(4).case_id == uid(3)
    shift.act(Group(uid(2), uid(1)))
    shift.act(Group(uid(4), uid(2)))
    assert [shift.incident(n).case_id for n in (1, 2, 3, 4)] == [uid(1)] * 4
    shift.act(Ungroup(uid(1)))
    assert shift.incident(1).case_id is None
    assert shift.incident(2).case_id == uid(1)
    assert shift.act(Ungroup(uid(1))).rows == []
    with pytest.raises(Conflict, match="with itself"):
        shift.act(Group(uid(1), uid(1)))
