"""The callbox: carries what the cores decide between lines, journal and bus; on the loop, one a box."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from dataclasses import dataclass

from edge import supervision
from edge.bus import BusEnd
from edge.callbox.button import ContactEvent, What
from edge.callbox.incident import PRESSED_SHOWN_NS, Filing, IncidentBook
from edge.callbox.panel import Panel
from edge.callbox.pins import TAMPER, Pins
from edge.callbox.signaller import Signaller
from edge.clock import Clock
from edge.config import Config
from edge.errors import DriverError
from edge.ids import uuid7
from edge.protocol.common import Press, Stamp
from edge.protocol.inner import (
    Custody,
    Delivery,
    Done,
    Incident,
    Inputs,
    Order,
    PressTold,
    Unsettled,
)
from edge.store.journal import SLOTS_PER_SEGMENT, Journal, Kind, Record
from edge.store.journal_writer import JournalWriter

log = logging.getLogger(__name__)

REPEAT_S = 1.0
"""Period of `Unsettled` and of `Incident` while there is something to repeat."""
IDLE_EVERY = 5
"""`Incident` and `Inputs` go out at each fifth repeat when nothing happens."""
ANSWER_AFTER_S = 0.001
"""Lamp and buzzer leave the interpreter to the disk's thread for so long, and wait no longer for it."""
TELL_AFTER_S = 0.003
"""What the bus is told of a press beside the press itself waits so long, for disk and lamp to be first: each
message wakes three other processes."""
UNSETTLED_CHUNK = 16
CLAIM_AGAIN_S = 0.25
"""Lines that cannot be had are asked for again this often."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A press written down before it is one."""

    told: PressTold
    filing: Filing
    payload: bytes
    """Its journal record."""


