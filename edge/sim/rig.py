"""A stack whose every part can be broken, and a person in front of the box who is counted, not believed.

Presses are counted as physical contacts made at the stage, against what the desk's database holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import shutil
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import httpx

from edge.bus import Bus
from edge.clock import Clock, SystemClock, iso_utc
from edge.errors import SetupFailed
from edge.protocol.inner import Custody, Delivery, Incident, Inputs, PressTold
from edge.sim.broker import free_port
from edge.sim.line import Line
from edge.sim.record import Record
from edge.sim.sabotage import SPOILED_PROGRAM, Control
from edge.sim.stack import Stack

HOLD_S = 0.35
"""How long a person keeps the button down after the box has answered."""
LONG_HOLD_S = 2.0
"""The same on a machine so busy that the box had no time yet to tell the press as accepted (I2)."""
APART_S = 0.3
"""Two presses by a finger are at least so far apart; sooner it is the same contact, bouncing."""
PROGRAMS = ("callbox", "uplink", "desk")
QUICK: dict[str, dict[str, Any]] = {
    "uplink": {
        "receipt_wait_s": 0.5,
        "repeat_s": 1.0,
        "trying_after_s": 1.0,
        "retry_max_s": 1.0,
        "keepalive_s": 5,
        "connect_timeout_s": 2.0,
        "health_s": 2.0,
        "first_spread_s": 0,
    },
    "journal": {"segments": 4},
}
"""The product's timers, shortened, so that a run takes seconds."""


def libfaketime() -> str | None:
    """The library that gives a process a clock of its own; None where it is not installed."""
    found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    return found[0] if found else None


class Broken(Exception):
    """The product did not do what it must; the text says what."""


