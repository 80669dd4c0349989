"""What must be looked at besides calls for help: silence and open lids, gathered: one cause is one alarm.

A junction that lost its power is one alarm, not one for each of its boxes; so is a large part of the city, or
the broker. Pure; computed from the roster, with nothing kept but who has seen which alarm.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel

from edge.clock import Reading
from edge.desk.records import Outcome, timeline
from edge.desk.roster import Box
from edge.errors import NotFound

TOGETHER_M = 100.0
"""Boxes this near to one another stand at one junction."""
MANY, MANY_SHARE = 10, 0.3
"""So many boxes silent at once, and this part of all, are the network's fault and not theirs."""
_METRES_PER_DEGREE = 111_320.0

Kind = Literal["broker", "city", "junction", "silent", "tamper"]


class Alarm(BaseModel):
    """One cause, as far as the desk can tell."""

    id: str
    """The same as long as it lasts."""
    kind: Kind
    name: str
    """Of the place; a box's name, or the junction's."""
    devices: list[str]
    since_utc: str
    seen_by: str = ""


class Alarms:
    """The present alarms. Call `refresh` about once a second."""

    def __init__(self) -> None:
        self._alarms: dict[str, Alarm] = {}
        self._seen: dict[str, str] = {}

    def listed(self) -> list[Alarm]:
        """Oldest first; what nobody has seen before what somebody has."""
        return sorted(self._alarms.values(), key=lambda a: (a.seen_by != "", a.since_utc, a.id))

    def refresh(self, boxes: Sequence[Box], broker_down_since: str, now: Reading) -> Outcome:
        """`broker_down_since`: UTC, empty while the session is up. Returns the rows of what came and went."""
        found = {alarm.id: alarm for alarm in _found(boxes, broker_down_since)}
        outcome = Outcome()
        for key in found.keys() - self._alarms.keys():
            alarm = found[key]
            data = {"alarm": alarm.kind, "name": alarm.name, "boxes": len(alarm.devices)}
            outcome.rows.append(timeline(now, "alarm", **data))  # type: ignore[arg-type]
        for key in self._alarms.keys() - found.keys():
            outcome.rows.append(timeline(now, "alarm_over", alarm=self._alarms[key].kind))
            self._seen.pop(key, None)
        for alarm in found.values():
            alarm.seen_by = self._seen.get(alarm.id, "")
        self._alarms = found
        return outcome

    def see(self, alarm_id: str, by: str, now: Reading) -> Outcome:
        """Somebody takes care of it: it rings no more. Raises NotFound."""
        alarm = self._alarms.get(alarm_id)
        if alarm is None:
            raise NotFound("this alarm is over")
        if alarm.seen_by:
            return Outcome()
        alarm.seen_by = self._seen[alarm_id] = by
        return Outcome([timeline(now, "alarm_seen", by=by, alarm=alarm.kind, name=alarm.name)])


def _found(boxes: Sequence[Box], broker_down_since: str) -> Iterable[Alarm]:
    if broker_down_since:
        yield Alarm(id="broker", kind="broker", name="", devices=[], since_utc=broker_down_since)
    silent = [b for b in boxes if b.silent]
    if len(silent) >= max(MANY, MANY_SHARE * len(boxes)):
        first = min(b.silent_since_utc or "" for b in silent)
        yield Alarm(id="city", kind="city", name="", devices=[b.device for b in silent], since_utc=first)
    elif silent:
        for group in junctions(boxes):
            dark = [b for b in group if b.silent]
            if len(group) > 1 and len(dark) == len(group):
                yield Alarm(
                    id=f"junction:{min(b.device for b in group)}",
                    kind="junction",
                    name=_common_name(group),
                    devices=sorted(b.device for b in group),
                    since_utc=min(b.silent_since_utc or "" for b in dark),
                )
            else:
                yield from (_of("silent", b, b.silent_since_utc or "") for b in dark)
    for box in boxes:
        if box.health is not None and box.health.tamper == "open":
            yield _of("tamper", box, box.heard_utc or "")


def _of(kind: Kind, box: Box, since_utc: str) -> Alarm:
    return Alarm(
        id=f"{kind}:{box.device}",
        kind=kind,
        name=box.name or box.device,
        devices=[box.device],
        since_utc=since_utc,
    )


def junctions(boxes: Sequence[Box]) -> list[list[Box]]:
    """Boxes that stand together, each near to another of its group; who has no place stands alone."""
    leader = list(range(len(boxes)))

    def lead(number: int) -> int:
        while leader[number] != number:
            leader[number] = number = leader[leader[number]]
        return number

    cells: dict[tuple[int, int], list[int]] = defaultdict(list)
    size = TOGETHER_M / _METRES_PER_DEGREE
    for number, box in enumerate(boxes):
        if box.place is None:
            continue
        lat, lon = box.place.lat, box.place.lon
        row, column = math.floor(lat / size), math.floor(lon * math.cos(math.radians(lat)) / size)
        for near in ((r, c) for r in (row - 1, row, row + 1) for c in (column - 1, column, column + 1)):
            for other in cells.get(near, ()):
                if _apart_m(box, boxes[other]) <= TOGETHER_M:
                    leader[lead(number)] = lead(other)
        cells[row, column].append(number)
    groups: dict[int, list[Box]] = defaultdict(list)
    for number, box in enumerate(boxes):
        groups[lead(number)].append(box)
    return list(groups.values())


def _apart_m(one: Box, other: Box) -> float:
    assert one.place is not None
    assert other.place is not None
    north = (one.place.lat - other.place.lat) * _METRES_PER_DEGREE
    east = (one.place.lon - other.place.lon) * _METRES_PER_DEGREE * math.cos(math.radians(one.place.lat))
    return math.hypot(north, east)


def _common_name(group: Sequence[Box]) -> str:
    """What their names have in common ("Bus stand, gate 1", "Bus stand, gate 2"), else their road."""
    heads = {b.name.rpartition(", ")[0] for b in group}
    if len(heads) == 1 and heads != {""}:
        return heads.pop()
    roads = {b.place.civic.RD for b in group if b.place is not None} - {""}
    if len(roads) == 1:
        return roads.pop()
    return min(b.name or b.device for b in group)
