"""The incident book: which press belongs to which incident, and where each incident stands. Pure.

Closed incidents of long ago are only known by id (`archived`); whoever feeds the book brings such an incident
back with `recall` before it gives the book another press of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, Field

from edge.clock import Reading, iso_utc
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
_ORDER: dict[State, int] = {"open": 0, "seen": 1, "coming": 2, "closed": 3}


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
    test_by: str | None
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
        )

    def ack(self) -> SendAck:
        return SendAck(self.device, self.incident_id, self.state, self.version, self.by, self.disposition)


class Book:
    """All incidents of the desk."""

    def __init__(self) -> None:
        self._incidents: dict[str, Incident] = {}
        self._archived: set[str] = set()
        self._press_in: dict[str, str] = {}
        self._ordinal = 0

    # -- what is known -------------------------------------------------------------------------

    def load(self, whole: Iterable[Incident], archived: Iterable[str], last_ordinal: int) -> None:
        """Fills an empty book from the store."""
        for incident in whole:
            self._keep(incident)
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
        incident, kind = (self._open(alert, utc), "press") if found is None else self._join(found, alert, utc)
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

    def _open(self, alert: Alert, utc: str) -> Incident:
        press = alert.press
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
        return incident

    def _join(self, incident: Incident, alert: Alert, utc: str) -> tuple[Incident, str]:
        press = alert.press
        incident.version += 1
        incident.silent = incident.silent or press.silent
        kind = "joined"
        if incident.state == "closed":
            kind = "reopened_by_press"
            self._ring(incident, utc)
            # What was closed as a test stays one only if this is a test too.
            incident.test = incident.test and press.test
            incident.question = "asked" if incident.test and press.test_by else "none"
        elif incident.test and not press.test:
            kind = "test_became_real"
            self._ring(incident, utc)
            incident.test, incident.question = False, "none"
        if not press.test:
            # Police, then women's helpline: the latest real press says whom the caller wants.
            incident.service, incident.routing = press.service, press.routing
        elif press.test_by:
            incident.test_by = press.test_by
        return incident, kind

    def _ring(self, incident: Incident, utc: str) -> None:
        incident.rang_utc = utc
        incident.state, incident.by, incident.disposition = "open", "", None
        incident.ordinal = self._next()

    # -- what operators do ---------------------------------------------------------------------

    def acknowledge(self, incident_id: str, state: State, by: str, now: Reading) -> Outcome:
        """`seen` or `coming`. The first acknowledgement wins.

        Raises:
            Conflict: somebody else was first, or the incident is past that state.
        """
        incident = self.get(incident_id)
        if incident.state == state and incident.by == by:
            return Outcome()
        if incident.state == "closed":
            raise Conflict("the incident is closed; reopen it first")
        if state == "seen" and incident.state != "open":
            raise Conflict(f"{incident.by} was first")
        if _ORDER[state] <= _ORDER[incident.state]:
            raise Conflict(f"the incident is already {incident.state}")
        first = incident.by or by
        incident.state, incident.by = state, first
        return self._changed(incident, state, by, now)

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
        self._ring(incident, iso_utc(now.utc_ns))
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
        incident.version += 1
        incident.changed_utc = iso_utc(now.utc_ns)
        told = timeline(now, kind, incident_id=incident.incident_id, device=incident.device, by=by, **data)
        return Outcome([incident.row(), told], [incident.ack()], [incident.incident_id])

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
            self._archived.add(incident.incident_id)
