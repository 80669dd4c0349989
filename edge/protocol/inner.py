"""Messages on the bus between the processes of one box. States, not deltas: each may be lost or repeated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge.protocol.common import (
    Argument,
    CitizenState,
    CommandName,
    Count,
    Id,
    Model,
    Name,
    Nanoseconds,
    Press,
    Stamp,
    Text,
)

State = Literal["released", "held", "stuck", "unknown"]


class Alive(Model):
    """From every process, every two seconds."""

    process: Name
    pid: Count
    detail: Text = ""


class PressTold(Model):
    """A press, the moment it is on stable storage, or cannot wait for it any longer (I1)."""

    press: Press
    durable: bool
    """On the journal's disk."""
    edge_ns: Nanoseconds
    confirmed_ns: Nanoseconds
    """CLOCK_MONOTONIC when the button machine accepted the contact."""
    stored_ns: Nanoseconds
    """CLOCK_MONOTONIC when the store (journal or fallback) had it."""


class Unsettled(Model):
    """Journal entries of which the uplink has not yet said that its own copy is on disk; repeated."""

    presses: tuple[PressTold, ...] = Field(max_length=32)


class Custody(Model):
    """The uplink's answer: these presses are committed in the outbox, or received by a desk."""

    held: tuple[Id, ...] = Field(max_length=64)


class Incident(Model):
    """The box's incident as callbox knows it; on change, and each second while it is open."""

    incident_id: Id | None = None
    """None: no incident."""
    test: bool = False
    dark: bool = False
    """Silent by contact or by a long hold: no lamp, no sound."""
    service: Name | None = None
    citizen: CitizenState = "idle"
    presses: tuple[Id, ...] = Field((), max_length=256)


class Inputs(Model):
    """The state of every contact; on change and every ten seconds."""

    buttons: dict[Name, State] = Field(max_length=8)
    tamper: Literal["closed", "open", "unknown"]
    faults: dict[Name, Text] = Field(default_factory=dict, max_length=8)
    """What is not right in callbox, by name: journal, lamp, ..."""


class IncidentDelivery(Model):
    """How far the word of one incident has come."""

    incident_id: Id
    progress: Literal["pressed", "trying", "sent", "received", "seen", "coming", "closed"]
    by: Text = ""
    disposition: Text | None = None
    taken_back: bool = False
    """The desk has said that no person stands behind it now; else an uplink that does not know of one may
    only have forgotten (it was restarted)."""
    sent_ns: int | None = None
    """CLOCK_MONOTONIC ns of the broker's last PUBACK, in this session, for a press of the incident."""


class Delivery(Model):
    """The uplink's view of link and open incidents; on change and each second while one is open."""

    link: bool
    incidents: tuple[IncidentDelivery, ...] = Field((), max_length=4)


class Order(Model):
    """A command passed on to another process; repeated until `Done` answers it or its time is over."""

    id: Id
    process: Name
    name: CommandName
    by: Text
    args: dict[Name, Argument] = Field(default_factory=dict, max_length=8)


class Done(Model):
    """The answer to an `Order`; given again whenever the order is heard again."""

    id: Id
    ok: bool
    reason: Text = ""


class Sound(Model):
    """What media is doing with the sound card; on change and every ten seconds."""

    ready: bool
    playing: Text = ""
    fault: Text = ""
    last_test: Stamp | None = None


BUS: dict[str, type[Model]] = {
    "alive": Alive,
    "press": PressTold,
    "unsettled": Unsettled,
    "custody": Custody,
    "incident": Incident,
    "inputs": Inputs,
    "delivery": Delivery,
    "order": Order,
    "done": Done,
    "sound": Sound,
}
