"""The city: the same for the same seed, believable, and a day in which each kind of thing happens."""

from __future__ import annotations

import math
from itertools import combinations, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import config
from edge.errors import SetupFailed
from edge.protocol.common import Place
from edge.sim.city import DAY_S, METRES, NEAR_M, QUIET, SMALL, City, Happening, sites

MIDDLE = Place(lat=23.8388, lon=78.7378)
SEEDS = st.integers(0, 2**32)
PRESSES = {"call", "silent", "prank", "test", "stuck"}


def apart_m(one: Place, other: Place) -> float:
    north = (one.lat - other.lat) * METRES
    east = (one.lon - other.lon) * METRES * math.cos(math.radians(one.lat))
    return math.hypot(north, east)


@given(SEEDS)
def test_the_same_seed_gives_the_same_city_and_day_and_another_seed_does_not(seed: int) -> None:
    one, again, other = City(seed, 40), City(seed, 40), City(seed + 1, 40)
    assert (one.boxes, one.day(), one.day()) == (again.boxes, again.day(), again.day())
    assert one.day() != other.day()
    assert one.boxes != other.boxes
    assert [box.name for box in one.boxes] == [box.name for box in other.boxes], "the town is the same"


@pytest.mark.parametrize("boxes", [1, 3, 600, 1300])
def test_every_box_is_one_the_product_accepts_and_no_two_are_alike(boxes: int) -> None:
    city = City(1, boxes)
    assert len(city.boxes) == boxes
    assert len({box.device for box in city.boxes}) == len({box.name for box in city.boxes}) == boxes
    for box in city.boxes:
        contacts = {
            name: {"pin": pin, "service": contact.service, "silent": contact.silent}
            for pin, (name, contact) in enumerate(box.contacts.items())
        }
        made = config.Config.model_validate(
            {
                "box": {
                    "city": "sagar",
                    "device": box.device,
                    "name": box.name,
                    "place": box.place.model_dump(),
                    "services": box.services,
                },
                "button": {"contacts": contacts},
            }
        )
        civic = made.need_box().place.civic
        assert (civic.A1, civic.A3, civic.country) == ("Madhya Pradesh", "Sagar", "IN")
        assert civic.RD
        assert civic.PC.startswith("4700")


@given(SEEDS, st.integers(1, 700))
def test_boxes_of_a_junction_share_road_and_head_of_the_address_and_stand_together(
    seed: int, boxes: int
) -> None:
    city = City(seed, boxes)
    assert [d for junction in city.junctions.values() for d in junction.devices] == [
        box.device for box in city.boxes
    ]
    for junction in city.junctions.values():
        mine = [city.by_device[device] for device in junction.devices]
        assert {box.junction for box in mine} == {junction.id}
        assert len({box.place.civic.RD for box in mine}) == 1
        assert all(box.place.civic.LOC.startswith(f"{junction.name}, ") for box in mine)
        assert all(apart_m(a.place, b.place) <= 2 * NEAR_M + 1 for a, b in combinations(mine, 2))


def test_the_town_is_around_its_centre_and_has_every_kind_of_place() -> None:
    city = City(1, 600)
    assert all(apart_m(box.place, MIDDLE) < 12_000 for box in city.boxes)
    assert {junction.kind for junction in city.junctions.values()} >= {
        *("crossing", "bus_stand", "station", "college", "girls_school", "hospital", "market"),
    }
    assert len({junction.name for junction in city.junctions.values()}) == len(city.junctions)
    assert {box.services["women"] for box in city.boxes if box.kind == "girls_school"} == {"1091"}


def test_places_never_end_and_no_name_comes_twice() -> None:
    names = [site.name for site in islice(sites(), 2000)]
    assert len(set(names)) == 2000


@pytest.mark.parametrize("boxes", [0, 10_000])
def test_a_city_of_no_box_or_too_many_is_refused(boxes: int) -> None:
    with pytest.raises(SetupFailed, match=f"1 to 9999 boxes, not {boxes}"):
        City(1, boxes)


@given(SEEDS, st.integers(1, 400), st.sampled_from([0.2, 1.0, 5.0]))
def test_what_happens_is_in_order_within_the_day_and_possible_at_its_boxes(
    seed: int, boxes: int, rate: float
) -> None:
    city = City(seed, boxes)
    day = city.day(rate)
    assert [h.at_s for h in day] == sorted(h.at_s for h in day)
    for happening in day:
        there = [city.by_device[device] for device in happening.devices]
        assert 0 <= happening.at_s < DAY_S
        assert all(box.comes for box in there)
        assert (happening.for_s > 0) == (happening.what in {"link", "disk", "heat", "lid", "stuck", "clock"})
        assert bool(happening.by) == (happening.what == "test")
        if happening.what in PRESSES:
            (box,) = there
            assert box.contacts[happening.button].silent == (happening.what == "silent")
        if happening.what == "link":
            assert len({box.junction for box in there}) == 1


@given(SEEDS)
def test_even_a_small_city_sees_each_kind_of_thing_in_a_day_and_has_a_box_that_never_comes(seed: int) -> None:
    city = City(seed, SMALL)
    kinds = {happening.what for happening in city.day()}
    assert kinds >= {"call", "prank", "test", "link", "disk", "heat", "lid", "stuck", "clock"}
    assert ("silent" in kinds) == any(QUIET in box.contacts for box in city.boxes if box.comes)
    assert any(happening.times > 1 for happening in city.day()), "somebody presses again"
    assert sum(not box.comes for box in city.boxes) == 1
    assert all(box.comes for box in City(seed, SMALL - 1).boxes)


def test_calls_follow_the_place_and_the_hour() -> None:
    city = City(3, 600)

    def calls(kind: str, *hours: int) -> int:
        return sum(within(h, *hours) for h in day if city.by_device[h.devices[0]].kind == kind)

    def within(happening: Happening, *hours: int) -> bool:
        return happening.what in ("call", "silent") and int(happening.at_s // 3600) % 24 in hours

    day = city.day(rate=40)
    night, noon = (22, 23, 0, 1), (10, 11, 12, 13)
    assert calls("bus_stand", *night) > 2 * calls("bus_stand", *noon) > 0
    assert calls("girls_school", *night) == 0
    assert calls("girls_school", 7, 13) > calls("girls_school", 10, 11)


def test_a_technician_tests_every_box_of_a_junction_one_after_the_other_in_working_hours() -> None:
    city = City(1, 600)
    tests = [h for h in city.day() if h.what == "test"]
    visited = {city.by_device[h.devices[0]].junction for h in tests}
    assert {h.devices[0] for h in tests} == {
        box.device for box in city.boxes if box.junction in visited and box.comes
    }
    assert all(9 <= h.at_s / 3600 < 20 for h in tests)
