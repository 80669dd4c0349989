"""Alarms: one cause is one alarm."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import ManualClock
from edge.desk.alarms import MANY, TOGETHER_M, Alarms, junctions
from edge.desk.book import Duty
from edge.desk.core import Core, SeeAlarm
from edge.desk.people import SCOPES, Actor
from edge.desk.roster import Box
from edge.errors import NotFound, Unauthorised
from edge.protocol.common import CivicAddress, Place
from tests.desk.wire import health

NOW = ManualClock().read()
DUTY = Duty(frozenset(), frozenset({0}))
METRE = 1 / 111_320


def box(number: int, metres: float = 0, *, road: str = "", **more: object) -> Box:
    """So far north of the first."""
    place = Place(lat=23.8 + metres * METRE, lon=78.7, civic=CivicAddress(RD=road))
    return Box(device=f"box-{number}", name=f"Box {number}", place=place, **more)  # type: ignore[arg-type]


def silent(number: int, metres: float = 0, **more: object) -> Box:
    return box(number, metres, silent=True, silent_since_utc="2026-11-22T00:00:00.000Z", **more)  # type: ignore[arg-type]


def found(boxes: list[Box], broker: str = "") -> list[tuple[str, int]]:
    alarms = Alarms()
    alarms.refresh(boxes, broker, NOW)
    return [(a.kind, len(a.devices)) for a in alarms.listed()]


def test_a_dark_junction_is_one_alarm_and_is_called_by_what_its_boxes_share() -> None:
    alarms = Alarms()
    boxes = [silent(n, 10 * n, road="Station Road") for n in range(4)]
    alarms.refresh([*boxes, box(9, 5000)], "", NOW)
    (alarm,) = alarms.listed()
    assert (alarm.kind, alarm.name, len(alarm.devices)) == ("junction", "Station Road", 4)
    named = [b.model_copy(update={"name": f"Bus stand, gate {n}"}) for n, b in enumerate(boxes)]
    alarms.refresh([*named, box(9, 5000)], "", NOW)
    assert [a.name for a in alarms.listed()] == ["Bus stand"]


def test_a_junction_of_which_one_box_speaks_is_not_dark() -> None:
    assert found([silent(1), silent(2, 20), box(3, 40), box(4, 5000)]) == [("silent", 1), ("silent", 1)]


def test_a_box_that_stands_alone_is_a_silent_box() -> None:
    assert found([silent(1), box(2, 5000)]) == [("silent", 1)]


def test_a_large_part_of_the_city_is_one_alarm_and_the_broker_another() -> None:
    boxes = [silent(n, 1000 * n) for n in range(MANY)] + [box(n, 1000 * n) for n in range(50, 55)]
    assert found(boxes) == [("city", MANY)]
    assert found(boxes[: MANY - 1]) == [("silent", 1)] * (MANY - 1)
    assert found([box(1)], "2026-11-22T00:00:00.000Z") == [("broker", 0)]


def test_an_open_lid_is_an_alarm_of_its_own() -> None:
    assert found([box(1, health=health(tamper="open"))]) == [("tamper", 1)]


def test_who_has_seen_an_alarm_stands_with_it_until_it_is_over() -> None:
    alarms = Alarms()
    rows = alarms.refresh([silent(1)], "", NOW).rows
    assert [r.kind for r in rows] == ["alarm"]  # type: ignore[union-attr]
    alarms.see("silent:box-1", "Asha", NOW)
    assert alarms.see("silent:box-1", "Ravi", NOW).rows == [], "the first one has it"
    assert alarms.refresh([silent(1)], "", NOW).rows == []
    assert [a.seen_by for a in alarms.listed()] == ["Asha"]
    assert [r.kind for r in alarms.refresh([box(1)], "", NOW).rows] == ["alarm_over"]  # type: ignore[union-attr]
    alarms.refresh([silent(1)], "", NOW)
    assert [a.seen_by for a in alarms.listed()] == [""], "it is another one"
    with pytest.raises(NotFound):
        alarms.see("silent:box-2", "Asha", NOW)


def test_while_the_desk_hears_nothing_no_box_falls_silent_and_each_has_its_time_afterwards() -> None:
    core, clock = Core(90), ManualClock()
    core.take(health(), clock.read())
    core.link(False, clock.read())
    clock.advance(1000)
    core.tick(DUTY, clock.read())
    assert [a.kind for a in core.alarms.listed()] == ["broker"]
    core.link(True, clock.read())
    clock.advance(89)
    core.tick(DUTY, clock.read())
    assert core.alarms.listed() == []
    clock.advance(1)
    core.tick(DUTY, clock.read())
    assert [a.kind for a in core.alarms.listed()] == ["silent"]
    with pytest.raises(Unauthorised):
        core.act(Actor("Meera", SCOPES["observer"]), SeeAlarm("silent:box-1"), clock.read())


@given(st.lists(st.tuples(st.floats(-400, 400), st.floats(-400, 400)), max_size=25))
def test_boxes_stand_together_when_a_chain_of_near_ones_joins_them(spots: list[tuple[float, float]]) -> None:
    """Against the plain definition: the connected parts of the graph of near neighbours."""
    shrink = math.cos(math.radians(23.8))
    boxes = [
        Box(device=f"box-{n}", place=Place(lat=23.8 + y * METRE, lon=78.7 + x * METRE / shrink))
        for n, (x, y) in enumerate(spots)
    ]
    apart = {
        (a, b): math.hypot(spots[a][0] - spots[b][0], spots[a][1] - spots[b][1])
        for a in range(len(spots))
        for b in range(len(spots))
    }
    if any(abs(distance - TOGETHER_M) < 0.1 for distance in apart.values()):
        return  # the cosine differs by latitude
    group = list(range(len(spots)))
    for _ in spots:
        for (a, b), distance in apart.items():
            if distance <= TOGETHER_M:
                group[a] = group[b] = min(group[a], group[b])
    wanted = {frozenset(n for n in range(len(spots)) if group[n] == g) for g in set(group)}
    got = {frozenset(int(b.device[4:]) for b in together) for together in junctions(boxes)}
    assert got == wanted


def test_a_box_without_a_place_stands_alone() -> None:
    assert len(junctions([Box(device="a"), Box(device="b"), box(1), box(2, 5)])) == 3
