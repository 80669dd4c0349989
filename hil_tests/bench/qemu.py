"""One QEMU process: its command line, its monitor (QMP) and the agent inside."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.sim.children import DIES_WITH_PARENT
from hil_tests.bench.bench import BenchError
from hil_tests.bench.lines import Lines

PROGRAM = "qemu-system-x86_64"
MEMORY_MB = 640
CPUS = 2
PROBE_S = 15
CPU = "Nehalem"
"""Old enough for any host, and for its own state to be restored anywhere."""
_KERNEL = (
    "root=/dev/vda ro console=ttyS0 loglevel=6 mitigations=off nokaslr no_timer_check random.trust_cpu=on "
    "audit=0 apparmor=0 nowatchdog panic=0 net.ifnames=0 systemd.mask=serial-getty@ttyS0.service"
)


@dataclass(frozen=True)
class Machine:
    """What a guest is started from."""

    kernel: Path
    initrd: Path
    root: Path
    """Raw image; never written, each guest has its overlay."""


@functools.cache
def accelerator(machine: Machine) -> str:
    """``kvm`` where the guest's kernel truly runs under it, else ``tcg``: a device that can be opened is not
    enough, some hosts have one on which a guest dies or crawls."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    probe = [PROGRAM, "-accel", "kvm", "-cpu", CPU, "-machine", "q35", "-m", "256", "-display", "none"]
    probe += ["-nodefaults", "-no-reboot", "-serial", "stdio"]
    # It finds no root, says so on its serial line, and restarts: which ends this QEMU.
    probe += ["-kernel", str(machine.kernel), "-append", "console=ttyS0 panic=-1"]
    try:
        done = subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_S)
    except (OSError, subprocess.TimeoutExpired):
        return "tcg"
    return "kvm" if b"Unable to mount root fs" in done.stdout else "tcg"


