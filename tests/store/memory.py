"""A disk in memory: what is written is there at once. `LossyFiles` over it makes power cuts cost nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from edge.store.files import File


class MemoryFile:
    def __init__(self, data: bytearray) -> None:
        self._data = data
        self.closed = False

    def read(self, offset: int, length: int) -> bytes:
        self._check()
        return bytes(self._data[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        self._check()
        if offset > len(self._data):
            self._data.extend(bytes(offset - len(self._data)))
        self._data[offset : offset + len(data)] = data

    def sync(self) -> None:
        self._check()

    def size(self) -> int:
        return len(self._data)

    def close(self) -> None:
        self.closed = True

    def _check(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))


class MemoryFiles:
    """`Files` in a dictionary; counts what is open."""

    def __init__(self) -> None:
        self.disk: dict[Path, bytearray] = {}
        self.opened: list[MemoryFile] = []

    def open(self, path: Path, *, write: bool) -> File:
        if path not in self.disk:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        file = MemoryFile(self.disk[path])
        self.opened.append(file)
        return file

    def create(self, path: Path, size: int) -> None:
        self.disk[path] = bytearray(size)

    def names(self, folder: Path) -> list[str]:
        return sorted(path.name for path in self.disk if path.parent == folder)

    def open_count(self) -> int:
        return sum(not file.closed for file in self.opened)
