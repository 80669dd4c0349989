"""The disk that forgets, asked by a client that speaks NBD (fixed newstyle) as QEMU does."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hil_tests.bench.disk import PAGE, ForgetfulDisk, Request

PAGES = 16
READ, WRITE, DISCONNECT, FLUSH, TRIM = 0, 1, 2, 3, 4
FUA = 1
EXPORT_NAME, ABORT, LIST, GO = 1, 2, 3, 7
ACK, INFO, UNSUPPORTED = 1, 3, 0x80000001
HAS_FLAGS_FLUSH_FUA = 0b1101


class Client:
    """The smallest client; errors come back as errno, 0 is none."""

    def __init__(self, path: Path, *, no_zeroes: bool = True) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(path))
        assert self._exactly(16) == b"NBDMAGICIHAVEOPT"
        (flags,) = struct.unpack(">H", self._exactly(2))
        assert flags == 0b11, "fixed newstyle, no zeroes"
        self._socket.sendall(struct.pack(">I", 0b11 if no_zeroes else 0b01))
        self._handles = iter(range(1, 1 << 32))

    def go(self) -> Client:
        for kind, _ in self.option(GO, struct.pack(">IH", 0, 0)):
            assert kind in (INFO, ACK)
        return self

    def option(self, option: int, data: bytes = b"") -> list[tuple[int, bytes]]:
        """Kind and data of each reply, up to the one that ends it."""
        self.send_option(option, data)
        replies: list[tuple[int, bytes]] = []
        while not replies or replies[-1][0] == INFO:
            magic, answered, kind, length = struct.unpack(">QIII", self._exactly(20))
            assert (magic, answered) == (0x3E889045565A9, option)
            replies.append((kind, self._exactly(length)))
        return replies

    def send_option(self, option: int, data: bytes = b"") -> None:
        self._socket.sendall(b"IHAVEOPT" + struct.pack(">II", option, len(data)) + data)

    def export(self) -> tuple[int, int]:
        """Size and flags, by the old way without an answer that is marked as one."""
        self.send_option(EXPORT_NAME)
        size, flags = struct.unpack(">QH", self._exactly(10))
        return size, flags

    def skip_zeroes(self) -> None:
        assert self._exactly(124) == bytes(124)

    def read(self, offset: int, length: int) -> bytes:
        assert self._ask(READ, offset, length) == 0
        return self._exactly(length)

    def write(self, offset: int, data: bytes, *, fua: bool = False) -> int:
        return self._ask(WRITE, offset, len(data), data, FUA if fua else 0)

    def flush(self) -> int:
        return self._ask(FLUSH, 0, 0)

    def trim(self) -> int:
        return self._ask(TRIM, 0, PAGE)

    def disconnect(self) -> None:
        self._socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, DISCONNECT, 0, 0, 0))

    def close(self) -> None:
        self._socket.close()

    def _ask(self, kind: int, offset: int, length: int, data: bytes = b"", flags: int = 0) -> int:
        handle = next(self._handles)
        self._socket.sendall(struct.pack(">IHHQQI", 0x25609513, flags, kind, handle, offset, length) + data)
        magic, error, answered = struct.unpack(">IIQ", self._exactly(16))
        assert (magic, answered) == (0x67446698, handle)
        return int(error)

    def _exactly(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            data = self._socket.recv(length - len(found))
            assert data, "the disk has hung up"
            found += data
        return found


class Medium:
    """An image, and disks that are made on it one after another, as after each cut."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "image"
        self.image.write_bytes(bytes(PAGES * PAGE))
        self.socket = folder / "disk.sock"
        self._open: list[Callable[[], None]] = []

    def disk(self, *, seed: int = 0, leak: float = 0.3) -> tuple[ForgetfulDisk, Client]:
        disk = ForgetfulDisk(self.image, self.socket, seed=seed, leak=leak)
        self._open.append(disk.close)
        client = Client(self.socket)
        self._open.append(client.close)
        return disk, client.go()

    def close(self) -> None:
        while self._open:
            self._open.pop()()

    def pages(self) -> list[bytes]:
        """First byte of each page on the medium; a page of a test is of one byte throughout."""
        data = self.image.read_bytes()
        found = [data[at : at + PAGE] for at in range(0, len(data), PAGE)]
        assert all(page == page[:1] * PAGE for page in found), "a page is there as a whole or not at all"
        return [page[:1] for page in found]


@pytest.fixture
def medium(tmp_path: Path) -> Iterator[Medium]:
    medium = Medium(tmp_path)
    yield medium
    medium.close()


def fill(client: Client, byte: bytes) -> None:
    for number in range(PAGES):
        assert client.write(number * PAGE, byte * PAGE) == 0


# -- what a guest sees -------------------------------------------------------------------------------


