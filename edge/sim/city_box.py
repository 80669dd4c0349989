"""One box of a simulated city: many of them live on one loop.

It is the product's own: `Callbox`, `Uplink` and `Media` as they run on a Pi. What they are given from
outside is not: the bus, the contacts, the loudspeaker and the press journal's disk are in memory, the outbox
is a file in a folder that had better be in memory too. The connection to the broker is a real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import logging
import mmap
import os
import random
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import paho.mqtt.client as paho

from edge import mqtt_client, supervision
from edge.bus import Handler
from edge.callbox.callbox import Callbox
from edge.callbox.pins import TAMPER, OnEdge
from edge.clock import Clock, Reading, SystemClock, Trust
from edge.config import Config
from edge.errors import Refused
from edge.ids import uuid7
from edge.media.media import Media
from edge.media.prompts import RATE_HZ, Prompts
from edge.protocol.common import Model
from edge.protocol.inner import Alive, Delivery, Incident, Order, PressTold
from edge.store.files import File
from edge.store.journal import Journal
from edge.store.outbox import Outbox
from edge.uplink.machine import Facts
from edge.uplink.uplink import Uplink

log = logging.getLogger(__name__)

EDGE_AGO_NS = 8_000_000
"""A contact is told as closed for so long already, as on a loop that is late: it counts at once, and no
thread stays awake for the end of its stable window, as on a box it may."""
HOLD_S = 0.4
TOLD_S = 10.0
"""A press that callbox has not told by then was not taken."""
Tell = Callable[[dict[str, Any]], None]


class MemoryBus:
    """One process's end of a box's bus: `edge.bus.Bus` without its sockets.

    Messages are frozen, so they are handed over as they are, in the loop's next turn.
    """

    def __init__(self, wire: list[MemoryBus], process: str) -> None:
        """`wire` is the box's: all ends that are there."""
        self._wire = wire
        self._process = process
        self._handlers: dict[type[Model], list[Handler]] = {}
        self._loop = asyncio.get_running_loop()
        wire.append(self)

    def on(self, model: type[Model], handler: Handler) -> None:
        self._handlers.setdefault(model, []).append(handler)

    def publish(self, message: Model) -> None:
        for end in self._wire:
            if end is not self and type(message) in end._handlers:
                self._loop.call_soon(end._hear, self._process, message)

    def close(self) -> None:
        self._wire.remove(self)
        self._handlers.clear()

    def _hear(self, sender: str, message: Model) -> None:
        for handler in self._handlers.get(type(message), ()):
            try:
                handler(sender, message)
            except Exception:
                log.exception("bus handler failed kind=%s", type(message).__name__)


class HandPins:
    """The contacts of a box, closed and opened by `put`; nobody sees its lamp."""

    def __init__(self, contacts: Mapping[str, object], clock: Clock) -> None:
        self._levels = {**dict.fromkeys(contacts, False), TAMPER: True}
        self._clock = clock
        self._on_edge: OnEdge | None = None

    def start(self, on_edge: OnEdge) -> None:
        self._on_edge = on_edge

    def read(self, line: str) -> bool | None:
        return self._levels.get(line)

    def write(self, output: str, level: bool) -> None:
        pass

    async def close(self) -> None:
        self._on_edge = None

    def put(self, line: str, closed: bool) -> None:
        """Closes or opens a contact; raises `Refused` when there is no such one."""
        if line not in self._levels:
            raise Refused(f"this box has no contact {line[:40]!r}; it has {', '.join(self._levels)}")
        self._levels[line] = closed
        if self._on_edge is not None:
            self._on_edge(line, closed, self._clock.mono_ns() - EDGE_AGO_NS)


class DeafCard:
    """A sound card that nobody hears: a clip lasts as long as it would."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._on_end: Callable[[], None] = lambda: None

    def start(self, on_end: Callable[[], None], on_fault: Callable[[str | None], None]) -> None:
        self._on_end = on_end
        on_fault(None)

    def play(self, tag: str, pcm: bytes) -> None:
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(len(pcm) / (2 * RATE_HZ), self._on_end)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def close(self) -> None:
        self.stop()


class MemoryFile:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    def write(self, offset: int, data: bytes) -> None:
        self._data[offset : offset + len(data)] = data

    def sync(self) -> None:
        pass

    def size(self) -> int:
        return len(self._data)

    def close(self) -> None:
        pass


class MemoryFiles:
    """A disk for a press journal: outlives its process, not the worker. A page takes room once it is used."""

    def __init__(self) -> None:
        self._disk: dict[Path, mmap.mmap] = {}

    def open(self, path: Path, *, write: bool) -> File:
        if path not in self._disk:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return MemoryFile(self._disk[path])

    def create(self, path: Path, size: int) -> None:
        self._disk[path] = mmap.mmap(-1, size)

    def names(self, folder: Path) -> list[str]:
        return sorted(path.name for path in self._disk if path.parent == folder)


class BoxClock(SystemClock):
    """The machine's clock as this box has it: of its own boot, and as wrong as it is told to be."""

    def __init__(self) -> None:
        super().__init__()
        self._boot_id = os.urandom(16).hex()
        self.offset_ns = 0
        self.trust: Trust = "synchronised"

    def utc_ns(self) -> int:
        return super().utc_ns() + self.offset_ns

    def read(self) -> Reading:
        error_ms = 12 if self.trust == "synchronised" else None
        return Reading(self.utc_ns(), self.mono_ns(), self._boot_id, self.trust, error_ms)


