"""The roster of boxes: who was heard when, how they are, and who is silent. Pure.

Silence is judged by the desk's own monotonic clock; what a box says of its clock plays no part (I9).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, Field, PrivateAttr, computed_field

from edge.clock import Reading, iso_utc
from edge.desk.records import HealthRow, Outcome, SendCommand, timeline
from edge.errors import Conflict, NotFound, Refused
from edge.protocol.common import Place
from edge.protocol.wire import Birth, Command, Event, Health, Result

MAX_BOXES = 20_000
KEEP_EVENTS = 20
KEEP_COMMANDS = 20
GRACE_S = 10.0
"""A command's answer may take this much longer than its time-to-live before it counts as unanswered."""
HOT_C = 80.0
FREE_PERCENT = 10.0
WORN_PERCENT = 80.0
SLOT_S = 300
"""One point of a box's course."""

Fact = str | float | int | bool | None


class Alarm(BaseModel):
    """One thing that is not right with a box, so judged by the desk for every client alike."""

    kind: Literal[
        "silent",
        "link",
        "refused",
        "unknown_incident",
        "process",
        "stuck",
        "tamper",
        "fault",
        "sound",
        "power",
        "heat",
        "disk",
        "wear",
    ]
    severity: Literal["warning", "alarm"]
    detail: str = ""


class OrderedCommand(BaseModel):
    """A command to a box and what became of it."""

    command_id: str
    name: str
    by: str
    sent_utc: str
    status: Literal["waiting", "done", "failed", "expired", "refused", "unanswered"] = "waiting"
    reason: str = ""
    data: dict[str, str | float | int | bool | None] = Field(default_factory=dict)
    answered_utc: str | None = None
    _due_ns: int | None = PrivateAttr(None)


class Box(BaseModel):
    """What the desk knows of one box; None and empty mean: it never said so."""

    device: str
    name: str = ""
    place: Place | None = None
    roles: tuple[str, ...] = ()
    services: dict[str, str] = Field(default_factory=dict)
    version: str = ""
    online: bool = False
    """By birth and will: it has a session with the broker."""
    session: int = 0
    birth_id: str | None = None
    heard_utc: str | None = None
    """The desk's UTC when the box itself was last heard; a will is the broker's voice, not the box's."""
    silent: bool = False
    silent_since_utc: str | None = None
    health: Health | None = None
    last_press_utc: str | None = None
    last_press_test: bool = False
    refused: str = ""
    """Why its last refused message was refused; empty again with the next good one of its kind."""
    refused_count: int = 0
    unknown_incidents: tuple[str, ...] = ()
    """Incidents it says are open that this desk has never heard of."""
    events: list[Event] = Field(default_factory=list)
    """The latest, newest first."""
    commands: list[OrderedCommand] = Field(default_factory=list)
    """The latest, newest first."""
    _heard_ns: int = PrivateAttr(0)
    _refused_channel: str = PrivateAttr("")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def alarms(self) -> list[Alarm]:
        return list(_alarms(self))


def _alarms(box: Box) -> Iterable[Alarm]:
    if box.silent:
        yield Alarm(kind="silent", severity="alarm", detail=box.silent_since_utc or "")
    elif not box.online and box.birth_id is not None:
        yield Alarm(kind="link", severity="warning")
    if box.refused:
        yield Alarm(kind="refused", severity="warning", detail=box.refused)
    for incident_id in box.unknown_incidents:
        yield Alarm(kind="unknown_incident", severity="alarm", detail=incident_id)
    if box.health is None:
        return
    for name, process in box.health.processes.items():
        if not process.up:
            yield Alarm(kind="process", severity="alarm", detail=name)
    for name, state in box.health.buttons.items():
        if state == "stuck":
            yield Alarm(kind="stuck", severity="alarm", detail=name)
    if box.health.tamper == "open":
        yield Alarm(kind="tamper", severity="alarm")
    yield from _machine(box.health.machine)


