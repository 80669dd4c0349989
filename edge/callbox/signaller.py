"""Drives lamp, buzzer and beacon through the patterns of `edge.callbox.indicator`, on the loop's timers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from edge.callbox import indicator
from edge.callbox.pins import OUTPUTS, Pins
from edge.clock import Clock
from edge.errors import DriverError
from edge.protocol.common import CitizenState

log = logging.getLogger(__name__)

TEST_NS = 3_000_000_000
LOG_AFTER_S = 0.05


class Signaller:
    """`show` begins the pattern of a state; an output that fails is told to `on_fault` and left alone."""

    def __init__(self, pins: Pins, clock: Clock, *, on_fault: Callable[[str, str], None]) -> None:
        self._pins = pins
        self._clock = clock
        self._on_fault = on_fault
        self._shown: tuple[CitizenState, bool, bool] = ("idle", False, False)
        self._began_ns = clock.mono_ns()
        self._test_until_ns = 0
        self._levels: dict[str, bool] = {}
        self._timer: asyncio.TimerHandle | None = None

    def show(self, state: CitizenState, *, dark: bool, fault: bool) -> bool:
        """True when this is not what was shown; then its pattern begins, a running test ends if it must."""
        showing = (state, dark, fault)
        if showing == self._shown and self._levels:
            return False
        if _visible(*showing) != _visible(*self._shown) or not self._levels:
            # What looks the same goes on: a silent press must not even shift the blinking of an idle box.
            now_ns = self._clock.mono_ns()
            if _visible(*showing)[0] != "idle":
                self._test_until_ns = 0
            if now_ns >= self._test_until_ns:
                self._began_ns = now_ns
        self._shown = showing
        self._drive()
        # After the lamp: a log that is slow to write does not delay it.
        asyncio.get_running_loop().call_later(
            LOG_AFTER_S, log.info, "citizen state=%s dark=%s fault=%s", *showing
        )
        return True

    def test(self) -> None:
        """All outputs, for `TEST_NS`; an incident that is shown is not interrupted."""
        if self._shown[0] == "idle":
            self._began_ns = self._clock.mono_ns()
            self._test_until_ns = self._began_ns + TEST_NS
            self._drive()

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        for output in OUTPUTS:
            self._write(output, False)

    def _drive(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        now_ns = self._clock.mono_ns()
        since_ms = (now_ns - self._began_ns) / 1e6
        if now_ns < self._test_until_ns:
            levels = indicator.test_levels(since_ms)
        else:
            state, dark, fault = self._shown
            levels = indicator.levels(state, since_ms, dark=dark, fault=fault)
        self._write("lamp", levels.lamp)
        self._write("buzzer", levels.buzzer)
        self._write("beacon", levels.beacon)
        if levels.next_ms is not None:
            self._timer = asyncio.get_running_loop().call_later(max(levels.next_ms, 1) / 1000, self._drive)

    def _write(self, output: str, level: bool) -> None:
        if self._levels.get(output) == level:
            return
        self._levels[output] = level
        try:
            self._pins.write(output, level)
        except DriverError as error:
            self._on_fault(output, str(error))


def _visible(state: CitizenState, dark: bool, fault: bool) -> tuple[CitizenState, bool]:
    """What of a showing can be seen from outside."""
    state = "idle" if dark else state
    return state, fault and state == "idle"
