"""Drivers of the lines: contacts in, lamp, buzzer and beacon out. They do I/O and decide nothing.

``gpio`` is gpiozero on its lgpio factory; ``sim`` speaks to the stage, which feeds raw levels with
kernel-like timestamps.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from edge.clock import Clock
from edge.config import Config
from edge.errors import DriverError

log = logging.getLogger(__name__)

TAMPER = "tamper"
OUTPUTS = ("lamp", "buzzer", "beacon")
OnEdge = Callable[[str, bool, int], None]
"""Called on the loop with the line's name, its level (True: contact closed) and CLOCK_MONOTONIC ns."""


class Pins(Protocol):
    """All lines of a box."""

    def start(self, on_edge: OnEdge) -> None:
        """Claims the lines that are not claimed yet; raises `DriverError` when a contact's cannot be had.

        It may be called again; those that could be had work meanwhile.
        """

    def read(self, line: str) -> bool | None:
        """The level now, True for a closed contact; None when it cannot be known."""

    def write(self, output: str, level: bool) -> None:
        """Switches an output; raises `DriverError` when it does not follow."""

    async def close(self) -> None: ...


def make(config: Config, clock: Clock) -> Pins:
    """The driver the configuration names."""
    lines = {name: (c.pin, c.active_low) for name, c in config.button.contacts.items()}
    if config.button.tamper_pin is not None:
        # The lid closes the contact to ground, as the buttons do.
        lines[TAMPER] = (config.button.tamper_pin, True)
    _import_gpio(config.paths.run / "callbox")
    if config.button.driver == "sim":
        assert config.sim is not None  # config.py sees to it
        return SimPins(config.sim.stage, clock)
    outputs = {
        "lamp": config.indicator.lamp_pin,
        "buzzer": config.indicator.buzzer_pin,
        "beacon": config.indicator.beacon_pin,
    }
    outputs_there = {n: p for n, p in outputs.items() if p is not None}
    return GpioPins(lines, outputs_there, clock, internal_bias=config.button.bias == "internal")


def _import_gpio(work: Path) -> None:
    """Imports the GPIO stack, for either driver: what a simulated start costs is what a real one costs.

    lgpio makes a file in its working directory when it is imported, and fails where it may not.
    """
    work.mkdir(mode=0o750, parents=True, exist_ok=True)
    os.environ.setdefault("LG_WD", str(work))
    try:
        import gpiozero
        import lgpio
    except ImportError as error:
        log.warning("GPIO libraries absent reason=%r", str(error))
        return
    log.debug("GPIO libraries gpiozero=%s lgpio=%s", gpiozero.__name__, lgpio.__name__)


class GpioPins:
    """Lines of the GPIO header."""

    def __init__(
        self,
        lines: Mapping[str, tuple[int, bool]],
        outputs: Mapping[str, int],
        clock: Clock,
        factory: Any = None,
        *,
        internal_bias: bool = True,
    ) -> None:
        """`lines`: name -> (BCM number, active low); `factory`: gpiozero's, for tests with its mock pins;
        `internal_bias`: the Pi's own resistors hold the open lines."""
        self._lines = dict(lines)
        self._output_pins = dict(outputs)
        self._clock = clock
        self._factory = factory
        self._internal_bias = internal_bias
        self._inputs: dict[str, Any] = {}
        self._outputs: dict[str, Any] = {}

    def start(self, on_edge: OnEdge) -> None:
        from gpiozero import DigitalInputDevice

        loop = asyncio.get_running_loop()
        clock = self._clock

        class Line(DigitalInputDevice):  # type: ignore[misc]
            """Raw edges with the kernel's timestamp; gpiozero's own debounce would lose some."""

            edge_name = ""

            def _pin_changed(self, ticks: float, state: int) -> None:
                active = bool(state) != self.edge_low
                with contextlib.suppress(RuntimeError):  # the loop may be gone already when the process ends
                    loop.call_soon_threadsafe(on_edge, self.edge_name, active, _kernel_ns(ticks, clock))

            edge_low = True

        failed: Exception | None = None
        for name, (pin, low) in self._lines.items():
            if name in self._inputs:
                continue
            line = type(f"Line_{name}", (Line,), {"edge_name": name, "edge_low": low})
            bias = {"pull_up": low} if self._internal_bias else {"pull_up": None, "active_state": not low}
            try:
                self._inputs[name] = line(pin, pin_factory=self._made_factory(), **bias)
            except Exception as error:
                # Of gpiozero, or lgpio's own class, which derives from Exception alone.
                failed = failed or error
        if failed is not None:
            raise DriverError(f"GPIO for the buttons cannot be used: {failed}") from failed

    def _made_factory(self) -> Any:
        if self._factory is None:
            from gpiozero.pins.lgpio import LGPIOFactory

            self._factory = LGPIOFactory()
        return self._factory

    def read(self, line: str) -> bool | None:
        device = self._inputs.get(line)
        if device is None:
            return None
        try:
            return bool(device.is_active)
        except Exception as error:  # of gpiozero, or lgpio's own class, which derives from Exception alone
            log.error("line cannot be read line=%s reason=%r", line, str(error))
            return None

    def write(self, output: str, level: bool) -> None:
        if output not in self._output_pins:
            return
        pin = self._output_pins[output]
        try:
            if output not in self._outputs:
                from gpiozero import DigitalOutputDevice

                self._outputs[output] = DigitalOutputDevice(pin, pin_factory=self._made_factory())
            self._outputs[output].value = level
        except Exception as error:  # a box without a lamp still takes a press
            raise DriverError(f"{output} on GPIO {pin} cannot be switched: {error}") from error

    async def close(self) -> None:
        for device in (*self._inputs.values(), *self._outputs.values()):
            device.close()
        if self._factory is not None:
            self._factory.close()


def _kernel_ns(ticks: float, clock: Clock) -> int:
    """The kernel's stamp as CLOCK_MONOTONIC ns; the arrival time where the stamp is not of that clock."""
    now_ns = clock.mono_ns()
    stamp_ns = round(ticks * 1e9)
    return stamp_ns if now_ns - 5_000_000_000 < stamp_ns <= now_ns else now_ns


class SimPins:
    """Lines of the stage. Before its first word no level is known."""

    def __init__(self, stage: Path, clock: Clock) -> None:
        from edge.sim.client import StageClient

        self._clock = clock
        self._levels: dict[str, bool] = {}
        self._written: dict[str, bool] = {}
        self._on_edge: OnEdge | None = None
        self._client = StageClient(stage, "callbox", self._heard, self._say_outputs)

    def start(self, on_edge: OnEdge) -> None:
        self._on_edge = on_edge
        self._client.start()

    def read(self, line: str) -> bool | None:
        return self._levels.get(line)

    def write(self, output: str, level: bool) -> None:
        self._written[output] = level
        self._client.send({"out": output, "level": int(level), "t": self._clock.mono_ns()})

    async def close(self) -> None:
        await self._client.close()

    def _heard(self, message: dict[str, Any]) -> None:
        line, level = str(message["line"]), bool(message["level"])
        self._levels[line] = level
        if message.get("edge") and self._on_edge is not None:
            self._on_edge(line, level, int(message["t"]))

    def _say_outputs(self) -> None:
        for output, level in self._written.items():
            self.write(output, level)
