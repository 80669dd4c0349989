"""A bad disk for tests: what was not synced may be lost, torn or reordered; it can fail and stall.

A write stays in memory until `sync`. Of each write some sectors, chosen at random, may reach the real file at
once, as a drive's cache is free to do; the rest is gone when the process is killed or `cut` is called.
"""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

from edge.clock import pause
from edge.store.files import File, Files, RealFiles

SECTOR = 512


class LossyFiles:
    """`Files` over a bad disk. All faults may be changed while files are open.

    leak        share of sectors that reach the disk unsynced, 0 to 1
    fail_write  errno of every write and create from now on, e.g. errno.ENOSPC or errno.EROFS; None: no fault
    fail_sync   errno of every sync
    stall_s     seconds every sync hangs before it is done
    honest      False: sync says it is done and does nothing (a lying disk)
    """

    def __init__(self, seed: int = 0, under: Files | None = None) -> None:
        self._under = under or RealFiles()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._open: list[_LossyFile] = []
        self.leak = 0.3
        self.fail_write: int | None = None
        self.fail_sync: int | None = None
        self.stall_s = 0.0
        self.honest = True
        self.is_cut = False

    def open(self, path: Path, *, write: bool) -> File:
        self.check_power()
        if write and self.fail_write == errno.EROFS:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        file = _LossyFile(self, self._under.open(path, write=write))
        self._open.append(file)
        return file

    def create(self, path: Path, size: int) -> None:
        self.check_power()
        self.check_write()
        self._under.create(path, size)

    def names(self, folder: Path) -> list[str]:
        return self._under.names(folder)

    def cut(self) -> None:
        """The power goes: of what is not synced some sectors survive; nothing works any more."""
        with self._lock:
            self.is_cut = True
            for file in self._open:
                file.scatter(self._random, keep=self._random.random())
                file.forget()

    def closed(self, file: _LossyFile) -> None:
        with self._lock:
            if file in self._open:
                self._open.remove(file)

    def check_power(self) -> None:
        if self.is_cut:
            raise OSError(errno.EIO, "the power is cut")

    def check_write(self) -> None:
        if self.fail_write is not None:
            raise OSError(self.fail_write, os.strerror(self.fail_write))

    def before_sync(self, wait: Callable[[float], None] = pause) -> None:
        """Stalls and fails as told."""
        left = self.stall_s
        while left > 0 and self.stall_s > 0:
            wait(0.02)
            left -= 0.02
        if self.fail_sync is not None:
            raise OSError(self.fail_sync, os.strerror(self.fail_sync))

    def leaks(self) -> random.Random:
        return self._random


class _LossyFile:
    def __init__(self, disk: LossyFiles, under: File) -> None:
        self._disk = disk
        self._under = under
        self._unsynced: dict[int, bytes] = {}

    def read(self, offset: int, length: int) -> bytes:
        data = bytearray(self._under.read(offset, length))
        for at, sector in self._unsynced.items():
            if offset <= at < offset + length:
                start = at - offset
                if start + len(sector) > len(data):
                    data.extend(bytes(start + len(sector) - len(data)))
                data[start : start + len(sector)] = sector
        return bytes(data[:length])

    def write(self, offset: int, data: bytes) -> None:
        self._disk.check_power()
        self._disk.check_write()
        for start in range(0, len(data), SECTOR):
            self._unsynced[offset + start] = data[start : start + SECTOR]
        self.scatter(self._disk.leaks(), keep=self._disk.leak)

    def scatter(self, chance: random.Random, keep: float) -> None:
        """Some of the unsynced sectors reach the disk, in any order; they still count as unsynced."""
        sectors = list(self._unsynced.items())
        chance.shuffle(sectors)
        for at, sector in sectors:
            if chance.random() < keep:
                self._under.write(at, sector)

    def forget(self) -> None:
        self._unsynced.clear()

    def sync(self) -> None:
        self._disk.check_power()
        self._disk.before_sync()
        self._disk.check_power()
        if not self._disk.honest:
            return
        for at, sector in list(self._unsynced.items()):
            self._under.write(at, sector)
        self._unsynced.clear()
        self._under.sync()

    def size(self) -> int:
        return self._under.size()

    def close(self) -> None:
        # What was written and not synced stays in the page cache of a machine, and its power may go later:
        # some of it is on the disk from here on, the rest is taken as lost.
        if self._unsynced and not self._disk.is_cut:
            self.scatter(self._disk.leaks(), keep=0.5)
        self.forget()
        # A closed descriptor's number is soon another file's: a later cut must not write to it.
        self._disk.closed(self)
        self._under.close()
