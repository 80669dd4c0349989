"""The bench with a real Raspberry Pi: the box by SSH, its wires and its power in the hands of a second Pi."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from edge.clock import SystemClock
from hil_tests.bench.bench import BUTTONS, OUTPUTS, BenchError, Edge, armed
from hil_tests.bench.lines import Lines
from hil_tests.bench.pi_config import CommandLink, InterfaceLink, JigRelay, PiConfig
from hil_tests.bench.ssh import Hopeless, Ssh, run

AGENT = Path(__file__).with_name("jig_agent.py")


class PiBench:
    """What hil_tests/README.md describes: parts, wires, configuration (`pi_config.load`).

    The times that `press` and `watch` tell are the jig's CLOCK_MONOTONIC, not the box's: no wire carries
    that. They may be compared with each other, within one `start`, and with nothing else. An output is looked
    at every millisecond; what is shorter may not be seen.

    What the box's card holds stays there: nothing makes its data new, as a folder of the virtual bench does.
    """

    def __init__(self, config: PiConfig) -> None:
        self._config = config
        self._wires: dict[str, int] = config.wires.model_dump()
        self._relay = config.power.pin if isinstance(config.power, JigRelay) else None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._box: Ssh | None = None
        self._jig: Ssh | None = None
        self._agent: _Agent | None = None
        self._cut_s = 0.0
        self._powered = False
        self._held: dict[str, None] = {}
        self._boot = ""
        """The kernel's id of the box's boot, as `restore` found it."""
        self._clock = SystemClock()

    async def start(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edge-bench-")
        folder, known_hosts = Path(self._folder.name), self._config.known_hosts
        try:
            self._box = Ssh("the box", self._config.box, known_hosts, folder)
            self._jig = Ssh("the jig", self._config.jig, known_hosts, folder)
            self._agent = await _Agent.start(self._jig, folder)
            lines = {
                "contacts": [self._wires[name] for name in (*BUTTONS, "lid")],
                "outputs": [self._wires[name] for name in OUTPUTS],
                "relay": self._relay,
            }
            await self._order(claim=lines)
            await self.cut()
            await self.restore()
        except BaseException:
            # An agent that is left behind would hold the lines against the next bench.
            with contextlib.suppress(BenchError):
                await self.close()
            raise

    async def close(self) -> None:
        """The box is off, all contacts are open and nothing of the bench runs on the jig."""
        try:
            if self._agent is not None:
                await self.cut()
        finally:
            if self._agent is not None:
                await self._agent.close()
            for machine in (self._box, self._jig):
                if machine is not None:
                    await machine.disconnect()
            if self._folder is not None:
                self._folder.cleanup()
            self._agent = self._box = self._jig = self._folder = None
            self._boot = ""

    # -- hands and eyes ----------------------------------------------------------------------------

    async def press(self, button: str, hold_s: float | None = 0.4) -> int:
        order: dict[str, Any] = {"pull": self._contact(button), "level": 1}
        if hold_s is None:
            self._held[button] = None
        else:
            order["for"] = hold_s
        return int((await self._order(timeout_s=(hold_s or 0) + 30, **order))["at_ns"])

    @property
    def held(self) -> list[str]:
        return list(self._held)

    async def release(self, button: str) -> None:
        self._held.pop(button, None)
        await self._order(pull=self._contact(button), level=0)

    async def bounce(self, button: str, ms: Sequence[float]) -> list[float]:
        order = {"train": self._contact(button), "ms": list(ms)}
        return list((await self._order(timeout_s=sum(ms) / 1000 + 30, **order))["ms"])

    async def lid(self, is_open: bool) -> None:
        # The lid closes the contact.
        await self._order(pull=self._wires["lid"], level=0 if is_open else 1)

    async def watch(self, seconds: float, *outputs: str) -> list[Edge]:
        names = {self._wires[name]: name for name in outputs}
        order = {"watch": list(names), "for": seconds}
        seen = (await self._order(timeout_s=seconds + 30, **order))["seen"]
        return [Edge(names[number], level, at_ns) for number, level, at_ns in seen]

    # -- power, link, time -------------------------------------------------------------------------

    @property
    def powered(self) -> bool:
        return self._powered

    async def cut(self) -> None:
        await self._power(False)
        self._powered = False
        self._cut_s = self._now_s()
        if self._box is not None:
            await self._box.disconnect()

    async def restore(self, *, cold: bool = True) -> None:
        """Always by a whole boot."""
        power = self._config.power
        await asyncio.sleep(max(0, self._cut_s + power.off_s - self._now_s()))
        await self._power(True)
        self._powered = True
        await self._reached(power.boot_s)
        if not await self._booted():
            raise BenchError("the box has not booted anew: the relay does not cut its power")
        await armed(self, power.boot_s)

    async def wait_for_reset(self, timeout_s: float) -> None:
        """Seen by another boot of the kernel, with the power never gone."""
        until_s = self._now_s() + timeout_s
        while True:
            await self._on(self._box).disconnect()  # what hangs says nothing, not even that it is gone
            with contextlib.suppress(BenchError):
                await self._reached(max(0.0, until_s - self._now_s()))
                if await self._booted():
                    return
            if self._now_s() > until_s:
                raise BenchError(f"the box was not reset within {timeout_s:.0f} s")
            await asyncio.sleep(1)

    async def link(self, up: bool) -> None:
        """As the configuration's [link] has it; hil_tests/README.md tells what each way cannot do.

        Raises:
            BenchError: the link cannot be switched, or it is the one that SSH to the box goes over.
        """
        link, box, jig = self._config.link, self._on(self._box), self._on(self._jig)
        if isinstance(link, CommandLink):
            await _switch(link.up if up else link.down)
        elif isinstance(link, InterfaceLink):
            machine = box if link.by == "box" else jig
            name = quote(link.interface)
            if link.by == "box" and not up:
                await self._spare_our_way(box, name)
            done = await machine.sh(f"ip link set dev {name} {'up' if up else 'down'}")
            if done.rc:
                raise BenchError(f"on {machine.name}: ip link set dev {name}: {done.err.strip()[-400:]}")
        else:
            raise BenchError("the bench's configuration has no [link]: it cannot pull the network cable")

    async def set_clock(self, utc_s: float) -> None:
        # What synchronises the clock would set it right again; the next boot starts it as ever.
        await self.sh(f"systemctl stop systemd-timesyncd 2>/dev/null; date -s @{utc_s:.3f}")

    # -- inside ------------------------------------------------------------------------------------

    async def sh(self, command: str, *, timeout_s: float = 60, check: bool = True) -> str:
        """Raises whatever `check` is when there is no connection, or it has not ended after `timeout_s`.

        The exit codes 255 and 124 mean just that to ssh(1) and timeout(1): a command must not use them.
        """
        done = await self._on(self._box).sh(command, timeout_s=timeout_s)
        if check and done.rc:
            raise BenchError(f"in the box: {command.strip()[:200]}: {(done.out + done.err)[-1500:]}")
        return done.out

    async def write(self, path: str, text: str) -> None:
        name = quote(path)
        done = await self._on(self._box).sh(f"cat >{name} && chmod 644 {name}", data=text.encode())
        if done.rc:
            raise BenchError(f"in the box: {path} cannot be written: {done.err.strip()[-400:]}")

    # -- helpers -----------------------------------------------------------------------------------

    def _now_s(self) -> float:
        return self._clock.mono_ns() / 1e9

    def _on(self, machine: Ssh | None) -> Ssh:
        if machine is None:
            raise BenchError("the bench has not been started")
        return machine

    def _contact(self, button: str) -> int:
        if button not in BUTTONS:
            raise BenchError(f"there is no button {button!r}, only {', '.join(BUTTONS)}")
        return self._wires[button]

    async def _order(self, timeout_s: float = 30, **order: Any) -> dict[str, Any]:
        if self._agent is None:
            raise BenchError("the bench has not been started")
        return await self._agent.lines.ask(order, timeout_s)

    async def _power(self, on: bool) -> None:
        power = self._config.power
        if isinstance(power, JigRelay):
            await self._order(relay=int(on))
        else:
            await _switch(power.on if on else power.off)

    async def _booted(self) -> bool:
        """Whether the kernel has started anew since the last time that this was asked."""
        boot = await self.sh("cat /proc/sys/kernel/random/boot_id")
        self._boot, before = boot, self._boot
        return boot != before

    async def _reached(self, timeout_s: float) -> None:
        until_s = self._now_s() + timeout_s
        while True:
            try:
                return await self._on(self._box).connect()
            except Hopeless:
                raise
            except BenchError as error:
                if self._now_s() > until_s:
                    words = f"{timeout_s:.0f} s after its power came: {error}"
                    raise BenchError(words) from None
            await asyncio.sleep(0.5)

    async def _spare_our_way(self, box: Ssh, interface: str) -> None:
        ours = (await box.sh('echo "$SSH_CONNECTION"', as_root=False)).out.split()
        addresses = (await box.sh(f"ip -o addr show dev {interface}")).out
        if len(ours) == 4 and f" {ours[2].split('%')[0]}/" in addresses:
            raise BenchError(
                f"SSH to the box goes over its {interface}: without it the bench could not bring it back; "
                "give the box a second way in, or pull the cable elsewhere ([link] by)"
            )


class _Agent:
    """`jig_agent.py`, running on the jig."""

    def __init__(self, process: asyncio.subprocess.Process, lines: Lines) -> None:
        self._process = process
        self.lines = lines

    @classmethod
    async def start(cls, jig: Ssh, folder: Path) -> _Agent:
        await jig.connect()
        # The program is in the command: nothing is left on the jig that could be an older one.
        argv = jig.argv(f"exec /usr/bin/python3 -u -c {quote(AGENT.read_text())}")
        said = folder / "agent.said"
        with said.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                limit=1 << 24,
            )
        assert process.stdout is not None
        assert process.stdin is not None

        def words() -> str:
            return said.read_text(errors="replace").strip()[-400:]

        return cls(process, Lines(process.stdout, process.stdin, "the agent on the jig", words))

    async def close(self) -> None:
        """Its stdin ends, and so does it, having let everything go."""
        await self.lines.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await self._process.wait()
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def _switch(argv: Sequence[str]) -> None:
    done = await run(*argv)
    if done.rc:
        raise BenchError(f"{' '.join(argv)}: {(done.out + done.err).strip()[-400:]}")
