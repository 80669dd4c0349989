"""Bodies of the HTTP API that are not already a part of the core."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from edge.desk.alarms import Alarm
from edge.desk.book import Incident
from edge.desk.core import (
    Action,
    AnswerTest,
    Assign,
    Close,
    Coming,
    Dispatch,
    Group,
    Note,
    Reopen,
    Seen,
    Ungroup,
)
from edge.desk.people import Role, Scope
from edge.desk.roster import Box
from edge.protocol.common import Argument, CommandName, Disposition, Id, Name, Stamp, Text


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Problem(BaseModel):
    """Why not, in a sentence for a person."""

    detail: str


Secret = Annotated[str, StringConstraints(min_length=1, max_length=200)]
ShownName = Annotated[Text, StringConstraints(min_length=1, max_length=60, strip_whitespace=True)]
"""In any script; stands beside everything this person does."""
Reason = Annotated[Text, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class Login(Body):
    login: Name
    password: Secret


class InvitationBody(Body):
    """Whom to invite; with `login`, a person who is there already and chooses a new password."""

    role: Role = "operator"
    group: Annotated[int, Field(ge=0, le=20)] = 0
    login: Name | None = None


class InvitationMade(BaseModel):
    """Give the link to the person, and to nobody else: it works once, within a day."""

    secret: str
    link: str
    """To be put behind the desk's address."""


class SecretBody(Body):
    secret: Secret


class InvitationShown(BaseModel):
    """What an invitation is for."""

    role: Role
    login: str
    by: str


class AcceptBody(Body):
    secret: Secret
    login: Name
    name: ShownName
    password: Secret


class PersonView(BaseModel):
    login: str
    name: str
    role: Role
    group: int
    active: bool
    made_utc: str
    on_shift: bool


class PersonChange(Body):
    """What is left out stays."""

    role: Role | None = None
    group: Annotated[int, Field(ge=0, le=20)] | None = None
    active: bool | None = None


class TokenBody(Body):
    label: ShownName
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    days: Annotated[int, Field(ge=1, le=400)] = 90


class TokenMade(BaseModel):
    """The token is shown this once."""

    token: str
    id: str


class TokenView(BaseModel):
    id: str
    label: str
    scopes: list[Scope]
    by: str
    made_utc: str
    ends_utc: str
    revoked: bool


class Me(BaseModel):
    """Who you are at this desk."""

    name: str
    login: str
    role: Role | Literal["program"]
    scopes: list[Scope]
    group: int
    on_shift: bool


class DeskInfo(BaseModel):
    """What a page must know of this desk."""

    city: str
    groups: list[str]
    answer_s: float
    contacts: list[ContactView]
    tiles: str
    """Address of map tiles with {z}, {x} and {y}; empty: none."""
    tiles_credit: str


class ContactView(BaseModel):
    key: str
    name: str
    number: str
    service: str


class ShiftBody(Body):
    on: bool


class SeenAct(Body):
    act: Literal["seen"]


class ComingAct(Body):
    act: Literal["coming"]


class CloseAct(Body):
    act: Literal["close"]
    disposition: Disposition


class ReopenAct(Body):
    act: Literal["reopen"]


class AssignAct(Body):
    act: Literal["assign"]
    login: Name


class NoteAct(Body):
    act: Literal["note"]
    text: Annotated[Text, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True)]


class DispatchAct(Body):
    act: Literal["dispatch"]
    contact: Name


class GroupAct(Body):
    act: Literal["group"]
    other_id: Id


class UngroupAct(Body):
    act: Literal["ungroup"]


class AnswerTestAct(Body):
    act: Literal["answer_test"]
    is_test: bool
    """What the person who armed the test said when asked (I10)."""


IncidentAct = Annotated[
    SeenAct
    | ComingAct
    | CloseAct
    | ReopenAct
    | AssignAct
    | NoteAct
    | DispatchAct
    | GroupAct
    | UngroupAct
    | AnswerTestAct,
    Field(discriminator="act"),
]


def action(incident_id: str, body: IncidentAct) -> Action:
    """The core's action for a request's body."""
    match body:
        case SeenAct():
            return Seen(incident_id)
        case ComingAct():
            return Coming(incident_id)
        case CloseAct():
            return Close(incident_id, body.disposition)
        case ReopenAct():
            return Reopen(incident_id)
        case AssignAct():
            return Assign(incident_id, body.login)
        case NoteAct():
            return Note(incident_id, body.text)
        case DispatchAct():
            return Dispatch(incident_id, body.contact)
        case GroupAct():
            return Group(incident_id, body.other_id)
        case UngroupAct():
            return Ungroup(incident_id)
        case AnswerTestAct():
            return AnswerTest(incident_id, body.is_test)


class CommandBody(Body):
    name: CommandName
    ttl_s: Annotated[int, Field(ge=1, le=3600)] = 30
    args: dict[Name, Argument] = Field(default_factory=dict, max_length=8)


class CommandGiven(BaseModel):
    """The command is on its way; its answer appears among the box's `commands` under this id."""

    command_id: str


class TimelineEntry(BaseModel):
    """One thing that happened; order is `seq`, never a clock (I9)."""

    seq: int
    kind: str
    by: str
    data: dict[str, str | bool | int]
    """What more there is to say about this kind of thing."""
    utc: str
    """Of the desk."""
    mono_ns: int
    boot_id: str
    trust: str
    """How far the desk's clock could be trusted."""
    box_stamp: Stamp | None
    """The box's own clock record."""


class DeskHealth(BaseModel):
    """How the desk itself is. Anything but `ok` is shown on every page, in red."""

    ok: bool
    utc: str
    broker: bool
    """The session with the broker is up."""
    broker_reason: str = ""
    store: bool
    """The store answers in time."""
    store_reason: str = ""
    pages: int
    staffed: int
    """People on shift with a page open."""
    refused: int
    """Messages refused since start."""


class IncidentDetail(BaseModel):
    incident: Incident
    timeline: list[TimelineEntry]


class Snapshot(BaseModel):
    """The first event of a stream, and its whole picture."""

    you: Me
    health: DeskHealth
    alarms: list[Alarm]
    incidents: list[Incident]
    boxes: list[Box]


_PERSONAL = frozenset({"by", "test_by", "assigned", "assigned_name", "seen_by"})
"""Who did what: not for those who only look (DPDP 2023)."""
_DURESS = frozenset({"silent"})
"""That a caller asked for silence; of an incident and its presses."""


def redacted(data: Any, hide: frozenset[str] = _PERSONAL) -> Any:
    """The same plain JSON without personal data: such a text is empty, such a flag false."""
    if isinstance(data, dict):
        return {key: (type(value)() if key in hide else redacted(value, hide)) for key, value in data.items()}
    return [redacted(item, hide) for item in data] if isinstance(data, list) else data


def redacted_incident(data: Any) -> Any:
    return redacted(data, _PERSONAL | _DURESS)
