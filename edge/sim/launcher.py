"""What systemd is on a box, off a box: keeps a table of programs alive.

It speaks systemd's notification protocol (sd_notify(3)), so readiness is what the program says of itself, and
it can enforce the watchdog. It restarts what ends, as ``Restart=always`` does, after a short pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge.errors import SetupFailed
from edge.sim.children import DIES_WITH_PARENT

log = logging.getLogger(__name__)

RESTART_S = 0.1
STOP_S = 8.0
ABORT_S = 0.5
_CREDENTIALS = struct.Struct("3i")
"""struct ucred of Linux: pid, uid, gid."""


@dataclass(frozen=True)
class Program:
    """One row of the table. A fault harness replaces a row with `dataclasses.replace`."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """On top of this process's own environment."""
    prefix: tuple[str, ...] = ()
    """In front of `argv`: strace, a saboteur."""
    watchdog_s: float | None = None
    """Aborted when it has not fed its watchdog for this long after it was ready."""


class Launcher:
    """Keeps programs alive, in the order of the table. Logs go to ``FOLDER/NAME.log``."""

    def __init__(self, folder: Path, programs: Iterable[Program], restart_s: float = RESTART_S) -> None:
        self._folder = folder
        self._restart_s = restart_s
        self._kept = {p.name: _Kept(p, folder) for p in programs}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._kept)

    async def start(self, *names: str) -> None:
        """Starts these (all, without names) and returns at once; `ready` waits."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in names or self.names:
            await self._kept[name].keep(self._restart_s)

    async def ready(self, *names: str, timeout_s: float = 20) -> None:
        """Waits until each of these (all, without names) has said READY=1 and still runs.

        Raises:
            SetupFailed: one did not in time; with the last lines of its log.
        """
        for name in names or self.names:
            kept = self._kept[name]
            try:
                async with asyncio.timeout(timeout_s):
                    await kept.ready.wait()
            except TimeoutError:
                raise self._late(name, timeout_s) from None

    async def next_life(self, name: str, starts: int, timeout_s: float = 20) -> None:
        """Waits until it was started more than `starts` times and is ready; for one that ends itself.

        Raises:
            SetupFailed: not in time.
        """
        kept = self._kept[name]
        try:
            async with asyncio.timeout(timeout_s):
                while kept.starts <= starts or not kept.ready.is_set():
                    await kept.changed.wait()
        except TimeoutError:
            raise self._late(name, timeout_s) from None

    def _late(self, name: str, timeout_s: float) -> SetupFailed:
        told = f"{name} is not ready after {timeout_s:.0f} s ({self.starts(name)} starts)"
        return SetupFailed(f"{told}: {self.last_words(name)}")

    async def stop(self, *names: str) -> None:
        """Ends these (all, without names) for good, last of the table first; SIGKILL after 8 s."""
        for name in reversed(names or self.names):
            await self._kept[name].end()

    def replace(self, program: Program) -> None:
        """Takes another row of that name; it holds from the program's next start."""
        self._kept[program.name].program = program

    def program(self, name: str) -> Program:
        return self._kept[name].program

    def pid(self, name: str) -> int:
        """The program's own process id, once it is ready also behind a prefix.

        Raises:
            SetupFailed: it does not run at this moment.
        """
        pid = self._kept[name].pid
        if pid is None:
            raise SetupFailed(f"{name} does not run at this moment")
        return pid

    def is_ready(self, name: str) -> bool:
        return self._kept[name].ready.is_set()

    def starts(self, name: str) -> int:
        """How often it was started."""
        return self._kept[name].starts

    def exits(self, name: str) -> list[int]:
        """How it ended, each time: an exit status, or minus a signal."""
        return list(self._kept[name].exits)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal to the program alone; `ready` waits for its next life from here on."""
        pid = self.pid(name)
        self._kept[name].ready.clear()
        os.kill(pid, number)

    def suspend(self, name: str) -> None:
        """SIGSTOP: it hangs, with its sockets open."""
        os.kill(self.pid(name), signal.SIGSTOP)

    def resume(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGCONT)

    def log_file(self, name: str) -> Path:
        return self._kept[name].log

    def last_words(self, name: str, lines: int = 4) -> str:
        """The end of its log on one line."""
        path = self.log_file(name)
        text = path.read_text(errors="replace").splitlines() if path.exists() else []
        return " / ".join(text[-lines:]) or f"nothing in {path}"


class _Kept:
    """One program, its present process and its notification socket."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program = program
        self.log = folder / f"{program.name}.log"
        self.ready = asyncio.Event()
        self.changed = asyncio.Event()
        """Set, and replaced by another, whenever it was started, became ready or ended."""
        self.starts = 0
        self.exits: list[int] = []
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._told_pid: int | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None
        self._bark: asyncio.TimerHandle | None = None
        self._wanted = False

    @property
    def pid(self) -> int | None:
        if self._process is None or self._process.returncode is not None:
            return None
        return self._told_pid or self._process.pid

    async def keep(self, restart_s: float) -> None:
        if self._wanted:
            return
        self._wanted = True
        self._listen()
        await self._spawn()
        self._keeper = asyncio.get_running_loop().create_task(self._watch(restart_s), name=self.program.name)

    async def _spawn(self) -> None:
        program = self.program
        env = {**os.environ, **program.env, "NOTIFY_SOCKET": str(self._notify_path), "PYTHONUNBUFFERED": "1"}
        if program.watchdog_s:
            env["WATCHDOG_USEC"] = str(round(program.watchdog_s * 1e6))
        self._told_pid = None
        self.starts += 1
        try:
            with self.log.open("ab") as out:
                self._process = await asyncio.create_subprocess_exec(
                    *DIES_WITH_PARENT,
                    *program.prefix,
                    *program.argv,
                    env=env,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    # A Ctrl-C in the terminal is for whoever started us; we end the rest in order.
                    start_new_session=True,
                )
        except OSError as error:
            raise SetupFailed(f"{program.name} cannot be started: {error}") from error

    async def _watch(self, restart_s: float) -> None:
        while True:
            assert self._process is not None
            status = await self._process.wait()
            self.ready.clear()
            self._quiet()
            self.exits.append(status)
            self._pulse()
            if self._wanted:
                log.info("program ended name=%s status=%d starts=%d", self.program.name, status, self.starts)
                await asyncio.sleep(restart_s)
            if not self._wanted:  # may have changed meanwhile
                return
            await self._spawn()

    def _pulse(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def end(self) -> None:
        self._wanted = False
        process = self._process
        if process is not None and process.returncode is None:
            for number in (signal.SIGTERM, signal.SIGCONT):  # one that hangs must wake up to hear of its end
                self._signal(number)
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                log.warning("program killed name=%s reason=did not end in %.0f s", self.program.name, STOP_S)
            # A prefix, or what the program started, goes with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if self._keeper is not None:
            await self._keeper
        self._unlisten()

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    # sd_notify(3) ----------------------------------------------------------------------------------------

    @property
    def _notify_path(self) -> Path:
        return self._folder / f"{self.program.name}.notify"

    def _listen(self) -> None:
        self._notify_path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        # The kernel says whose datagram it is: the program's, whatever it is wrapped in.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(self._notify_path))
        asyncio.get_running_loop().add_reader(self._socket, self._told)

    def _unlisten(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._notify_path.unlink(missing_ok=True)
            self._socket = None

    def _told(self) -> None:
        assert self._socket is not None
        data, extra, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
        states = data.decode(errors="replace").splitlines()
        if self._process is None or self._process.returncode is not None:
            return
        if "READY=1" in states:
            for level, kind, value in extra:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    self._told_pid = _CREDENTIALS.unpack(value[: _CREDENTIALS.size])[0]
            self.ready.set()
            self._pulse()
        if self.program.watchdog_s and ("READY=1" in states or "WATCHDOG=1" in states):
            self._quiet()
            self._bark = asyncio.get_running_loop().call_later(self.program.watchdog_s, self._abort)

    def _quiet(self) -> None:
        if self._bark is not None:
            self._bark.cancel()
            self._bark = None

    def _abort(self) -> None:
        log.warning("program hangs name=%s reason=watchdog", self.program.name)
        self._signal(signal.SIGABRT)
        # One that is stopped does not hear it.
        self._bark = asyncio.get_running_loop().call_later(ABORT_S, self._signal, signal.SIGKILL)
