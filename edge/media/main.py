"""The media process: wires bus, player and sound card; `edge run media`."""

from __future__ import annotations

import asyncio

from edge import supervision
from edge.bus import Bus
from edge.clock import SystemClock
from edge.config import Config
from edge.media import sound
from edge.media.media import Media
from edge.media.prompts import Prompts


def run(config: Config) -> int:
    """Runs until told to stop; returns the exit status."""
    box = config.need_box()

    async def main(stop: asyncio.Event) -> None:
        clock = SystemClock(config.paths.run / "clock-raised")
        prompts = Prompts(box.languages, config.audio.prompts, config.audio.volume)
        bus = Bus(config.paths.run / "bus", "media", ("callbox", "uplink"))
        media = Media(box.languages, prompts, sound.make(config, clock), bus, clock)
        bus.open()
        media.start()
        supervision.notify("READY=1")
        alive = asyncio.create_task(supervision.heartbeat(bus, "media", media.detail))
        await stop.wait()
        alive.cancel()
        await media.close()
        await bus.close()

    return supervision.serve("media", main)