class Line:
    """The way of one box to the broker; it can be cut."""

    def __init__(self) -> None:
        self._client: paho.Client | None = None
        self._is_cut = False

    def connect(
        self, options: mqtt_client.Options, will: mqtt_client.Will | None, prepare: mqtt_client.Prepare
    ) -> paho.Client:
        """`edge.mqtt_client.connect`, while the line is whole; called in a thread."""
        self._check()
        client = self._client = mqtt_client.connect(options, will, prepare)
        self._check()
        return client

    def cut(self) -> None:
        """Ends the connection without a word of ours, and refuses others until `restore`."""
        self._is_cut = True
        sock: Any = self._client.socket() if self._client is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        """Another connection may be made; the box tries when its pause is over."""
        self._is_cut = False

    def _check(self) -> None:
        if self._is_cut:
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))


class _Part(Protocol):
    """A process of the product, as far as whoever starts it is concerned."""

    def start(self) -> None: ...
    async def close(self) -> None: ...


class CityBox:
    """One box; use it on the loop. What it does is told to `tell`, one message for each change:

    ``{"event": "link", "up"}``,
    ``{"event": "press", "press_id", "incident_id", "button", "service", "silent", "test", "edge_ns",
    "stored_ns"}``, told just before the uplink hears of the press, which publishes it at once if it can,
    ``{"event": "progress", "incident_id", "progress", "by"}`` as the uplink says it, and
    ``{"event": "incident", "incident_id", "citizen"}`` with None once it is over.

    Each has ``device`` and ``at_ns``; all times are CLOCK_MONOTONIC ns.
    """

    def __init__(self, config: Config, prompts: Prompts, tell: Tell) -> None:
        self._config = config
        self._box = config.need_box()
        self._prompts = prompts
        self._tell = tell
        self._clock = BoxClock()
        self._pins = HandPins(config.button.contacts, self._clock)
        self._line = Line()
        self._disk, self._memory = MemoryFiles(), MemoryFiles()
        self._facts = _usual_facts(self._box.device)
        self._unusual: Facts = {}
        self._pids = itertools.count(300)
        self._wire: list[MemoryBus] = []
        # The first on the wire, so that it hears of a press just before the uplink does.
        self._bus = MemoryBus(self._wire, "city")
        self._lives: list[asyncio.Task[None]] = []
        self._presses: dict[str, asyncio.Future[PressTold]] = {}
        """Button -> whoever waits for its press to be told."""
        self._link = False
        self._shown: tuple[str | None, str] = (None, "idle")
        self._progress: dict[str, str] = {}
        self._bus.on(PressTold, self._on_press)
        self._bus.on(Delivery, self._on_delivery)
        self._bus.on(Incident, self._on_incident)

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        makers = (("uplink", self._uplink), ("callbox", self._callbox), ("media", self._media))
        self._lives = [loop.create_task(self._live(name, make), name=name) for name, make in makers]

    async def close(self) -> None:
        """A planned end: the box says good-bye."""
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)

    # -- what is done to it ------------------------------------------------------------------------

    async def press(self, button: str, hold_s: float = HOLD_S, technician: str = "") -> PressTold:
        """A finger on a button; returns as soon as callbox has told the press, and lets go after `hold_s`.

        With `technician` a test is armed in that name first.

        Raises:
            Refused: there is no such button, it is held already, or callbox told nothing.
        """
        if self._pins.read(button):
            raise Refused(f"button {button} is held")
        loop = asyncio.get_running_loop()
        if technician:
            order = Order(id=uuid7(self._clock), process="callbox", name="arm_test", by=technician)
            self._bus.publish(order)
            await asyncio.sleep(0)
        told: asyncio.Future[PressTold] = loop.create_future()
        self._presses[button] = told
        self._pins.put(button, True)
        try:
            async with asyncio.timeout(TOLD_S):
                return await told
        except TimeoutError:
            raise Refused(f"callbox told no press of {button} within {TOLD_S:.0f} s") from None
        finally:
            self._presses.pop(button, None)
            loop.call_later(hold_s, self._pins.put, button, False)

    def lid(self, is_open: bool) -> None:
        self._pins.put(TAMPER, not is_open)

    def link(self, up: bool) -> None:
        """Cuts its line to the broker, or makes it whole again."""
        if up:
            self._line.restore()
        else:
            self._line.cut()

    def facts(self, facts: Facts) -> None:
        """What its machine says from now on (`edge.uplink.machine`); with None, what it usually says."""
        self._unusual = {name: fact for name, fact in {**self._unusual, **facts}.items() if fact is not None}

    def read_machine(self, _data: Path) -> Facts:
        """In the place of `edge.uplink.machine.read`."""
        return {**self._facts, **self._unusual}

    def clock(self, trust: Trust, offset_s: float) -> None:
        """How far its clock can be trusted, and by how much it is wrong."""
        self._clock.trust, self._clock.offset_ns = trust, round(offset_s * 1e9)

    # -- its processes -----------------------------------------------------------------------------

    async def _live(self, process: str, make: Callable[[MemoryBus, asyncio.Event], _Part]) -> None:
        """One process of the box, started again when it was told to restart, as systemd does."""
        while True:
            bus, stop, pid = MemoryBus(self._wire, process), asyncio.Event(), next(self._pids)
            part = make(bus, stop)
            part.start()
            try:
                while not stop.is_set():
                    bus.publish(Alive(process=process, pid=pid))
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(supervision.ALIVE_S):
                            await stop.wait()
            finally:
                await part.close()
                bus.close()

    def _uplink(self, bus: MemoryBus, stop: asyncio.Event) -> _Part:
        u = self._config.uplink
        store = Outbox(
            self._config.paths.data / "uplink" / "outbox.db",
            max_rows=u.outbox_max_rows,
            max_bytes=u.outbox_max_bytes,
        )
        return Uplink(
            self._config,
            self._clock,
            bus,
            store,
            stop,
            connect=self._line.connect,
            read_machine=self.read_machine,
        )

    def _callbox(self, bus: MemoryBus, stop: asyncio.Event) -> _Part:
        # No such folder is made: the paths are names in memory.
        where = self._config.paths.data / "callbox"
        journal = Journal(where / "journal", self._disk, self._config.journal.segments)
        fallback = Journal(where / "fallback", self._memory, 1)
        return Callbox(self._config, self._clock, bus, self._pins, journal, fallback, stop)

    def _media(self, bus: MemoryBus, _stop: asyncio.Event) -> _Part:
        return Media(self._box.languages, self._prompts, DeafCard(), bus, self._clock)

    # -- what it says ------------------------------------------------------------------------------

    def _say(self, event: str, **more: object) -> None:
        at_ns = self._clock.mono_ns()
        self._tell({"event": event, "device": self._box.device, "at_ns": at_ns, **more})

    def _on_press(self, _sender: str, told: PressTold) -> None:
        press = told.press
        self._say(
            "press",
            **press.model_dump(include={"press_id", "incident_id", "button", "service", "silent", "test"}),
            edge_ns=told.edge_ns,
            stored_ns=told.stored_ns,
        )
        waiting = self._presses.get(press.button)
        if waiting is not None and not waiting.done():
            waiting.set_result(told)

    def _on_delivery(self, _sender: str, delivery: Delivery) -> None:
        if delivery.link != self._link:
            self._link = delivery.link
            self._say("link", up=delivery.link)
        for word in delivery.incidents:
            if self._progress.get(word.incident_id) != word.progress:
                self._say("progress", incident_id=word.incident_id, progress=word.progress, by=word.by)
        self._progress = {word.incident_id: word.progress for word in delivery.incidents}

    def _on_incident(self, _sender: str, incident: Incident) -> None:
        shown = incident.incident_id, incident.citizen
        if shown != self._shown:
            self._shown = shown
            self._say("incident", incident_id=incident.incident_id, citizen=incident.citizen)


def _usual_facts(device: str) -> Facts:
    """What a healthy box of that name says of its machine."""
    rng = random.Random(device)
    return {
        "temp_c": round(rng.uniform(46, 61), 1),
        "throttled": "",
        "throttled_since_boot": "",
        "mem_free_mb": rng.randint(520, 690),
        "mem_mb": 906,
        "load1": round(rng.uniform(0.1, 0.5), 2),
        "disk_free_mb": rng.randint(8200, 9900),
        "disk_mb": 14_420,
        "disk_read_only": False,
    }