def _machine(facts: Mapping[str, Fact]) -> Iterable[Alarm]:
    """What the heartbeat's machine facts mean; their names are `edge.uplink.machine`'s."""
    for name, told in facts.items():
        if name.startswith("fault_"):
            yield Alarm(kind="fault", severity="alarm", detail=f"{name.removeprefix('fault_')}: {told}")
    if facts.get("sound") is False:
        yield Alarm(kind="sound", severity="warning")
    if facts.get("disk_read_only"):
        yield Alarm(kind="disk", severity="alarm", detail="read-only")
    if throttled := str(facts.get("throttled") or ""):
        yield Alarm(kind="power", severity="warning", detail=throttled)
    heat, worn = _number(facts, "temp_c"), _number(facts, "wear_pct")
    if heat is not None and heat >= HOT_C:
        yield Alarm(kind="heat", severity="warning", detail=f"{heat:.0f} °C")
    if worn is not None and worn >= WORN_PERCENT:
        yield Alarm(kind="wear", severity="warning", detail=f"{worn:.0f} %")
    free, whole = _number(facts, "disk_free_mb"), _number(facts, "disk_mb")
    if free is not None and whole and 100 * free / whole < FREE_PERCENT:
        yield Alarm(kind="disk", severity="warning", detail=f"{free:.0f} MB")


def _number(facts: Mapping[str, Fact], key: str) -> float | None:
    value = facts.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _point(before: HealthRow | None, health: Health, slot: int) -> HealthRow:
    facts = health.machine
    point = HealthRow(
        health.device,
        slot,
        1,
        _number(facts, "temp_c"),
        _number(facts, "disk_free_mb"),
        _number(facts, "mem_free_mb"),
        health.waiting,
    )
    if before is None:
        return point
    return replace(
        point,
        heard=before.heard + 1,
        temp_c=max((t for t in (before.temp_c, point.temp_c) if t is not None), default=None),
        disk_free_mb=min(
            (d for d in (before.disk_free_mb, point.disk_free_mb) if d is not None), default=None
        ),
        mem_free_mb=min((m for m in (before.mem_free_mb, point.mem_free_mb) if m is not None), default=None),
        waiting=max(before.waiting, point.waiting),
    )


