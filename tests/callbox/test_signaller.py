"""The driver of the patterns: what is lit when, and what a person watching could learn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from edge.callbox import signaller
from edge.callbox.signaller import TEST_NS, Signaller
from edge.clock import ManualClock
from edge.errors import DriverError
from tests.box import until


class Lamps:
    """Pins of which only the outputs are used."""

    def __init__(self) -> None:
        self.said: list[tuple[str, bool]] = []
        self.broken: set[str] = set()

    def start(self, on_edge: Callable[[str, bool, int], None]) -> None:
        raise AssertionError("a signaller only writes outputs")

    def read(self, line: str) -> bool | None:
        raise AssertionError("a signaller only writes outputs")

    def write(self, output: str, level: bool) -> None:
        if output in self.broken:
            raise DriverError(f"{output} does not follow")
        self.said.append((output, level))

    async def close(self) -> None:
        raise AssertionError("a signaller only writes outputs")

    def level(self, output: str) -> bool | None:
        return next((level for name, level in reversed(self.said) if name == output), None)


class Box:
    def __init__(self) -> None:
        self.lamps, self.clock = Lamps(), ManualClock()
        self.faults: list[tuple[str, str]] = []
        self.signals = Signaller(self.lamps, self.clock, on_fault=lambda *fault: self.faults.append(fault))

    def show(self, state: Any, *, dark: bool = False, fault: bool = False) -> bool:
        return self.signals.show(state, dark=dark, fault=fault)

    def later(self, seconds: float) -> None:
        """The clock moves and the timer that was set for it comes."""
        self.clock.advance(seconds)
        self.signals._drive()


@pytest.fixture
async def box() -> Any:
    made = Box()
    yield made
    made.signals.close()


async def test_a_press_lights_lamp_buzzer_and_beacon_at_once(box: Box) -> None:
    assert box.show("idle")
    assert box.show("pressed")
    assert [box.lamps.level(name) for name in ("lamp", "buzzer", "beacon")] == [True, True, True]
    box.later(0.25)
    assert (box.lamps.level("lamp"), box.lamps.level("buzzer")) == (True, False)


async def test_what_is_shown_already_begins_no_pattern_anew(box: Box) -> None:
    box.show("received")
    box.later(1.9)
    assert box.lamps.level("lamp") is False
    assert not box.show("received")
    assert box.lamps.level("lamp") is False


async def test_a_silent_press_changes_nothing_that_can_be_seen_or_heard(box: Box) -> None:
    """The idle blink once began anew at each state of a dark incident: the lamp flashed at the press."""
    box.show("idle")
    box.later(2)
    box.lamps.said.clear()
    for state in ("pressed", "sent", "received", "seen", "coming", "closed", "idle"):
        assert box.show(state, dark=True) or state == "idle"
        assert box.lamps.said == []
    box.later(3.01)
    assert box.lamps.said == [("lamp", True)], "the idle blink comes when it would have come"


async def test_a_fault_that_comes_and_goes_does_not_sound_the_tones_of_a_state_again(box: Box) -> None:
    box.show("received")
    box.later(5)
    box.lamps.said.clear()
    for fault in (True, False, True):
        box.show("received", fault=fault)
    assert ("buzzer", True) not in box.lamps.said


async def test_a_fault_shows_in_the_idle_lamp(box: Box) -> None:
    box.show("idle")
    box.show("idle", fault=True)
    box.later(0.28)
    assert box.lamps.level("lamp") is True
    box.show("idle")
    box.later(0.28)
    assert box.lamps.level("lamp") is False


async def test_the_indicator_test_runs_its_time_and_ends_at_a_press(box: Box) -> None:
    box.show("idle")
    box.later(1)
    box.signals.test()
    assert [box.lamps.level(name) for name in ("lamp", "buzzer", "beacon")] == [True, True, True]
    box.later(TEST_NS / 1e9 + 0.1)
    assert [box.lamps.level(name) for name in ("buzzer", "beacon")] == [False, False]
    box.signals.test()
    box.show("pressed")
    box.later(0.301)
    assert box.lamps.level("buzzer") is False
    assert box.lamps.level("lamp") is True, "the steady light of a press and not the test's blinking"


async def test_no_test_interrupts_an_incident(box: Box) -> None:
    box.show("received")
    box.later(1.9)
    box.signals.test()
    assert box.lamps.level("lamp") is False


async def test_an_output_that_fails_is_told_and_the_others_go_on(box: Box) -> None:
    box.lamps.broken.add("lamp")
    box.show("pressed")
    assert box.faults[0] == ("lamp", "lamp does not follow")
    assert box.lamps.level("buzzer") is True


async def test_its_timer_drives_it_and_close_switches_everything_off() -> None:
    made = Box()
    made.show("nobody")
    assert made.lamps.level("lamp") is True
    made.clock.advance(0.13)
    await until(lambda: made.lamps.level("lamp") is False, "the lamp's next step by its own timer")
    made.show("pressed")
    made.signals.close()
    assert [made.lamps.level(name) for name in ("lamp", "buzzer", "beacon")] == [False] * 3
    count = len(made.lamps.said)
    made.clock.advance(1)
    await asyncio.sleep(0)
    assert len(made.lamps.said) == count


def test_a_showing_is_judged_by_what_can_be_seen() -> None:
    assert signaller._visible("received", True, False) == signaller._visible("idle", False, False)
    assert signaller._visible("received", False, True) == signaller._visible("received", False, False)
