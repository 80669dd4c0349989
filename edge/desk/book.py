"""The incident book: which press belongs to which incident, where each stands, and who must hear of it. Pure.

Closed incidents of long ago are only known by id (`archived`); whoever feeds the book brings such an incident
back with `recall` before it gives the book another press of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, Field

from edge.clock import Reading, iso_utc
from edge.desk.people import Actor, Person
from edge.desk.records import (
    IncidentRow,
    Outcome,
    PressRow,
    Question,
    SendAck,
    SendReceipt,
    State,
    timeline,
)
from edge.errors import Conflict, NotFound, Refused
from edge.protocol.common import Disposition, Place, Stamp
from edge.protocol.wire import Alert

KEEP_CLOSED = 200
"""Closed incidents kept whole; older ones are archived."""
MAX_PRESSES = 1000
"""Of one incident. No person presses so often: it is a broken contact, or a box gone wrong."""
MAX_DISPATCHED = 20
"""Of one incident; each stands in the timeline besides."""
GONE_S = 60.0
"""Without the operator who has it in hand an incident rings again after so long."""
_ORDER: dict[State, int] = {"open": 0, "seen": 1, "coming": 2, "closed": 3}


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom an operator calls: police control room, women's helpline, ambulance."""

    key: str
    name: str
    number: str
    service: str


@dataclass(frozen=True, slots=True)
class Rules:
    """How long an alert may wait, and who else hears of it then.

    An incident rings at group 0 first. Each `answer_s` without an acknowledgement takes it one level on: to
    the next group, and at the first level to the supervisors too. A group with nobody on duty is not waited
    for.
    """

    answer_s: float = 15.0
    groups: int = 1
    contacts: tuple[Contact, ...] = ()

    @property
    def top(self) -> int:
        """The highest level."""
        return max(1, self.groups - 1)


@dataclass(frozen=True, slots=True)
class Duty:
    """Who watches now."""

    present: frozenset[str] = frozenset()
    """Logins with a page open, on shift."""
    groups: frozenset[int] = frozenset()
    """Groups of which at least one is on duty."""


class Dispatched(BaseModel):
    """Who was told to go, by whom and when."""

    contact: str
    name: str
    number: str
    by: str
    utc: str


class TakenPress(BaseModel):
    """One press as the desk has it."""

    press_id: str
    button: str
    service: str
    routing: str
    at: Stamp
    """The box's clock record of the contact."""
    silent: bool
    test: bool
    test_by: str | None = None
    held_at_start: bool
    durable: bool
    """False: the box sent it before its own disk had it."""
    received_utc: str
    """The desk's UTC."""

    @classmethod
    def of(cls, alert: Alert, received_utc: str) -> TakenPress:
        return cls(
            **alert.press.model_dump(exclude={"incident_id", "at"}),
            at=alert.press.at,
            durable=alert.durable,
            received_utc=received_utc,
        )