def test_a_read_sees_what_was_written_and_not_flushed_and_the_medium_does_not(medium: Medium) -> None:
    disk, client = medium.disk()
    assert client.write(PAGE - 3, b"abcdef") == 0
    assert client.read(PAGE - 4, 8) == b"\0abcdef\0"
    assert client.read(0, PAGES * PAGE) == bytes(PAGE - 3) + b"abcdef" + bytes((PAGES - 1) * PAGE - 3)
    assert set(medium.pages()) == {b"\0"}
    assert (disk.counts.writes, disk.counts.bytes_written) == (1, 6)


def test_a_write_of_a_part_of_a_page_keeps_what_the_medium_has_around_it(medium: Medium) -> None:
    medium.image.write_bytes(b"m" * PAGES * PAGE)
    _, client = medium.disk()
    client.write(10, b"xx")
    client.write(14, b"yy")
    client.flush()
    assert medium.image.read_bytes()[:18] == b"m" * 10 + b"xxmmyymm"


def test_a_request_that_is_not_offered_is_refused_and_the_next_one_is_served(medium: Medium) -> None:
    _, client = medium.disk()
    assert client.trim() == errno.EINVAL
    assert client.read(0, 4) == bytes(4)


def test_an_option_that_is_not_known_is_refused_and_the_size_is_told_with_go(medium: Medium) -> None:
    disk = ForgetfulDisk(medium.image, medium.socket)
    client = Client(medium.socket)
    assert client.option(LIST) == [(UNSUPPORTED, b"")]
    export, block, end = client.option(GO, struct.pack(">IH", 0, 0))
    assert export == (INFO, struct.pack(">HQH", 0, PAGES * PAGE, HAS_FLAGS_FLUSH_FUA))
    assert block[0] == INFO
    assert struct.unpack(">HIII", block[1])[:3] == (3, 1, PAGE)
    assert end == (ACK, b"")
    client.disconnect()
    client.close()
    disk.close()


@pytest.mark.parametrize("no_zeroes", [True, False])
def test_a_client_of_the_older_way_is_served_too(medium: Medium, no_zeroes: bool) -> None:
    disk = ForgetfulDisk(medium.image, medium.socket)
    client = Client(medium.socket, no_zeroes=no_zeroes)
    assert client.export() == (PAGES * PAGE, HAS_FLAGS_FLUSH_FUA)
    if not no_zeroes:
        client.skip_zeroes()
    assert client.read(0, 4) == bytes(4)
    client.close()
    disk.close()


def test_a_client_that_thinks_better_of_it_is_let_go(medium: Medium) -> None:
    disk = ForgetfulDisk(medium.image, medium.socket)
    client = Client(medium.socket)
    assert client.option(ABORT) == [(ACK, b"")]
    client.close()
    disk.close()
    assert not medium.socket.exists()


# -- what a cut leaves -------------------------------------------------------------------------------


def test_what_was_flushed_outlives_a_cut(medium: Medium) -> None:
    disk, client = medium.disk(leak=0)
    fill(client, b"a")
    assert client.flush() == 0
    client.write(0, b"b" * PAGE)
    disk.cut()
    assert medium.pages() == [b"a"] * PAGES
    assert (disk.counts.flushes, disk.counts.lost, disk.counts.leaked) == (1, 1, 0)


def test_a_write_with_fua_outlives_a_cut_and_takes_no_other_with_it(medium: Medium) -> None:
    disk, client = medium.disk(leak=0)
    client.write(0, b"a" * PAGE)
    client.write(PAGE, b"b" * PAGE, fua=True)
    disk.cut()
    assert medium.pages()[:3] == [b"\0", b"b", b"\0"]
    assert disk.counts.lost == 1


def test_fua_takes_with_it_what_was_written_before_on_the_same_page(medium: Medium) -> None:
    disk, client = medium.disk(leak=0)
    client.write(0, b"aa")
    client.write(2, b"bb", fua=True)
    disk.cut()
    assert medium.image.read_bytes()[:5] == b"aabb\0"


def test_after_a_cut_the_next_disk_reads_what_the_medium_has(medium: Medium) -> None:
    disk, client = medium.disk(leak=0)
    client.write(0, b"kept", fua=True)
    client.write(PAGE, b"lost")
    disk.cut()
    medium.close()
    _, client = medium.disk()
    assert (client.read(0, 4), client.read(PAGE, 4)) == (b"kept", bytes(4))


def test_a_disk_that_is_closed_without_a_cut_leaves_nothing_behind(medium: Medium) -> None:
    _, client = medium.disk(leak=1)
    fill(client, b"a")
    medium.close()
    assert set(medium.pages()) == {b"\0"}


@pytest.mark.parametrize(("leak", "left"), [(0.0, b"\0"), (1.0, b"a")])
def test_at_the_ends_nothing_leaks_or_everything(medium: Medium, leak: float, left: bytes) -> None:
    disk, client = medium.disk(leak=leak)
    fill(client, b"a")
    disk.cut()
    assert medium.pages() == [left] * PAGES


