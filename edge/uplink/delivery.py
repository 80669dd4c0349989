"""How each press gets to the desk, and how far it has come. Pure: facts and a time in, what to send out.

PUBACK is not receipt, receipt is not help (I3): an alert is repeated until a desk says that it has stored it,
and then one alert of the incident is repeated until a person has acknowledged.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from edge.protocol.inner import IncidentDelivery, PressTold
from edge.protocol.wire import Ack, OpenIncident

PUBACK_NS = 5_000_000_000
"""A broker that has not acknowledged an alert by then is not there, whatever TCP believes."""
IN_FLIGHT = 16
"""At most so many alerts are with the broker unacknowledged; a new press does not wait for a backlog."""
KEEP_RECEIVED = 4096
KEEP_ACKS = 64
Progress = Literal["pressed", "trying", "sent", "received", "seen", "coming", "closed"]


@dataclass(slots=True)
class Waiting:
    """One press on its way."""

    told: PressTold
    heard_ns: int
    committed: bool = False
    """The outbox row is on disk."""
    attempts: int = 0
    sent_ns: int | None = None
    """In this session of the link: the publish that waits for its PUBACK, or the last that had it."""
    puback_ns: int | None = None
    received: bool = False
    due_ns: int = 0

    @property
    def in_flight(self) -> bool:
        return self.sent_ns is not None and self.puback_ns is None

    @property
    def incident_id(self) -> str:
        return self.told.press.incident_id


class DeliveryBook:
    """All presses that are not done with, by id, in the order they were heard."""

    def __init__(self, *, trying_ns: int, receipt_wait_ns: int, repeat_ns: int) -> None:
        self._trying_ns = trying_ns
        self._receipt_wait_ns = receipt_wait_ns
        self._repeat_ns = repeat_ns
        self._waiting: OrderedDict[str, Waiting] = OrderedDict()
        self._received: OrderedDict[str, None] = OrderedDict()
        self._acks: OrderedDict[str, Ack] = OrderedDict()
        """By incident, the last word of a person."""
        self._versions: OrderedDict[tuple[str, str], int] = OrderedDict()
        """(incident, desk) -> the newest version heard."""
        self._current: str | None = None
        self._link = False

    # -- facts -------------------------------------------------------------------------------------

    def load_received(self, ids: list[str]) -> None:
        """Ids that a desk has acknowledged storing, from before this start."""
        for press_id in ids[-KEEP_RECEIVED:]:
            self._received[press_id] = None

    def press(self, told: PressTold, now_ns: int, *, committed: bool = False) -> bool:
        """A press was told; True when it is news. Told again it may have become durable."""
        press_id = told.press.press_id
        known = self._waiting.get(press_id)
        if known is not None:
            known.told = told if told.durable else known.told
            return False
        received = press_id in self._received
        if received and told.press.incident_id != self._current:
            return False
        self._waiting[press_id] = Waiting(
            told, now_ns, committed or received, received=received, due_ns=now_ns
        )
        if received:
            self._clear()
        else:
            self._reopen(told.press.incident_id)
        return not received

    def _reopen(self, incident_id: str) -> None:
        """A press that the desk did not have when it closed: what it said of the incident is overtaken."""
        ack = self._acks.get(incident_id)
        if ack is not None and ack.state == "closed":
            self._acks[incident_id] = ack.model_copy(update={"state": "open"})
            self._versions[incident_id, ack.desk] = ack.version + 1

    def committed(self, press_id: str) -> None:
        if press_id in self._waiting:
            self._waiting[press_id].committed = True

    def held(self, press_ids: list[str]) -> list[str]:
        """Which of these presses are safe here: in the outbox on disk, or stored by a desk."""
        return [
            i for i in press_ids if i in self._received or (i in self._waiting and self._waiting[i].committed)
        ]

    def uncommitted(self) -> list[PressTold]:
        """Presses whose outbox row is still to be written."""
        return [w.told for w in self._waiting.values() if not w.committed and not w.received]

    def link(self, up: bool, now_ns: int) -> None:
        """The session came up or went down: what was in flight is not known to have arrived."""
        self._link = up
        for waiting in self._waiting.values():
            waiting.sent_ns = waiting.puback_ns = None
            if not waiting.received:
                waiting.due_ns = now_ns

    def published(self, press_id: str, now_ns: int) -> int:
        """It was handed to the transport; returns the number of the attempt."""
        waiting = self._waiting[press_id]
        waiting.attempts += 1
        if not waiting.in_flight:
            waiting.sent_ns = now_ns
        wait_ns = self._repeat_ns
        if not waiting.received:
            wait_ns = min(self._repeat_ns, self._receipt_wait_ns << min(waiting.attempts - 1, 10))
        waiting.due_ns = now_ns + wait_ns
        return waiting.attempts

    def puback(self, press_id: str, now_ns: int) -> None:
        if press_id in self._waiting:
            self._waiting[press_id].puback_ns = now_ns

    def refused(self, press_id: str) -> None:
        """The broker did not take it: it is not on its way, and is due again at its time."""
        if press_id in self._waiting:
            self._waiting[press_id].sent_ns = None

    def receipt(self, press_id: str, now_ns: int) -> None:
        """A desk has stored it."""
        self._received[press_id] = None
        while len(self._received) > KEEP_RECEIVED:
            self._received.popitem(last=False)
        waiting = self._waiting.get(press_id)
        if waiting is not None:
            waiting.received = True
            waiting.due_ns = now_ns + self._repeat_ns
        self._clear()

    def ack(self, ack: Ack) -> bool:
        """Where a person stands with an incident; False for what is older than what is known."""
        key = (ack.incident_id, ack.desk)
        if ack.version < self._versions.get(key, 0):
            return False
        self._versions[key] = ack.version
        self._versions.move_to_end(key)
        self._acks[ack.incident_id] = ack
        self._acks.move_to_end(ack.incident_id)
        if self._current is not None and self._current in self._acks:
            self._acks.move_to_end(self._current)
        while len(self._acks) > KEEP_ACKS:
            self._acks.popitem(last=False)
        while len(self._versions) > 4 * KEEP_ACKS:
            self._versions.popitem(last=False)
        return True

    def current(self, incident_id: str | None) -> None:
        """The incident that is open at the box, as callbox says it."""
        self._current = incident_id
        self._clear()

    # -- what follows ------------------------------------------------------------------------------

    def due(self, now_ns: int) -> list[PressTold]:
        """The alerts to publish now: those no desk has, and a reminder of an unacknowledged incident."""
        if not self._link:
            return []
        missing = [w for w in self._waiting.values() if not w.received]
        ready = [w for w in missing if w.due_ns <= now_ns and not w.in_flight]
        room = IN_FLIGHT - sum(w.in_flight for w in missing)
        if ready and (room > 0 or (ready[-1] is missing[-1] and not ready[-1].attempts)):
            # The newest first: whoever pressed just now does not wait for a backlog.
            ready = [ready[-1], *ready[:-1][: max(room - 1, 0)]]
        else:
            ready = []
        reminder = self._reminder()
        if reminder is not None and reminder.due_ns <= now_ns:
            ready.append(reminder)
        return [w.told for w in ready]

    def dead(self, now_ns: int) -> bool:
        """True when the broker has left an alert without PUBACK for too long."""
        return self._link and any(
            w.in_flight and not w.received and now_ns - (w.sent_ns or 0) >= PUBACK_NS
            for w in self._waiting.values()
        )

    def waits(self) -> int:
        """Presses that no desk has."""
        return sum(not w.received for w in self._waiting.values())

    def progress(self, incident_id: str, now_ns: int) -> Progress:
        """How far the word of an incident has come; only what is known to be true."""
        mine = [w for w in self._waiting.values() if w.incident_id == incident_id]
        ack = self._acks.get(incident_id)
        if ack is not None:
            # A press the desk did not have when it closed reopens the incident there: not closed for us yet.
            if ack.state == "closed" and all(w.received for w in mine):
                return "closed"
            if ack.state in ("seen", "coming"):
                return "seen" if ack.state == "seen" else "coming"
        if any(w.received for w in mine):
            return "received"
        if self._link and any(w.puback_ns for w in mine):
            return "sent"
        late = any(now_ns - w.heard_ns >= self._trying_ns for w in mine)
        return "trying" if late else "pressed"

    def words(self, now_ns: int) -> tuple[IncidentDelivery, ...]:
        """What callbox is told about its incident."""
        newest = next(reversed(self._waiting.values()), None)
        ids = dict.fromkeys(
            i for i in (self._current, newest.incident_id if newest else None) if i is not None
        )
        words = []
        for incident_id in ids:
            ack = self._acks.get(incident_id)
            mine = [w for w in self._waiting.values() if w.incident_id == incident_id]
            words.append(
                IncidentDelivery(
                    incident_id=incident_id,
                    progress=self.progress(incident_id, now_ns),
                    by=ack.by if ack else "",
                    disposition=ack.disposition if ack else None,
                    taken_back=ack is not None and ack.state == "open",
                    sent_ns=max((w.puback_ns for w in mine if w.puback_ns), default=None),
                )
            )
        return tuple(words)

    def open_incidents(self) -> tuple[OpenIncident, ...]:
        """For the heartbeat: the desk mends what differs from its own view."""
        if self._current is None:
            return ()
        ack = self._acks.get(self._current)
        state: Literal["open", "seen", "coming"] = "open"
        if ack is not None and ack.state in ("seen", "coming"):
            state = "seen" if ack.state == "seen" else "coming"
        return (OpenIncident(id=self._current, state=state),)

    def _reminder(self) -> Waiting | None:
        """The newest received press of the open incident, while no person has acknowledged it."""
        if self._current is None:
            return None
        ack = self._acks.get(self._current)
        if ack is not None and ack.state != "open":
            return None
        return self._newest_received()

    def _newest_received(self) -> Waiting | None:
        mine = [w for w in self._waiting.values() if w.received and w.incident_id == self._current]
        return max(mine, key=lambda w: w.told.press.at.seq, default=None)

    def _clear(self) -> None:
        """Forgets what is received, but for the newest press of the open incident: that one is repeated."""
        kept = self._newest_received()
        gone = [i for i, w in self._waiting.items() if w.received and w is not kept]
        for press_id in gone:
            del self._waiting[press_id]
