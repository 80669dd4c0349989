"""The drivers of the lines: gpiozero's with its mock pins, and the stage's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from gpiozero.pins.mock import MockFactory

from edge.callbox import pins
from edge.callbox.pins import GpioPins, SimPins
from edge.clock import ManualClock, SystemClock
from edge.errors import DriverError
from edge.sim.stage import Stage
from tests.box import config, until

LINES = {"police": (17, True), "women": (27, False), "tamper": (5, True)}
OUTPUTS = {"lamp": 24, "buzzer": 25}


class Edges:
    def __init__(self) -> None:
        self.seen: list[tuple[str, bool, int]] = []

    def __call__(self, line: str, level: bool, at_ns: int) -> None:
        self.seen.append((line, level, at_ns))

    def levels(self) -> list[tuple[str, bool]]:
        return [(line, level) for line, level, _ in self.seen]


# -- gpiozero --------------------


@pytest.fixture
def factory() -> Iterator[Any]:
    made = MockFactory()
    yield made
    made.reset()


@pytest_asyncio.fixture
async def gpio(factory: Any) -> AsyncIterator[tuple[GpioPins, Edges]]:
    edges, driver = Edges(), GpioPins(LINES, OUTPUTS, SystemClock(), factory)
    driver.start(edges)
    yield driver, edges
    await driver.close()


async def test_a_contact_to_ground_is_a_low_line_and_its_edges_carry_the_kernels_stamp(
    gpio: tuple[GpioPins, Edges], factory: Any
) -> None:
    driver, edges = gpio
    assert driver.read("police") is False
    before_ns = SystemClock().mono_ns()
    factory.pin(17).drive_low()
    assert driver.read("police") is True
    after_ns = SystemClock().mono_ns()
    factory.pin(17).drive_high()
    await until(lambda: len(edges.seen) == 2)
    assert edges.levels() == [("police", True), ("police", False)]
    # To the resolution of the stamp, which is a float of seconds.
    assert before_ns - 1000 <= edges.seen[0][2] <= after_ns + 1000


async def test_a_contact_may_pull_its_line_up(gpio: tuple[GpioPins, Edges], factory: Any) -> None:
    driver, edges = gpio
    assert driver.read("women") is False
    factory.pin(27).drive_high()
    await until(lambda: edges.seen)
    assert edges.levels() == [("women", True)]
    assert driver.read("women") is True


async def test_with_resistors_on_the_board_the_pis_own_are_left_off(factory: Any) -> None:
    edges, driver = Edges(), GpioPins(LINES, {}, SystemClock(), factory, internal_bias=False)
    factory.pin(17).drive_low()  # held before anybody looks
    factory.pin(27).drive_low()
    driver.start(edges)
    assert [factory.pin(pin).pull for pin in (17, 27)] == ["floating", "floating"]
    assert (driver.read("police"), driver.read("women")) == (True, False)
    factory.pin(17).drive_high()
    factory.pin(27).drive_high()
    await until(lambda: len(edges.seen) == 2)
    assert edges.levels() == [("police", False), ("women", True)]
    await driver.close()


async def test_no_edge_is_lost_or_debounced(gpio: tuple[GpioPins, Edges], factory: Any) -> None:
    _, edges = gpio
    for _ in range(50):
        factory.pin(17).drive_low()
        factory.pin(17).drive_high()
    await until(lambda: len(edges.seen) == 100)


async def test_outputs_follow(gpio: tuple[GpioPins, Edges], factory: Any) -> None:
    driver, _ = gpio
    for level in (True, False, True):
        driver.write("lamp", level)
        assert bool(factory.pin(24).state) is level
    driver.write("beacon", True)  # none is fitted


async def test_a_line_nobody_claimed_has_no_level(gpio: tuple[GpioPins, Edges]) -> None:
    assert gpio[0].read("medical") is None


async def test_a_contact_whose_pin_is_taken_is_an_error_of_the_driver(factory: Any) -> None:
    first = GpioPins(LINES, {}, SystemClock(), factory)
    first.start(Edges())
    with pytest.raises(DriverError, match="buttons"):
        GpioPins(LINES, {}, SystemClock(), factory).start(Edges())
    await first.close()


async def test_a_line_that_cannot_be_had_takes_no_other_with_it_and_is_asked_for_again(factory: Any) -> None:
    holder = GpioPins({"other": (17, True)}, {}, SystemClock(), factory)
    holder.start(Edges())
    edges, driver = Edges(), GpioPins(LINES, {}, SystemClock(), factory)
    with pytest.raises(DriverError, match="buttons"):
        driver.start(edges)
    assert (driver.read("police"), driver.read("women")) == (None, False)
    holder._inputs["other"].close()
    driver.start(edges)
    factory.pin(17).drive_low()
    factory.pin(27).drive_high()
    await until(lambda: len(edges.seen) == 2)
    assert edges.levels() == [("police", True), ("women", True)]
    await driver.close()


async def test_a_box_without_a_lamp_still_takes_a_press(factory: Any) -> None:
    edges, driver = Edges(), GpioPins(LINES, {"lamp": 99}, SystemClock(), factory)
    driver.start(edges)
    with pytest.raises(DriverError, match="lamp on GPIO 99"):
        driver.write("lamp", True)
    factory.pin(17).drive_low()
    await until(lambda: edges.seen)
    await driver.close()


class Failing:
    """A device whose chip does not answer; lgpio's own error derives from Exception alone."""

    class Error(Exception):
        pass

    @property
    def is_active(self) -> bool:
        raise self.Error("bad handle")

    @property
    def value(self) -> bool:
        raise self.Error("bad handle")

    @value.setter
    def value(self, _level: bool) -> None:
        raise self.Error("bad handle")

    def close(self) -> None:
        pass


