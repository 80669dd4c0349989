"""Media: carries callbox's word to the player, and the player's acts to the sound card; on the loop."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Iterable

from edge.bus import BusEnd
from edge.clock import Clock
from edge.media.player import Act, Play, Player
from edge.media.prompts import Prompts
from edge.media.sound import Sound as Card
from edge.protocol.common import Language, Stamp
from edge.protocol.inner import Done, Incident, Order, Sound

log = logging.getLogger(__name__)

TELL_S = 10.0
MAX_DONE = 64


class Media:
    """One box's voice on the bus."""

    def __init__(
        self, languages: Iterable[Language], prompts: Prompts, card: Card, bus: BusEnd, clock: Clock
    ) -> None:
        self._player = Player(languages)
        self._prompts = prompts
        self._card = card
        self._bus = bus
        self._clock = clock
        self._fault: str | None = "the sound card is being opened"
        self._told: Sound | None = None
        self._tests = 0
        self._last_test: Stamp | None = None
        self._testing: str | None = None
        """The order whose test sound plays."""
        self._done: OrderedDict[str, Done] = OrderedDict()
        self._due: asyncio.TimerHandle | None = None
        self._teller: asyncio.Task[None] | None = None
        bus.on(Incident, self._on_incident)
        bus.on(Order, self._on_order)

    def start(self) -> None:
        self._card.start(self._on_end, self._on_fault)
        self._teller = asyncio.get_running_loop().create_task(self._tell_often(), name="tell")

    async def close(self) -> None:
        if self._teller:
            self._teller.cancel()
        if self._due:
            self._due.cancel()
        await self._card.close()

    def detail(self) -> str:
        """What is wrong, for the `Alive` message; empty when all is well."""
        return (self._fault or "; ".join(self._prompts.faults))[:200]

    # -- the bus -----------------------------------------------------------------------------------

    def _on_incident(self, sender: str, incident: Incident) -> None:
        if sender != "callbox":
            return
        now_ns = self._clock.mono_ns()
        acts = self._player.tell(incident.incident_id, incident.citizen, incident.dark, now_ns)
        self._do(acts)

    def _on_order(self, _sender: str, order: Order) -> None:
        """A test is begun once, and answered when it has been played to its end."""
        if order.process != "media":
            return
        if order.id in self._done:
            self._bus.publish(self._done[order.id])
        elif order.id != self._testing:
            log.info("order name=%s by=%s", order.name, json.dumps(order.by))
            self._begin(order)

    def _begin(self, order: Order) -> None:
        if order.name != "indicator_test":
            self._answer(order.id, f"media does not know {order.name}")
        elif self._fault is not None:
            self._answer(order.id, self._fault)
        elif self._testing is not None:
            self._answer(order.id, "another test is being played")
        elif refusal := self._player.test():
            self._answer(order.id, refusal)
        else:
            self._testing = order.id
            self._do(self._player.next(self._clock.mono_ns()))

    def _answer(self, order_id: str, refusal: str | None) -> None:
        done = Done(id=order_id, ok=refusal is None, reason=(refusal or "")[:200])
        self._done[order_id] = done
        while len(self._done) > MAX_DONE:
            self._done.popitem(last=False)
        self._bus.publish(done)

    # -- the card ----------------------------------------------------------------------------------

    def _on_end(self) -> None:
        self._do(self._player.ended(self._clock.mono_ns()), ended=True)

    def _on_fault(self, fault: str | None) -> None:
        if fault != self._fault:
            log.log(
                logging.INFO if fault is None else logging.ERROR, "sound card fault=%s", json.dumps(fault)
            )
        self._fault = fault
        self._tell()

    def _do(self, acts: list[Act], *, ended: bool = False) -> None:
        """Carries out; `ended`: because a clip came to its end."""
        for act in acts:
            if isinstance(act, Play):
                self._card.play(act.clip.tag, self._prompts[act.clip])
            else:
                self._card.stop()
        if self._testing is not None and not self._player.testing:
            self._end_test(heard=ended and self._player.playing is None)
        self._plan()
        self._tell()

    def _end_test(self, *, heard: bool) -> None:
        """The test sound is over: `heard` to its end, or cut by something that matters more."""
        assert self._testing is not None
        order_id, self._testing = self._testing, None
        if self._fault is not None:
            self._answer(order_id, self._fault)
        elif not heard:
            self._answer(order_id, "a call for help came first")
        else:
            self._tests += 1
            self._last_test = Stamp.of(self._clock.read(), self._tests)
            self._answer(order_id, None)

    def _plan(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        due_ns = self._player.due_ns()
        if due_ns is not None:
            wait_s = max(0, due_ns - self._clock.mono_ns()) / 1e9
            self._due = asyncio.get_running_loop().call_later(wait_s, self._on_due)

    def _on_due(self) -> None:
        self._due = None
        self._do(self._player.next(self._clock.mono_ns()))

    # -- what the others learn ---------------------------------------------------------------------

    def _tell(self, *, always: bool = False) -> None:
        playing = self._player.playing
        state = Sound(
            ready=self._fault is None,
            playing=playing.tag if playing else "",
            fault=self.detail(),
            last_test=self._last_test,
        )
        if always or state != self._told:
            self._told = state
            self._bus.publish(state)

    async def _tell_often(self) -> None:
        while True:
            self._tell(always=True)
            await asyncio.sleep(TELL_S)
