"""Alerts, incidents, boxes and alarms, as they are now."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body

from edge.desk import views
from edge.desk.alarms import Alarm
from edge.desk.api.visitor import Device, IncidentId, Visitor, Who, answers
from edge.desk.book import Incident
from edge.desk.core import Order, SeeAlarm
from edge.desk.desk import Desk
from edge.desk.roster import Box
from edge.desk.service import plain
from edge.ids import uuid7
from edge.protocol.wire import Command


def router(desk: Desk) -> APIRouter:
    rooms = APIRouter()
    service = desk.service

    @rooms.get("/boxes", responses=answers(), response_model_exclude_none=True, tags=["boxes"])
    async def boxes(who: Who) -> list[Box]:
        """All boxes that ever spoke to this desk, by device id."""
        return [_box(who, box) for box in service.core.roster.listed()]

    @rooms.get("/boxes/{device}", responses=answers(404), response_model_exclude_none=True, tags=["boxes"])
    async def box(who: Who, device: Device) -> Box:
        """One box."""
        return _box(who, service.core.roster.get(device))

    @rooms.post("/boxes/{device}/commands", status_code=202, responses=answers(404, 409, 503), tags=["boxes"])
    async def command(who: Who, device: Device, body: views.CommandBody) -> views.CommandGiven:
        """Gives a command; what becomes of it appears on the box."""
        order = Command(
            id=uuid7(desk.clock), name=body.name, ttl_s=body.ttl_s, by=who.actor.name, args=dict(body.args)
        )
        await service.act(who.actor, Order(device, order))
        return views.CommandGiven(command_id=order.id)

    @rooms.get("/alarms", responses=answers(), tags=["boxes"])
    async def alarms(who: Who) -> list[Alarm]:
        """Silence and open lids, one for each cause; what nobody has seen first."""
        found = service.core.alarms.listed()
        return found if who.whole else [Alarm.model_validate(views.redacted(plain(a))) for a in found]

    @rooms.post("/alarms/{alarm_id}/seen", responses=answers(404, 503), tags=["boxes"])
    async def see_alarm(who: Who, alarm_id: str) -> list[Alarm]:
        """You take care of it: it rings no more."""
        await service.act(who.actor, SeeAlarm(alarm_id[:100]))
        service.tell_alarms()
        return service.core.alarms.listed()

    @rooms.get("/incidents", responses=answers(), response_model_exclude_none=True, tags=["incidents"])
    async def incidents(who: Who) -> list[Incident]:
        """Those that ring, oldest first; those in hand, oldest first; the latest closed, newest first."""
        return [_incident(who, incident) for incident in service.core.book.listed()]

    @rooms.get("/incidents/{incident_id}", responses=answers(404, 503), tags=["incidents"])
    async def incident(who: Who, incident_id: IncidentId) -> views.IncidentDetail:
        """One incident, however old, and everything that happened to it."""
        who.actor.need("view")
        found = await service.incident(incident_id)
        entries = await service.timeline(incident_id)
        return views.IncidentDetail(
            incident=found, timeline=[views.TimelineEntry.model_validate(entry) for entry in entries]
        )

    @rooms.post(
        "/incidents/{incident_id}/acts",
        responses=answers(404, 409, 503),
        response_model_exclude_none=True,
        tags=["incidents"],
    )
    async def act(who: Who, incident_id: IncidentId, body: Annotated[views.IncidentAct, Body()]) -> Incident:
        """Acknowledge, coming, assign, note, dispatch, group, close, reopen, or answer whether it is a test.

        Answered when it is stored. 409 says who was first, or what must be done before.
        """
        await service.act(who.actor, views.action(incident_id, body))
        return await service.incident(incident_id)

    return rooms


def _incident(who: Visitor, incident: Incident) -> Incident:
    return incident if who.whole else Incident.model_validate(views.redacted_incident(_json(incident)))


def _box(who: Visitor, box: Box) -> Box:
    return box if who.whole else Box.model_validate(views.redacted(_json(box)))


def _json(model: Any) -> Any:
    return plain(model)