class Callbox:
    """Drives everything a press touches on this box."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        bus: BusEnd,
        pins: Pins,
        journal: Journal,
        fallback: Journal,
        stop: asyncio.Event,
    ) -> None:
        self._config = config
        self._box = config.need_box()
        self._clock = clock
        self._bus = bus
        self._pins = pins
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._book = IncidentBook(
            trying_ns=round(config.uplink.trying_after_s * 1e9),
            nobody_ns=round(config.uplink.nobody_after_s * 1e9),
        )
        self._panel = Panel(config.button, pins, clock, on_event=self._happened, on_closing=self._make_ready)
        self._unsettled: OrderedDict[str, PressTold] = OrderedDict()
        self._told: dict[str, PressTold] = {}
        """Presses of the open incident, which stay told until a person has acknowledged."""
        self._faults: dict[str, str] = {}
        self._drafts: dict[str, Draft] = {}
        """Contact -> the press that the edge now in its stable window may become."""
        self._done: OrderedDict[str, Done] = OrderedDict()
        self._signals = Signaller(pins, clock, on_fault=self._fault)
        self._inputs: Inputs | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._turn = 0
        self._claiming: asyncio.TimerHandle | None = None
        self.claimed = asyncio.Event()
        """Set when every contact's line is ours: from then on no press is missed."""
        self._writer = JournalWriter(
            journal,
            fallback,
            clock,
            stall_s=config.journal.stall_ms / 1000,
            on_ready=self._restore,
            on_fault=lambda text: self._fault("journal", text),
        )
        bus.on(Custody, self._on_custody)
        bus.on(Delivery, self._on_delivery)
        bus.on(Order, self._on_order)

    def start(self) -> None:
        """Claims the lines: from here on a press is seen. The journal is read in the loop's next turn."""
        self._claim()
        self._loop.call_soon(self._writer.start)
        self._loop.call_soon(self._warm)
        self._tasks = [
            self._loop.create_task(
                supervision.every(self._config.button.reread_ms / 1000, self._reread), name="reread"
            ),
            self._loop.create_task(supervision.every(REPEAT_S, self._repeat), name="repeat"),
        ]
        self._show()

    def _claim(self) -> None:
        try:
            self._panel.start()
        except DriverError as error:
            # A box without its buttons is broken, but it must be able to say so; and the kernel may only be
            # late with its lines, or with the right to use them.
            self._fault("button", str(error))
            self._claiming = self._loop.call_later(CLAIM_AGAIN_S, self._claim)
        else:
            self._fault("button", "")
            self.claimed.set()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._claiming is not None:
            self._claiming.cancel()
        self._panel.close()
        self._signals.close()
        self._writer.close()
        await self._pins.close()

    # -- start and contacts ----------------------------------------------------------------------------------

    def _restore(self, records: list[Record]) -> None:
        """The journal's records, in order: the open incident, and which contact was already counted."""
        now_ns = self._clock.mono_ns()
        counted: dict[str, bool] = {}
        # Where a press did not wait for a journal that came late, the incident it began stands.
        keep_incident = self._book.open is None
        for age, record in zip(range(len(records) - 1, -1, -1), records, strict=True):
            try:
                self._replay(record, counted, now_ns, keep_incident=keep_incident)
                if age >= self._config.journal.segments * SLOTS_PER_SEGMENT // 2:
                    # A press that waited for the uplink may have outlived the record of its release.
                    counted.clear()
            except (ValueError, KeyError, TypeError) as error:
                log.error("journal record not understood seq=%d reason=%r", record.seq, str(error))
        log.info("journal read records=%d unsettled=%d", len(records), len(self._unsettled))
        self._panel.journal_says(counted)
        self._tell_inputs()
        self._show()
        self._tell_incident()
        self._tell_unsettled()

    def _replay(self, record: Record, counted: dict[str, bool], now_ns: int, *, keep_incident: bool) -> None:
        if record.kind is Kind.PRESS:
            told = PressTold.model_validate_json(record.payload)
            press = told.press
            if press.press_id in self._unsettled:
                return
            counted[press.button] = True
            self._unsettled[press.press_id] = told
            if keep_incident:
                self._book.restore(
                    press.press_id,
                    press.incident_id,
                    press.service,
                    test=press.test,
                    silent=press.silent,
                    now_ns=now_ns,
                )
                self._keep_telling(told)
            return
        body = json.loads(record.payload)
        if record.kind is Kind.RELEASE:
            counted[body["button"]] = False
        elif self._book.open is not None and self._book.open.incident_id == body["incident_id"]:
            if record.kind is Kind.CLOSE:
                self._book.open = None
                self._told.clear()
            else:
                self._book.darken()

    def _reread(self) -> None:
        self._panel.sample()
        self._tell_inputs()

    def _happened(self, event: ContactEvent) -> None:
        if event.contact == TAMPER:
            log.warning("tamper contact=%s", event.what.value)
        elif event.what is What.PRESSED:
            self._pressed(event)
        elif event.what is What.RELEASED:
            payload = json.dumps({"button": event.contact}).encode()
            self._writer.submit(Kind.RELEASE, self._writer.next_seq(), payload, _nothing)
        elif event.what is What.HELD and self._book.darken() and self._book.open:
            self._keep_incident(Kind.DARK, self._book.open.incident_id)
            self._follow()
        elif event.what is What.STUCK:
            log.warning("button stuck button=%s", event.contact)
        self._loop.call_later(TELL_AFTER_S, self._tell_inputs)

    # -- a press -----------------------------------------------------------------------------------

    def _pressed(self, event: ContactEvent, ordered_by: str | None = None) -> None:
        """A contact was accepted. The disk's thread gets it first, then the lamp, without waiting for it."""
        now_ns = self._clock.mono_ns()
        draft = self._drafts.pop(event.contact, None)
        if draft is None or not self._still_true(draft, event, now_ns, ordered_by):
            draft = self._draft(event, now_ns, ordered_by)
        self._writer.submit(
            Kind.PRESS,
            draft.told.press.at.seq,
            draft.payload,
            lambda durable, stored_ns: self._stored(draft.told, durable, stored_ns, now_ns),
        )
        self._loop.call_later(ANSWER_AFTER_S, self._answer)
        contact = self._config.button.contacts[event.contact]
        self._book.file(
            draft.told.press.press_id,
            contact.service,
            silent=contact.silent,
            now_ns=now_ns,
            ordered_test_by=ordered_by,
        )

    def _make_ready(self, name: str, edge_ns: int) -> None:
        """A closing edge begins the stable window, in which the box has nothing else to do: it writes down
        the press this may become, so that the press itself has only to be handed to the disk."""
        known = self._drafts.get(name)
        if known is None or known.told.edge_ns != edge_ns:
            due_ns = edge_ns + round(self._config.button.stable_ms * 1e6)
            self._writer.expect(due_ns)
            self._drafts[name] = self._draft(ContactEvent(What.PRESSED, name, edge_ns), due_ns, None)

    def _warm(self) -> None:
        """Builds the models once, for a press that nobody made; the first real one does not pay for it."""
        for name in list(self._config.button.contacts)[:1]:
            self._draft(ContactEvent(What.PRESSED, name, 0), 0, None, seq=0)

    def _draft(
        self, event: ContactEvent, confirmed_ns: int, ordered_by: str | None, *, seq: int | None = None
    ) -> Draft:
        contact = self._config.button.contacts[event.contact]
        press_id = uuid7(self._clock)
        filing = self._book.where(press_id, confirmed_ns, ordered_test_by=ordered_by)
        stamp = Stamp.of(self._clock.read(), self._writer.next_seq() if seq is None else seq)
        press = Press(
            press_id=press_id,
            incident_id=filing.incident_id,
            button=event.contact,
            service=contact.service,
            routing=self._box.services[contact.service],
            at=stamp.model_copy(update={"mono_ns": event.edge_ns}),
            silent=contact.silent,
            test=filing.test,
            test_by=filing.test_by,
            held_at_start=event.held_at_start,
        )
        told = PressTold(
            press=press,
            durable=True,
            edge_ns=event.edge_ns,
            confirmed_ns=confirmed_ns,
            stored_ns=confirmed_ns,
        )
        return Draft(told, filing, told.model_dump_json(by_alias=True, exclude_none=True).encode())

    def _still_true(self, draft: Draft, event: ContactEvent, now_ns: int, ordered_by: str | None) -> bool:
        """Whether what was written down at the edge is the press that it has become."""
        told = draft.told
        filing = self._book.where(told.press.press_id, now_ns, ordered_test_by=ordered_by)
        return told.edge_ns == event.edge_ns and not event.held_at_start and filing == draft.filing

    def _answer(self) -> None:
        """Lamp and buzzer, now; and in a moment the bus, for voice and camera."""
        self._show()
        self._loop.call_later(TELL_AFTER_S, self._tell_incident)
        self._loop.call_later(PRESSED_SHOWN_NS / 1e9, self._follow)

    def _stored(self, told: PressTold, durable: bool, stored_ns: int, confirmed_ns: int) -> None:
        """The journal or the fallback has the press: only now the network may be tried (I1)."""
        told = told.model_copy(
            update={"durable": durable, "stored_ns": stored_ns, "confirmed_ns": confirmed_ns}
        )
        self._bus.publish(told)
        press_id = told.press.press_id
        self._unsettled[press_id] = told
        if self._book.open is not None and self._book.open.incident_id == told.press.incident_id:
            self._keep_telling(told)
        log.info("press stored press_id=%s durable=%s", press_id, durable)

    def _keep_telling(self, told: PressTold) -> None:
        self._told[told.press.press_id] = told
        while len(self._told) > UNSETTLED_CHUNK:
            del self._told[next(iter(self._told))]

    def _keep_incident(self, kind: Kind, incident_id: str) -> None:
        payload = json.dumps({"incident_id": incident_id}).encode()
        self._writer.submit(kind, self._writer.next_seq(), payload, _nothing)

    # -- the bus -----------------------------------------------------------------------------------

    def _on_custody(self, _sender: str, custody: Custody) -> None:
        taken = False
        self._book.held(custody.held)
        for press_id in custody.held:
            told = self._unsettled.pop(press_id, None)
            if told is not None:
                self._writer.settled(told.press.at.seq)
                taken = True
        if taken and self._unsettled:
            self._tell_unsettled()

    def _on_delivery(self, _sender: str, delivery: Delivery) -> None:
        for word in delivery.incidents:
            if self._book.heard(word, self._clock.mono_ns()):
                log.info("incident closed incident_id=%s disposition=%s", word.incident_id, word.disposition)
                self._keep_incident(Kind.CLOSE, word.incident_id)
                self._told.clear()
        self._follow()

    def _on_order(self, _sender: str, order: Order) -> None:
        """Executes an order once; answers it each time it is heard."""
        if order.process != "callbox":
            return
        if order.id not in self._done:
            self._done[order.id] = self._execute(order)
            while len(self._done) > 64:
                self._done.popitem(last=False)
        self._bus.publish(self._done[order.id])

    def _execute(self, order: Order) -> Done:
        log.info("order name=%s by=%s", order.name, json.dumps(order.by))
        now_ns = self._clock.mono_ns()
        if order.name == "arm_test":
            self._book.arm(order.by, now_ns)
            return Done(id=order.id, ok=True, reason="contacts count as a test for 120 s")
        if order.name == "indicator_test":
            self._signals.test()
            return Done(id=order.id, ok=True)
        if order.name == "press_test":
            button = order.args.get("button") or next(iter(self._config.button.contacts), "")
            if button not in self._config.button.contacts:
                return Done(id=order.id, ok=False, reason=f"this box has no button {button[:40]!r}")
            if not self._book.may_test():
                return Done(id=order.id, ok=False, reason="a real incident is open")
            self._pressed(ContactEvent(What.PRESSED, button, now_ns), ordered_by=order.by)
            return Done(id=order.id, ok=True)
        if order.name == "restart" and not self._book.may_test():
            return Done(id=order.id, ok=False, reason="a real incident is open")
        return supervision.common_order(order.id, order.name, order.args, self._stop)

    def _tell_unsettled(self) -> None:
        """What the uplink has not yet taken over, newest first, and what it must not forget."""
        presses = list(self._unsettled.values())[-UNSETTLED_CHUNK:]
        book = self._book.open
        if book is not None and book.progress not in ("seen", "coming", "connected"):
            known = {told.press.press_id for told in presses}
            presses += [t for t in self._told.values() if t.press.press_id not in known]
        if presses:
            self._bus.publish(Unsettled(presses=tuple(presses)))

    def _tell_incident(self) -> None:
        book = self._book.open
        self._bus.publish(
            Incident(
                incident_id=book.incident_id if book else None,
                test=book.test if book else False,
                dark=self._book.dark(),
                service=book.service if book else None,
                citizen=self._book.citizen(self._clock.mono_ns()),
                presses=tuple(book.presses) if book else (),
            )
        )

    def _tell_inputs(self, *, always: bool = False) -> None:
        inputs = Inputs.model_validate(
            {
                "buttons": self._panel.buttons(),
                "tamper": _TAMPER_STATE[self._panel.tamper()],
                "faults": {name: text[:200] for name, text in self._faults.items()},
            }
        )
        if always or inputs != self._inputs:
            self._inputs = inputs
            self._bus.publish(inputs)

    def _repeat(self) -> None:
        # The presses first: whatever else fails, they have been told.
        self._tell_unsettled()
        changed = self._show()
        self._turn += 1
        if changed or self._book.open is not None or self._turn % IDLE_EVERY == 0:
            self._tell_incident()
        if self._turn % IDLE_EVERY == 0:
            self._tell_inputs(always=True)

    # -- lamp, buzzer, faults ----------------------------------------------------------------------

    def _show(self) -> bool:
        """Follows what the citizen is to be told; True when that has changed."""
        state, dark = self._book.citizen(self._clock.mono_ns()), self._book.dark()
        return self._signals.show(state, dark=dark, fault=bool(self._faults))

    def _follow(self) -> None:
        """Shows it, and tells the bus when that has changed: the voice says what the lamp shows."""
        if self._show():
            self._tell_incident()

    def _fault(self, name: str, text: str) -> None:
        if text:
            # A driver's words go out to the centre, which takes one line and no control characters.
            text = "".join(c if c.isprintable() else " " for c in text)[:200]
            if self._faults.get(name) != text:
                log.error("fault name=%s reason=%r", name, text)
            self._faults[name] = text
        elif self._faults.pop(name, None):
            log.info("fault over name=%s", name)


_TAMPER_STATE = {"unknown": "unknown", "held": "closed", "stuck": "closed", "released": "open"}


def _nothing(_durable: bool, _stored_ns: int) -> None:
    """A record whose storing nobody waits for."""
