"""One box and one centre for all tests of a run: each test leaves both as it found them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from hil_tests.bench.centre import Centre
from hil_tests.bench.guest import PORT, guest
from hil_tests.bench.virtual import VirtualBench
from hil_tests.world import World


@pytest_asyncio.fixture(scope="session")
async def _whole_run() -> AsyncIterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="edge-hil-", dir="/var/tmp"))
    found = await guest()
    async with Centre(folder / "centre", found.pki, PORT) as centre:
        bench = VirtualBench(found, folder / "box")
        world = World(bench, centre)
        try:
            await bench.start()
            await world.linked()
            yield world
        finally:
            await bench.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture
async def world(_whole_run: World) -> AsyncIterator[World]:
    """A box at rest, linked, with no incident open."""
    await _whole_run.rest()
    yield _whole_run