class Incident(BaseModel):
    """A call for help from one box: its presses, and what people did about it."""

    incident_id: str
    device: str
    name: str
    place: Place
    service: str
    routing: str
    silent: bool = False
    """The caller asked for no lamp and no sound: duress."""
    test: bool
    """Nothing but tests in it, and nobody said otherwise (I10)."""
    question: Question = "none"
    """`asked`: a person armed this test, and an operator must confirm it with that person."""
    test_by: str | None = None
    state: State = "open"
    version: int = 1
    by: str = ""
    """Who acknowledged first."""
    disposition: Disposition | None = None
    ordinal: int
    """Order of ringing at this desk; smaller rings first. Counts, so no clock can disorder it."""
    opened_utc: str
    rang_utc: str
    """When it began to ring, or began again; people wait since then."""
    changed_utc: str
    level: int = 0
    """How far the alert has been taken on; see `Rules`."""
    assigned: str = ""
    """Login of the person who has it in hand; empty: nobody, or a program."""
    assigned_name: str = ""
    case_id: str | None = None
    """Incidents of several boxes that belong together: the id of the first of them."""
    dispatched: list[Dispatched] = Field(default_factory=list)
    answer_ms: int | None = None
    """From the first ring to the first acknowledgement, by the desk's clocks."""
    presses: list[TakenPress] = Field(default_factory=list)

    def row(self) -> IncidentRow:
        return IncidentRow(
            self.incident_id,
            self.device,
            self.state,
            self.version,
            self.test,
            self.question,
            self.by,
            self.disposition,
            self.ordinal,
            self.opened_utc,
            self.rang_utc,
            self.changed_utc,
            self.level,
            self.assigned,
            self.assigned_name,
            self.case_id,
            json.dumps([d.model_dump() for d in self.dispatched], ensure_ascii=False),
            self.answer_ms,
            self.name,
            self.service,
            self.silent,
            len(self.presses),
            self.place.civic.RD,
            self.place.lat,
            self.place.lon,
        )

    def ack(self) -> SendAck:
        return SendAck(self.device, self.incident_id, self.state, self.version, self.by, self.disposition)


