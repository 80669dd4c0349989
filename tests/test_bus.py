"""The bus on real ZeroMQ sockets: between good processes, and with hostile ones."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import zmq

from edge import bus as bus_module
from edge.bus import MAX_BYTES, Bus
from edge.errors import BusError
from edge.protocol.common import Model
from edge.protocol.inner import Alive, Done, Incident, Sound

ID = "0190c4a0-1c80-7000-8000-0000000000ff"
WAIT_S = 10


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, for the path of a Unix socket has 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="bus-") as name:
        yield Path(name) / "bus"


class End:
    """A process's end, and what it heard."""

    def __init__(
        self, folder: Path, process: str, *peers: str, hears: tuple[type[Model], ...] = (Alive, Done)
    ) -> None:
        self.bus = Bus(folder, process, peers)
        self.heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        for model in hears:
            self.bus.on(model, lambda sender, message: self.heard.put_nowait((sender, message)))

    async def __aenter__(self) -> End:
        self.bus.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.bus.close()

    async def next(self) -> tuple[str, Any]:
        async with asyncio.timeout(WAIT_S):
            return await self.heard.get()

    async def hears_from(self, other: End) -> None:
        """Until what the other one says arrives: subscriptions take a moment to be known."""
        async with asyncio.timeout(WAIT_S):
            while self.heard.empty():
                other.bus.publish(Alive(process="probe", pid=1))
                await asyncio.sleep(0.005)
        other.bus.publish(Done(id=ID, ok=True))
        while not isinstance((await self.next())[1], Done):
            pass


async def test_what_one_says_the_other_hears_with_its_name(folder: Path) -> None:
    async with End(folder, "callbox", "uplink") as callbox, End(folder, "uplink", "callbox") as uplink:
        await uplink.hears_from(callbox)
        await callbox.hears_from(uplink)
        callbox.bus.publish(Alive(process="callbox", pid=7, detail="आशा"))
        assert await uplink.next() == ("callbox", Alive(process="callbox", pid=7, detail="आशा"))


async def test_what_is_none_is_left_out_and_heard_as_none(folder: Path) -> None:
    """An idle Incident was refused once: None was left out, and the reader insisted on it."""
    hears = (Alive, Done, Incident)
    async with End(folder, "callbox") as callbox, End(folder, "uplink", "callbox", hears=hears) as uplink:
        await uplink.hears_from(callbox)
        callbox.bus.publish(Incident(incident_id=None))
        assert await uplink.next() == ("callbox", Incident())


async def test_only_what_was_asked_for_is_heard(folder: Path) -> None:
    async with End(folder, "media") as media, End(folder, "uplink", "media") as uplink:
        await uplink.hears_from(media)
        media.bus.publish(Sound(ready=True))
        media.bus.publish(Done(id=ID, ok=False, reason="last"))
        assert (await uplink.next())[1].reason == "last"


async def test_a_process_that_starts_again_is_found_again(folder: Path) -> None:
    async with End(folder, "uplink", "callbox") as uplink:
        for _ in range(3):
            async with End(folder, "callbox") as callbox:
                await uplink.hears_from(callbox)


async def test_a_socket_left_by_a_killed_process_is_no_obstacle(folder: Path) -> None:
    code = (
        "import sys, os, asyncio, pathlib; from edge.bus import Bus\n"
        "async def main():\n"
        "    Bus(pathlib.Path(sys.argv[1]), 'callbox', ()).open(); os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code, str(folder)], cwd=root, check=False)  # noqa: ASYNC221
    assert done.returncode == -9
    assert stat.S_ISSOCK((folder / "callbox.sock").stat().st_mode)
    async with End(folder, "callbox") as callbox, End(folder, "uplink", "callbox") as uplink:
        await uplink.hears_from(callbox)


async def test_only_the_products_group_can_speak_here(folder: Path) -> None:
    umask = os.umask(0)
    try:
        async with End(folder, "callbox"):
            modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (folder, folder / "callbox.sock")]
            assert modes == [0o750, 0o660]
    finally:
        os.umask(umask)


