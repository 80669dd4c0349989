"""A disk that forgets, as a card's cache does: an NBD server for one guest.

What is written stays in memory until FLUSH, or FUA of that write. When the power goes, some of what was not
flushed has reached the medium all the same, page by page, chosen at random; the rest is gone. Protocol: the
NBD project's doc/proto.md, fixed newstyle, simple replies.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.clock import pause

PAGE = 4096
_OPTION, _REPLY, _SIMPLE = 0x49484156454F5054, 0x3E889045565A9, 0x67446698
_FLAGS = 1 | 4 | 8
"""has flags, FLUSH, FUA"""
_ACK, _INFO, _UNSUPPORTED = 1, 3, 0x80000001
_EXPORT_NAME, _ABORT, _GO_INFO, _GO = 1, 2, 6, 7
_READ, _WRITE, _DISCONNECT, _FLUSH = 0, 1, 2, 3
_FUA = 1


@dataclass
class Counts:
    """Since the disk was made."""

    writes: int = 0
    flushes: int = 0
    bytes_written: int = 0
    lost: int = 0
    """Pages that were written, not flushed, and lost at a cut."""
    leaked: int = 0
    """Pages that were not flushed and reached the medium all the same."""


@dataclass(frozen=True)
class Request:
    """What the guest asks for, before it is done (`stage` "before") and before it is answered ("after")."""

    kind: str
    """write or flush"""
    stage: str
    offset: int
    data: bytes
    number: int
    """How many of its kind there were, this one counted."""


Watcher = Callable[[Request], None]
"""Called in the disk's thread; may call `lose_power`: the request is then not done, or not answered."""


class ForgetfulDisk:
    """Serves `image` (raw) on the Unix socket `path` to one client.

    Faults, which may be changed at any time:

    honest    False: FLUSH and FUA are answered and nothing is done (a lying card)
    refusal   errno of every write and flush, e.g. EIO, EPERM; 0: none
    slow_s    every flush takes so much longer
    leak      share of the unflushed pages that reach the medium at a cut, 0 to 1
    """

    def __init__(self, image: Path, path: Path, *, seed: int = 0, leak: float = 0.3) -> None:
        self.path = path
        self.leak = leak
        self.honest = True
        self.refusal = 0
        self.slow_s = 0.0
        self.counts = Counts()
        self.on_request: Watcher | None = None
        self._random = random.Random(seed)
        self._image = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        self._size = os.fstat(self._image).st_size
        self._powered = True
        self._cache: dict[int, bytes] = {}
        """Offset of a page -> what was written there and not flushed."""
        self._lock = threading.Lock()
        self._client: socket.socket | None = None
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve, name="disk", daemon=True)
        self._thread.start()

    def lose_power(self) -> None:
        """From this moment on nothing that is asked for is done; from any thread. `cut` says what is left."""
        self._powered = False

    def cut(self) -> None:
        """The power is gone: some of what was not flushed is on the medium, the rest is lost."""
        self.lose_power()
        with self._lock:
            for offset, page in self._cache.items():
                if self._random.random() < self.leak:
                    os.pwrite(self._image, page, offset)
                    self.counts.leaked += 1
                else:
                    self.counts.lost += 1
            self._cache.clear()

    def close(self) -> None:
        """Ends the server. Call `cut` before, for what a cut leaves behind; without it nothing is."""
        for sock in (self._client, self._listener):
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
        self._thread.join(timeout=10)
        os.close(self._image)
        self.path.unlink(missing_ok=True)

    # -- the protocol ------------------------------------------------------------------------------

    def _serve(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            self._client, _ = self._listener.accept()
            if self._negotiate(self._client):
                while self._request(self._client):
                    pass
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)

    def _negotiate(self, client: socket.socket) -> bool:
        client.sendall(b"NBDMAGIC" + struct.pack(">QH", _OPTION, 3))
        (client_flags,) = struct.unpack(">I", _exactly(client, 4))
        while True:
            _, option, length = struct.unpack(">QII", _exactly(client, 16))
            _exactly(client, length)

            def reply(kind: int, data: bytes = b"", option: int = option) -> None:
                client.sendall(struct.pack(">QIII", _REPLY, option, kind, len(data)) + data)

            if option == _EXPORT_NAME:
                client.sendall(struct.pack(">QH", self._size, _FLAGS) + bytes(0 if client_flags & 2 else 124))
                return True
            if option in (_GO_INFO, _GO):
                reply(_INFO, struct.pack(">HQH", 0, self._size, _FLAGS))
                reply(_INFO, struct.pack(">HIII", 3, 1, PAGE, 1 << 25))
                reply(_ACK)
                if option == _GO:
                    return True
            elif option == _ABORT:
                reply(_ACK)
                return False
            else:
                reply(_UNSUPPORTED)

    def _request(self, client: socket.socket) -> bool:
        _, flags, kind, handle, offset, length = struct.unpack(">IHHQQI", _exactly(client, 28))
        data, refusal = b"", 0
        if kind == _READ:
            data = self._read(offset, length)
        elif kind == _WRITE:
            refusal = self._written(offset, _exactly(client, length), fua=bool(flags & _FUA))
        elif kind == _FLUSH:
            refusal = self._flushed()
        elif kind == _DISCONNECT:
            return False
        else:
            refusal = errno.EINVAL
        client.sendall(struct.pack(">IIQ", _SIMPLE, refusal, handle) + data)
        return True

    def _tell(self, kind: str, stage: str, number: int, offset: int = 0, data: bytes = b"") -> None:
        if self.on_request is not None:
            self.on_request(Request(kind, stage, offset, data, number))
        if not self._powered:
            raise EOFError

    def _read(self, offset: int, length: int) -> bytes:
        with self._lock:
            return self._peek(offset, length)

    def _peek(self, offset: int, length: int) -> bytes:
        first, end = offset // PAGE * PAGE, -(-(offset + length) // PAGE) * PAGE
        found = bytearray(os.pread(self._image, end - first, first).ljust(end - first, b"\0"))
        for at in range(first, end, PAGE):
            if at in self._cache:
                found[at - first : at - first + PAGE] = self._cache[at]
        return bytes(found[offset - first : offset - first + length])

    def _written(self, offset: int, data: bytes, *, fua: bool) -> int:
        self.counts.writes += 1
        number = self.counts.writes
        self._tell("write", "before", number, offset, data)
        if self.refusal:
            return self.refusal
        with self._lock:
            first, end = offset // PAGE * PAGE, -(-(offset + len(data)) // PAGE) * PAGE
            whole = bytearray(self._peek(first, end - first))
            whole[offset - first : offset - first + len(data)] = data
            pages = {at: bytes(whole[at - first : at - first + PAGE]) for at in range(first, end, PAGE)}
            self._cache |= pages
            self.counts.bytes_written += len(data)
            if fua and self.honest:
                for at in pages:
                    os.pwrite(self._image, self._cache.pop(at), at)
        self._tell("write", "after", number, offset, data)
        return 0

    def _flushed(self) -> int:
        self.counts.flushes += 1
        number = self.counts.flushes
        self._tell("flush", "before", number)
        if self.refusal:
            return self.refusal
        if self.slow_s:
            pause(self.slow_s)
        with self._lock:
            if self.honest:
                for offset, page in self._cache.items():
                    os.pwrite(self._image, page, offset)
                self._cache.clear()
        self._tell("flush", "after", number)
        return 0


def _exactly(client: socket.socket, length: int) -> bytes:
    found = bytearray()
    while len(found) < length:
        data = client.recv(length - len(found))
        if not data:
            raise EOFError
        found += data
    return bytes(found)
