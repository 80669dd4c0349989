"""The stack: configurations the product accepts, and parts that come up or say why not."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from edge import config
from edge.errors import SetupFailed
from edge.sim.launcher import Program
from edge.sim.stack import Stack


async def test_both_configurations_are_accepted_and_take_what_a_test_overrides(tmp_path: Path) -> None:
    stack = Stack(tmp_path, box={"uplink": {"health_s": 1.5}, "journal": {"segments": 3}})
    stack.write_configs()
    box = config.load(stack.box_config)
    assert (box.uplink.health_s, box.journal.segments) == (1.5, 3)
    assert box.uplink.port == stack.broker.port
    assert set(stack.stage.lines) == {*box.button.contacts, "tamper"}
    assert config.load(stack.desk_config).need_desk().http_port == stack.desk_port


async def test_a_wrong_override_is_told_as_the_product_tells_it(tmp_path: Path) -> None:
    with pytest.raises(SetupFailed, match=r"box\.toml:\d+: uplink\.helth_s is not a known key"):
        Stack(tmp_path, box={"uplink": {"helth_s": 1}}).write_configs()


def test_a_folder_too_deep_for_sockets_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(SetupFailed, match="use a shorter one"):
        Stack(tmp_path / ("x" * 100))


async def test_a_press_lights_the_lamp_with_nothing_but_callbox_there(tmp_path: Path) -> None:
    lit = asyncio.Event()
    async with Stack(tmp_path, roles=["callbox"], with_desk=False) as stack:
        stack.stage.observe(lambda kind, name, level, *_: lit.set() if (name, level) == ("lamp", 1) else None)
        await stack.stage.wait_for("callbox")
        await stack.stage.press("police", hold_s=0.1)
        async with asyncio.timeout(5):
            await lit.wait()


async def test_when_a_part_does_not_come_up_all_goes_down_and_it_says_which(tmp_path: Path) -> None:
    stack = Stack(tmp_path, roles=["callbox"], with_desk=False)
    stack.launcher.replace(Program("callbox", (sys.executable, "-c", "raise SystemExit('pin 17 is taken')")))
    with pytest.raises(SetupFailed, match=r"callbox is not ready .* pin 17 is taken"):
        await stack.start(timeout_s=2)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", stack.broker.port)) != 0
