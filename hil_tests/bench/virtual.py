"""The bench as a virtual machine: a kernel with real GPIO devices, and a disk that forgets at a power cut."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.clock import SystemClock
from hil_tests.bench.bench import BUTTONS, LID, OUTPUTS, BenchError, Edge, armed
from hil_tests.bench.disk import ForgetfulDisk, Watcher
from hil_tests.bench.guest import Guest
from hil_tests.bench.qemu import Qemu

DATA_MB = 64
_START = """
date -s @{utc:.3f} >/dev/null
for i in $(seq 250); do [ -e /dev/disk/by-label/edge-data ] && break; sleep 0.02; done
systemctl start --no-block {units}
"""
BACK_S = 160.0
"""From power to armed; later it counts as not back."""


class VirtualBench:
    """`folder` gets the data disk and the sockets; what the data disk holds outlives every cut."""

    def __init__(self, guest: Guest, folder: Path, *, seed: int = 0) -> None:
        self.units = "edge.target"
        """What a quick start starts."""
        self.before_units = ""
        """Commands for the guest, before a quick start starts them."""
        self.qemu = Qemu(guest.machine, folder)
        self.disk: ForgetfulDisk | None = None
        self.honest = True
        """False: the next disk lies about flushes."""
        self.leak = 0.3
        self.on_request: Watcher | None = None
        """Of this disk and of those after it."""
        self.events: list[dict[str, Any]] = []
        """Of QEMU's monitor, since the last start."""
        self._guest = guest
        self._folder = folder
        self._image = folder / "data.img"
        self._seed = seed
        self._held: set[int] = set()
        self._clock = SystemClock()

    async def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._image.exists():
            await self.new_disk()
        await self.restore()

    async def close(self) -> None:
        await self.cut()

    async def new_disk(self) -> None:
        """A data partition with nothing on it; without power."""
        self._image.unlink(missing_ok=True)
        self._image.touch()
        mkfs = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-L", "edge-data", str(self._image)]
        await asyncio.to_thread(subprocess.run, [*mkfs, f"{DATA_MB}M"], check=True)

    # -- hands and eyes ----------------------------------------------------------------------------

    async def press(self, button: str, hold_s: float | None = 0.4) -> int:
        line = BUTTONS[button]
        if hold_s is None:
            self._held.add(line)
            if not self.powered:
                return self._clock.mono_ns()
            return int((await self.qemu.order(pull=line, level=1))["at_ns"])
        order = {"pull": line, "level": 1, "for": hold_s}
        return int((await self.qemu.order(timeout_s=hold_s + 30, **order))["at_ns"])

    @property
    def held(self) -> list[str]:
        return [button for button, line in BUTTONS.items() if line in self._held]

    async def release(self, button: str) -> None:
        self._held.discard(BUTTONS[button])
        if self.powered:
            await self.qemu.order(pull=BUTTONS[button], level=0)

    async def bounce(self, button: str, ms: Sequence[float]) -> list[float]:
        order = {"train": BUTTONS[button], "ms": list(ms)}
        return list((await self.qemu.order(timeout_s=sum(ms) / 1000 + 30, **order))["ms"])

    async def lid(self, is_open: bool) -> None:
        # The lid closes the contact.
        (self._held.discard if is_open else self._held.add)(LID)
        await self.qemu.order(pull=LID, level=0 if is_open else 1)

    async def watch(self, seconds: float, *outputs: str) -> list[Edge]:
        lines = {OUTPUTS[name]: name for name in outputs}
        order = {"watch": list(lines), "for": seconds}
        seen = (await self.qemu.order(timeout_s=seconds + 30, **order))["seen"]
        return [Edge(lines[number], level, at_ns) for number, level, at_ns in seen]

    # -- power, link, time -------------------------------------------------------------------------

    @property
    def powered(self) -> bool:
        return self.qemu.pid is not None

    def take_power(self) -> None:
        """At once, from any thread: neither guest nor disk does anything more. `cut` must follow."""
        if self.disk is not None:
            self.disk.lose_power()
        self.qemu.kill()

    async def cut(self) -> None:
        self.take_power()
        await self.qemu.wait()
        if self.disk is not None:
            self.disk.cut()
            self.disk.close()
            self.disk = None

    async def restore(
        self,
        *,
        cold: bool = False,
        clock: str = "",
        link: bool = True,
        disk: bool = True,
        wait: bool = True,
    ) -> None:
        """Power on, until the box is armed.

        Args:
            cold: it boots; else it goes on from a saved state, everything but the product started.
            clock: what the battery-backed clock says, ``2025-01-31T00:00:00``; then it boots in any case.
            link: whether the cable is in.
            disk: whether the data disk is there.
            wait: False: returns at once.
        """
        socket = self._folder / "disk.sock"
        self._seed += 1
        self.events.clear()
        self.qemu.on_event = self.events.append
        self.disk = ForgetfulDisk(self._image, socket, seed=self._seed, leak=self.leak)
        self.disk.honest = self.honest
        self.disk.on_request = self.on_request
        if not cold and not clock:
            await self.qemu.start(state=self._guest.state, overlay=self._guest.overlay)
            if not link:
                await self.link(False)
            if disk:
                await self.qemu.plug(socket)
            for line in self._held:
                await self.qemu.order(pull=line, level=1)
            start = _START.format(utc=self._clock.utc_ns() / 1e9, units=self.units)
            await self.sh(f"{self.before_units}\n{start}")
        else:
            held = ",".join(map(str, sorted(self._held)))
            data = socket if disk else None
            await self.qemu.start(data=data, append=f"bench.held={held}", clock=clock)
            if not link:
                await self.link(False)
        if wait:
            try:
                async with asyncio.timeout(BACK_S):
                    if cold or clock:
                        await self._answers()
                    await armed(self, 120)
            except (BenchError, TimeoutError) as error:
                told = str(error) or f"not armed within {BACK_S:.0f} s"
                raise BenchError(f"{told}; {await self.qemu.evidence()}") from None

    async def link(self, up: bool) -> None:
        await self.qemu.command("set_link", name="nic", up=up)

    async def set_clock(self, utc_s: float) -> None:
        await self.sh(f"date -s @{utc_s:.3f}")

    # -- inside ------------------------------------------------------------------------------------

    async def sh(self, command: str, *, timeout_s: float = 60, check: bool = True) -> str:
        done = await self.qemu.order(timeout_s=timeout_s + 30, sh=command, timeout=timeout_s)
        if check and done["rc"]:
            raise BenchError(f"in the box: {command.strip()[:200]}: {(done['out'] + done['err'])[-1500:]}")
        return str(done["out"])

    async def write(self, path: str, text: str) -> None:
        await self.qemu.order(put=path, text=text)

    async def put_disk_in(self) -> None:
        """The disk that was left out by ``restore(disk=False)``."""
        await self.qemu.plug(self._folder / "disk.sock")

    async def wait_for_reset(self, timeout_s: float) -> None:
        for _ in range(round(timeout_s * 20)):
            told = [event["event"] for event in self.events]
            if "WATCHDOG" in told and "RESET" in told[told.index("WATCHDOG") :]:
                return await self._answers()
            await asyncio.sleep(0.05)
        raise BenchError(f"no reset by the watchdog within {timeout_s:.0f} s, QEMU told {told}")

    async def _answers(self) -> None:
        """What is said to a guest that has not begun to listen may be lost: it is asked again and again."""
        for _ in range(60):
            with contextlib.suppress(BenchError):
                await self.qemu.order(timeout_s=2, sh="true", timeout=2)
                return
        raise BenchError("the guest does not answer after its start")