async def test_what_a_chip_raises_while_it_is_used_is_a_drivers_error_or_an_unknown_level(
    gpio: tuple[GpioPins, Edges],
) -> None:
    """It once ended the tasks that read the lines again and repeat the presses."""
    driver, _ = gpio
    driver.write("lamp", False)
    claimed = [driver._inputs["police"], driver._outputs["lamp"]]
    driver._inputs["police"] = driver._outputs["lamp"] = Failing()
    assert driver.read("police") is None
    with pytest.raises(DriverError, match="lamp on GPIO 24 cannot be switched"):
        driver.write("lamp", True)
    for device in claimed:
        device.close()


def test_a_stamp_of_another_clock_gives_way_to_the_arrival() -> None:
    clock = ManualClock(mono_ns=100 * 10**9)
    now = clock.mono_ns()
    assert pins._kernel_ns(99.5, clock) == 99_500_000_000
    for foreign in (0.0, 1_700_000_000.0, 94.9, 100.1):
        assert pins._kernel_ns(foreign, clock) == now


async def test_an_edge_after_the_loop_is_gone_hurts_nothing(factory: Any) -> None:
    driver = GpioPins({"police": (17, True)}, {}, SystemClock(), factory)

    async def claim() -> None:
        driver.start(Edges())

    await asyncio.to_thread(lambda: asyncio.run(claim()))
    factory.pin(17).drive_low()
    await driver.close()


# -- the stage --------------------


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path / "stage.sock", ["police", "women", "medical"])
    await made.start()
    yield made
    await made.close()


async def test_the_stages_lines_have_no_level_before_its_first_word(stage: Stage) -> None:
    driver, edges = SimPins(stage.path, SystemClock()), Edges()
    assert driver.read("police") is None
    driver.start(edges)
    await until(lambda: driver.read("tamper") is not None)
    assert (driver.read("police"), driver.read("tamper")) == (False, True)
    assert edges.seen == []
    stamp = stage.set_line("police", 1)
    await until(lambda: edges.seen)
    assert edges.seen == [("police", True, stamp)]
    stage.set_line("police", 0, edge=False)
    await until(lambda: driver.read("police") is False)
    assert len(edges.seen) == 1, "a lost edge changes the level and nothing else"
    await driver.close()


async def test_outputs_are_said_again_to_a_stage_that_came_later(tmp_path: Path) -> None:
    driver = SimPins(tmp_path / "stage.sock", SystemClock())
    driver.start(Edges())
    driver.write("lamp", True)
    stage = Stage(tmp_path / "stage.sock", ["police"])
    await stage.start()
    await until(lambda: stage.outputs["lamp"] == 1)
    await driver.close()
    await stage.close()


def test_the_configuration_names_the_driver(tmp_path: Path) -> None:
    assert isinstance(pins.make(config(tmp_path), SystemClock()), SimPins)
    gpio = pins.make(config(tmp_path, button={"driver": "gpio"}), SystemClock())
    assert isinstance(gpio, GpioPins)
    assert gpio._lines == {
        "police": (17, True),
        "women": (27, True),
        "medical": (22, True),
        "tamper": (5, True),
    }
    assert gpio._output_pins == {"lamp": 24, "buzzer": 25, "beacon": 23}
