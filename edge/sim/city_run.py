"""A simulated city brought to life: worker processes with many boxes each, and whoever presses their buttons.

::

    async with CityRun(folder, "127.0.0.1", port, pki, "sagar", City(seed=1, boxes=600)) as run:
        await run.linked()
        pressed = await run.press("sgr-0001", "police")
        await run.play(run.city.day(), speed=144)

All times are CLOCK_MONOTONIC ns, which is one clock for all processes of a machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from edge.clock import Clock, SystemClock, Trust
from edge.errors import Refused, SetupFailed
from edge.sim.children import DIES_WITH_PARENT
from edge.sim.city import Box, City, Happening, What
from edge.sim.city_box import HOLD_S
from edge.sim.pki import Pki

log = logging.getLogger(__name__)

MEMORY = Path("/dev/shm")  # noqa: S108 - a new folder in it, of a name nobody can know
SPREAD_S = 0.02
"""For each box the first connects of the city are spread over so much more: a handshake is work."""
RETRY_MAX_S = 10
"""In a day that is compressed a box does not wait two minutes, as it may in the product's configuration."""
STUCK_S = 20
STOP_S = 20.0
AGAIN_S = 3.0
"""Real time between the presses of one who presses again."""
LEAST_S = 75.0
"""A condition lasts at least so long in real time, however fast the day: two heartbeats tell of it."""


@dataclass(frozen=True, slots=True)
class Pressed:
    """A press as its box took it."""

    device: str
    press_id: str
    incident_id: str
    button: str
    service: str
    silent: bool
    test: bool
    edge_ns: int
    """The contact closed."""
    stored_ns: int
    """The box's journal had it."""
    at_ns: int
    """The uplink heard of it, and published it in that very moment if its link was up."""


@dataclass(frozen=True, slots=True)
class Word:
    """How far the word of an incident has come, as the uplink of its box knows it."""

    device: str
    incident_id: str
    progress: str
    """As `edge.protocol.inner.IncidentDelivery`."""
    by: str
    at_ns: int


@dataclass(slots=True)
class State:
    """A box as it was last heard of."""

    link: bool = False
    incident_id: str | None = None
    """The incident that is open at the box."""
    citizen: str = "idle"


class CityRun:
    """The boxes of `city`, those that come, at a broker that runs. A context manager; use it on one loop.

    Args:
        folder: for the workers' logs; made when it is absent.
        pki: makes a certificate for each box; one that is there already is used again.
        city_name: of the topics; the broker's rules must be for the same.
        workers: processes that share the boxes.
        outboxes: a folder for the boxes' outboxes, which stays. None: one in memory, gone with the run.
        uplink: what differs from the defaults in the boxes' [uplink], by key.
    """

    def __init__(
        self,
        folder: Path,
        broker_host: str,
        broker_port: int,
        pki: Pki,
        city_name: str,
        city: City,
        *,
        workers: int = 4,
        outboxes: Path | None = None,
        uplink: Mapping[str, Any] | None = None,
    ) -> None:
        self.city = city
        self.devices = tuple(box.device for box in city.boxes if box.comes)
        """The boxes that come."""
        self.states: Mapping[str, State] = {device: State() for device in self.devices}
        self.presses: dict[str, Pressed] = {}
        """By press id."""
        self.words: dict[tuple[str, str], Word] = {}
        """(incident id, progress) -> when it was told first."""
        self.truth: dict[str, What] = {}
        """Incident id -> what `play` made it of, for whoever plays the operators."""
        self._folder = folder
        self._pki = pki
        self._city_name = city_name
        self._outboxes = outboxes
        self._temporary: Path | None = None
        self._uplink = {
            "host": broker_host,
            "port": broker_port,
            "ca": pki.ca,
            "first_spread_s": min(600.0, SPREAD_S * len(city.boxes)),
            "retry_max_s": RETRY_MAX_S,
            **(uplink or {}),
        }
        self._clock: Clock = SystemClock()
        count = max(1, min(workers, len(self.devices)))
        self._workers = [
            _Child(folder / f"worker-{n}.log", self._heard, self._worker_ended) for n in range(count)
        ]
        self._at = {device: self._workers[n % count] for n, device in enumerate(self.devices)}
        self._changed = asyncio.Event()
        """Set, and replaced by another, whenever a box has told something."""
        self._broken: SetupFailed | None = None
        self._on_press: list[Callable[[Pressed], None]] = []
        self._on_word: list[Callable[[Word], None]] = []

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _start(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._outboxes is None:
            self._temporary = await asyncio.to_thread(_folder_in_memory)
        tables = await asyncio.to_thread(lambda: [self._table(self.city.by_device[d]) for d in self.devices])
        for worker in self._workers:
            await worker.start()
        adding = (self._order(table["box"]["device"], "add", config=table) for table in tables)
        await asyncio.gather(*adding)

    async def _stop(self) -> None:
        await asyncio.gather(*(worker.stop() for worker in self._workers))
        if self._temporary is not None:
            await asyncio.to_thread(shutil.rmtree, self._temporary, ignore_errors=True)

    # -- what is heard -----------------------------------------------------------------------------

    def on_press(self, call: Callable[[Pressed], None]) -> None:
        """Calls it for each press of any box, on the loop."""
        self._on_press.append(call)

    def on_word(self, call: Callable[[Word], None]) -> None:
        """Calls it whenever the word of an incident has come to another state, on the loop."""
        self._on_word.append(call)

    def links(self) -> int:
        """How many boxes have a session with the broker."""
        return sum(state.link for state in self.states.values())

    async def linked(self, count: int | None = None, timeout_s: float = 120) -> None:
        """Waits until so many boxes (None: all that come) have a session; raises `SetupFailed`."""
        wanted = len(self.devices) if count is None else count
        try:
            await self.until(lambda: self.links() >= wanted, timeout_s, f"{wanted} boxes have a session")
        except SetupFailed as error:
            raise SetupFailed(f"{error}; {self.links()} have one") from error

    async def until(self, true: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Waits for something that the boxes tell.

        Raises:
            SetupFailed: it does not come in time, or a worker has ended.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not true():
                    if self._broken is not None:
                        raise self._broken
                    await self._changed.wait()
        except TimeoutError:
            raise SetupFailed(f"not within {timeout_s:.0f} s: {what}") from None

    def _heard(self, told: dict[str, Any]) -> None:
        kind = told.pop("event")
        state = self.states[told["device"]]
        if kind == "link":
            state.link = told["up"]
        elif kind == "incident":
            state.incident_id, state.citizen = told["incident_id"], told["citizen"]
        elif kind == "press":
            pressed = Pressed(**told)
            self.presses[pressed.press_id] = pressed
            for call in self._on_press:
                call(pressed)
        else:
            word = Word(**told)
            self.words.setdefault((word.incident_id, word.progress), word)
            for tell in self._on_word:
                tell(word)
        self._pulse()

    def _worker_ended(self, error: SetupFailed) -> None:
        self._broken = error
        self._pulse()

    def _pulse(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # -- what is done ------------------------------------------------------------------------------

    async def press(self, device: str, button: str, hold_s: float = HOLD_S, technician: str = "") -> Pressed:
        """A finger on a button of a box; returns when the box has taken the press, and lets go by itself.

        With `technician` it is a test, armed in that name at the box.

        Raises:
            Refused: there is no such box or button, or the button is held already.
        """
        answer = await self._order(device, "press", button=button, hold_s=hold_s, technician=technician)
        return self.presses[answer["press_id"]]

    async def cut(self, *devices: str) -> None:
        """Cuts the lines of these boxes to the broker: connections end without a word of theirs."""
        await asyncio.gather(*(self._order(device, "link", up=False) for device in devices))

    async def restore(self, *devices: str) -> None:
        """Makes the lines of these boxes whole; each comes back when its own pause is over."""
        await asyncio.gather(*(self._order(device, "link", up=True) for device in devices))

    async def facts(self, device: str, **facts: float | str | bool | None) -> None:
        """What the box's machine says of itself from now on (`edge.uplink.machine`); None: as usual again."""
        await self._order(device, "facts", facts=facts)

    async def lid(self, device: str, is_open: bool) -> None:
        """Opens or closes the lid of a box."""
        await self._order(device, "lid", is_open=is_open)

    async def clock(self, device: str, trust: Trust, offset_s: float = 0) -> None:
        """How far the box's clock can be trusted, and by how much it is wrong."""
        await self._order(device, "clock", trust=trust, offset_s=offset_s)

    async def play(self, day: Iterable[Happening], speed: float, from_s: float = 0) -> None:
        """Lets all that is at or after `from_s` happen, `speed` times as fast; returns when it is over."""
        begin_ns = self._clock.mono_ns()
        async with asyncio.TaskGroup() as group:
            for happening in day:
                if happening.at_s < from_s:
                    continue
                due_s = (happening.at_s - from_s) / speed
                await asyncio.sleep(max(0.0, due_s - (self._clock.mono_ns() - begin_ns) / 1e9))
                group.create_task(self._happen(happening, speed))

    async def _happen(self, happening: Happening, speed: float) -> None:
        try:
            if happening.for_s:
                await self._last(happening, max(LEAST_S, happening.for_s / speed))
                return
            for turn in range(happening.times):
                await asyncio.sleep(AGAIN_S if turn else 0)
                pressed = await self.press(happening.devices[0], happening.button, technician=happening.by)
                self.truth.setdefault(pressed.incident_id, happening.what)
        except Refused as error:
            # Somebody else is at that button, or it is stuck. In a city that happens.
            log.warning(
                "did not happen what=%s device=%s reason=%s", happening.what, happening.devices[0], error
            )

    async def _last(self, happening: Happening, real_s: float) -> None:
        """A condition, from its beginning to its end."""
        device = happening.devices[0]
        match happening.what:
            case "stuck":
                pressed = await self.press(device, happening.button, hold_s=real_s)
                self.truth.setdefault(pressed.incident_id, happening.what)
                await asyncio.sleep(real_s)
            case "link":
                await self.cut(*happening.devices)
                await asyncio.sleep(real_s)
                await self.restore(*happening.devices)
            case "lid":
                await self.lid(device, is_open=True)
                await asyncio.sleep(real_s)
                await self.lid(device, is_open=False)
            case "clock":
                await self.clock(device, "unsynchronised", offset_s=-190)
                await asyncio.sleep(real_s)
                await self.clock(device, "synchronised")
            case _:
                name, value = ("temp_c", 84.5) if happening.what == "heat" else ("disk_free_mb", 310)
                await self.facts(device, **{name: value})
                await asyncio.sleep(real_s)
                await self.facts(device, **{name: None})

    async def _order(self, device: str, do: str, **values: Any) -> dict[str, Any]:
        worker = self._at.get(device)
        if worker is None:
            raise Refused(f"no box {device[:40]!r} is there")
        return await worker.order({"do": do, "device": device, **values})

    def _table(self, box: Box) -> dict[str, Any]:
        """The configuration of a box, as the product reads it."""
        identity = self._pki.client(box.device)
        data = (self._outboxes or self._temporary or self._folder) / box.device
        contacts = {
            name: {"pin": pin, "service": contact.service, "silent": contact.silent}
            for pin, (name, contact) in enumerate(box.contacts.items(), 16)
        }
        return {
            "box": {
                "city": self._city_name,
                "device": box.device,
                "name": box.name,
                "place": box.place.model_dump(),
                "services": dict(box.services),
            },
            "paths": {"data": data, "run": data / "run"},
            # Nobody's edges are lost here, so the lines need not be read ten times a second.
            "button": {"contacts": contacts, "tamper_pin": 5, "reread_ms": 1000, "stuck_s": STUCK_S},
            "journal": {"segments": 2},
            "uplink": {**self._uplink, "cert": identity.cert, "key": identity.key},
        }


def _folder_in_memory() -> Path:
    return Path(tempfile.mkdtemp(prefix="edge-city-", dir=MEMORY if MEMORY.is_dir() else None))


class _Child:
    """One worker, seen from outside."""

    def __init__(
        self,
        log_file: Path,
        heard: Callable[[dict[str, Any]], None],
        ended: Callable[[SetupFailed], None],
    ) -> None:
        """`ended` is called when it was not told to end."""
        self._log = log_file
        self._heard, self._ended = heard, ended
        self._stopping = False
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def start(self) -> None:
        with self._log.open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                *(*DIES_WITH_PARENT, sys.executable, "-m", "edge.sim.city_worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=out,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                # A Ctrl-C in the terminal is for whoever started us; we end the rest in order.
                start_new_session=True,
            )
        self._reader = asyncio.get_running_loop().create_task(self._read(), name="worker")

    async def order(self, order: dict[str, Any]) -> dict[str, Any]:
        """Raises `Refused` with the worker's reason, `SetupFailed` when it has ended."""
        if self._process is None or self._process.stdin is None:
            raise SetupFailed("the city does not run")
        if self._reader is None or self._reader.done():
            raise self._gone()
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"n": number, **order}, default=str).encode() + b"\n")
        found: dict[str, Any] = await answer
        if not found["ok"]:
            raise Refused(found["reason"])
        return found

    async def stop(self) -> None:
        """Its boxes say good-bye; SIGKILL after 20 s."""
        process = self._process
        if process is None or process.stdin is None:
            return
        self._stopping = True
        process.stdin.close()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._reader is not None:
            await self._reader

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            if "event" not in told:
                answer = self._waiting.pop(told["n"])
                if not answer.done():
                    answer.set_result(told)
                continue
            try:
                self._heard(told)
            except Exception:
                # Of somebody who watches; the next event still comes.
                log.exception("event of a box failed")
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(self._gone())
        self._waiting.clear()
        if not self._stopping:
            self._ended(self._gone())

    def _gone(self) -> SetupFailed:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return SetupFailed(f"a worker of the city has ended: {' / '.join(lines[-3:]) or self._log}")
