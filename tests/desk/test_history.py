"""What the store remembers: lists, figures against a plain computation, courses, files for others."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.clock import ManualClock
from edge.desk import exports
from edge.desk.core import Close, Core, Seen
from edge.desk.history import Filter, History, Summary
from edge.desk.people import Actor
from edge.desk.records import HealthRow, IncidentRow, Outcome
from edge.desk.roster import SLOT_S
from edge.desk.store import Store
from tests.desk.wire import alert, health, uid

ASHA = Actor("Asha")


@pytest.fixture
def city(tmp_path: Path) -> History:
    """60 incidents of 5 boxes over a day, each third a test; all but each seventh answered."""
    core, clock, store = Core(90), ManualClock(), Store(tmp_path / "desk.sqlite3")
    rows = Outcome()
    for number in range(1, 61):
        message = alert(number, device=f"box-{number % 5}", test=number % 3 == 0)
        rows.add(core.take(message, clock.read()))
        if number % 7:
            clock.advance(number * 0.1)
            rows.add(core.act(ASHA, Seen(uid(number)), clock.read()))
            rows.add(core.act(ASHA, Close(uid(number), "prank"), clock.read()))
        clock.advance(1400)
    store.commit(rows.rows)
    return History(store.path)


def test_pages_of_the_history_hold_each_incident_once_newest_first(city: History) -> None:
    seen: list[int] = []
    while page := city.incidents(Filter(), seen[-1] if seen else None, 7):
        seen += [summary.ordinal for summary in page]
    assert seen == list(range(60, 0, -1))


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Filter(test=True), 20),
        (Filter(device="box-3"), 12),
        (Filter(state="live"), 8),
        (Filter(state="closed", test=False), 34),
        (Filter(disposition="real"), 0),
        (Filter(text="bus STAND"), 60),
        (Filter(text="100%_'\" OR 1=1 --"), 0),
        (Filter(service="police' OR '1'='1"), 0),
        (Filter(since="2999-01-01"), 0),
        (Filter(until="2999-01-01"), 60),
    ],
)
def test_a_filter_narrows_and_is_no_way_into_the_database(city: History, wanted: Filter, count: int) -> None:
    assert len(city.incidents(wanted, None, 200)) == count


@pytest.mark.parametrize("by", ["hour", "place"])
def test_answer_times_are_the_nearest_ranks_of_each_group(city: History, by: Any) -> None:
    groups: dict[str, list[Summary]] = defaultdict(list)
    for summary in city.incidents(Filter(test=False), None, 200):
        groups[summary.opened_utc[11:13] if by == "hour" else summary.device].append(summary)
    found = city.answers(by, Filter(test=False))
    assert [a.key for a in found] == sorted(groups)
    for one in found:
        mine = groups[one.key]
        times = sorted(s.answer_ms for s in mine if s.answer_ms is not None)
        assert (one.incidents, one.answered) == (len(mine), len(times))
        for share, told in ((0.5, one.p50_ms), (0.95, one.p95_ms)):
            assert told == (times[math.ceil(share * len(times)) - 1] if times else None)


def test_hours_are_those_of_the_askers_clock(city: History) -> None:
    for ahead_min in (330, 0, -570):
        found = city.answers("hour", Filter(), ahead_min)
        wanted: Counter[str] = Counter()
        for summary in city.incidents(Filter(), None, 200):
            at = datetime.fromisoformat(summary.opened_utc) + timedelta(minutes=ahead_min)
            wanted[f"{at:%H}"] += 1
        assert {a.key: a.incidents for a in found} == wanted


def test_a_boxs_course_has_a_point_for_five_minutes_and_one_for_the_hour(tmp_path: Path) -> None:
    core, clock, store = Core(90), ManualClock(), Store(tmp_path / "desk.sqlite3")
    begins_s = clock.utc_ns() // 10**9
    rows = Outcome()
    for number in range(121):  # an hour of heartbeats, one each 30 s
        facts = {"temp_c": 40.0 + number % 10, "disk_free_mb": 900 - number}
        rows.add(core.take(health(machine=facts), clock.read()))
        clock.advance(30)
    store.commit(rows.rows)
    history = History(store.path)
    points = history.health("box-1", begins_s - SLOT_S, hourly=False)
    under_way = (begins_s + 120 * 30) // SLOT_S * SLOT_S
    assert sum(p.heard for p in points) == sum(begins_s + 30 * n < under_way for n in range(121))
    assert all(p.utc_s % SLOT_S == 0 for p in points)
    assert max(p.temp_c or 0 for p in points) == 49.0
    hours = history.health("box-1", begins_s - 3600, hourly=True)
    assert sum(p.heard for p in hours) == sum(p.heard for p in points)
    assert min(p.disk_free_mb or 0 for p in hours) == min(p.disk_free_mb or 0 for p in points)
    assert history.health("box-2", 0, hourly=False) == []


def test_old_points_go_and_the_hours_stay(tmp_path: Path) -> None:
    store = Store(tmp_path / "desk.sqlite3")
    first = HealthRow("box-1", 0, 10, 40.0, None, None, 0)
    store.commit([replace(first, slot=day * 86400) for day in range(30)])
    history = History(store.path)
    assert len(history.health("box-1", 0, hourly=False)) == 9
    hours = history.health("box-1", 0, hourly=True)
    assert len(hours) == 30
    assert hours[0].disk_free_mb is None


def test_a_text_that_a_spreadsheet_would_run_does_not_run(city: History) -> None:
    (first, *_) = city.incidents(Filter(), None, 1)
    hostile = first.model_copy(update={"name": '=HYPERLINK("http://evil")', "road": 'a "quoted", road\nline'})
    text = "".join(exports.csv_lines(exports.incident_rows([hostile]), exports.INCIDENT_COLUMNS))
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["name"] == '\'=HYPERLINK("http://evil")'
    assert row["road"] == 'a "quoted", road\nline'
    assert row["disposition"] == (first.disposition or "")


def test_geojson_is_what_a_map_reads(city: History) -> None:
    found = city.incidents(Filter(), None, 200)
    document = json.loads("".join(exports.geojson_lines(exports.incident_rows(found))))
    assert document["type"] == "FeatureCollection"
    assert len(document["features"]) == 60
    assert document["features"][0]["geometry"] == {"type": "Point", "coordinates": [78.7378, 23.8388]}
    core, clock = Core(90), ManualClock()
    core.take(health(), clock.read())
    boxes = json.loads("".join(exports.geojson_lines(exports.box_rows(core.roster.listed()))))
    assert boxes["features"][0]["geometry"] is None, "a box that has not said where it is"


def test_the_audit_lists_what_people_did_and_boxes_have_a_timeline(city: History) -> None:
    entries = city.audit(None, None, 200)
    assert {e.kind for e in entries} == {"seen", "closed"}
    assert city.audit("Ravi", None, 10) == []
    assert [e.seq for e in city.audit("Asha", entries[3].seq, 2)] == [e.seq for e in entries[4:6]]
    assert {e.device for e in city.box_events("box-3")} == {"box-3"}


def test_rows_of_incidents_hold_what_lists_ask_for(tmp_path: Path) -> None:
    core, clock = Core(90), ManualClock()
    rows = core.take(alert(1, silent=True), clock.read()).rows
    (row,) = [r for r in rows if isinstance(r, IncidentRow)]
    assert (row.device_name, row.service, row.silent, row.presses) == ("Bus stand, gate 2", "police", True, 1)
