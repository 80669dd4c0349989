"""The ground gives way: link, clock and disk."""

from __future__ import annotations

import asyncio
import errno
import functools

import pytest

from hil_tests.bench.virtual import VirtualBench
from hil_tests.world import World

short = pytest.mark.short
YEAR_AGO = "2025-11-22T00:00:00"
LATER_THAN_THE_MOUNT_WAITS_S = 25
FOLDERS_COME_LATE = """
mkdir -p /run/systemd/system/edge-data.service.d
cat >/run/systemd/system/edge-data.service.d/late.conf <<'END'
[Service]
TimeoutStartSec=60
ExecStartPre=/usr/bin/sleep 25
END
systemctl daemon-reload
"""


async def test_I2_a_link_that_flaps_loses_and_doubles_nothing(world: World) -> None:
    before = world.centre.presses()
    for number in range(5):
        await world.bench.link(False)
        await world.bench.press("police")
        await asyncio.sleep(0.3 + 0.3 * number)  # two contacts of a finger are so far apart
        await world.bench.link(True)
        await asyncio.sleep(0.5 * number)
    await world.centre.stored(before + 5)
    await asyncio.sleep(3)
    assert world.centre.presses() == before + 5


async def test_I9_a_box_that_boots_a_year_back_without_a_network_is_heard_when_it_has_one(
    world: World, virtual: VirtualBench
) -> None:
    before = world.centre.presses()
    bench = virtual
    await bench.cut()
    try:
        await bench.restore(clock=YEAR_AGO, link=False)
        await bench.press("police")
        await world.until(
            lambda: world.log("edge-callbox", "press stored.*durable=True"), "the press is stored"
        )
        assert "2025" not in (await bench.sh("date -u +%Y")), "the start step has raised the clock"
        await bench.link(True)
        await world.centre.stored(before + 1)
        await bench.set_clock(world.centre.utc_s() + 3600)  # NTP puts it right, in the middle of an incident
        await bench.press("women")
        await world.centre.stored(before + 2)
    finally:
        await bench.cut()


@short
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["full", "dead"])
async def test_I1_a_disk_that_refuses_costs_no_press(world: World, virtual: VirtualBench, error: int) -> None:
    """The box says so: not durable, and the fault in its lamp and log."""
    disk = virtual.disk
    assert disk is not None
    disk.refusal = error
    before, mark = world.centre.presses(), await world.mark()
    await world.bench.press("police")
    await world.centre.stored(before + 1)
    assert await world.log("edge-callbox", "press stored.*durable=False", mark)
    # A file system that has seen its disk die stays read-only: only a new start mounts it again.
    disk.refusal = 0
    await world.bench.cut()
    await world.bench.restore()
    await world.linked()
    await world.press_arrives("women")


async def test_I1_a_partition_that_is_read_only_costs_no_press(world: World) -> None:
    """As a kernel leaves it that has found it damaged."""
    before = world.centre.presses()
    units = "edge-callbox edge-uplink"
    await world.bench.sh(
        f"systemctl stop {units}; mount -o remount,ro /var/lib/edge; systemctl start {units}"
    )
    mark = await world.mark()
    await world.bench.press("police")
    await world.centre.stored(before + 1)
    assert await world.log("edge-callbox", "press stored.*durable=False", mark)
    # What a unit may write is settled when it starts.
    await world.bench.sh(f"mount -o remount,rw /var/lib/edge; systemctl restart {units}")
    mark = await world.mark()
    await world.linked()
    await world.press_arrives("women")
    assert await world.log("edge-callbox", "press stored.*durable=True", mark)


async def test_I2_a_disk_that_comes_late_is_used_when_it_is_there(
    world: World, virtual: VirtualBench
) -> None:
    bench = virtual
    await world.press_arrives()  # the journal on it is not empty
    await bench.cut()
    await bench.restore(disk=False)
    before, mark = world.centre.presses(), await world.mark()
    await bench.press("women")
    await world.until(
        lambda: world.log("edge-callbox", "press stored.*durable=False", mark), "it is in memory"
    )
    await asyncio.sleep(LATER_THAN_THE_MOUNT_WAITS_S)
    await bench.put_disk_in()
    await world.until(lambda: world.log("edge-callbox", "journal read records=[1-9]"), "the journal is read")
    await world.until(
        lambda: world.log("edge-callbox", "press stored.*durable=True", mark), "it is on the disk"
    )
    await world.centre.stored(before + 1)
    await world.linked()
    await world.press_arrives("medical")
    assert world.centre.presses() == before + 2


async def test_I2_on_a_new_disk_a_press_is_durable_as_soon_as_its_folders_are_made(
    world: World, virtual: VirtualBench
) -> None:
    bench = virtual
    await bench.cut()
    await bench.new_disk()
    bench.before_units = FOLDERS_COME_LATE
    try:
        await bench.restore()
    finally:
        bench.before_units = ""
    assert (await bench.sh("ls /var/lib/edge")).split() == ["lost+found"], "callbox was there first"
    await bench.link(False)
    before = world.centre.presses()
    await bench.press("police")
    for unit, text in (("callbox", "press stored.*durable=True"), ("uplink", "outbox read")):
        await world.until(functools.partial(world.log, f"edge-{unit}", text), f"{unit} has its folder")
    await bench.link(True)
    await world.centre.stored(before + 1)


async def test_I1_a_slow_disk_delays_no_alert(world: World, virtual: VirtualBench) -> None:
    disk = virtual.disk
    assert disk is not None
    before, mark = world.centre.presses(), await world.mark()
    disk.slow_s = 5.0
    try:
        await world.bench.press("police")
        await world.centre.stored(before + 1)
        assert await world.log("edge-callbox", "press stored.*durable=False", mark)
    finally:
        disk.slow_s = 0.0
    await asyncio.sleep(6)
    await world.press_arrives("women")


async def test_I4_without_its_disk_a_box_arms_and_calls(world: World, virtual: VirtualBench) -> None:
    before = world.centre.presses()
    await world.bench.cut()
    await virtual.restore(disk=False)
    await world.bench.press("police")
    await world.centre.stored(before + 1)
    assert await world.log("edge-callbox", "press stored.*durable=False")
    await world.bench.cut()
    await world.bench.restore()
    await world.linked()


async def test_I4_a_cold_boot_ends_armed_and_nothing_has_failed(world: World) -> None:
    bench = world.bench
    await bench.cut()
    await bench.restore(cold=True)
    await world.linked()
    failed = await bench.sh("systemctl list-units --failed --no-legend --plain 'edge-*' 'var-*'")
    assert failed.strip() == ""
    assert "ro," in (await bench.sh("grep ' / ' /proc/mounts")), "the root is not written"
    await world.press_arrives()
    assert await world.log("edge-callbox", "press stored.*durable=True")
    await bench.cut()
