"""Roster and acts: who is silent, what is mended, who may do what."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import ManualClock
from edge.desk.book import Duty
from edge.desk.core import AnswerTest, Close, Coming, Core, Order, Reopen, Seen, Shift
from edge.desk.people import SCOPES, Actor
from edge.desk.records import EventRow, SendAck, SendCommand, SendReceipt, TimelineRow
from edge.errors import Conflict, NotFound, Refused, Unauthorised
from edge.protocol.wire import Command, ProcessHealth
from tests.desk.wire import alert, birth, event, health, result, uid

ASHA = Actor("Asha")
MEERA = Actor("Meera", SCOPES["observer"], "meera", "observer")
DUTY = Duty(frozenset(), frozenset({0}))
"""Somebody of the first group watches."""


def kinds(rows: list[Any]) -> list[str]:
    return [r.kind for r in rows if isinstance(r, TimelineRow)]


@pytest.mark.parametrize(
    "action",
    [
        Seen(uid(1)),
        Coming(uid(1)),
        Close(uid(1), "real"),
        Reopen(uid(1)),
        AnswerTest(uid(1), True),
        Shift(True),
        Order("box-1", Command(id=uid(9), name="ping", by="x")),
    ],
)
def test_an_observer_may_do_nothing(action: Any) -> None:
    core, clock = Core(90), ManualClock()
    core.take(alert(1), clock.read())
    with pytest.raises(Unauthorised):
        core.act(MEERA, action, clock.read())


def test_an_act_on_what_does_not_exist_says_so() -> None:
    core, clock = Core(90), ManualClock()
    with pytest.raises(NotFound):
        core.act(ASHA, Seen(uid(1)), clock.read())
    with pytest.raises(NotFound):
        core.act(ASHA, Order("box-1", Command(id=uid(9), name="ping", by="x")), clock.read())


@given(st.lists(st.tuples(st.sampled_from(["health", "wait", "jump"]), st.floats(0, 200)), max_size=30))
def test_I9_silence_is_judged_by_monotonic_time_alone(steps: list[tuple[str, float]]) -> None:
    core, clock = Core(90), ManualClock()
    core.take(health(), clock.read())
    last_ns = clock.mono_ns()
    for what, seconds in steps:
        if what == "jump":
            clock.jump_utc(seconds * 10_000 - 1_000_000)
        else:
            clock.advance(seconds)
        if what == "health":
            core.take(health(), clock.read())
            last_ns = clock.mono_ns()
        core.tick(DUTY, clock.read())
        assert core.roster.get("box-1").silent == (clock.mono_ns() - last_ns >= 90_000_000_000)


def test_a_silent_box_is_one_alarm_and_its_return_clears_it() -> None:
    core, clock = Core(90), ManualClock()
    core.take(health(), clock.read())
    clock.advance(90)
    assert kinds(core.tick(DUTY, clock.read()).rows) == ["silent", "alarm"]
    clock.advance(500)
    assert core.tick(DUTY, clock.read()).rows == []
    assert [a.kind for a in core.roster.get("box-1").alarms] == ["silent"]
    assert kinds(core.take(health(), clock.read()).rows) == ["heard_again"]
    assert kinds(core.tick(DUTY, clock.read()).rows) == ["alarm_over"]
    assert core.roster.get("box-1").alarms == []


def test_an_offline_will_of_an_older_session_is_stale() -> None:
    core, clock = Core(90), ManualClock()
    core.take(birth(1, session=7), clock.read())
    core.take(birth(2, session=6, online=False), clock.read())
    assert core.roster.get("box-1").online
    core.take(birth(3, session=7, online=False), clock.read())
    assert not core.roster.get("box-1").online
    assert [a.kind for a in core.roster.get("box-1").alarms] == ["link"]


def test_a_will_or_a_birth_kept_by_the_broker_is_no_sign_of_life() -> None:
    core, clock = Core(90), ManualClock()
    core.take(birth(1, session=7), clock.read())
    clock.advance(100)
    core.tick(DUTY, clock.read())
    core.take(birth(1, session=7), clock.read())
    core.take(birth(2, session=7, online=False), clock.read())
    assert core.roster.get("box-1").silent


def test_I3_a_box_whose_view_differs_is_told_the_state_again() -> None:
    core, clock = Core(90), ManualClock()
    core.take(alert(1), clock.read())
    assert core.take(health(incidents={1: "open"}), clock.read()).sends == []
    core.act(ASHA, Seen(uid(1)), clock.read())
    told = core.take(health(incidents={1: "open"}), clock.read()).sends
    assert told == [SendAck("box-1", uid(1), "seen", 2, "Asha", None)]
    core.act(ASHA, Close(uid(1), "prank"), clock.read())
    told = core.take(health(incidents={1: "seen"}), clock.read()).sends
    assert told == [SendAck("box-1", uid(1), "closed", 3, "Asha", "prank")]


def test_an_incident_this_desk_never_heard_of_is_an_alarm_on_the_box() -> None:
    core, clock = Core(90), ManualClock()
    core.take(health(incidents={4: "open"}), clock.read())
    assert [a.kind for a in core.roster.get("box-1").alarms] == ["unknown_incident"]
    core.take(alert(4), clock.read())
    core.take(health(incidents={4: "open"}), clock.read())
    assert core.roster.get("box-1").alarms == []


def test_a_box_learns_nothing_about_the_incident_of_another() -> None:
    core, clock = Core(90), ManualClock()
    core.take(alert(1), clock.read())
    core.act(ASHA, Seen(uid(1)), clock.read())
    assert core.take(health("box-2", incidents={1: "open"}), clock.read()).sends == []


def test_a_refused_message_is_a_fault_on_the_box_until_a_good_one_of_its_kind() -> None:
    core, clock = Core(90), ManualClock()
    core.take(health(), clock.read())
    assert kinds(core.refuse("box-1", "alert", "press.at: Field required", clock.read()).rows) == ["refused"]
    assert core.refuse("box-1", "alert", "press.at: Field required", clock.read()).rows == []
    core.take(health(), clock.read())
    assert [(a.kind, a.detail) for a in core.roster.get("box-1").alarms] == [
        ("refused", "press.at: Field required")
    ]
    core.take(alert(1), clock.read())
    assert core.roster.get("box-1").alarms == []


def test_an_alert_that_names_another_press_is_refused() -> None:
    with pytest.raises(Refused, match="press id"):
        Core(90).take(alert(1).model_copy(update={"id": uid(2)}), ManualClock().read())


def test_an_event_is_stored_once_and_receipted_each_time() -> None:
    core, clock = Core(90), ManualClock()
    core.take(alert(1), clock.read())
    first = core.take(event(5, incident=1), clock.read())
    again = core.take(event(5, incident=1), clock.read())
    assert [r.incident_id for r in first.rows if isinstance(r, EventRow)] == [uid(1)]
    assert again.rows == []
    assert first.sends == again.sends == [SendReceipt("box-1", uid(5))]
    assert len(core.roster.get("box-1").events) == 1


def test_an_event_cannot_write_into_the_timeline_of_another_boxs_incident() -> None:
    core, clock = Core(90), ManualClock()
    core.take(alert(1), clock.read())
    outcome = core.take(event(5, device="box-2", incident=1), clock.read())
    assert [r.incident_id for r in outcome.rows if isinstance(r, (EventRow, TimelineRow))] == [None, None]


def test_a_command_carries_the_operators_name_and_its_answer_comes_to_it() -> None:
    core, clock = Core(90), ManualClock()
    core.take(health(), clock.read())
    outcome = core.act(ASHA, Order("box-1", Command(id=uid(9), name="ping", by="forged")), clock.read())
    (sent,) = outcome.sends
    assert isinstance(sent, SendCommand)
    assert sent.command.by == "Asha"
    with pytest.raises(Conflict):
        core.act(ASHA, Order("box-1", Command(id=uid(9), name="ping", by="x")), clock.read())
    core.take(result(uid(9)), clock.read())
    assert core.roster.get("box-1").commands[0].status == "done"


def test_a_command_nobody_answers_says_so() -> None:
    core, clock = Core(1000), ManualClock()
    core.take(health(), clock.read())
    core.act(ASHA, Order("box-1", Command(id=uid(9), name="ping", by="x", ttl_s=30)), clock.read())
    clock.advance(39)
    core.tick(DUTY, clock.read())
    assert core.roster.get("box-1").commands[0].status == "waiting"
    clock.advance(2)
    assert core.tick(DUTY, clock.read()).boxes == ["box-1"]
    assert core.roster.get("box-1").commands[0].status == "unanswered"


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"machine": {"temp_c": 85.0}}, "heat"),
        ({"machine": {"disk_free_mb": 900, "disk_mb": 30_000}}, "disk"),
        ({"machine": {"disk_read_only": True}}, "disk"),
        ({"machine": {"throttled": "undervoltage"}}, "power"),
        ({"machine": {"wear_pct": 90}}, "wear"),
        ({"machine": {"sound": False}}, "sound"),
        ({"machine": {"fault_journal": "disk does not answer"}}, "fault"),
        ({"processes": {"media": ProcessHealth(up=False)}}, "process"),
        ({"buttons": {"left": "stuck"}}, "stuck"),
        ({"tamper": "open"}, "tamper"),
    ],
)
def test_what_a_heartbeat_tells_that_is_not_right_is_an_alarm(more: dict[str, Any], kind: str) -> None:
    core, clock = Core(90), ManualClock()
    core.take(health(**more), clock.read())
    assert [a.kind for a in core.roster.get("box-1").alarms] == [kind]
