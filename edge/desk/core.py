"""The desk's core: incident book and roster together. Pure: it is told the time and returns what follows.

`act` is the one place that authorises and applies what operators do; pages and programs come through it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge.clock import Reading, iso_utc
from edge.desk.alarms import Alarms
from edge.desk.book import Book, Duty, Rules
from edge.desk.people import ALL, SCOPES, Actor, People, Role, Scope, Token
from edge.desk.records import EventRow, Outcome, SendReceipt, timeline
from edge.desk.roster import Roster
from edge.errors import Conflict, NotFound, Refused
from edge.protocol.common import Disposition
from edge.protocol.wire import Alert, Birth, Command, Event, Health, Result

Inbound = Alert | Event | Birth | Health | Result
SEEN_EVENTS = 10_000
"""Ids of events kept in memory to know a repeated one; the store's key knows them all."""


DESK = Actor("desk", ALL, "", "program")
"""The desk itself: invites the first person."""


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
class Assign:
    """Hands an incident to a person."""

    incident_id: str
    login: str


@dataclass(frozen=True, slots=True)
class Note:
    incident_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Somebody was told to go there."""

    incident_id: str
    contact: str


@dataclass(frozen=True, slots=True)
class Group:
    """Two incidents belong to one case."""

    incident_id: str
    other_id: str


@dataclass(frozen=True, slots=True)
class Ungroup:
    incident_id: str


@dataclass(frozen=True, slots=True)
class Order:
    """A command to a box; its `by` is the actor."""

    device: str
    command: Command


@dataclass(frozen=True, slots=True)
class Shift:
    """Begins or ends the actor's shift."""

    on: bool


@dataclass(frozen=True, slots=True)
class Invite:
    """Of a new person, or (`login`) of one who chooses a new password. `digest`: of the link's secret."""

    digest: str
    role: Role = "operator"
    group: int = 0
    login: str = ""


@dataclass(frozen=True, slots=True)
class ChangePerson:
    """What is None stays."""

    login: str
    role: Role | None = None
    group: int | None = None
    active: bool | None = None


@dataclass(frozen=True, slots=True)
class GrantToken:
    token: Token


@dataclass(frozen=True, slots=True)
class RevokeToken:
    digest: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Something a person did that changes nothing here and must be known: signed in, made an export."""

    kind: str
    needs: Scope = "look"
    data: tuple[tuple[str, str | bool | int], ...] = ()


@dataclass(frozen=True, slots=True)
class SeeAlarm:
    """The actor takes care of an alarm."""

    alarm_id: str


OnIncident = Seen | Coming | Close | Reopen | AnswerTest | Assign | Note | Dispatch | Group | Ungroup
OnPeople = Invite | ChangePerson | GrantToken | RevokeToken
Action = OnIncident | OnPeople | Order | Shift | SeeAlarm | Tell


class Core:
    """State of the desk. Every input returns its `Outcome`; nothing is sent or stored in here."""

    def __init__(self, silent_after_s: float, rules: Rules | None = None) -> None:
        self.book = Book(rules)
        self.roster = Roster(silent_after_s)
        self.people = People(self.book.rules.groups)
        self.alarms = Alarms()
        self._broker_down_utc = ""
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

    def link(self, up: bool, now: Reading) -> None:
        """The desk's session with the broker has come or gone."""
        self.roster.link(up, now)
        if up:
            self._broker_down_utc = ""
        else:
            self._broker_down_utc = self._broker_down_utc or iso_utc(now.utc_ns)

    def tick(self, duty: Duty, now: Reading) -> Outcome:
        """Call about once a second."""
        outcome = self.roster.tick(now).add(self.book.tick(duty, now))
        return outcome.add(self.alarms.refresh(self.roster.listed(), self._broker_down_utc, now))

    def act(self, actor: Actor, action: Action, now: Reading) -> Outcome:
        """What a person does at the desk.

        Raises:
            Unauthorised: this actor may not do this.
            NotFound: no such incident or box.
            Conflict: it does not fit the present state; the text says why.
        """
        match action:
            case Order(device, command):
                actor.need("command")
                return self.roster.order(device, command.model_copy(update={"by": actor.name}), now)
            case Shift(on):
                actor.need("act")
                kind = "shift_begins" if on else "shift_ends"
                return Outcome([timeline(now, kind, by=actor.name)])
            case SeeAlarm(alarm_id):
                actor.need("act")
                return self.alarms.see(alarm_id, actor.name, now)
            case Tell(kind, needs, data):
                actor.need(needs)
                told = timeline(now, kind, by=actor.name, **dict(data))  # type: ignore[arg-type]
                return Outcome([told])
            case Invite() | ChangePerson() | GrantToken() | RevokeToken():
                actor.need("manage")
                return self._on_people(actor, action, now)
            case _:
                actor.need("act")
                return self._on_incident(actor, action, now)

    def _on_incident(self, actor: Actor, action: OnIncident, now: Reading) -> Outcome:
        match action:
            case Seen(incident_id):
                return self.book.acknowledge(incident_id, "seen", actor, now)
            case Coming(incident_id):
                return self.book.acknowledge(incident_id, "coming", actor, now)
            case Close(incident_id, disposition):
                return self.book.close(incident_id, disposition, actor.name, now)
            case Reopen(incident_id):
                return self.book.reopen(incident_id, actor.name, now)
            case AnswerTest(incident_id, is_test):
                return self.book.answer_test(incident_id, is_test, actor.name, now)
            case Assign(incident_id, login):
                person = self.people.active(login)
                if person is None or "act" not in person.actor().scopes:
                    raise Conflict(f"{login} does not work with incidents here")
                return self.book.assign(incident_id, person, actor.name, now)
            case Note(incident_id, text):
                return self.book.note(incident_id, text, actor.name, now)
            case Dispatch(incident_id, contact):
                return self.book.dispatch(incident_id, contact, actor, now)
            case Group(incident_id, other_id):
                return self.book.group(incident_id, other_id, actor.name, now)
            case Ungroup(incident_id):
                return self.book.ungroup(incident_id, actor.name, now)

    def _on_people(self, actor: Actor, action: OnPeople, now: Reading) -> Outcome:
        match action:
            case Invite(digest, role, group, login):
                _within(actor, SCOPES[role])
                return self.people.invite(digest, role, group, login, actor.name, now)
            case ChangePerson(login, role, group, active):
                _within(actor, SCOPES[role or "observer"])
                return self.people.change(login, actor.name, now, role=role, group=group, active=active)
            case GrantToken(token):
                _within(actor, token.scopes)
                return self.people.grant(token, now)
            case RevokeToken(digest):
                return self.people.revoke(digest, actor.name, now)

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


def _within(actor: Actor, scopes: Iterable[Scope]) -> None:
    """Nobody gives away what he has not. Raises Unauthorised."""
    for scope in scopes:
        actor.need(scope)
