"""A machine reached by the OpenSSH client: one connection that is kept, and commands over it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from hil_tests.bench.bench import BenchError
from hil_tests.bench.pi_config import Machine

_OPTIONS = {
    "BatchMode": "yes",
    "IdentitiesOnly": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "5",
    # A machine whose power went says nothing: its connection is given up after 15 s.
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "LogLevel": "ERROR",
}
_HOPELESS = ("Permission denied", "Host key verification failed")
_CONNECT_S = 20
_NO_CONNECTION, _TOO_LATE = 255, 124
"""Exit codes of ssh(1) and timeout(1)."""


class Hopeless(BenchError):
    """The connection is refused for a reason that waiting does not change."""


@dataclass(frozen=True)
class Done:
    rc: int
    out: str
    err: str


async def run(*argv: str, data: bytes = b"", timeout_s: float = 30) -> Done:
    """Runs a program of this machine; raises `BenchError` when it cannot be run or does not end in time."""
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except OSError as error:
        raise BenchError(f"{argv[0]} cannot be run: {error.strerror}") from error
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate(data)
    except TimeoutError:
        raise BenchError(f"{argv[0]} has not ended within {timeout_s:.0f} s: {argv[-1][:200]}") from None
    finally:
        # With all that it started: who holds its output would be waited for.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return Done(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))


class Ssh:
    """`name` is what errors call it; `folder` gets the connection's socket and what ssh said.

    No file of the user's ssh is read: what is not in the bench's configuration is not there. The connection
    is a process of its own (ControlMaster) and not one that ssh leaves behind: it ends with the bench.
    """

    def __init__(self, name: str, machine: Machine, known_hosts: Path, folder: Path) -> None:
        self.name = name
        self._machine = machine
        self._socket = folder / name.replace(" ", "-")
        self._said = self._socket.with_suffix(".said")
        options = {**_OPTIONS, "UserKnownHostsFile": str(known_hosts), "ControlPath": str(self._socket)}
        self._argv = ["ssh", "-F", "none", "-T", "-i", str(machine.key), "-p", str(machine.port)]
        self._argv += [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        self._master: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    async def connect(self) -> None:
        """Nothing when it is connected; raises `BenchError` with ssh's words."""
        async with self._lock:
            if self._master is not None and self._master.returncode is None:
                return
            self._socket.unlink(missing_ok=True)
            argv = [*self._argv, "-M", "-N", "-o", "ControlPersist=no", *self._target()]
            try:
                with self._said.open("wb") as said:
                    self._master = await asyncio.create_subprocess_exec(
                        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said
                    )
            except OSError as error:
                raise BenchError(
                    f"ssh cannot be run: {error.strerror} (apt install openssh-client)"
                ) from error
            try:
                for _ in range(round(_CONNECT_S / 0.02)):
                    if self._socket.exists():
                        return
                    if self._master.returncode is not None:
                        break
                    await asyncio.sleep(0.02)
            finally:
                if not self._socket.exists():
                    await self._drop()
            words = self._said.read_text(errors="replace").strip()[-400:]
            kind = Hopeless if any(sign in words for sign in _HOPELESS) else BenchError
            raise kind(
                f"{self.name} ({self._machine.host}) cannot be reached: {words or 'ssh has not connected'}"
            )

    async def disconnect(self) -> None:
        """At once; what runs over the connection fails."""
        async with self._lock:
            await self._drop()

    async def sh(
        self, command: str, *, data: bytes = b"", timeout_s: float = 60, as_root: bool = True
    ) -> Done:
        """Runs it with sh; raises `BenchError` without a connection, or when it does not end in time."""
        await self.connect()
        text = f"timeout -k 5 {timeout_s:g} /bin/sh -c {quote(command)}"
        if as_root and self._machine.user != "root":
            text = f"sudo -n {text}"
        done = await run(*self.argv(f"exec {text}"), data=data, timeout_s=timeout_s + 15)
        if done.rc == _NO_CONNECTION:
            raise BenchError(f"{self.name}: the connection is gone: {done.err.strip()[-400:]}")
        if done.rc == _TOO_LATE:
            raise BenchError(f"{self.name}: not done within {timeout_s:g} s: {command.strip()[:200]}")
        return done

    def argv(self, command: str) -> list[str]:
        """The program that runs a command of the other machine's shell over the connection."""
        return [*self._argv, "-o", "ControlMaster=no", *self._target(), command]

    def _target(self) -> tuple[str, ...]:
        return ("-l", self._machine.user, self._machine.host)

    async def _drop(self) -> None:
        if self._master is not None and self._master.returncode is None:
            self._master.kill()
            await self._master.wait()
        self._master = None