async def test_a_handler_that_raises_is_logged_and_the_next_message_is_heard(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with End(folder, "callbox") as callbox, End(folder, "uplink", "callbox") as uplink:
        await uplink.hears_from(callbox)

        def fail(_sender: str, _message: Done) -> None:
            raise RuntimeError("a fault of ours")

        uplink.bus.on(Done, fail)
        for reason in ("1", "2"):
            callbox.bus.publish(Done(id=ID, ok=True, reason=reason))
            assert (await uplink.next())[1].reason == reason
    assert "bus handler failed kind=done" in caplog.text


async def test_publishing_waits_for_nobody(folder: Path) -> None:
    """A peer that hangs costs it messages, and nobody else time."""
    async with End(folder, "callbox") as callbox:
        context = zmq.Context()
        deaf = context.socket(zmq.SUB)
        deaf.setsockopt(zmq.RCVHWM, 1)
        deaf.subscribe(b"")
        deaf.connect(f"ipc://{folder}/callbox.sock")
        try:
            assert await asyncio.to_thread(_first, deaf, callbox)
            for _ in range(20_000):
                callbox.bus.publish(Done(id=ID, ok=True, reason="x" * 200))
        finally:
            deaf.close(0)
            context.term()


def _first(socket: zmq.Socket[bytes], end: End) -> bytes:
    """The first message that arrives, once the subscription is known."""
    while not socket.poll(5):
        end.bus.publish(Alive(process="probe", pid=1))
    return socket.recv()


async def test_what_is_said_before_open_or_after_close_is_an_error_of_ours(folder: Path) -> None:
    callbox = End(folder, "callbox")
    with pytest.raises(BusError, match="not open"):
        callbox.bus.publish(Alive(process="callbox", pid=1))
    async with callbox:
        pass
    with pytest.raises(BusError, match="not open"):
        callbox.bus.publish(Alive(process="callbox", pid=1))


async def test_a_folder_that_cannot_be_used_is_told_and_leaves_nothing_open(folder: Path) -> None:
    os.close(os.open(folder, os.O_CREAT))  # a file where the folder should be
    bus = Bus(folder, "callbox", ("uplink",))
    with pytest.raises(BusError, match="cannot be used"):
        bus.open()
    await bus.close()
    long = Bus(folder.parent / ("x" * 120), "callbox", ("uplink",))
    with pytest.raises(BusError, match="cannot be used"):
        long.open()
    await long.close()


# ------------------------------------------------------------------------------------------ hostile peers


class Hostile:
    """A socket in the place of media's that says whatever it likes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o750, exist_ok=True)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.bind(f"ipc://{folder}/media.sock")

    def say(self, *parts: bytes) -> None:
        self._socket.send_multipart(parts)

    async def is_subscribed(self, times: int) -> None:
        """Until the other end's subscriptions are here."""
        while times:
            assert await asyncio.to_thread(self._socket.poll, WAIT_S * 1000)
            times -= self._socket.recv()[:1] == b"\x01"

    def close(self) -> None:
        self._socket.close()
        self._context.term()


GOOD = b"done\nmedia\n" + Done(id=ID, ok=True).model_dump_json().encode()
HOSTILE = [
    (b"done\n",),
    (b"done\nmedia\n",),
    (b"done\nmedia\nnot json",),
    (b"done\nmedia\n\xff\xfe",),
    (b"done\nmedia\n" + b"[" * 5000,),
    (b"done\nmedia\n" + b'{"id": ' + b"9" * 5000 + b"}",),
    (b"done\n\xff\n{}",),
    (b"done\nME DIA\n{}",),
    (b"done\n" + b"m" * 5000 + b"\n{}",),
    (b"done\n\n{}",),
    (b"done\nmedia\x00\n{}",),
    (b"done\nmedia\n" + b"x" * (MAX_BYTES - 11),),
    (b"done\n", b"media\n", b"{}"),
    (b"done\nmedia\n{}", b"", b"\xff" * 100),
    (b"alive\nmedia\n{}",),
    (b"alive\nmedia\n[]",),
]


@pytest_asyncio.fixture
async def hostile(folder: Path) -> AsyncIterator[Hostile]:
    socket = Hostile(folder)
    yield socket
    socket.close()


@pytest.mark.parametrize("frames", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_hostile_frame_is_refused_in_one_line_and_the_next_good_one_is_heard(
    folder: Path, hostile: Hostile, frames: tuple[bytes, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async with End(folder, "callbox", "media") as callbox:
        await hostile.is_subscribed(2)
        hostile.say(*frames)
        hostile.say(GOOD)
        assert await callbox.next() == ("media", Done(id=ID, ok=True))
        refusals = [r.getMessage() for r in caplog.records if r.name == bus_module.__name__]
        assert refusals
        assert all(r.startswith("bus message refused") and r.isprintable() and len(r) < 300 for r in refusals)


async def test_a_frame_that_is_too_long_ends_that_connection_and_no_more(
    folder: Path, hostile: Hostile
) -> None:
    async with End(folder, "callbox", "media") as callbox:
        await hostile.is_subscribed(2)
        hostile.say(b"done\nmedia\n" + b"x" * 2 * MAX_BYTES)
        await hostile.is_subscribed(2)  # it has come back
        hostile.say(GOOD)
        assert await callbox.next() == ("media", Done(id=ID, ok=True))


async def test_a_flood_from_one_process_does_not_keep_the_loop_from_its_other_work_I5(
    folder: Path, hostile: Hostile
) -> None:
    """Whatever else the loop has to do, an edge on a button line first of all, comes between the messages."""
    callbox = End(folder, "callbox", "media", hears=())
    since: list[int] = []
    callbox.bus.on(Done, lambda _sender, _message: since.append(1))
    async with callbox:
        await hostile.is_subscribed(1)
        for _ in range(900):
            hostile.say(GOOD)
        longest = total = 0
        async with asyncio.timeout(WAIT_S):
            while total < 900:
                await asyncio.sleep(0)
                longest, total = max(longest, len(since)), total + len(since)
                since.clear()
    assert longest <= 5, "messages were taken one after the other without a turn for anybody else"


async def test_a_message_whose_sign_another_call_took_is_still_heard(folder: Path) -> None:
    async with End(folder, "callbox") as callbox, End(folder, "uplink", "callbox") as uplink:
        await uplink.hears_from(callbox)
        while not uplink.heard.empty():
            uplink.heard.get_nowait()
        assert uplink.bus._in is not None
        assert uplink.bus._watched is not None
        asyncio.get_running_loop().remove_reader(uplink.bus._watched)
        callbox.bus.publish(Done(id=ID, ok=True))
        # What connect() does besides: it sees to what has come, and the descriptor falls silent.
        while not uplink.bus._in.getsockopt(zmq.EVENTS) & zmq.POLLIN:
            pass
        asyncio.get_running_loop().add_reader(uplink.bus._watched, uplink.bus._readable)
        assert await uplink.next() == ("callbox", Done(id=ID, ok=True))