class Roster:
    """All boxes that ever spoke to this desk."""

    def __init__(self, silent_after_s: float) -> None:
        self._silent_ns = round(silent_after_s * 1e9)
        self._boxes: dict[str, Box] = {}
        self._slots: dict[str, HealthRow] = {}
        """The five minutes under way, by box."""
        self._hears = True
        self._hears_since_ns = 0

    def load(self, boxes: Iterable[Box], now: Reading) -> None:
        """Fills an empty roster from the store. Monotonic time did not survive: each gets a full period."""
        for box in boxes:
            box._heard_ns = now.mono_ns
            for command in box.commands:
                if command.status == "waiting":
                    command.status = "unanswered"
            self._boxes[box.device] = box

    def listed(self) -> list[Box]:
        return sorted(self._boxes.values(), key=lambda b: b.device)

    def get(self, device: str) -> Box:
        try:
            return self._boxes[device]
        except KeyError:
            raise NotFound(f"no box {device}") from None

    # -- what comes from boxes -----------------------------------------------------------------

    def heard(self, device: str, now: Reading, channel: str) -> Outcome:
        """A good message of the box itself came; ends a silence."""
        box = self.known(device, now)
        if box._refused_channel == channel:
            box.refused, box._refused_channel = "", ""
        box._heard_ns, box.heard_utc = now.mono_ns, iso_utc(now.utc_ns)
        outcome = Outcome(boxes=[device])
        if box.silent:
            box.silent, box.silent_since_utc = False, None
            outcome.rows.append(timeline(now, "heard_again", device=device))
        return outcome

    def birth(self, birth: Birth, now: Reading) -> Outcome:
        """Online, or the will. A retained birth that comes again is no sign of life."""
        box = self.known(birth.device, now)
        if birth.id == box.birth_id:
            return Outcome()
        if not birth.online:
            if birth.session < box.session:
                return Outcome()
            box.online, box.birth_id = False, birth.id
            return Outcome([timeline(now, "link_lost", device=birth.device)], boxes=[birth.device])
        was = box.online
        box.online, box.birth_id, box.session = True, birth.id, birth.session
        box.name, box.place = birth.name or box.name, birth.place or box.place
        box.roles, box.services, box.version = birth.roles, dict(birth.services), birth.version
        outcome = self.heard(birth.device, now, "birth")
        if not was:
            outcome.rows.append(timeline(now, "link_up", device=birth.device, session=birth.session))
        return outcome

    def health(self, health: Health, unknown: tuple[str, ...], now: Reading) -> Outcome:
        outcome = self.heard(health.device, now, "health")
        box = self._boxes[health.device]
        box.health, box.unknown_incidents = health, unknown
        if health.session > box.session:
            # Its birth has not come through; what speaks is there.
            box.session, box.online = health.session, True
        slot = now.utc_ns // 10**9 // SLOT_S * SLOT_S
        before = self._slots.get(health.device)
        if before is not None and before.slot != slot:
            outcome.rows.append(before)
            before = None
        self._slots[health.device] = _point(before, health, slot)
        return outcome

    def pressed(self, device: str, name: str, place: Place, test: bool, now: Reading) -> None:
        box = self._boxes[device]
        box.name, box.place = name, place
        box.last_press_utc, box.last_press_test = iso_utc(now.utc_ns), test

    def event(self, event: Event) -> None:
        """Call after `heard`, once for each event."""
        box = self._boxes[event.device]
        box.place = event.place
        box.events = [event, *box.events][:KEEP_EVENTS]

    def result(self, result: Result, now: Reading) -> Outcome:
        """The answer to a command, or the box's refusal of something this desk sent."""
        outcome = self.heard(result.device, now, "result")
        box = self._boxes[result.device]
        command = next((c for c in box.commands if c.command_id == result.of), None)
        if command is not None and command.status in ("waiting", "unanswered"):
            command.status, command.reason = result.status, result.reason
            command.data, command.answered_utc = dict(result.data), iso_utc(now.utc_ns)
            outcome.rows.append(
                timeline(
                    now,
                    "command_answered",
                    device=result.device,
                    command=command.name,
                    status=result.status,
                    reason=result.reason,
                    box_stamp=result.at.model_dump_json(exclude_none=True),
                )
            )
        return outcome

    def refuse(self, device: str, channel: str, reason: str, now: Reading) -> Outcome:
        """A message of this box was not accepted; a person must see that."""
        box = self.known(device, now)
        first = box.refused != reason
        box.refused, box._refused_channel = reason, channel
        box.refused_count += 1
        outcome = Outcome(boxes=[device])
        if first:
            outcome.rows.append(timeline(now, "refused", device=device, channel=channel, reason=reason))
        return outcome

    # -- what the desk does --------------------------------------------------------------------

    def order(self, device: str, command: Command, now: Reading) -> Outcome:
        """Raises Conflict when the same command was given already, NotFound for an unknown box."""
        box = self.get(device)
        if any(c.command_id == command.id for c in box.commands):
            raise Conflict("this command was given already")
        ordered = OrderedCommand(
            command_id=command.id, name=command.name, by=command.by, sent_utc=iso_utc(now.utc_ns)
        )
        ordered._due_ns = now.mono_ns + round((command.ttl_s + GRACE_S) * 1e9)
        box.commands = [ordered, *box.commands][:KEEP_COMMANDS]
        told = timeline(now, "command", device=device, by=command.by, command=command.name)
        return Outcome([told], [SendCommand(device, command)], boxes=[device])

    def link(self, up: bool, now: Reading) -> None:
        """The desk's own session with the broker: while it is down silence says nothing about the boxes."""
        if up and not self._hears:
            self._hears_since_ns = now.mono_ns
        self._hears = up

    def tick(self, now: Reading) -> Outcome:
        """Finds who fell silent and which commands nobody answered."""
        outcome = Outcome()
        for device, box in self._boxes.items():
            heard_ns = max(box._heard_ns, self._hears_since_ns)
            if self._hears and not box.silent and now.mono_ns - heard_ns >= self._silent_ns:
                box.silent, box.silent_since_utc = True, box.heard_utc or iso_utc(now.utc_ns)
                outcome.rows.append(timeline(now, "silent", device=device))
                outcome.boxes.append(device)
            for command in box.commands:
                if command.status == "waiting" and command._due_ns and now.mono_ns >= command._due_ns:
                    command.status = "unanswered"
                    outcome.boxes.append(device)
        return outcome

    def known(self, device: str, now: Reading) -> Box:
        """The box, entered if it is new. Raises Refused when the roster is full."""
        box = self._boxes.get(device)
        if box is None:
            if len(self._boxes) >= MAX_BOXES:
                raise Refused(f"more than {MAX_BOXES} boxes")
            box = self._boxes[device] = Box(device=device)
            box._heard_ns = now.mono_ns
        return box
