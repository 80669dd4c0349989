"""What the core asks for: rows to be stored, and messages to be sent once they are stored."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal

from edge.clock import Reading, iso_utc
from edge.protocol.common import Disposition
from edge.protocol.wire import Command

State = Literal["open", "seen", "coming", "closed"]
Question = Literal["none", "asked", "confirmed", "denied"]


@dataclass(frozen=True, slots=True)
class PressRow:
    """A press, once and for ever."""

    press_id: str
    incident_id: str
    device: str
    test: bool
    received_utc: str
    alert: str
    """The alert as it came, JSON."""


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """An incident as it stands; replaces the row with the same id."""

    incident_id: str
    device: str
    state: State
    version: int
    test: bool
    question: Question
    by: str
    disposition: Disposition | None
    ordinal: int
    opened_utc: str
    rang_utc: str
    changed_utc: str
    level: int
    assigned: str
    assigned_name: str
    case_id: str | None
    dispatched: str
    """JSON list."""
    answer_ms: int | None
    device_name: str
    service: str
    silent: bool
    presses: int
    road: str
    lat: float
    lon: float


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event of a box, once."""

    event_id: str
    device: str
    incident_id: str | None
    received_utc: str
    event: str


@dataclass(frozen=True, slots=True)
class BoxRow:
    """What was last known of a box; replaces the row of the same device."""

    device: str
    known: str


@dataclass(frozen=True, slots=True)
class HealthRow:
    """A box over five minutes; see `history.HealthPoint`."""

    device: str
    slot: int
    heard: int
    temp_c: float | None
    disk_free_mb: float | None
    mem_free_mb: float | None
    waiting: int


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One thing that happened; never changed afterwards."""

    kind: str
    incident_id: str | None
    device: str | None
    by: str
    data: str
    """What more there is to say, JSON object."""
    utc: str
    """Of the desk."""
    mono_ns: int
    boot_id: str
    trust: str
    box_stamp: str | None = None
    """The box's own clock record, JSON."""


@dataclass(frozen=True, slots=True)
class PersonRow:
    """A person as the desk knows him; replaces the row of the same login."""

    login: str
    known: str


@dataclass(frozen=True, slots=True)
class InvitationRow:
    digest: str
    known: str
    over: bool


@dataclass(frozen=True, slots=True)
class TokenRow:
    digest: str
    known: str


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A person's session, so that a restart of the desk does not send everybody to the login."""

    digest: str
    """SHA-256 of the cookie's key; the key itself is not stored."""
    name: str
    role: str
    on_shift: bool
    over: bool = False


Row = (
    PressRow
    | IncidentRow
    | EventRow
    | BoxRow
    | HealthRow
    | TimelineRow
    | SessionRow
    | PersonRow
    | InvitationRow
    | TokenRow
)


def timeline(
    now: Reading,
    kind: str,
    *,
    incident_id: str | None = None,
    device: str | None = None,
    by: str = "",
    box_stamp: str | None = None,
    **data: str | bool | int,
) -> TimelineRow:
    told = json.dumps(data, ensure_ascii=False)
    utc = iso_utc(now.utc_ns)
    return TimelineRow(
        kind, incident_id, device, by, told, utc, now.mono_ns, now.boot_id, now.trust, box_stamp
    )


@dataclass(frozen=True, slots=True)
class SendReceipt:
    """Tell the box that its alert or event is stored (I3)."""

    device: str
    of: str


@dataclass(frozen=True, slots=True)
class SendAck:
    """Tell the box where a person stands with its incident."""

    device: str
    incident_id: str
    state: State
    version: int
    by: str
    disposition: Disposition | None


@dataclass(frozen=True, slots=True)
class SendCommand:
    device: str
    command: Command


Send = SendReceipt | SendAck | SendCommand


@dataclass(slots=True)
class Outcome:
    """What follows from one input. `rows` are committed together, and only then `sends` may leave."""

    rows: list[Row] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)
    incidents: list[str] = field(default_factory=list)
    """Whose view changed."""
    boxes: list[str] = field(default_factory=list)
    """Whose view changed; their rows are written now and then, not for each heartbeat (I7)."""

    def add(self, other: Outcome) -> Outcome:
        self.rows += other.rows
        self.sends += other.sends
        self.incidents += [i for i in other.incidents if i not in self.incidents]
        self.boxes += [b for b in other.boxes if b not in self.boxes]
        return self
