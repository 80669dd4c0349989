"""The bad disk is bad in the ways it says, and only in those."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from edge.store.lossy import SECTOR, LossyFiles
from tests.store.memory import MemoryFiles

PATH = Path("/disk/a")


def disk(seed: int = 0) -> tuple[LossyFiles, MemoryFiles]:
    under = MemoryFiles()
    lossy = LossyFiles(seed, under)
    lossy.create(PATH, 8 * SECTOR)
    return lossy, under


def test_what_was_synced_survives_a_cut() -> None:
    lossy, under = disk()
    file = lossy.open(PATH, write=True)
    file.write(0, b"x" * 8 * SECTOR)
    file.sync()
    lossy.cut()
    assert under.disk[PATH] == b"x" * 8 * SECTOR


def test_what_was_not_synced_survives_in_part_and_the_part_differs() -> None:
    left = set()
    for seed in range(30):
        lossy, under = disk(seed)
        lossy.open(PATH, write=True).write(0, b"x" * 8 * SECTOR)
        lossy.cut()
        sectors = tuple(under.disk[PATH][n * SECTOR] for n in range(8))
        assert set(sectors) <= {0, ord("x")}, "a sector is whole or not at all"
        left.add(sectors)
    assert len(left) > 10


def test_before_a_cut_the_machine_reads_what_it_wrote() -> None:
    lossy, _ = disk()
    file = lossy.open(PATH, write=True)
    file.write(SECTOR - 2, b"x" * 4)
    assert file.read(SECTOR - 3, 6) == b"\0xxxx\0"


def test_after_a_cut_nothing_works() -> None:
    lossy, _ = disk()
    file = lossy.open(PATH, write=True)
    lossy.cut()
    for call in (lambda: file.write(0, b"x"), file.sync, lambda: lossy.open(PATH, write=False)):
        with pytest.raises(OSError):
            call()


def test_a_lying_disk_says_that_it_has_synced_and_has_not() -> None:
    lost = 0
    for seed in range(20):
        lossy, under = disk(seed)
        lossy.honest, lossy.leak = False, 0.0
        file = lossy.open(PATH, write=True)
        file.write(0, b"x" * SECTOR)
        file.sync()
        lossy.cut()
        lost += under.disk[PATH][0] == 0
    assert lost > 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_it_fails_with_the_error_it_is_told_to(number: int) -> None:
    lossy, _ = disk()
    file = lossy.open(PATH, write=True)
    lossy.fail_write = number
    with pytest.raises(OSError) as caught:
        file.write(0, b"x")
    assert caught.value.errno == number
    with pytest.raises(OSError):
        lossy.create(Path("/disk/b"), SECTOR)
    lossy.fail_write, lossy.fail_sync = None, number
    file.write(0, b"x")
    with pytest.raises(OSError) as caught:
        file.sync()
    assert caught.value.errno == number


def test_a_cut_writes_nothing_through_a_file_that_was_closed_before() -> None:
    """Its descriptor's number may be another file's by then."""
    lossy, _ = disk()
    file = lossy.open(PATH, write=True)
    file.write(0, b"x" * 8 * SECTOR)
    file.close()
    lossy.cut()
