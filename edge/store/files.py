"""The thin layer between the press journal and the disk, so that tests can put a bad disk under it.

`RealFiles` is the operating system; `edge.store.lossy.LossyFiles` forgets, reorders, tears, fails and stalls.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol


class File(Protocol):
    """An open file of fixed size."""

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes; fewer at the end of the file."""

    def write(self, offset: int, data: bytes) -> None:
        """All of `data`; raises OSError."""

    def sync(self) -> None:
        """Returns when all that was written is on stable storage (fdatasync(2)); raises OSError."""

    def size(self) -> int: ...
    def close(self) -> None: ...


class Files(Protocol):
    """The operations a journal needs of a file system."""

    def open(self, path: Path, *, write: bool) -> File:
        """Opens an existing file; raises OSError."""

    def create(self, path: Path, size: int) -> None:
        """Makes a file of `size` zero bytes whose blocks and name are on stable storage; raises OSError.

        It is not visible under its name before it is whole.
        """

    def names(self, folder: Path) -> list[str]:
        """The names in a folder, sorted; empty when there is no such folder; raises OSError."""


class RealFile:
    def __init__(self, path: Path, write: bool, durable: bool = True) -> None:
        self._durable = durable
        self._fd = os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC)

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._fd, length, offset)

    def write(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            done = os.pwrite(self._fd, view, offset)
            view, offset = view[done:], offset + done

    def sync(self) -> None:
        if self._durable:
            os.fdatasync(self._fd)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        os.close(self._fd)


class RealFiles:
    """The operating system's files.

    durable: False in memory, as in /run, where nothing is to be synced.
    mounted: a folder of the disk that is always there when the disk is. While it is not, nothing is known of
        what is on the disk, and a folder that is not there is no empty one.
    """

    def __init__(self, *, durable: bool = True, mounted: Path | None = None) -> None:
        self._durable = durable
        self._mounted = mounted

    def open(self, path: Path, *, write: bool) -> File:
        return RealFile(path, write, self._durable)

    def create(self, path: Path, size: int) -> None:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        # Zeros are written, not only allocated: a later write then changes no metadata, so that one
        # fdatasync is one flush, and a full disk cannot refuse it.
        with open(draft, "wb", buffering=0) as file:
            os.posix_fallocate(file.fileno(), 0, size)
            file.write(bytes(size))
            if self._durable:
                os.fsync(file.fileno())
        os.rename(draft, path)
        if self._durable:
            sync_folder(path.parent)

    def names(self, folder: Path) -> list[str]:
        try:
            return sorted(os.listdir(folder))
        except FileNotFoundError:
            if self._mounted is not None and not self._mounted.is_dir():
                raise
            return []


def sync_folder(folder: Path) -> None:
    """Puts a folder's entries on stable storage."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
