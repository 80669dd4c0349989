"""One box and one centre for all tests of a run: each test leaves both as it found them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from edge.sim.pki import HOST_OF_GUEST
from hil_tests.bench import pi_config
from hil_tests.bench.bench import Bench
from hil_tests.bench.centre import Centre
from hil_tests.bench.guest import PORT, guest
from hil_tests.bench.pi import PiBench
from hil_tests.bench.virtual import VirtualBench
from hil_tests.world import World


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pi", type=Path, metavar="FILE", help="the box is a real Pi; its bench's configuration"
    )


@pytest_asyncio.fixture(scope="session")
async def _whole_run(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="edge-hil-", dir="/var/tmp"))
    bench: Bench
    if file := request.config.getoption("pi"):
        config = pi_config.load(file)
        bench, pki, host = PiBench(config), config.pki, HOST_OF_GUEST
    else:
        found = await guest()
        bench, pki, host = VirtualBench(found, folder / "box"), found.pki, "127.0.0.1"
    async with Centre(folder / "centre", pki, PORT, host) as centre:
        world = World(bench, centre)
        try:
            await bench.start()
            await world.linked()
            yield world
        finally:
            await bench.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def virtual(world: World) -> VirtualBench:
    """The bench, for what no real box lets itself be done."""
    if not isinstance(world.bench, VirtualBench):
        pytest.skip("only the virtual bench has such a disk, or such a clock")
    return world.bench


@pytest_asyncio.fixture
async def world(_whole_run: World) -> AsyncIterator[World]:
    """A box at rest, linked, with no incident open."""
    await _whole_run.rest()
    yield _whole_run
