"""The uplink process: wires bus, outbox and MQTT session; `edge run uplink`."""

from __future__ import annotations

import asyncio

from edge import supervision
from edge.bus import Bus
from edge.clock import SystemClock
from edge.config import Config
from edge.store.outbox import Outbox
from edge.uplink.uplink import Uplink


def run(config: Config) -> int:
    """Runs until told to stop; returns the exit status."""
    config.need_box()

    async def main(stop: asyncio.Event) -> None:
        clock = SystemClock(config.paths.run / "clock-raised")
        bus = Bus(config.paths.run / "bus", "uplink", ("callbox", "media"))
        store = Outbox(
            config.paths.data / "uplink" / "outbox.db",
            max_rows=config.uplink.outbox_max_rows,
            max_bytes=config.uplink.outbox_max_bytes,
        )
        uplink = Uplink(config, clock, bus, store, stop)
        bus.open()
        uplink.start()
        supervision.notify("READY=1")
        alive = asyncio.create_task(supervision.heartbeat(bus, "uplink"))
        await stop.wait()
        alive.cancel()
        await uplink.close()
        await bus.close()

    return supervision.serve("uplink", main)
