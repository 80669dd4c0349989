"""Messages of simulated boxes, as small as the models allow."""

from __future__ import annotations

from typing import Any

from edge.clock import ManualClock
from edge.protocol.common import CivicAddress, Place, Press, Stamp
from edge.protocol.wire import Alert, Birth, Event, Health, OpenIncident, ProcessHealth, Result

PLACE = Place(lat=23.8388, lon=78.7378, civic=CivicAddress(A3="Sagar", LOC="Bus stand, gate 2"))


def uid(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


def stamp(seq: int = 1) -> Stamp:
    return Stamp.of(ManualClock().read(), seq)


def alert(press: int, incident: int | None = None, device: str = "box-1", **more: Any) -> Alert:
    """A press by number; without `incident` it is the first of its incident."""
    attempt = more.pop("attempt", 1)
    durable = more.pop("durable", True)
    name = more.pop("name", "Bus stand, gate 2")
    incident_id = uid(press if incident is None else incident)
    told = Press(
        **{
            "press_id": uid(press),
            "incident_id": incident_id,
            "button": "left",
            "service": "police",
            "routing": "112",
            "at": stamp(press),
            **more,
        }
    )
    return Alert(
        id=uid(press), device=device, name=name, place=PLACE, press=told, durable=durable, attempt=attempt
    )


def health(device: str = "box-1", incidents: dict[int, str] | None = None, **more: Any) -> Health:
    listed = tuple(
        OpenIncident.model_validate({"id": uid(i), "state": state}) for i, state in (incidents or {}).items()
    )
    values: dict[str, Any] = {
        "id": uid(0xFFFF),
        "device": device,
        "session": 1,
        "at": stamp(),
        "uptime_s": 4000,
        "processes": {"callbox": ProcessHealth(up=True), "uplink": ProcessHealth(up=True)},
        "incidents": listed,
        "buttons": {"left": "released"},
        "waiting": 0,
        **more,
    }
    return Health(**values)


def birth(number: int, session: int, online: bool = True, device: str = "box-1") -> Birth:
    return Birth(id=uid(number), device=device, online=online, session=session, name="Bus stand", place=PLACE)


def event(number: int, device: str = "box-1", incident: int | None = None) -> Event:
    return Event(
        id=uid(number),
        device=device,
        place=PLACE,
        kind="tamper",
        severity="alarm",
        at=stamp(),
        incident_id=None if incident is None else uid(incident),
        text="the lid is open",
    )


def result(of: str, status: str = "done", device: str = "box-1") -> Result:
    return Result.model_validate(
        {"id": uid(0xEEE), "device": device, "of": of, "channel": "cmd", "status": status, "at": stamp()}
    )
