"""The bus between the processes of one box: ZeroMQ publish/subscribe over ``ipc://``, no hub.

Each process binds its own publisher and subscribes to the others. It carries states, not deltas: a message
may be lost (a peer that is starting, a full queue) or come twice, and whoever sends it repeats it while it
matters. The socket directory is 0750, so only the product's group can speak here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import zmq

from edge.errors import BusError, Refused
from edge.protocol.common import Model
from edge.protocol.inbound import parse
from edge.protocol.inner import BUS

log = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024
LOOK_S = 0.25
RECONNECT_S = 0.25
PROCESS = re.compile(r"[a-z][a-z0-9_-]{0,39}")
Handler = Callable[[str, Any], None]
"""Called with the sender's process name and the message."""
_KINDS = {model: kind for kind, model in BUS.items()}


class BusEnd(Protocol):
    """What a part of a box needs of the bus, whatever carries it."""

    def on(self, model: type[Model], handler: Handler) -> None: ...
    def publish(self, message: Model) -> None: ...


class Bus:
    """One process's end. Open it in the process's loop; handlers run on that loop."""

    def __init__(self, folder: Path, process: str, peers: Iterable[str]) -> None:
        self._folder = folder
        self._process = process
        self._peers = [p for p in peers if p != process]
        self._handlers: dict[str, list[Handler]] = {}
        # Plain sockets watched by the loop: zmq.asyncio would make a future for each message, on the way of
        # a press, and its import would be a tenth of callbox's start.
        self._context = zmq.Context()
        self._out: zmq.Socket[bytes] | None = None
        self._in: zmq.Socket[bytes] | None = None
        self._watched: int | None = None
        """The descriptor by which the loop learns that there may be messages."""
        self._coming_back = False
        self._again: asyncio.TimerHandle | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._cut: set[str] = set()
        """Endpoints of peers that were connected and are not."""

    def on(self, model: type[Model], handler: Handler) -> None:
        """Calls `handler` for each message of that model from any peer."""
        self._handlers.setdefault(_KINDS[model], []).append(handler)

    def open(self) -> None:
        """Binds and subscribes. Peers that are not there yet are found when they come.

        Raises:
            BusError: the socket directory cannot be made or used.
        """
        try:
            self._connect()
        except (OSError, zmq.ZMQError) as error:
            self._close_sockets()
            raise BusError(f"bus in {self._folder} cannot be used: {error}") from error
        assert self._in is not None
        descriptor = self._in.getsockopt(zmq.FD)
        assert isinstance(descriptor, int)
        self._watched = descriptor
        asyncio.get_running_loop().add_reader(self._watched, self._readable)
        self._look()
        assert self._monitor is not None
        asyncio.get_running_loop().add_reader(self._monitor.fileno(), self._linked)
        self._linked()

    def _connect(self) -> None:
        self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        own = self._folder / f"{self._process}.sock"
        if own.exists() and stat.S_ISSOCK(own.stat().st_mode):
            own.unlink()
        self._out = self._context.socket(zmq.PUB)
        self._out.setsockopt(zmq.LINGER, 200)
        self._out.setsockopt(zmq.SNDHWM, 1000)
        self._out.bind(f"ipc://{own}")
        own.chmod(0o660)
        self._in = self._context.socket(zmq.SUB)
        self._in.setsockopt(zmq.RECONNECT_IVL, 20)
        self._in.setsockopt(zmq.RECONNECT_IVL_MAX, 250)
        self._in.setsockopt(zmq.MAXMSGSIZE, MAX_BYTES)
        self._in.setsockopt(zmq.RCVHWM, 1000)
        self._monitor = self._in.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECTED)
        for kind in self._handlers:
            self._in.subscribe(f"{kind}\n".encode())
        for peer in self._peers:
            self._in.connect(f"ipc://{self._folder / peer}.sock")

    def publish(self, message: Model) -> None:
        """Sends to whoever listens; never blocks, and drops for a peer whose queue is full."""
        if self._out is None:
            raise BusError("bus is not open")
        head = f"{_KINDS[type(message)]}\n{self._process}\n".encode()
        body = message.model_dump_json(by_alias=True, exclude_none=True).encode()
        frame = head + body
        if len(frame) > MAX_BYTES:
            log.error("bus message dropped kind=%s reason='%d bytes'", _KINDS[type(message)], len(frame))
            return
        with contextlib.suppress(zmq.Again):
            self._out.send(frame, zmq.DONTWAIT)

    def _look(self) -> None:
        """Asks for messages without having been told of any.

        The descriptor tells of news once, and whatever call on the socket comes first takes the telling, be
        it only a connect: what came just then would wait for ever, and all that follows from that peer.
        """
        self._readable()
        self._again = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _readable(self) -> None:
        if not self._coming_back:
            self._read()

    def _read(self) -> None:
        """Takes one message and comes back for the next.

        One at a time: a flood from one process must not keep this one from everything else it has to do, a
        press first of all (I5). The descriptor tells of news only once, so what is left must be asked for.
        """
        self._coming_back = False
        if self._in is None:
            return
        try:
            frame = self._in.recv(zmq.DONTWAIT)
        except zmq.Again:
            return
        self._coming_back = True
        asyncio.get_running_loop().call_soon(self._read)
        try:
            kind, sender, body = _split(frame)
            message = parse(BUS[kind], body, MAX_BYTES)
        except Refused as error:
            log.warning("bus message refused reason=%s", json.dumps(str(error)[:200]))
        else:
            self._hand_on(kind, sender, message)

    def _linked(self) -> None:
        """Connections to peers have begun or ended.

        ZeroMQ makes a new one where the peer went away, but not where the peer sent what it may not (a frame
        that is too long): this process would be deaf to it for ever. So it is told to, after a pause that
        leaves a peer without manners no hold on this process.
        """
        while self._monitor is not None:
            try:
                event, endpoint = self._monitor.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            if int.from_bytes(event[:2], sys.byteorder) == zmq.EVENT_CONNECTED:
                self._cut.discard(endpoint.decode())
            else:
                self._cut.add(endpoint.decode())
                asyncio.get_running_loop().call_later(RECONNECT_S, self._connect_again, endpoint.decode())

    def _connect_again(self, endpoint: str) -> None:
        if self._in is not None and endpoint in self._cut:
            with contextlib.suppress(zmq.ZMQError):
                self._in.disconnect(endpoint)
            self._in.connect(endpoint)

    def _hand_on(self, kind: str, sender: str, message: Model) -> None:
        for handler in self._handlers.get(kind, ()):
            try:
                handler(sender, message)
            except Exception:
                log.exception("bus handler failed kind=%s", kind)

    async def close(self) -> None:
        if self._again is not None:
            self._again.cancel()
        if self._watched is not None:
            asyncio.get_running_loop().remove_reader(self._watched)
            self._watched = None
        if self._monitor is not None:
            asyncio.get_running_loop().remove_reader(self._monitor.fileno())
        self._close_sockets()
        self._context.term()

    def _close_sockets(self) -> None:
        if self._in is not None and self._monitor is not None:
            self._in.disable_monitor()
        for socket in (self._out, self._in):
            if socket is not None:
                socket.close()
        self._out = self._in = self._monitor = None


def _split(frame: bytes) -> tuple[str, str, bytes]:
    """Kind, sender and body of a frame; raises `Refused`."""
    try:
        kind, sender, body = frame.split(b"\n", 2)
        names = kind.decode("ascii"), sender.decode("ascii")
    except ValueError:
        raise Refused("frame has not the form KIND, SENDER, BODY") from None
    if names[0] not in BUS:
        raise Refused("frame is of no kind of this version")
    if not PROCESS.fullmatch(names[1]):
        raise Refused("frame names no process as its sender")
    return *names, body