def test_of_what_was_not_flushed_some_pages_leak_and_the_seed_says_which(medium: Medium) -> None:
    found = []
    for seed in (1, 2, 3, 1):
        medium.image.write_bytes(b"m" * PAGES * PAGE)
        disk, client = medium.disk(seed=seed, leak=0.5)
        fill(client, b"a")
        disk.cut()
        pages = medium.pages()
        assert set(pages) == {b"m", b"a"}, "some are lost and some are not"
        assert (disk.counts.lost, disk.counts.leaked) == (pages.count(b"m"), pages.count(b"a"))
        found.append(pages)
        medium.close()
    assert found[0] == found[3]
    assert len({tuple(pages) for pages in found}) == 3


# -- faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fua", [False, True])
def test_a_disk_that_lies_loses_what_it_said_was_flushed(medium: Medium, fua: bool) -> None:
    disk, client = medium.disk(leak=0)
    disk.honest = False
    assert client.write(0, b"a" * PAGE, fua=fua) == 0
    assert client.flush() == 0
    assert client.read(0, 1) == b"a"
    disk.cut()
    assert medium.pages()[0] == b"\0"
    assert disk.counts.lost == 1


def test_a_disk_that_lied_keeps_everything_once_it_is_honest_and_flushed(medium: Medium) -> None:
    disk, client = medium.disk(leak=0)
    disk.honest = False
    client.write(0, b"a" * PAGE)
    client.flush()
    disk.honest = True
    client.flush()
    disk.cut()
    assert medium.pages()[0] == b"a"


@pytest.mark.parametrize("refusal", [errno.EIO, errno.EPERM, errno.ENOSPC])
def test_a_refusal_is_the_errno_of_writes_and_flushes_and_changes_nothing(
    medium: Medium, refusal: int
) -> None:
    disk, client = medium.disk(leak=0)
    client.write(0, b"a" * PAGE)
    disk.refusal = refusal
    assert client.write(0, b"b" * PAGE) == refusal
    assert client.write(PAGE, b"b" * PAGE, fua=True) == refusal
    assert client.flush() == refusal
    assert client.read(0, 1) == b"a"
    assert set(medium.pages()) == {b"\0"}
    disk.refusal = 0
    assert client.flush() == 0
    assert medium.pages()[:2] == [b"a", b"\0"]


# -- the watcher -------------------------------------------------------------------------------------


def test_the_watcher_is_told_of_each_write_and_flush_before_and_after_with_its_number(
    medium: Medium,
) -> None:
    disk, client = medium.disk()
    told: list[Request] = []
    disk.on_request = told.append
    client.write(8, b"one")
    client.flush()
    client.read(0, 8)
    client.write(16, b"two", fua=True)
    client.flush()
    assert told == [
        Request(kind, stage, offset, data, number)
        for kind, offset, data, number in (
            ("write", 8, b"one", 1),
            ("flush", 0, b"", 1),
            ("write", 16, b"two", 2),
            ("flush", 0, b"", 2),
        )
        for stage in ("before", "after")
    ]


def test_before_a_flush_nothing_of_it_is_on_the_medium_and_after_it_everything_is(medium: Medium) -> None:
    disk, client = medium.disk()
    seen: dict[tuple[str, str], bytes] = {}

    def look(request: Request) -> None:
        seen[request.kind, request.stage] = medium.image.read_bytes()[:1]

    disk.on_request = look
    client.write(0, b"a" * PAGE)
    client.flush()
    assert seen == {
        ("write", "before"): b"\0",
        ("write", "after"): b"\0",
        ("flush", "before"): b"\0",
        ("flush", "after"): b"a",
    }


def test_a_request_that_is_refused_is_told_before_and_never_after(medium: Medium) -> None:
    disk, client = medium.disk()
    told: list[Request] = []
    disk.on_request = told.append
    disk.refusal = errno.EIO
    client.write(0, b"x")
    client.flush()
    assert [(request.kind, request.stage) for request in told] == [("write", "before"), ("flush", "before")]


@pytest.mark.parametrize(
    ("kind", "stage", "number", "left", "lost"),
    [
        ("write", "before", 2, b"\0\0\0", 1),  # the second has not reached the cache
        ("write", "after", 2, b"\0\0\0", 2),
        ("flush", "before", 1, b"\0\0\0", 3),  # between the writes and their flush
        ("flush", "after", 1, b"aaa", 0),  # flushed, and not answered
    ],
)
def test_from_the_moment_of_a_cut_nothing_is_done_and_nothing_answered(
    medium: Medium, kind: str, stage: str, number: int, left: bytes, lost: int
) -> None:
    disk, client = medium.disk(leak=0)

    def cut(request: Request) -> None:
        if (request.kind, request.stage, request.number) == (kind, stage, number):
            disk.lose_power()

    disk.on_request = cut
    with pytest.raises((AssertionError, OSError)):  # the disk has hung up
        for page in range(3):
            client.write(page * PAGE, b"a" * PAGE)
        client.flush()
        client.flush()
    disk.cut()
    assert b"".join(medium.pages()[:3]) == left
    assert disk.counts.lost == lost
