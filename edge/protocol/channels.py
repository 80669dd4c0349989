"""The channels as an integrator sees them: who speaks, how it is sent, and an example of each message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge.protocol.common import CivicAddress, Model, Place, Press, Stamp
from edge.protocol.wire import (
    Ack,
    Alert,
    Birth,
    Command,
    DeskBirth,
    Event,
    Health,
    OpenIncident,
    ProcessHealth,
    Receipt,
    Result,
)


@dataclass(frozen=True, slots=True)
class Channel:
    party: Literal["box", "desk"]
    """Whose topic it is."""
    name: str
    speaker: Literal["box", "desk"]
    """Who publishes; the other one subscribes."""
    model: type[Model]
    qos: Literal[0, 1]
    retain: bool
    expiry_s: int | None
    """MQTT 5 message expiry; None: none, or as `note` says."""
    note: str
    examples: tuple[Model, ...]

    @property
    def address(self) -> str:
        return f"{{city}}/v1/{self.party}/{{{'device' if self.party == 'box' else 'desk'}}}/{self.name}"


_PRESS = "0190c4a0-1c80-7000-8000-000000000001"
_AT = Stamp(
    utc="2026-07-18T16:03:21.480Z",
    mono_ns=93_412_000_000,
    boot_id="5f0c1d6e8a7b4c3d9e2f1a0b6c8d7e5f",
    seq=412,
    trust="synchronised",
    max_error_ms=12,
)
_PLACE = Place(
    lat=29.6857,
    lon=76.9905,
    civic=CivicAddress(A1="Haryana", A3="Karnal", RD="GT Road", LOC="Bus stand, gate 2", PC="132001"),
)
_CALL = Press(
    press_id=_PRESS, incident_id=_PRESS, button="women", service="women", routing="181", at=_AT, silent=True
)


def _id(number: int) -> str:
    return f"0190c4a0-1c80-7000-8000-{number:012x}"


CHANNELS = (
    Channel(
        *("box", "birth", "box", Birth, 1, True, None),
        "Retained. Said at the start of each session, and the will (10 s after the connection is lost) says "
        "`online: false` under the same `session`. One with a lower `session` than is known is stale.",
        (
            Birth(
                id=_id(2),
                device="box-17",
                online=True,
                session=9,
                at=_AT,
                name="Bus stand, gate 2",
                place=_PLACE,
                roles=("callbox",),
                services={"police": "112", "women": "181"},
                version="0.1.0",
            ),
            Birth(id=_id(3), device="box-17", online=False, session=9),
        ),
    ),
    Channel(
        *("box", "health", "box", Health, 0, False, None),
        "Every 30 s by default; expires after two periods. A box unheard-of for 90 s is an alarm.",
        (
            Health(
                id=_id(4),
                device="box-17",
                session=9,
                at=_AT,
                uptime_s=93412,
                processes={"callbox": ProcessHealth(up=True), "media": ProcessHealth(up=False, restarts=2)},
                incidents=(OpenIncident(id=_PRESS, state="seen"),),
                buttons={"police": "released", "women": "stuck"},
                tamper="closed",
                waiting=0,
                link={"connects": 1, "desk": True, "staffed": 2},
                machine={"cpu_c": 54.2, "disk_free_mb": 9120},
                self_test={"last_receipt": "2026-07-18T16:03:21.611Z"},
            ),
        ),
    ),
    Channel(
        *("box", "alert", "box", Alert, 1, False, None),
        "Never expires. Repeated under the same `id` with `attempt` counted up: without a receipt after 2, "
        "4, 8, 15, 15 ... s, and then every 15 s until a person has acknowledged the incident.",
        (
            Alert(
                id=_PRESS,
                device="box-17",
                name="Bus stand, gate 2",
                place=_PLACE,
                press=_CALL,
                durable=True,
                attempt=1,
            ),
        ),
    ),
    Channel(
        *("box", "event", "box", Event, 1, False, 7 * 86400),
        "Repeated each minute until a receipt.",
        (
            Event(
                id=_id(5),
                device="box-17",
                place=_PLACE,
                kind="tamper",
                severity="alarm",
                at=_AT,
                text="the box was opened",
                data={"open": True},
            ),
        ),
    ),
    Channel(
        *("box", "result", "box", Result, 1, False, 3600),
        "The answer to a command (`of` is its id), or why any inbound message was refused.",
        (
            Result(id=_id(6), device="box-17", of=_id(9), channel="cmd", status="done", at=_AT),
            Result(
                id=_id(7),
                device="box-17",
                channel="ack",
                status="refused",
                reason="state: Input should be 'open', 'seen', 'coming' or 'closed'",
                at=_AT,
            ),
        ),
    ),
    Channel(
        *("box", "receipt", "desk", Receipt, 1, False, None),
        "Only after the alert or event is on the desk's stable storage: the box then forgets its own copy.",
        (Receipt(id=_id(8), of=_PRESS, desk="desk-1", stored_utc="2026-07-18T16:03:21.611Z"),),
    ),
    Channel(
        *("box", "ack", "desk", Ack, 1, False, None),
        "A state, not an event: said again whenever the box's heartbeat shows another one.",
        (
            Ack(id=_id(10), incident_id=_PRESS, state="coming", version=2, desk="desk-1", by="Insp. A. Rani"),
            Ack(
                id=_id(11),
                incident_id=_PRESS,
                state="closed",
                version=3,
                desk="desk-1",
                by="Insp. A. Rani",
                disposition="real",
            ),
        ),
    ),
    Channel(
        *("box", "cmd", "desk", Command, 1, False, None),
        "Expires with its `ttl_s`. Executed at most once for each `id`; heard again it is answered again.",
        (
            Command(id=_id(9), name="ping", by="S. Verma"),
            Command(
                id=_id(12),
                name="log_level",
                ttl_s=60,
                by="S. Verma",
                args={"process": "uplink", "level": "debug"},
            ),
        ),
    ),
    Channel(
        *("desk", "birth", "desk", DeskBirth, 1, True, 30),
        "Retained. Every 10 s, by the very task that stores alerts, so that a desk that hangs goes silent.",
        (DeskBirth(id=_id(13), desk="desk-1", utc="2026-07-18T16:03:20.000Z", staffed=2),),
    ),
)
