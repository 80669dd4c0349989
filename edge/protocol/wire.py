"""Messages on MQTT. JSON, UTF-8; each has `schema` and `id`, and receivers remove duplicates by `id`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from edge.protocol.common import (
    Argument,
    CommandName,
    Count,
    Disposition,
    Id,
    Model,
    Name,
    Place,
    Press,
    Routing,
    Stamp,
    Text,
    Value,
)


class Alert(Model):
    """A press, told to the centre; repeated under the same `id` until received and until acknowledged."""

    schema_: Literal["edge/alert/1"] = Field("edge/alert/1", alias="schema")
    id: Id
    """The press id."""
    device: Name
    name: Text
    """The name people know the box by."""
    place: Place
    press: Press
    durable: bool
    """False when it went out before the journal could write it (I1)."""
    attempt: Annotated[int, Field(ge=1, le=2**31)]


class Event(Model):
    """Something the centre should know that is not a call for help."""

    schema_: Literal["edge/event/1"] = Field("edge/event/1", alias="schema")
    id: Id
    device: Name
    place: Place
    kind: Name
    """tamper, stuck, process, journal, shed, self_test, ..."""
    severity: Literal["info", "warning", "alarm"]
    test: bool = False
    at: Stamp
    incident_id: Id | None = None
    text: Text = ""
    data: dict[Name, Value] = Field(default_factory=dict, max_length=16)


class Birth(Model):
    """Retained: a session began (`online`), or, as the will, it ended without a word."""

    schema_: Literal["edge/birth/1"] = Field("edge/birth/1", alias="schema")
    id: Id
    device: Name
    online: bool
    session: Count
    """Counts the sessions of this box; a will with an older number is stale."""
    at: Stamp | None = None
    name: Text = ""
    place: Place | None = None
    roles: tuple[Literal["callbox", "camera"], ...] = ()
    services: dict[Name, Routing] = Field(default_factory=dict, max_length=16)
    version: Text = ""


class ProcessHealth(Model):
    up: bool
    """Heard from on the bus within three of its periods."""
    restarts: Count = 0


class OpenIncident(Model):
    """A box's view of an incident, so that the desk can mend a difference."""

    id: Id
    state: Literal["open", "seen", "coming"]


class Health(Model):
    """The heartbeat. At most 1 KiB; what is unknown is left out, never guessed."""

    schema_: Literal["edge/health/1"] = Field("edge/health/1", alias="schema")
    id: Id
    device: Name
    session: Count
    at: Stamp
    uptime_s: Count
    processes: dict[Name, ProcessHealth] = Field(max_length=12)
    incidents: tuple[OpenIncident, ...] = Field((), max_length=4)
    buttons: dict[Name, Literal["released", "held", "stuck", "unknown"]] = Field(max_length=8)
    tamper: Literal["closed", "open", "unknown"] = "unknown"
    waiting: Count
    """Alerts and events in the outbox without a receipt."""
    link: dict[Name, Value] = Field(default_factory=dict, max_length=12)
    machine: dict[Name, Value] = Field(default_factory=dict, max_length=24)
    self_test: dict[Name, Value] = Field(default_factory=dict, max_length=8)
    shed: tuple[Name, ...] = Field((), max_length=8)


class Result(Model):
    """The answer to a command, or the refusal of any inbound message."""

    schema_: Literal["edge/result/1"] = Field("edge/result/1", alias="schema")
    id: Id
    device: Name
    of: Id | None = None
    """The id of the message answered; None when it could not be read."""
    channel: Name
    status: Literal["done", "failed", "expired", "refused"]
    reason: Text = ""
    at: Stamp
    data: dict[Name, Value] = Field(default_factory=dict, max_length=16)


class Receipt(Model):
    """A desk has committed an alert or event to its store. The only leave to drop the box's row (I3)."""

    schema_: Literal["edge/receipt/1"] = Field("edge/receipt/1", alias="schema")
    id: Id
    of: Id
    desk: Name
    stored_utc: Text


class Ack(Model):
    """Where a person at the desk stands with an incident; a state, repeated whenever the box differs."""

    schema_: Literal["edge/ack/1"] = Field("edge/ack/1", alias="schema")
    id: Id
    incident_id: Id
    state: Literal["open", "seen", "coming", "closed"]
    """`open` takes an acknowledgement back: the operator is gone, or the incident was reopened."""
    version: Count
    """Counts the changes of this incident at this desk; an older one is stale and passed over."""
    desk: Name
    by: Text = ""
    disposition: Disposition | None = None


class Command(Model):
    """An order to a box: executed at most once, and only within `ttl_s` of its receipt."""

    schema_: Literal["edge/command/1"] = Field("edge/command/1", alias="schema")
    id: Id
    name: CommandName
    ttl_s: Annotated[int, Field(ge=1, le=3600)] = 30
    by: Annotated[Text, StringConstraints(min_length=1)]
    """The person who gave it."""
    args: dict[Name, Argument] = Field(default_factory=dict, max_length=8)


class DeskBirth(Model):
    """Every 10 s from the task that stores alerts: that task is alive, and this many people watch."""

    schema_: Literal["edge/desk-birth/1"] = Field("edge/desk-birth/1", alias="schema")
    id: Id
    desk: Name
    utc: Text
    staffed: Annotated[int, Field(ge=0, le=10_000)]


FROM_BOX: dict[str, type[Model]] = {
    "birth": Birth,
    "health": Health,
    "alert": Alert,
    "event": Event,
    "result": Result,
}
TO_BOX: dict[str, type[Model]] = {"ack": Ack, "receipt": Receipt, "cmd": Command}
DESK: dict[str, type[Model]] = {"birth": DeskBirth}


def dump(message: Model) -> bytes:
    """The message as it goes on the wire: UTF-8 JSON under its wire names."""
    return message.model_dump_json(by_alias=True, exclude_none=True).encode()


def plain(message: Model) -> dict[str, Any]:
    """The same as plain JSON types."""
    return message.model_dump(mode="json", by_alias=True, exclude_none=True)
