"""Incidents and boxes as files for other programs: CSV (RFC 4180) and GeoJSON (RFC 7946)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from edge.desk.history import Summary
from edge.desk.roster import Box

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_lines(rows: Iterable[Mapping[str, Any]], names: list[str]) -> Iterator[str]:
    """A header and a line for each row; a text that a spreadsheet takes for a formula gets a ' before it."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in names])
        if buffer.tell() > 1 << 16:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value


def geojson_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A FeatureCollection of points; a row without a place has a null geometry."""
    yield '{"type": "FeatureCollection", "features": ['
    comma = ""
    for row in rows:
        values = dict(row)
        lat, lon = values.pop("lat"), values.pop("lon")
        point = None if lat is None else {"type": "Point", "coordinates": [lon, lat]}
        feature = {"type": "Feature", "geometry": point, "properties": values}
        yield f"{comma}\n{json.dumps(feature, ensure_ascii=False)}"
        comma = ","
    yield "\n]}\n"


def incident_rows(found: Iterable[Summary]) -> Iterator[dict[str, Any]]:
    return (summary.model_dump(exclude={"ordinal"}) for summary in found)


INCIDENT_COLUMNS = [name for name in Summary.model_fields if name != "ordinal"]
BOX_COLUMNS = [
    *("device", "name", "road", "lat", "lon", "version", "online", "silent", "heard_utc"),
    *("last_press_utc", "last_press_test", "alarms"),
]


def box_rows(boxes: Iterable[Box]) -> Iterator[dict[str, Any]]:
    for box in boxes:
        place = box.place
        yield {
            "device": box.device,
            "name": box.name,
            "road": place.civic.RD if place else "",
            "lat": place.lat if place else None,
            "lon": place.lon if place else None,
            "version": box.version,
            "online": box.online,
            "silent": box.silent,
            "heard_utc": box.heard_utc,
            "last_press_utc": box.last_press_utc,
            "last_press_test": box.last_press_test,
            "alarms": " ".join(alarm.kind for alarm in box.alarms),
        }
