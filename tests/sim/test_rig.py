"""The rig: a person is counted by contacts, every part can be broken, and a broken rule is noticed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from edge.errors import SetupFailed
from edge.sim.bench_faults import Tally, run_one
from edge.sim.rig import Broken, Rig, run_edge
from edge.sim.sabotage import POINTS
from edge.sim.scenarios import at_point


async def test_a_crash_between_disk_and_announcement_loses_nothing_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    """I2"""
    point = next(p for p in POINTS if p.name == "before_announced")
    tally = Tally()
    async with Rig(tmp_path) as rig:
        await rig.press()
        await rig.arrived()
        await rig.handle()
        starts = rig.stack.launcher.starts("callbox")
        await run_one(rig, f"at {point.name}", at_point(point), random.Random(1), tally)
        assert rig.stack.launcher.starts("callbox") == starts + 1, "the process died at its point"
        assert rig.stack.launcher.exits("callbox")[-1] == -9
    assert tally.failed == []
    assert (tally.runs, tally.presses, tally.lost, tally.doubled) == (1, 1, 0, 0)
    assert tally.hits == {"before_announced": 1}
    assert len(rig.stored()) == rig.contacts == 2


async def test_a_lost_press_is_counted_against_the_contact_and_a_second_copy_too(tmp_path: Path) -> None:
    """The count must be able to fail: contacts are what is counted, and nothing that the box says."""
    async with Rig(tmp_path) as rig:

        async def forgotten(rig: Rig, _rng: random.Random) -> None:
            await rig.press()
            rig.contacts += 1  # a contact that the box never heard of
            rig.excess -= 1  # ... and do not wait for it

        tally = Tally()
        await run_one(rig, "forgotten", forgotten, random.Random(1), tally)
        assert (tally.lost, tally.doubled) == (1, 0)
        assert tally.failed == ["forgotten: -1 presses at the desk"]

        async def twice(rig: Rig, _rng: random.Random) -> None:
            await rig.press()
            rig.contacts -= 1

        tally = Tally()
        await run_one(rig, "twice", twice, random.Random(1), tally)
        assert (tally.lost, tally.doubled) == (0, 1)


async def test_what_does_not_come_is_named(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    with pytest.raises(Broken, match="not within 0 s: the box answered"):
        await rig.until(lambda: False, 0.05, "the box answered")


async def test_a_command_that_fails_brings_its_words() -> None:
    with pytest.raises(SetupFailed, match="no-such-file"):
        await run_edge("config", "check", "/no-such-file.toml")
