"""What hangs comes back, what eats memory eats its own, and each unit may do what it needs alone."""

from __future__ import annotations

import pytest

from hil_tests.world import UNITS, World

short = pytest.mark.short
EAT = "import time; held = [bytearray(1 << 20) for _ in range(400)]; time.sleep(60)"


@pytest.mark.parametrize("unit", UNITS)
async def test_a_process_that_hangs_is_started_again(world: World, unit: str) -> None:
    await world.until(lambda: world.active(unit), f"{unit} runs")
    pid = await world.main_pid(unit)
    before = world.centre.presses()
    await world.bench.sh(f"kill -STOP {pid}")
    if unit != "edge-callbox":
        before += 1
        await world.bench.press("police")  # I4, I5: the box answers without it
        assert await world.citizen() in ("pressed", "trying", "sent", "received")

    async def another() -> bool:
        return await world.main_pid(unit) not in (0, pid) and await world.active(unit)

    await world.until(another, f"{unit} was started again", 120)
    await world.linked()
    await world.bench.press("women")
    await world.centre.stored(before + 1)


@pytest.mark.parametrize("unit", UNITS)
async def test_I5_memory_that_is_eaten_in_one_unit_is_not_callboxs(world: World, unit: str) -> None:
    await world.until(lambda: world.active(unit), f"{unit} runs")
    callbox = await world.main_pid("edge-callbox")
    procs = f"/sys/fs/cgroup/system.slice/{unit}.service/cgroup.procs"
    mark = await world.mark()
    out = await world.bench.sh(
        f"sh -c 'echo $$ > {procs}; exec python3 -c \"{EAT}\"'; echo rc=$?", check=False, timeout_s=120
    )
    # The kernel chose who ate, or the unit's own process: then systemd has stopped whoever else was in it.
    assert "rc=137" in out or "rc=143" in out, "the limit of the unit was reached"
    assert await world.log(unit, "killed by the OOM killer", mark)
    await world.until(lambda: world.active(unit), f"{unit} runs again", 120)
    assert await world.main_pid("edge-callbox") == callbox
    await world.linked()
    await world.press_arrives()


@short
async def test_I8_each_unit_is_closed_to_what_it_does_not_need_and_works_so(world: World) -> None:
    for unit in (*UNITS, "edge-clock", "edge-data"):
        out = await world.bench.sh(
            f"systemd-analyze security --no-pager {unit}.service | tail -1", timeout_s=90
        )
        exposure = float(out.split(": ")[1].split()[0])
        assert exposure <= 3.0, f"{unit}: {exposure}"
    for unit in UNITS:
        await world.until(lambda unit=unit: world.active(unit), f"{unit} works")  # type: ignore[misc]
    out = await world.bench.sh("systemctl list-units --failed --no-legend --plain 'edge-*'")
    assert out.strip() == ""


async def test_I4_a_killed_callbox_is_armed_again(world: World) -> None:
    for _ in range(3):
        pid = await world.main_pid("edge-callbox")
        await world.bench.sh(f"kill -KILL {pid}")

        async def another(pid: int = pid) -> bool:
            return await world.main_pid("edge-callbox") not in (0, pid) and await world.active("edge-callbox")

        await world.until(another, "callbox is armed again")
    await world.press_arrives()


async def test_a_kernel_that_hangs_is_reset_by_the_hardware(world: World) -> None:
    await _resets(world, "kernel")


async def test_a_systemd_that_hangs_is_reset_by_the_hardware(world: World) -> None:
    await _resets(world, "systemd")


async def _resets(world: World, level: str) -> None:
    bench = world.bench
    await bench.cut()
    await bench.restore(cold=True)  # a saved state is of a guest whose watchdog nobody feeds yet
    await world.linked()
    await world.hang(level)
    await world.linked()
    await world.press_arrives()
    await bench.cut()
