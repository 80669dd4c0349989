"""Who uses a process's stores: flock(2) on the file ``lock`` in its data folder.

A process shares the lock while its store is open for writing; a repair wants it alone. It is a courtesy to
the repair and nothing more: a process that cannot have it goes on, for a press must not wait for a file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from edge.errors import StoreError

NAME = "lock"


class Lock:
    """A process's share in the lock of its data folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._fd: int | None = None

    def share(self) -> None:
        """Takes a share if it is to be had at once; neither waits nor raises."""
        if self._fd is None:
            with contextlib.suppress(OSError):
                self._fd = _take(self._path, fcntl.LOCK_SH)

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps everybody else from a folder's stores.

    Raises:
        StoreError: a process holds them, or the folder cannot be written.
    """
    try:
        fd = _take(folder / NAME, fcntl.LOCK_EX)
    except BlockingIOError:
        raise StoreError(f"{folder.name} is running and uses {folder}: stop it first") from None
    except OSError as error:
        raise StoreError(f"{folder} cannot be locked: {error.strerror}") from error
    try:
        yield
    finally:
        os.close(fd)


def in_use(folder: Path) -> bool:
    """Whether a process holds the stores of a folder; writes nothing."""
    try:
        fd = os.open(folder / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def give(path: Path, to_owner_of: Path) -> None:
    """What root makes in a process's folder must be the process's; does nothing for anybody else.

    Raises:
        OSError: it cannot be given away.
    """
    if os.geteuid() == 0:
        owner = os.stat(to_owner_of)
        os.chown(path, owner.st_uid, owner.st_gid)


def _take(path: Path, how: int) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        give(path, path.parent)
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd
