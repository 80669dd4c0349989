"""The sound card, by driver name: `sound` (PortAudio) or `sim` (the stage hears it).

A driver plays one clip at a time, 16 kHz mono 16 bit, in blocks of 10 ms. It is told what to play on the
loop and says there when a clip has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from edge.clock import Clock
from edge.config import Config
from edge.errors import DriverError
from edge.media.prompts import RATE_HZ

log = logging.getLogger(__name__)

BLOCK_MS = 10
BLOCK_BYTES = RATE_HZ * 2 * BLOCK_MS // 1000
RETRY_S = 5.0
AUDIBLE = 300
"""A sample beyond this (of 32767) is sound."""


class Sound(Protocol):
    """A driver. `on_end` is called when a clip came to its end by itself, `on_fault` with a text when the
    card is away and with None when it is there."""

    def start(self, on_end: Callable[[], None], on_fault: Callable[[str | None], None]) -> None: ...
    def play(self, tag: str, pcm: bytes) -> None:
        """Plays a clip from its beginning; what plays is cut."""

    def stop(self) -> None:
        """Silence, at once; `on_end` is not called."""

    async def close(self) -> None: ...


def make(config: Config, clock: Clock) -> Sound:
    """The driver [audio] names."""
    if config.audio.driver == "sound":
        return CardSound(config.audio.device)
    assert config.sim is not None  # checked by the configuration
    return SimSound(config.sim.stage, clock)


class SimSound:
    """Hands blocks to nobody at the pace of a card, and tells the stage when they are heard."""

    def __init__(self, stage: Path, clock: Clock) -> None:
        from edge.sim.client import StageClient

        self._clock = clock
        self._client = StageClient(stage, "media", lambda _: None)
        self._task: asyncio.Task[None] | None = None
        self._heard: str | None = None
        self._on_end: Callable[[], None] = lambda: None

    def start(self, on_end: Callable[[], None], on_fault: Callable[[str | None], None]) -> None:
        self._on_end = on_end
        self._client.start()
        on_fault(None)

    def play(self, tag: str, pcm: bytes) -> None:
        self.stop()
        self._task = asyncio.get_running_loop().create_task(self._pull(tag, pcm), name="card")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._silent()

    async def close(self) -> None:
        self.stop()
        await self._client.close()

    async def _pull(self, tag: str, pcm: bytes) -> None:
        due_ns = self._clock.mono_ns()
        for at in range(0, len(pcm), BLOCK_BYTES):
            if self._heard is None and _audible(pcm[at : at + BLOCK_BYTES]):
                self._heard = tag
                self._client.send({"sound": 1, "tag": tag, "t": self._clock.mono_ns()})
            due_ns += BLOCK_MS * 1_000_000
            await asyncio.sleep(max(0, due_ns - self._clock.mono_ns()) / 1e9)
        self._task = None
        self._silent()
        self._on_end()

    def _silent(self) -> None:
        if self._heard is not None:
            self._client.send({"sound": 0, "tag": self._heard, "t": self._clock.mono_ns()})
            self._heard = None


def _audible(block: bytes) -> bool:
    return any(abs(sample) > AUDIBLE for sample in array("h", block))


class CardSound:
    """PortAudio through `sounddevice`. The card is opened at start, so that the first word need not wait for
    it, and runs only while something plays. When it is missing, or was pulled out, it is looked for again.

    What PortAudio does may block; it is done on a thread of its own, one thing after the other.
    """

    def __init__(self, device: str | None) -> None:
        self._device = device
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._lost = asyncio.Event()
        self._running = False
        """The stream runs and was not asked to stop."""
        self._lock = threading.Lock()
        self._pcm = b""
        self._at = 0
        self._turn = 0
        """Counts the clips, so that the end of one that was cut is not taken for the next one's."""
        self._on_end: Callable[[], None] = lambda: None
        self._on_fault: Callable[[str | None], None] = lambda _: None

    def start(self, on_end: Callable[[], None], on_fault: Callable[[str | None], None]) -> None:
        self._on_end, self._on_fault = on_end, on_fault
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._keep(), name="card")

    def play(self, tag: str, pcm: bytes) -> None:
        with self._lock:
            self._pcm, self._at = pcm, 0
            self._turn += 1
        self._wanted.set()

    def stop(self) -> None:
        with self._lock:
            self._pcm, self._at = b"", 0
            self._turn += 1
        self._wanted.clear()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _keep(self) -> None:
        """Opens the card, runs it while it is wanted, opens it again when it is lost."""
        while True:
            stream = None
            self._lost.clear()
            try:
                stream = await asyncio.to_thread(self._open)
                self._on_fault(None)
                while True:
                    await self._wanted.wait()
                    await asyncio.to_thread(stream.start)
                    self._running = True
                    while self._wanted.is_set() and not self._lost.is_set():
                        await self._either(self._lost)
                    if self._lost.is_set():
                        raise DriverError("the sound card stopped: is it still plugged in?")
                    self._running = False
                    await asyncio.to_thread(stream.abort)
            except DriverError as error:
                self._on_fault(str(error))
                # A clip nobody can hear still ends, so that what comes next is not held up by it.
                self._finish(self._turn)
            except Exception as error:  # sounddevice's own class derives from Exception alone
                self._on_fault(f"the sound card failed: {error}")
                self._finish(self._turn)
            finally:
                self._running = False
                if stream is not None:
                    with contextlib.suppress(Exception):
                        await asyncio.to_thread(stream.close, True)
            await asyncio.sleep(RETRY_S)

    async def _either(self, lost: asyncio.Event) -> None:
        """Waits for the loss of the card, at most a block: `_wanted` falls without a word."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BLOCK_MS / 1000):
                await lost.wait()

    def _open(self) -> Any:
        """A stream, not running.

        Raises:
            DriverError: no such card, or it is busy; the text says what to do.
        """
        try:
            import sounddevice
        except (ImportError, OSError) as error:
            raise DriverError(f"PortAudio is not there ({error}): apt install libportaudio2") from None
        # PortAudio looks for cards only once; looked at anew, one that was plugged in since is found.
        sounddevice._terminate()
        sounddevice._initialize()
        names = [d["name"] for d in sounddevice.query_devices() if d["max_output_channels"] > 0]
        if not names:
            raise DriverError("there is no sound card: plug in the USB codec, or look at `aplay -l`")
        if self._device is not None and not any(self._device.lower() in name.lower() for name in names):
            there = ", ".join(names)
            raise DriverError(
                f"audio.device = {self._device!r}: no sound card has it in its name; these are {there}"
            )
        try:
            return sounddevice.RawOutputStream(
                samplerate=RATE_HZ,
                blocksize=BLOCK_BYTES // 2,
                device=self._device,
                channels=1,
                dtype="int16",
                latency="low",
                callback=self._fill,
                finished_callback=self._stream_ended,
            )
        except (sounddevice.PortAudioError, ValueError) as error:
            raise DriverError(
                f"the sound card cannot be opened: {error}; another program may hold it"
                " (`fuser -v /dev/snd/*`), or it takes no 16 kHz: name its 'default' or 'plughw' device"
            ) from None

    def _fill(self, out: Any, frames: int, _time: Any, _status: Any) -> None:
        """PortAudio's thread: the next block."""
        with self._lock:
            block = self._pcm[self._at : self._at + frames * 2]
            self._at += frames * 2
            over = bool(self._pcm) and self._at >= len(self._pcm)
            if over:
                self._pcm, self._at = b"", 0
            turn = self._turn
        out[: len(block)] = block
        out[len(block) :] = bytes(frames * 2 - len(block))
        if over and self._loop is not None:
            self._loop.call_soon_threadsafe(self._finish, turn)

    def _finish(self, turn: int) -> None:
        if turn == self._turn and self._wanted.is_set():
            self._wanted.clear()
            self._on_end()

    def _stream_ended(self) -> None:
        """PortAudio's thread: the stream stopped, asked or not."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._ended_on_loop)

    def _ended_on_loop(self) -> None:
        if self._running:
            self._lost.set()
