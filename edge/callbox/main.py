"""The callbox process: wires button, journal, indicator, incident and bus; `edge run callbox`."""

from __future__ import annotations

import asyncio
import contextlib

from edge import supervision
from edge.bus import Bus
from edge.callbox import pins
from edge.callbox.callbox import Callbox
from edge.clock import SystemClock
from edge.config import Config
from edge.store.files import RealFiles
from edge.store.journal import Journal

FALLBACK_SEGMENTS = 4
CLAIM_S = 15.0
"""A box that cannot have its buttons by then is up all the same, to say so."""


def run(config: Config) -> int:
    """Runs until told to stop; returns the exit status."""
    config.need_box()

    async def main(stop: asyncio.Event) -> None:
        own = config.paths.data / "callbox"
        # On a box it is on the data partition, where root makes it when that is mounted.
        with contextlib.suppress(OSError):
            own.mkdir(mode=0o750, parents=True, exist_ok=True)
        clock = SystemClock(config.paths.run / "clock-raised")
        bus = Bus(config.paths.run / "bus", "callbox", ("uplink", "media"))
        journal = Journal(own / "journal", RealFiles(mounted=own), config.journal.segments)
        memory = RealFiles(durable=False)
        fallback = Journal(config.paths.run / "callbox" / "journal", memory, FALLBACK_SEGMENTS)
        box = Callbox(config, clock, bus, pins.make(config, clock), journal, fallback, stop)
        bus.open()
        box.start()
        alive = asyncio.create_task(supervision.heartbeat(bus, "callbox"))
        ready = asyncio.create_task(_say_ready(box.claimed))
        await stop.wait()
        alive.cancel()
        ready.cancel()
        await box.close()
        await bus.close()

    return supervision.serve("callbox", main)


async def _say_ready(claimed: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLAIM_S):
            await claimed.wait()
    supervision.notify("READY=1")