class Rig:
    """Starts everything in `folder` (kept, used again); a context manager.

    spoil: one of `edge.sim.sabotage.SPOILERS`, a rule of the product broken on purpose.
    """

    def __init__(self, folder: Path, spoil: str | None = None) -> None:
        self.clock: Clock = SystemClock()
        self.faketime = folder.absolute() / "clock.offset"
        self.has_faketime = libfaketime() is not None
        port = free_port()
        box = {name: dict(values) for name, values in QUICK.items()}
        box["uplink"]["port"] = port
        if self.has_faketime:
            box["clock"] = {"setter": "faketime", "faketime_file": str(self.faketime)}
        self.stack = Stack(
            folder,
            roles=("callbox", "uplink"),
            box=box,
            desk={"desk": {"presence_s": 1.0, "silent_after_s": 20}},
        )
        self.record = Record(self.stack.folder / "desk")
        self.line = Line(port, self.stack.broker.port)
        self.controls: dict[str, Control] = {}
        self._spoil = spoil
        self._bus: Bus | None = None
        self._http: httpx.AsyncClient | None = None
        self._let_go_ns = 0
        self._answer_ns = 0
        """The last moment at which the box had not answered the present contact."""
        self._timeline: deque[str] = deque(maxlen=200)
        self.contacts = 0
        """Contacts made at the stage since the rig was made."""
        self.excess = 0
        """Presses at the desk beyond the contacts, from runs that failed; 0 when all is well."""
        self.incident: Incident | None = None
        self._incident_life, self._incident_ns = 0, 0
        self._buttons: Mapping[str, str] = {}
        self._inputs_ns = 0
        self.link = False
        self.progress: dict[str, str] = {}
        self.told: list[PressTold] = []
        self.held: set[str] = set()
        self.broken: list[str] = []
        """What was seen to break a rule while it happened."""

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _open(self) -> None:
        folder = self.stack.folder
        folder.mkdir(parents=True, exist_ok=True)
        self.set_clock(0)
        for name in PROGRAMS:
            path = folder / f"{name}.control"
            path.unlink(missing_ok=True)
            self.controls[name] = Control(path)
            program = self.stack.launcher.program(name)
            python, _, _, *words = program.argv
            spoil = ["--with", self._spoil] if self._spoil and SPOILED_PROGRAM[self._spoil] == name else []
            argv = (python, "-m", "edge.sim.sabotage", str(path), *spoil, "--", *words)
            env = dict(program.env)
            library = libfaketime()
            if library and name != "desk":
                env |= {
                    "LD_PRELOAD": library,
                    "FAKETIME_TIMESTAMP_FILE": str(self.faketime),
                    "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                    "DONT_FAKE_MONOTONIC": "1",
                }
            self.stack.launcher.replace(replace(program, argv=argv, env=env))
        await self.line.start()
        await self.stack.start()
        self._bus = Bus(self.stack.run / "bus", "harness", ("callbox", "uplink"))
        self._bus.on(Incident, self._on_incident)
        self._bus.on(Delivery, self._on_delivery)
        self._bus.on(Inputs, self._on_inputs)
        self._bus.on(PressTold, lambda _s, m: self.told.append(m))
        self._bus.on(Custody, lambda _s, m: self.held.update(m.held))
        self._bus.open()
        self._http = httpx.AsyncClient(
            base_url=self.stack.desk_url, headers={"Authorization": f"Bearer {self.stack.token}"}, timeout=5
        )
        await self.until(lambda: self.link, 20, "the box has its link to the broker")

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.aclose()
        if self._bus is not None:
            await self._bus.close()
        await self.stack.stop()
        await self.line.cut()

    def note(self, text: str) -> None:
        """A line of the timeline, which `keep` puts beside the logs."""
        self._timeline.append(f"{iso_utc(self.clock.utc_ns())} {self.clock.mono_ns() / 1e9:.3f} {text}")

    def keep(self, name: str) -> Path:
        """Copies all that shows what has just happened; returns the folder."""
        folder = self.stack.folder / name
        for part in ("log", "data", "desk", "run", "broker"):
            # Sockets cannot be copied, and what is being written may be gone the next moment.
            with contextlib.suppress(shutil.Error, OSError):
                shutil.copytree(self.stack.folder / part, folder / part)
        (folder / "timeline.txt").write_text("\n".join(self._timeline) + "\n")
        return folder

    # -- the world ---------------------------------------------------------------------------------

    def set_clock(self, offset_s: float) -> None:
        """The box's clock from now on, in seconds from the true one."""
        draft = self.faketime.with_suffix(".new")
        draft.write_text(f"{offset_s:+.3f}\n")
        draft.rename(self.faketime)

    async def press(self, button: str = "police") -> None:
        """One contact, held until the box has answered for a moment, as a person in need holds it."""
        await self.until(
            lambda: self.clock.mono_ns() >= self._let_go_ns + APART_S * 1e9, 5, "the finger is off"
        )
        self.contacts += 1
        pressed_ns = self.clock.mono_ns()
        self.note(f"contact {self.contacts} {button}")
        self.stack.stage.set_line(button, 1)
        try:
            await self.until(lambda: self._held_enough(pressed_ns), 20, "the box answered the press")
        finally:
            self._let_go_ns = self.stack.stage.set_line(button, 0)
            self.note(f"let go {button}")

    async def rest(self) -> None:
        """Waits until the box has seen that the buttons were let go.

        A box that is killed before that takes the next contact, closed while it starts, for the one it has
        counted, as docs/design/journal.md says; on a machine that is busy enough, that is the next press.
        """

        def let_go() -> bool:
            # What was said before the finger was off speaks of an earlier press; a box that has just started
            # may not have looked yet.
            return self._inputs_ns > self._let_go_ns and set(self._buttons.values()) == {"released"}

        await self.until(let_go, 20, "the box has seen that the button was let go")

    def _held_enough(self, pressed_ns: int) -> bool:
        now_ns = self.clock.mono_ns()
        if not self._answered(pressed_ns):
            self._answer_ns = now_ns
        accepted = any(told.edge_ns >= pressed_ns for told in self.told)
        return now_ns - self._answer_ns >= (HOLD_S if accepted else LONG_HOLD_S) * 1e9

    def _answered(self, pressed_ns: int) -> bool:
        return (
            self.incident is not None
            and self.incident.citizen not in ("idle", "closed")
            and self._incident_ns > pressed_ns
            and self._speaks()
            and self.stack.launcher.is_ready("callbox")
        )

    async def until(self, true: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Waits for a condition; raises `Broken` when it does not come."""
        until_ns = self.clock.mono_ns() + round(timeout_s * 1e9)
        while not true():
            if self.clock.mono_ns() >= until_ns:
                raise Broken(f"not within {timeout_s:.0f} s: {what}")
            await asyncio.sleep(0.02)

    def stored(self) -> list[tuple[str, str]]:
        """(press id, incident id) of every press in the desk's database."""
        return self.record.presses()

    async def arrived(self, timeout_s: float = 25) -> None:
        """All contacts made so far are stored at the desk."""
        wanted = self.contacts + self.excess
        await self.until(lambda: len(self.stored()) >= wanted, timeout_s, "every press is at the desk")

    async def ready(self) -> None:
        await self.stack.launcher.ready(timeout_s=20)

    async def mend(self) -> None:
        """Undoes whatever a scenario that broke off has left, so that the next one is judged by itself."""
        for control in self.controls.values():
            control.arm("")
            control.faults()
        self.set_clock(0)
        for name in PROGRAMS:
            with contextlib.suppress(SetupFailed):  # between two lives: nothing is suspended then
                self.stack.launcher.resume(name)
        await self.stack.broker.kill()
        await self.stack.broker.start()
        await self.line.restore()

    # -- the operator ------------------------------------------------------------------------------

    async def handle(self) -> None:
        """Acknowledges and closes what is open, as an operator does, and waits until the box shows it."""
        # What a former life of callbox said is no longer so: with a journal cut short it may have forgotten.
        await self.until(self._speaks, 20, "callbox says which incident is open")
        for incident_id in self.record.open_incidents():
            await self._act(incident_id, {"act": "seen"})
            if self.incident is not None and self.incident.incident_id == incident_id:
                await self.until(lambda: self._shows("seen"), 20, "the box shows that a person has seen it")
            await self._act(incident_id, {"act": "close", "disposition": "false"})
        await self.until(
            lambda: self.incident is not None and self.incident.incident_id is None,
            20,
            "the box is idle again",
        )

    def _speaks(self) -> bool:
        return self._incident_life == self.stack.launcher.starts("callbox")

    def _shows(self, state: str) -> bool:
        return self.incident is not None and self.incident.citizen == state

    async def _act(self, incident_id: str, body: dict[str, str]) -> None:
        assert self._http is not None
        last = ""
        for _ in range(100):
            try:
                answer = await self._http.post(f"/api/incidents/{incident_id}/acts", json=body)
            except httpx.TransportError as error:
                last = repr(error)
            else:
                if answer.status_code < 300 or answer.status_code == 409:
                    return
                last = f"{answer.status_code} {answer.text[:200]}"
            await asyncio.sleep(0.1)
        raise Broken(f"the desk does not take {body}: {last}")

    # -- what the box says -------------------------------------------------------------------------

    def _on_incident(self, _sender: str, incident: Incident) -> None:
        self.incident = incident
        self._incident_life = self.stack.launcher.starts("callbox")
        self._incident_ns = self.clock.mono_ns()

    def _on_inputs(self, _sender: str, inputs: Inputs) -> None:
        self._buttons, self._inputs_ns = inputs.buttons, self.clock.mono_ns()

    def _on_delivery(self, _sender: str, delivery: Delivery) -> None:
        self.link = delivery.link
        for word in delivery.incidents:
            before = self.progress.get(word.incident_id)
            self.progress[word.incident_id] = word.progress
            news = word.progress == "received" and before != "received"
            if news and word.incident_id not in {incident for _, incident in self.stored()}:
                self.broken.append("the box was told `received` before the desk had stored it")


async def run_edge(*words: str, env: dict[str, str] | None = None) -> None:
    """Runs one `edge` command to its end; raises `SetupFailed` with its words."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "edge", *words),
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise SetupFailed(f"edge {' '.join(words)}: {out.decode(errors='replace')[-400:]}")