class Book:
    """All incidents of the desk."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self._incidents: dict[str, Incident] = {}
        self._archived: set[str] = set()
        self._press_in: dict[str, str] = {}
        self._ordinal = 0
        self._rang_ns: dict[str, int] = {}
        """Incident -> desk's monotonic time of its ring; escalation counts from here."""
        self._gone_ns: dict[str, int] = {}
        """Incident -> since when the person who has it in hand is away."""

    # -- what is known -------------------------------------------------------------------------

    def load(
        self, whole: Iterable[Incident], archived: Iterable[str], last_ordinal: int, now: Reading
    ) -> None:
        """Fills an empty book from the store. Monotonic time did not survive: what rings waits anew."""
        for incident in whole:
            self._keep(incident)
            self._rang_ns[incident.incident_id] = now.mono_ns
        self._archived.update(archived)
        self._ordinal = last_ordinal

    def recall(self, incident: Incident) -> None:
        """Brings an archived incident back."""
        if incident.incident_id in self._archived:
            self._archived.discard(incident.incident_id)
            self._keep(incident)

    def is_archived(self, incident_id: str) -> bool:
        return incident_id in self._archived

    def get(self, incident_id: str) -> Incident:
        """Raises NotFound for an incident that is unknown, or archived."""
        try:
            return self._incidents[incident_id]
        except KeyError:
            raise NotFound(f"no incident {incident_id}") from None

    def find_press(self, press_id: str) -> Incident | None:
        """The incident that has this press already: what makes an alert a duplicate (I2)."""
        return self._incidents.get(self._press_in.get(press_id, ""))

    def listed(self) -> list[Incident]:
        """Those that ring, oldest first; then those in hand, oldest first; then closed ones, newest first."""
        live = sorted(
            (i for i in self._incidents.values() if i.state != "closed"),
            key=lambda i: (i.state != "open", i.ordinal),
        )
        closed = sorted(
            (i for i in self._incidents.values() if i.state == "closed"), key=lambda i: -i.ordinal
        )
        return live + closed

    # -- what comes from boxes -----------------------------------------------------------------

    def take(self, alert: Alert, now: Reading) -> Outcome:
        """A press came, perhaps not for the first time, perhaps for an incident that is closed.

        Raises:
            Refused: its incident or its id belongs to another box.
        """
        press = alert.press
        known = self.find_press(press.press_id)
        found = known or self._incidents.get(press.incident_id)
        if found is not None and found.device != alert.device:
            raise Refused("press or incident id belongs to another box")
        receipt = SendReceipt(alert.device, alert.id)
        if known is not None:
            # It comes again because the box has missed something: the receipt, or what was done since. The
            # state goes first: a box that still believes an older `closed` must not see its press received
            # before it hears that the incident is open again.
            return Outcome(sends=[known.ack(), receipt])
        if found is not None and len(found.presses) >= MAX_PRESSES:
            raise Refused(f"more than {MAX_PRESSES} presses in one incident")
        utc = iso_utc(now.utc_ns)
        incident, kind = (self._open(alert, now), "press") if found is None else self._join(found, alert, now)
        incident.presses.append(TakenPress.of(alert, utc))
        self._press_in[press.press_id] = incident.incident_id
        incident.changed_utc = utc
        row = PressRow(
            press.press_id,
            incident.incident_id,
            alert.device,
            press.test,
            utc,
            alert.model_dump_json(by_alias=True, exclude_none=True),
        )
        told = timeline(
            now,
            kind,
            incident_id=incident.incident_id,
            device=alert.device,
            by=press.test_by or "",
            box_stamp=press.at.model_dump_json(exclude_none=True),
            button=press.button,
            service=press.service,
            test=press.test,
            silent=press.silent,
            durable=alert.durable,
        )
        sends = [receipt] if found is None else [incident.ack(), receipt]
        return Outcome([row, incident.row(), told], [*sends], [incident.incident_id])

    def _open(self, alert: Alert, now: Reading) -> Incident:
        press, utc = alert.press, iso_utc(now.utc_ns)
        incident = Incident(
            incident_id=press.incident_id,
            device=alert.device,
            name=alert.name,
            place=alert.place,
            service=press.service,
            routing=press.routing,
            silent=press.silent,
            test=press.test,
            question="asked" if press.test and press.test_by else "none",
            test_by=press.test_by if press.test else None,
            ordinal=self._next(),
            opened_utc=utc,
            rang_utc=utc,
            changed_utc=utc,
        )
        self._keep(incident)
        self._rang_ns[incident.incident_id] = now.mono_ns
        return incident

    def _join(self, incident: Incident, alert: Alert, now: Reading) -> tuple[Incident, str]:
        press = alert.press
        incident.version += 1
        incident.silent = incident.silent or press.silent
        kind = "joined"
        if incident.state == "closed":
            kind = "reopened_by_press"
            self._ring(incident, now)
            # What was closed as a test stays one only if this is a test too.
            incident.test = incident.test and press.test
            incident.question = "asked" if incident.test and press.test_by else "none"
        elif incident.test and not press.test:
            kind = "test_became_real"
            self._ring(incident, now)
            incident.test, incident.question = False, "none"
        if not press.test:
            # Police, then women's helpline: the latest real press says whom the caller wants.
            incident.service, incident.routing = press.service, press.routing
        elif press.test_by:
            incident.test_by = press.test_by
        return incident, kind

    def _ring(self, incident: Incident, now: Reading) -> None:
        incident.rang_utc = iso_utc(now.utc_ns)
        self._rang_ns[incident.incident_id] = now.mono_ns
        self._gone_ns.pop(incident.incident_id, None)
        incident.state, incident.by, incident.disposition = "open", "", None
        incident.level, incident.assigned, incident.assigned_name = 0, "", ""
        incident.ordinal = self._next()

    # -- what time does ------------------------------------------------------------------------

    def tick(self, duty: Duty, now: Reading) -> Outcome:
        """About once a second: takes alerts on that nobody answers; rings again for whom nobody cares."""
        outcome = Outcome()
        for incident in self._incidents.values():
            if incident.state == "open":
                outcome.add(self._escalate(incident, duty, now))
            elif incident.state != "closed" and incident.assigned:
                outcome.add(self._look_after(incident, duty, now))
        return outcome

    def _escalate(self, incident: Incident, duty: Duty, now: Reading) -> Outcome:
        if incident.test or incident.level >= self.rules.top:
            return Outcome()
        waited_ns = now.mono_ns - self._rang_ns[incident.incident_id]
        nobody = not duty.groups & set(range(incident.level + 1))
        if not nobody and waited_ns < self.rules.answer_s * 1e9 * (incident.level + 1):
            return Outcome()
        incident.level += 1
        return self._noted(incident, "escalated", "", now, level=incident.level, nobody_on_duty=nobody)

    def _look_after(self, incident: Incident, duty: Duty, now: Reading) -> Outcome:
        if incident.assigned in duty.present:
            self._gone_ns.pop(incident.incident_id, None)
            return Outcome()
        if now.mono_ns - self._gone_ns.setdefault(incident.incident_id, now.mono_ns) < GONE_S * 1e9:
            return Outcome()
        gone = incident.assigned_name
        self._ring(incident, now)
        return self._changed(incident, "operator_gone", gone, now)

    # -- what operators do ---------------------------------------------------------------------

    def acknowledge(self, incident_id: str, state: State, who: Actor, now: Reading) -> Outcome:
        """`seen` or `coming`. The first acknowledgement wins.

        Raises:
            Conflict: somebody else was first, or the incident is past that state.
        """
        incident = self.get(incident_id)
        if incident.state == state and (incident.by, incident.assigned) == (who.name, who.login):
            return Outcome()
        if incident.state == "closed":
            raise Conflict("the incident is closed; reopen it first")
        if state == "seen" and incident.state != "open":
            raise Conflict(f"{incident.by} was first")
        if _ORDER[state] <= _ORDER[incident.state]:
            raise Conflict(f"the incident is already {incident.state}")
        if incident.answer_ms is None:
            incident.answer_ms = (now.mono_ns - self._rang_ns[incident_id]) // 10**6
        if not incident.by:
            incident.by, incident.assigned, incident.assigned_name = who.name, who.login, who.name
        incident.state = state
        return self._changed(incident, state, who.name, now)

    def assign(self, incident_id: str, person: Person, by: str, now: Reading) -> Outcome:
        """Hands it to a person. Raises Conflict when nobody has acknowledged it, or it is closed."""
        incident = self._in_hand(incident_id)
        if incident.assigned == person.login:
            return Outcome()
        incident.assigned, incident.assigned_name = person.login, person.name
        self._gone_ns.pop(incident_id, None)
        return self._noted(incident, "assigned", by, now, to=person.name)

    def note(self, incident_id: str, text: str, by: str, now: Reading) -> Outcome:
        """A person's words; in any state, for what is learnt later belongs to it too."""
        return self._noted(self.get(incident_id), "note", by, now, text=text)

    def dispatch(self, incident_id: str, contact: str, who: Actor, now: Reading) -> Outcome:
        """Somebody was told to go: help is coming.

        Raises:
            NotFound: no such contact.
            Conflict: nobody has acknowledged it, it is closed, or too many were sent.
        """
        incident = self._in_hand(incident_id)
        found = next((c for c in self.rules.contacts if c.key == contact), None)
        if found is None:
            raise NotFound(f"no contact {contact}: see desk.contacts in the configuration")
        if len(incident.dispatched) >= MAX_DISPATCHED:
            raise Conflict(f"more than {MAX_DISPATCHED} were sent")
        utc = iso_utc(now.utc_ns)
        sent = Dispatched(contact=found.key, name=found.name, number=found.number, by=who.name, utc=utc)
        incident.dispatched.append(sent)
        told = {"contact": found.key, "name": found.name, "number": found.number}
        if incident.state == "coming":
            return self._noted(incident, "dispatched", who.name, now, **told)
        incident.state = "coming"
        return self._changed(incident, "dispatched", who.name, now, **told)

    def group(self, incident_id: str, other_id: str, by: str, now: Reading) -> Outcome:
        """Two incidents, and whatever belongs to either already, become one case."""
        one, other = self.get(incident_id), self.get(other_id)
        if one is other:
            raise Conflict("an incident cannot be grouped with itself")
        cases = {i.case_id for i in (one, other)} - {None}
        members = [i for i in self._incidents.values() if i in (one, other) or i.case_id in cases]
        case_id = min(members, key=lambda i: i.opened_utc).incident_id
        outcome = Outcome()
        for incident in members:
            if incident.case_id != case_id:
                incident.case_id = case_id
                outcome.add(self._noted(incident, "grouped", by, now, case=case_id))
        return outcome

    def ungroup(self, incident_id: str, by: str, now: Reading) -> Outcome:
        incident = self.get(incident_id)
        if incident.case_id is None:
            return Outcome()
        case, incident.case_id = incident.case_id, None
        return self._noted(incident, "ungrouped", by, now, case=case)

    def _in_hand(self, incident_id: str) -> Incident:
        incident = self.get(incident_id)
        if incident.state == "closed":
            raise Conflict("the incident is closed; reopen it first")
        if incident.state == "open":
            raise Conflict("acknowledge the alert first")
        return incident

    def close(self, incident_id: str, disposition: Disposition, by: str, now: Reading) -> Outcome:
        """Raises Conflict for an incident nobody has acknowledged, or one already closed another way."""
        incident = self.get(incident_id)
        if incident.state == "closed":
            if incident.disposition == disposition:
                return Outcome()
            raise Conflict(f"the incident is already closed as {incident.disposition}")
        if incident.state == "open":
            raise Conflict("acknowledge the alert before you close it")
        if incident.question == "asked":
            incident.question = "confirmed" if disposition == "test" else "denied"
        incident.state, incident.disposition = "closed", disposition
        outcome = self._changed(incident, "closed", by, now, disposition=disposition)
        self._archive()
        return outcome

    def reopen(self, incident_id: str, by: str, now: Reading) -> Outcome:
        incident = self.get(incident_id)
        if incident.state != "closed":
            raise Conflict("the incident is not closed")
        self._ring(incident, now)
        return self._changed(incident, "reopened", by, now)

    def answer_test(self, incident_id: str, is_test: bool, by: str, now: Reading) -> Outcome:
        """The operator asked whoever armed the test (I10). Denied, it is a call for help like any other."""
        incident = self.get(incident_id)
        answer: Question = "confirmed" if is_test else "denied"
        if incident.question == answer:
            return Outcome()
        if incident.question != "asked":
            raise Conflict("there is no open question about this alert")
        incident.question = answer
        incident.test = is_test
        return self._changed(incident, f"test_{answer}", by, now)

    def _changed(self, incident: Incident, kind: str, by: str, now: Reading, **data: str) -> Outcome:
        """The box is told."""
        incident.version += 1
        incident.changed_utc = iso_utc(now.utc_ns)
        outcome = self._noted(incident, kind, by, now, **data)
        outcome.sends.append(incident.ack())
        return outcome

    def _noted(
        self, incident: Incident, kind: str, by: str, now: Reading, **data: str | bool | int
    ) -> Outcome:
        """The box has nothing of it."""
        told = timeline(now, kind, incident_id=incident.incident_id, device=incident.device, by=by, **data)  # type: ignore[arg-type]
        return Outcome([incident.row(), told], [], [incident.incident_id])

    # -- keeping -------------------------------------------------------------------------------

    def _next(self) -> int:
        self._ordinal += 1
        return self._ordinal

    def _keep(self, incident: Incident) -> None:
        self._incidents[incident.incident_id] = incident
        for press in incident.presses:
            self._press_in[press.press_id] = incident.incident_id

    def _archive(self) -> None:
        closed = [i for i in self._incidents.values() if i.state == "closed"]
        if len(closed) <= KEEP_CLOSED:
            return
        for incident in sorted(closed, key=lambda i: i.ordinal)[: len(closed) - KEEP_CLOSED]:
            del self._incidents[incident.incident_id]
            for press in incident.presses:
                self._press_in.pop(press.press_id, None)
            self._rang_ns.pop(incident.incident_id, None)
            self._gone_ns.pop(incident.incident_id, None)
            self._archived.add(incident.incident_id)
