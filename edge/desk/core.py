"""The desk's core: incident book and roster together. Pure: it is told the time and returns what follows.

`act` is the one place that authorises and applies what operators do; pages and programs come through it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from edge.clock import Reading
from edge.desk.book import Book
from edge.desk.records import EventRow, Outcome, SendReceipt, timeline
from edge.desk.roster import Roster
from edge.errors import NotFound, Refused, Unauthorised
from edge.protocol.common import Disposition
from edge.protocol.wire import Alert, Birth, Command, Event, Health, Result

Inbound = Alert | Event | Birth | Health | Result
SEEN_EVENTS = 10_000
"""Ids of events kept in memory to know a repeated one; the store's key knows them all."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. The first form knows operators, and observers who only look."""

    name: str
    role: Literal["operator", "observer"] = "operator"


@dataclass(frozen=True, slots=True)
class Seen:
    """A person has seen the alert and takes it."""

    incident_id: str


@dataclass(frozen=True, slots=True)
class Coming:
    """Help is on its way."""

    incident_id: str


@dataclass(frozen=True, slots=True)
class Close:
    incident_id: str
    disposition: Disposition


@dataclass(frozen=True, slots=True)
class Reopen:
    incident_id: str


@dataclass(frozen=True, slots=True)
class AnswerTest:
    """The answer to "is this a test of yours?", asked of whoever armed it (I10)."""

    incident_id: str
    is_test: bool


@dataclass(frozen=True, slots=True)
class Order:
    """A command to a box; its `by` is the actor."""

    device: str
    command: Command


@dataclass(frozen=True, slots=True)
class Shift:
    """Begins or ends the actor's shift."""

    on: bool


Action = Seen | Coming | Close | Reopen | AnswerTest | Order | Shift


class Core:
    """State of the desk. Every input returns its `Outcome`; nothing is sent or stored in here."""

    def __init__(self, silent_after_s: float) -> None:
        self.book = Book()
        self.roster = Roster(silent_after_s)
        self._events: dict[str, None] = {}

    def load_events(self, ids: Iterable[str]) -> None:
        """The latest events' ids from the store, oldest first."""
        self._events.update(dict.fromkeys(ids))

    def needs(self, message: Inbound) -> str | None:
        """The archived incident that must be recalled before `take`, if there is one."""
        if isinstance(message, Alert):
            return message.press.incident_id if self.book.is_archived(message.press.incident_id) else None
        if isinstance(message, Health):
            return next((i.id for i in message.incidents if self.book.is_archived(i.id)), None)
        return None

    def take(self, message: Inbound, now: Reading) -> Outcome:
        """A message of a box.

        Raises:
            Refused: it is well formed and still cannot be.
        """
        match message:
            case Alert():
                return self._alert(message, now)
            case Event():
                return self._event(message, now)
            case Health():
                return self._health(message, now)
            case Birth():
                return self.roster.birth(message, now)
            case Result():
                return self.roster.result(message, now)

    def refuse(self, device: str, channel: str, reason: str, now: Reading) -> Outcome:
        """A message of `device` was refused at the door or by `take`."""
        return self.roster.refuse(device, channel, reason, now)

    def tick(self, now: Reading) -> Outcome:
        """Call about once a second."""
        return self.roster.tick(now)

    def act(self, actor: Actor, action: Action, now: Reading) -> Outcome:
        """What a person does at the desk.

        Raises:
            Unauthorised: this actor may not do this.
            NotFound: no such incident or box.
            Conflict: it does not fit the present state; the text says why.
        """
        if actor.role != "operator":
            raise Unauthorised(f"{actor.name} may look, but not act")
        match action:
            case Seen(incident_id):
                return self.book.acknowledge(incident_id, "seen", actor.name, now)
            case Coming(incident_id):
                return self.book.acknowledge(incident_id, "coming", actor.name, now)
            case Close(incident_id, disposition):
                return self.book.close(incident_id, disposition, actor.name, now)
            case Reopen(incident_id):
                return self.book.reopen(incident_id, actor.name, now)
            case AnswerTest(incident_id, is_test):
                return self.book.answer_test(incident_id, is_test, actor.name, now)
            case Order(device, command):
                return self.roster.order(device, command.model_copy(update={"by": actor.name}), now)
            case Shift(on):
                kind = "shift_begins" if on else "shift_ends"
                return Outcome([timeline(now, kind, by=actor.name)])

    def _alert(self, alert: Alert, now: Reading) -> Outcome:
        if alert.id != alert.press.press_id:
            raise Refused("id: is not the press id")
        self.roster.known(alert.device, now)
        fresh = self.book.find_press(alert.press.press_id) is None
        outcome = self.book.take(alert, now).add(self.roster.heard(alert.device, now, "alert"))
        if fresh:
            self.roster.pressed(alert.device, alert.name, alert.place, alert.press.test, now)
        return outcome

    def _event(self, event: Event, now: Reading) -> Outcome:
        outcome = self.roster.heard(event.device, now, "event")
        outcome.sends.append(SendReceipt(event.device, event.id))
        if event.id in self._events:
            return outcome
        self._events[event.id] = None
        if len(self._events) > SEEN_EVENTS:
            del self._events[next(iter(self._events))]
        self.roster.event(event)
        incident_id = event.incident_id if self._is_its(event) else None
        body = event.model_dump_json(by_alias=True, exclude_none=True)
        told = timeline(
            now,
            "event",
            incident_id=incident_id,
            device=event.device,
            event=event.kind,
            severity=event.severity,
            test=event.test,
            text=event.text,
            box_stamp=event.at.model_dump_json(exclude_none=True),
        )
        outcome.rows += [EventRow(event.id, event.device, incident_id, told.utc, body), told]
        if incident_id is not None:
            outcome.incidents.append(incident_id)
        return outcome

    def _is_its(self, event: Event) -> bool:
        """A box's event belongs only to an incident of that box."""
        try:
            return event.incident_id is not None and self.book.get(event.incident_id).device == event.device
        except NotFound:
            return False

    def _health(self, health: Health, now: Reading) -> Outcome:
        """Beside health it brings the box's view of its incidents: where it differs, it is told again."""
        unknown: list[str] = []
        mend = Outcome()
        for view in health.incidents:
            try:
                incident = self.book.get(view.id)
            except NotFound:
                unknown.append(view.id)
                continue
            if incident.device != health.device:
                unknown.append(view.id)
            elif incident.state != view.state:
                mend.sends.append(incident.ack())
        return self.roster.health(health, tuple(unknown), now).add(mend)