class Qemu:
    """A running guest. `folder` gets its sockets, its overlay and what its serial line said."""

    def __init__(self, machine: Machine, folder: Path, *, name: str = "guest") -> None:
        self._machine = machine
        self._folder = folder
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None
        self._qmp: Lines | None = None
        self._agent: Lines | None = None
        self.serial = folder / f"{name}.serial"
        self.on_event: Callable[[dict[str, Any]], None] = lambda _event: None
        """Called with each event of the monitor, e.g. WATCHDOG, RESET."""

    @property
    def pid(self) -> int | None:
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    async def start(
        self,
        *,
        append: str = "",
        state: Path | None = None,
        overlay: Path | None = None,
        data: Path | None = None,
        clock: str = "",
    ) -> None:
        """Starts it and waits for its agent.

        Args:
            append: more for the kernel's command line.
            state: a saved state to go on from, with the `overlay` that was its root disk.
            data: Unix socket of the NBD server that is its data disk, there from the beginning.
            clock: what its battery-backed clock says, ``2025-01-31T00:00:00``; default: the host's time.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        disk = self._folder / f"{self._name}.qcow2"
        disk.unlink(missing_ok=True)
        backing = ("-b", str(overlay or self._machine.root), "-F", "qcow2" if overlay else "raw")
        await _run("qemu-img", "create", "-q", "-f", "qcow2", *backing, str(disk))
        accel = await asyncio.to_thread(accelerator, self._machine)
        argv = [
            PROGRAM,
            *("-machine", "q35", "-cpu", CPU, "-smp", str(CPUS)),
            *("-accel", "kvm" if accel == "kvm" else "tcg,thread=multi,tb-size=512", "-m", str(MEMORY_MB)),
            *("-nodefaults", "-no-user-config", "-display", "none"),
            *("-kernel", str(self._machine.kernel), "-initrd", str(self._machine.initrd)),
            *("-append", f"{_KERNEL} {append}".strip()),
            *("-drive", f"file={disk},if=none,id=root,format=qcow2,cache=unsafe"),
            *("-device", "virtio-blk-pci,drive=root"),
            *("-device", "pcie-root-port,id=slot1,chassis=1,slot=1"),
            *("-serial", f"file:{self.serial}", "-device", "virtio-rng-pci"),
            *("-device", "i6300esb", "-action", "watchdog=reset"),
            *("-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,id=nic,romfile="),
            *("-device", "virtio-serial-pci"),
            *("-chardev", f"socket,id=agent,path={self._socket('agent')},server=on,wait=off"),
            *("-device", "virtserialport,chardev=agent,name=bench.0"),
            *("-qmp", f"unix:{self._socket('qmp')},server=on,wait=off"),
        ]
        if clock:
            argv += ["-rtc", f"base={clock}"]
        if data:
            argv += ["-blockdev", json.dumps(_nbd(data)), "-device", json.dumps(_DATA)]
        if state:
            argv += ["-incoming", f"exec:cat {state}"]
        with (self._folder / f"{self._name}.log").open("ab") as log:
            self._process = await asyncio.to_thread(
                subprocess.Popen,
                [*DIES_WITH_PARENT, *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._qmp = await self._open("qmp")
        self._qmp.on_other = lambda said: self.on_event(said) if "event" in said else None
        await self.command("qmp_capabilities")
        self._agent = await self._open("agent")
        if state:
            while (await self.command("query-status"))["status"] != "running":
                with contextlib.suppress(BenchError):
                    await self.command("cont")
                await asyncio.sleep(0.02)

    async def plug(self, data: Path) -> None:
        """Puts the data disk in, as a card is put in: the saved state has none."""
        await self.command("blockdev-add", **_nbd(data))
        await self.command("device_add", **_DATA)

    async def save(self, state: Path) -> None:
        """Stops it and writes its memory; the overlay must be kept with it."""
        await self.command("stop")
        await self.command("migrate", uri=f"exec:cat > {state}")
        while (status := (await self.command("query-migrate")).get("status")) != "completed":
            if status == "failed":
                raise BenchError(f"the state of the guest cannot be saved to {state}")
            await asyncio.sleep(0.1)

    def kill(self) -> None:
        """At once, from any thread; `wait` for it afterwards."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)

    async def wait(self) -> None:
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)
        for lines in (self._qmp, self._agent):
            if lines is not None:
                await lines.close()
        self._qmp = self._agent = None

    async def command(self, command: str, **arguments: Any) -> Any:
        """One QMP command; raises `BenchError` with the monitor's words."""
        if self._qmp is None:
            raise BenchError("the guest is not running")
        return (await self._qmp.ask({"execute": command, "arguments": arguments}, 60))["return"]

    async def evidence(self) -> str:
        """What a machine does that does not answer: where its processors are, and what it said last."""
        told = self.serial.read_text(errors="replace") if self.serial.exists() else ""
        try:
            state = (await self.command("query-status"))["status"]
            line = {"command-line": "info registers -a"}
            registers = str(await self.command("human-monitor-command", **line))
        except BenchError as error:
            state, registers = f"no answer: {error}", ""
        at = [word for word in registers.split() if word.startswith(("RIP=", "HLT="))]
        return f"{state}, {' '.join(at)}; its console said last:\n{told[-3000:]}"

    async def order(self, timeout_s: float = 60, **order: Any) -> dict[str, Any]:
        """One order to the agent (`images/bench/usr/lib/bench/agent.py`); raises `BenchError`."""
        if self._agent is None:
            raise BenchError("the guest is not running")
        return await self._agent.ask(order, timeout_s)

    def _socket(self, what: str) -> Path:
        return self._folder / f"{self._name}.{what}"

    async def _open(self, what: str, timeout_s: float = 20) -> Lines:
        path = self._socket(what)
        for _ in range(round(timeout_s / 0.02)):
            try:
                reader, writer = await asyncio.open_unix_connection(path, limit=1 << 24)
                return Lines(reader, writer, "QEMU" if what == "qmp" else "the guest", self._last_words)
            except OSError:
                if self._process is None or self._process.poll() is not None:
                    break
                await asyncio.sleep(0.02)
        raise BenchError(f"{PROGRAM} did not start: {self._last_words() or 'it said nothing'}")

    def _last_words(self) -> str:
        return (self._folder / f"{self._name}.log").read_text(errors="replace")[-400:]


_DATA = {
    "driver": "virtio-blk-pci",
    "id": "disk",
    "drive": "data",
    "bus": "slot1",
    # An error of the disk is the guest's to deal with; QEMU would stop the machine for a full one.
    "werror": "report",
    "rerror": "report",
}


def _nbd(socket: Path) -> dict[str, Any]:
    return {
        "driver": "nbd",
        "node-name": "data",
        "server": {"type": "unix", "path": str(socket)},
        "cache": {"direct": False, "no-flush": False},
    }


async def _run(*argv: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise BenchError(f"{' '.join(argv)}: {out.decode(errors='replace')[-400:]}")
