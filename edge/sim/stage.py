"""The physical world of one simulated box: its contacts, lamp, buzzer and loudspeaker.

A server on a Unix socket, one JSON object a line. It stays when a process of the box dies, so what was
pressed stays pressed and what was seen stays seen.

From a driver, first: ``{"hello": "callbox"}`` or ``{"hello": "media"}``.

To callbox: ``{"line": NAME, "level": 0|1, "t": mono_ns, "edge": true|false}``. NAME is a contact's name in
[button.contacts], or ``tamper``; level 1 is electrically closed. ``"edge": false`` changes the level without
an edge, as the kernel does when it loses one; the present levels come so at each connection.

From callbox: ``{"out": "lamp"|"buzzer"|"beacon", "level": 0|1, "t": mono_ns}``.

From media: ``{"sound": 1|0, "tag": "pressed.hi", "t": mono_ns}``: the samples handed to the card became
non-silent, or silent.

A hand (`edge press`, another process) says ``{"hello": "hand"}`` and then ``{"set": NAME, "level": 0|1}`` or
``{"press": NAME, "hold_s": 0.5}``; each is answered with ``{"ok": true}`` (a press: once it is released) or
``{"ok": false, "reason": TEXT}``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from edge.clock import Clock, SystemClock
from edge.errors import DriverError, Refused

log = logging.getLogger(__name__)

OUTPUTS = ("lamp", "buzzer", "beacon")
TAMPER = "tamper"
MAX_HOLD_S = 600.0
MAX_LINE_BYTES = 4096
ANSWER_S = 2.0

Kind = Literal["out", "sound"]
Observer = Callable[[Kind, str, int, int, int], None]
"""Called with ("out", output's name) or ("sound", the prompt's tag), the level, the box's CLOCK_MONOTONIC ns
and the stage's own on arrival. They are the same clock on one machine; the second is nobody's claim."""


class Stage:
    """The world. `contacts` are the names of the box's buttons; the lid's contact is always there, closed."""

    def __init__(self, path: Path, contacts: Iterable[str], clock: Clock | None = None) -> None:
        self.path = path
        self.lines: dict[str, int] = {**dict.fromkeys(contacts, 0), TAMPER: 1}
        """The level of each contact."""
        self.outputs: dict[str, int] = dict.fromkeys(OUTPUTS, 0)
        self.sound: str | None = None
        """The tag of what the loudspeaker plays, None in silence."""
        self._clock = clock or SystemClock()
        self._observers: list[Observer] = []
        self._server: asyncio.Server | None = None
        self._drivers: dict[str, _Connection] = {}
        self._connections: set[_Connection] = set()
        self._arrived: dict[str, asyncio.Event] = {"callbox": asyncio.Event(), "media": asyncio.Event()}

    def observe(self, observer: Observer) -> None:
        """Calls `observer` at each change of an output or of the sound, on the loop."""
        self._observers.append(observer)

    async def start(self) -> None:
        """Listens.

        Raises:
            DriverError: the socket cannot be made, or another stage listens there.
        """
        loop = asyncio.get_running_loop()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and await _answers(self.path):
                raise DriverError(f"another stage listens at {self.path}; end it first")
            self.path.unlink(missing_ok=True)
            self._server = await loop.create_unix_server(lambda: _Connection(self), str(self.path))
        except OSError as error:
            if isinstance(error, DriverError):
                raise
            raise DriverError(f"stage cannot listen at {self.path}: {error}") from error
        self.path.chmod(0o600)

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for connection in list(self._connections):
            connection.drop()
            # The loop closes the socket in a later turn, which may not come when we are the last to go.
            await connection.gone.wait()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    # The world's side ------------------------------------------------------------------------------------

    def set_line(self, name: str, level: int, edge: bool = True) -> int:
        """Opens (0) or closes (1) a contact; returns the edge's stamp in CLOCK_MONOTONIC ns.

        Without `edge` the level changes and the kernel says nothing: a lost edge.

        Raises:
            Refused: this box has no such contact.
        """
        if name not in self.lines:
            known = ", ".join(self.lines)
            raise Refused(f"this box has no contact {name[:40]!r}; it has {known}")
        now = self._clock.mono_ns()
        changed = self.lines[name] != level
        self.lines[name] = level
        driver = self._drivers.get("callbox")
        if driver and changed:
            driver.send({"line": name, "level": level, "t": now, "edge": edge})
        return now

    async def press(self, name: str, hold_s: float = 0.5) -> int:
        """Closes a contact, holds it, opens it; returns the stamp of the closing edge in ns."""
        if not 0 <= hold_s <= MAX_HOLD_S:
            raise Refused(f"a press may be held 0 to {MAX_HOLD_S:.0f} s, not {hold_s}")
        closed = self.set_line(name, 1)
        try:
            await asyncio.sleep(hold_s)
        finally:
            self.set_line(name, 0)
        return closed

    async def wait_for(self, role: Literal["callbox", "media"], timeout_s: float = 10) -> None:
        """Waits until a driver of that role is connected; raises `DriverError` when none comes."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._arrived[role].wait()
        except TimeoutError:
            raise DriverError(f"no driver of {role} came to the stage within {timeout_s:.0f} s") from None

    # The drivers' side -----------------------------------------------------------------------------------

    def _hello(self, role: str, connection: _Connection) -> None:
        self._drivers[role] = connection
        self._arrived[role].set()
        if role == "callbox":
            now = self._clock.mono_ns()
            for name, level in self.lines.items():
                connection.send({"line": name, "level": level, "t": now, "edge": False})

    def _gone(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        if connection.role is None or self._drivers.get(connection.role) is not connection:
            return
        del self._drivers[connection.role]
        self._arrived[connection.role].clear()
        now = self._clock.mono_ns()
        # The kernel releases the lines of a process that ended, and the lamp's driver is pulled low; a
        # sound card whose program ended is silent. A process that only hangs changes nothing.
        if connection.role == "callbox":
            for name in OUTPUTS:
                self._output(name, 0, now, now)
        else:
            self._sound(0, self.sound or "", now, now)

    def _from_driver(self, message: dict[str, Any], seen_ns: int) -> None:
        if "out" in message:
            self._output(str(message["out"]), int(message["level"]), int(message["t"]), seen_ns)
        elif "sound" in message:
            self._sound(int(message["sound"]), str(message["tag"]), int(message["t"]), seen_ns)
        else:
            raise Refused("neither 'out' nor 'sound'")

    def _output(self, name: str, level: int, box_ns: int, seen_ns: int) -> None:
        if name not in self.outputs:
            raise Refused(f"there is no output {name[:40]!r}")
        if self.outputs[name] != level:
            self.outputs[name] = level
            self._tell("out", name, level, box_ns, seen_ns)

    def _sound(self, level: int, tag: str, box_ns: int, seen_ns: int) -> None:
        playing = tag if level else None
        if playing != self.sound:
            self.sound = playing
            self._tell("sound", tag, level, box_ns, seen_ns)

    def _tell(self, kind: Kind, name: str, level: int, box_ns: int, seen_ns: int) -> None:
        for observer in self._observers:
            observer(kind, name, level, box_ns, seen_ns)

    async def _by_hand(self, message: dict[str, Any]) -> None:
        if "press" in message:
            await self.press(str(message["press"]), float(message.get("hold_s", 0.5)))
        elif "set" in message:
            level = message.get("level")
            if level not in (0, 1):
                raise Refused("level is 0 (open) or 1 (closed)")
            self.set_line(str(message["set"]), level, bool(message.get("edge", True)))
        else:
            raise Refused("a hand may 'press' or 'set'")


class _Connection(asyncio.Protocol):
    """One peer. A protocol rather than a stream: the arrival stamp is taken where the bytes come in."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._holding: set[asyncio.Task[None]] = set()
        self._hand = False
        self.gone = asyncio.Event()
        self.role: Literal["callbox", "media"] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._stage._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stage._gone(self)
        self.gone.set()

    def send(self, message: dict[str, Any]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(json.dumps(message).encode() + b"\n")

    def drop(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        seen_ns = self._stage._clock.mono_ns()
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            try:
                self._line(json.loads(line), seen_ns)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                self._refuse(error)
        if len(self._buffer) > MAX_LINE_BYTES:
            self._refuse(Refused(f"a line is longer than {MAX_LINE_BYTES} bytes"))
            self.drop()

    def _line(self, message: dict[str, Any], seen_ns: int) -> None:
        if self._hand:
            task = asyncio.get_running_loop().create_task(self._answer(message))
            self._holding.add(task)  # the loop keeps only a weak reference
            task.add_done_callback(self._holding.discard)
        elif self.role is not None:
            self._stage._from_driver(message, seen_ns)
        elif message["hello"] == "hand":
            self._hand = True
        elif message["hello"] in ("callbox", "media"):
            self.role = message["hello"]
            self._stage._hello(message["hello"], self)
        else:
            raise Refused("hello is callbox, media or hand")

    async def _answer(self, message: dict[str, Any]) -> None:
        try:
            await self._stage._by_hand(message)
        except (ValueError, TypeError) as error:
            self._refuse(error)
        else:
            self.send({"ok": True})

    def _refuse(self, error: Exception) -> None:
        log.warning("stage message refused peer=%s reason=%s", self.role or "hand", json.dumps(str(error)))
        if self.role is None:
            self.send({"ok": False, "reason": str(error)})


async def _answers(path: Path) -> bool:
    try:
        reader, writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        return False
    # Until the other end has hung up too, so that it is not left with half a connection.
    with contextlib.suppress(OSError, TimeoutError):
        writer.write_eof()
        async with asyncio.timeout(ANSWER_S):
            await reader.read()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
