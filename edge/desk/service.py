"""The desk as one thing: feeds the core, hands outcomes to keeper and streams, and says how it is itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pydantic import BaseModel

from edge.clock import Clock, iso_utc
from edge.desk import views
from edge.desk.book import Duty, Incident
from edge.desk.core import Action, Core, Group, Inbound, OnIncident, Order
from edge.desk.history import History
from edge.desk.keeper import LATE_S, Keeper
from edge.desk.people import Actor
from edge.desk.records import BoxRow, Outcome
from edge.desk.store import Store
from edge.desk.stream import Hub
from edge.errors import Conflict, DeskBusy, NotFound, Refused, StoreError

log = logging.getLogger(__name__)

T = TypeVar("T")

ACT_WAIT_S = 5.0
"""How long an operator's act may wait for the store before the answer says that it does."""
READ_WAIT_S = 1.0
TICK_S = 1.0


class Link:
    """How the session with the broker is; the broker's part keeps it up to date."""

    def __init__(self) -> None:
        self.up = False
        self.reason = "not connected yet"


class Service:
    """What API and broker talk to; everything in it runs on the loop."""

    def __init__(
        self,
        core: Core,
        clock: Clock,
        hub: Hub,
        keeper: Keeper,
        reader: Store,
        history: History,
        figures: History,
        link: Link,
    ) -> None:
        self.core = core
        self.hub = hub
        self.link = link
        self._clock = clock
        self._keeper = keeper
        self._reader = reader
        self._history = history
        self._figures = figures
        self._reading = ThreadPoolExecutor(1, "desk-reader")
        # Figures over a year take seconds: no list and no incident's page waits behind them.
        self._counting = ThreadPoolExecutor(1, "desk-figures")
        self._recalls: set[asyncio.Task[None]] = set()
        self.refused = 0
        self._told_alarms: list[dict[str, Any]] = []

    # -- from boxes ----------------------------------------------------------------------------

    def take(self, message: Inbound, channel: str) -> None:
        """Applies a message of a box; its answers leave when it is stored."""
        if self._keeper.full:
            # Without a receipt the box keeps it and comes again.
            log.error("message passed over: the store does not keep up channel=%s", channel)
            return
        needed = self.core.needs(message)
        if needed is not None:
            task = asyncio.get_running_loop().create_task(self._recall_and_take(needed, message, channel))
            self._recalls.add(task)
            task.add_done_callback(self._recalls.discard)
            return
        try:
            self._apply(self.core.take(message, self._clock.read()))
        except Refused as error:
            self.refuse(message.device, channel, str(error))

    def refuse(self, device: str | None, channel: str, reason: str) -> None:
        """A message was not accepted; shown on the box when it is known whose it was."""
        self.refused += 1
        log.warning("message refused device=%s channel=%s reason=%s", device, channel, json.dumps(reason))
        if device is None:
            return
        try:
            self._apply(self.core.refuse(device, channel, reason, self._clock.read()))
        except Refused as error:
            log.error("box not entered device=%s reason=%s", device, error)

    async def _recall_and_take(self, incident_id: str, message: Inbound, channel: str) -> None:
        try:
            await self.recall(incident_id)
        except (StoreError, NotFound) as error:
            log.error("incident not recalled id=%s reason=%r", incident_id, str(error))
            return
        self.take(message, channel)

    # -- from operators ------------------------------------------------------------------------

    async def act(self, actor: Actor, action: Action) -> None:
        """Applies an act and returns when it is stored.

        Raises:
            Unauthorised, NotFound, Conflict: as `Core.act`.
            DeskBusy: applied, but the store has not answered yet.
        """
        if isinstance(action, Order) and not self.link.up:
            raise Conflict("no session with the broker: the command was not sent")
        if isinstance(action, OnIncident):
            for incident_id in (action.incident_id, action.other_id if isinstance(action, Group) else ""):
                if self.core.book.is_archived(incident_id):
                    try:
                        await self.recall(incident_id)
                    except StoreError as error:
                        raise DeskBusy(str(error)) from None
        await self.apply(self.core.act(actor, action, self._clock.read()))

    async def apply(self, outcome: Outcome) -> None:
        """Returns when it is stored; raises DeskBusy."""
        self._apply(outcome)
        await self._stored()

    async def _stored(self) -> None:
        try:
            async with asyncio.timeout(ACT_WAIT_S):
                await self._keeper.stored()
        except TimeoutError:
            raise DeskBusy("the desk's store does not answer: this is not saved yet") from None

    # -- views ---------------------------------------------------------------------------------

    async def incident(self, incident_id: str) -> Incident:
        """Any incident, however old. Raises NotFound."""
        if self.core.book.is_archived(incident_id):
            return await self._stored_incident(incident_id)
        return self.core.book.get(incident_id)

    async def recall(self, incident_id: str) -> None:
        """Raises NotFound, or StoreError while its closing is still on the way to the store."""
        found = await self._stored_incident(incident_id)
        if found.state != "closed":
            raise StoreError(f"incident {incident_id} is not stored as closed yet")
        self.core.book.recall(found)

    async def _stored_incident(self, incident_id: str) -> Incident:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._reading, self._reader.incident, incident_id)
        if found is None:
            raise NotFound(f"no incident {incident_id}")
        return found

    async def read(self, what: Callable[[History], T]) -> T:
        """Asks the history for some rows. Raises StoreError."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, what, self._history)

    async def count(self, what: Callable[[History], T]) -> T:
        """Asks the history for what goes through all its rows, in a thread for that. Raises StoreError."""
        return await asyncio.get_running_loop().run_in_executor(self._counting, what, self._figures)

    async def timeline(self, incident_id: str) -> list[dict[str, Any]]:
        """As the store has it, after waiting a moment for what is on its way there."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READ_WAIT_S):
                await self._keeper.stored()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reading, self._reader.timeline, incident_id)

    def health(self) -> views.DeskHealth:
        late_s = self._keeper.late_s()
        store_reason = self._keeper.fault or (f"no answer for {late_s:.0f} s" if late_s > LATE_S else "")
        return views.DeskHealth(
            ok=self.link.up and not store_reason,
            utc=iso_utc(self._clock.utc_ns()),
            broker=self.link.up,
            broker_reason="" if self.link.up else self.link.reason,
            store=not store_reason,
            store_reason=store_reason,
            pages=self.hub.connected,
            staffed=self.hub.staffed,
            refused=self.refused,
        )

    def duty(self) -> Duty:
        """Who watches now: persons with a page open, on shift."""
        logins = {s.login for s in self.hub.sessions() if s.on_shift}
        people = [p for p in map(self.core.people.active, logins) if p is not None]
        return Duty(
            frozenset(p.login for p in people),
            frozenset(p.group for p in people if "act" in p.actor().scopes),
        )

    def picture(self, actor: Actor, on_shift: bool) -> str:
        """Everything a page starts from, as JSON: a megabyte in a city, and pages wait for it to open."""
        whole = "view" in actor.scopes
        incidents, boxes = self.core.book.listed(), self.core.roster.listed()
        parts = {
            "you": _text(self.me(actor, on_shift)),
            "health": _text(self.health()),
            "alarms": _array(map(_text, self.core.alarms.listed())),
            "incidents": _array(
                _text(i) if whole else json.dumps(views.redacted_incident(plain(i))) for i in incidents
            ),
            "boxes": _array(_text(b) if whole else json.dumps(views.redacted(plain(b))) for b in boxes),
        }
        return "{" + ",".join(f'"{name}":{text}' for name, text in parts.items()) + "}"

    def me(self, actor: Actor, on_shift: bool) -> views.Me:
        person = self.core.people.active(actor.login) if actor.login else None
        return views.Me(
            name=actor.name,
            login=actor.login,
            role=actor.role,
            scopes=sorted(actor.scopes),
            group=person.group if person is not None else 0,
            on_shift=on_shift,
        )

    # -- time ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Every second: who is silent, and a sign of life to every page."""
        while True:
            self.tick()
            await asyncio.sleep(TICK_S)

    def tick(self) -> None:
        self._apply(self.core.tick(self.duty(), self._clock.read()))
        self.tell_alarms()
        self.tell_health()

    def tell_alarms(self) -> None:
        """To every page, when they are not what was told last."""
        alarms = [plain(a) for a in self.core.alarms.listed()]
        if alarms != self._told_alarms:
            self._told_alarms = alarms
            self.hub.publish("alarms", alarms, views.redacted)

    def tell_health(self) -> None:
        self.hub.publish("tick", plain(self.health()))

    def link_changed(self, up: bool, reason: str = "") -> None:
        self.link.up, self.link.reason = up, reason
        self.core.link(up, self._clock.read())
        self.tell_health()

    def close(self) -> None:
        self.hub.close()
        for thread in (self._reading, self._counting):
            thread.shutdown(wait=False, cancel_futures=True)

    def _apply(self, outcome: Outcome) -> None:
        self._keeper.submit(outcome)
        for incident_id in outcome.incidents:
            self.hub.publish("incident", plain(self.core.book.get(incident_id)), views.redacted_incident)
        for device in outcome.boxes:
            self.hub.publish("box", plain(self.core.roster.get(device)), views.redacted)


def box_row(core: Core, device: str) -> BoxRow:
    """A box as it is stored."""
    return BoxRow(device, _text(core.roster.get(device)))


def plain(model: BaseModel) -> dict[str, Any]:
    """As plain JSON types, under the names the API documents."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _text(model: BaseModel) -> str:
    """The JSON of `plain`, three times as fast."""
    return model.model_dump_json(by_alias=True, exclude_none=True)


def _array(items: Iterable[str]) -> str:
    return f"[{','.join(items)}]"
