"""Bodies of the HTTP API that are not already a part of the core."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from edge.desk.book import Incident
from edge.desk.core import Action, AnswerTest, Close, Coming, Reopen, Seen
from edge.desk.roster import Box
from edge.desk.service import DeskHealth
from edge.protocol.common import CommandName, Disposition, Stamp, Text


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Problem(BaseModel):
    """Why not, in a sentence for a person."""

    detail: str


class Login(Body):
    token: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """From the desk's token file."""
    name: Annotated[Text, StringConstraints(min_length=1, max_length=60, strip_whitespace=True)]
    """Who sits at the desk; stands beside everything this person does."""


class Me(BaseModel):
    """Who you are at this desk."""

    name: str
    role: Literal["operator", "observer"]
    on_shift: bool


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


class AnswerTestAct(Body):
    act: Literal["answer_test"]
    is_test: bool
    """What the person who armed the test said when asked (I10)."""


IncidentAct = Annotated[
    SeenAct | ComingAct | CloseAct | ReopenAct | AnswerTestAct, Field(discriminator="act")
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
        case AnswerTestAct():
            return AnswerTest(incident_id, body.is_test)


class CommandBody(Body):
    name: CommandName
    ttl_s: Annotated[int, Field(ge=1, le=3600)] = 30
    args: dict[
        Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")],
        Annotated[str, StringConstraints(max_length=60)],
    ] = Field(default_factory=dict, max_length=8)


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


class IncidentDetail(BaseModel):
    incident: Incident
    timeline: list[TimelineEntry]


class Snapshot(BaseModel):
    """The first event of a stream, and its whole picture."""

    you: Me
    health: DeskHealth
    incidents: list[Incident]
    boxes: list[Box]
