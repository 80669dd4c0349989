"""What was: the history of incidents and boxes, figures, and files for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import StringConstraints

from edge.desk import exports, views
from edge.desk.api.visitor import Device, Who, answers
from edge.desk.core import Tell
from edge.desk.desk import Desk
from edge.desk.history import MOST, MOST_EXPORTED, Answers, AuditEntry, Filter, HealthPoint, Summary
from edge.protocol.common import Disposition, Id, Name

Utc = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]{5,12}Z)?$")]
"""A day, or RFC 3339 in UTC; compared as text, as the store has it."""
Limit = Annotated[int, Query(ge=1, le=MOST)]
Before = Annotated[int | None, Query(ge=1, le=2**53, description="go on before this number")]
Offset = Annotated[int, Query(ge=-840, le=840, description="hours of a clock so many minutes ahead of UTC")]
Format = Literal["csv", "geojson"]
FILE: dict[int | str, dict[str, Any]] = {
    **answers(503),
    200: {
        "description": "the file",
        "content": {"text/csv": {"schema": {"type": "string"}}, "application/geo+json": {"schema": {}}},
    },
}


def wanted(  # the parameters of a call, hence its names
    since: Utc | None = None,
    until: Utc | None = None,
    device: Name | None = None,
    service: Name | None = None,
    disposition: Disposition | None = None,
    test: bool | None = None,
    state: Literal["live", "closed"] | None = None,
    case_id: Id | None = None,
    text: Annotated[str | None, StringConstraints(max_length=60)] = None,
) -> Filter:
    return Filter(
        since=since,
        until=until,
        device=device,
        service=service,
        disposition=disposition,
        test=test,
        state=state,
        case_id=case_id,
        text=text,
    )


Wanted = Annotated[Filter, Depends(wanted)]


def router(desk: Desk) -> APIRouter:
    rooms = APIRouter()
    service = desk.service

    @rooms.get("/history", responses=answers(503), tags=["records"])
    async def history(who: Who, filter_: Wanted, before: Before = None, limit: Limit = 50) -> list[Summary]:
        """Incidents of all times, newest first; `before` is the last `ordinal` of the page before."""
        found = await service.read(lambda h: h.incidents(filter_, before, limit))
        return found if who.whole else [_redacted(summary) for summary in found]

    @rooms.get("/answers", responses=answers(503), tags=["records"])
    async def answer_times(
        by: Literal["hour", "place"], filter_: Wanted, offset_min: Offset = 0
    ) -> list[Answers]:
        """How soon alerts were acknowledged, by hour of the day or by place; tests only when asked for."""
        real = filter_ if filter_.test is not None else filter_.model_copy(update={"test": False})
        return await service.count(lambda h: h.answers(by, real, offset_min))

    @rooms.get("/boxes/{device}/course", responses=answers(404, 503), tags=["boxes"])
    async def course(device: Device, days: Annotated[int, Query(ge=1, le=400)] = 1) -> list[HealthPoint]:
        """How a box was over the last days: every five minutes for up to a week, else every hour."""
        service.core.roster.get(device)
        since_s = desk.clock.utc_ns() // 10**9 - days * 86400
        return await service.read(lambda h: h.health(device, since_s, hourly=days > 7))

    @rooms.get("/boxes/{device}/timeline", responses=answers(404, 503), tags=["boxes"])
    async def box_timeline(who: Who, device: Device, limit: Limit = 100) -> list[AuditEntry]:
        """What happened to a box, newest first."""
        who.actor.need("view")
        service.core.roster.get(device)
        return await service.read(lambda h: h.box_events(device, limit))

    @rooms.get("/export/incidents.{kind}", response_class=StreamingResponse, responses=FILE, tags=["records"])
    async def export_incidents(who: Who, kind: Format, filter_: Wanted) -> StreamingResponse:
        """Incidents as CSV or GeoJSON, newest first."""
        await service.act(who.actor, Tell("exported", "export", (("what", f"incidents.{kind}"),)))
        found = await service.count(lambda h: h.incidents(filter_, None, MOST_EXPORTED))
        rows = exports.incident_rows(found)
        return _sent(kind, "incidents", rows, exports.INCIDENT_COLUMNS)

    @rooms.get("/export/boxes.{kind}", response_class=StreamingResponse, responses=FILE, tags=["records"])
    async def export_boxes(who: Who, kind: Format) -> StreamingResponse:
        """All boxes as CSV or GeoJSON."""
        await service.act(who.actor, Tell("exported", "export", (("what", f"boxes.{kind}"),)))
        return _sent(kind, "boxes", exports.box_rows(service.core.roster.listed()), exports.BOX_COLUMNS)

    @rooms.get("/audit", responses=answers(503), tags=["people"])
    async def audit(
        who: Who,
        by: Annotated[str | None, StringConstraints(max_length=60)] = None,
        before: Before = None,
        limit: Limit = 100,
    ) -> list[AuditEntry]:
        """What people and programs did, newest first; each row with its hash (`edge desk audit verify`)."""
        who.actor.need("manage")
        return await service.read(lambda h: h.audit(by, before, limit))

    return rooms


def _redacted(summary: Summary) -> Summary:
    return Summary.model_validate(views.redacted_incident(summary.model_dump(mode="json")))


def _sent(kind: Format, name: str, rows: Iterator[dict[str, Any]], columns: list[str]) -> StreamingResponse:
    lines = exports.csv_lines(rows, columns) if kind == "csv" else exports.geojson_lines(rows)
    media = "text/csv; charset=utf-8" if kind == "csv" else "application/geo+json"
    headers = {"Content-Disposition": f'attachment; filename="{name}.{kind}"'}
    return StreamingResponse(lines, media_type=media, headers=headers)
