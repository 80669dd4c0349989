#!/usr/bin/python3 -I
"""Measures single presses inside the bench's guest, and what its disk and its broker alone take.

``latency.py FOLDER`` reads one word a line from FOLDER/go (a FIFO) and answers each with a line of JSON in
FOLDER/told:

    press    contact of GPIO 17 at the kernel -> lamp at the kernel, told durable, PUBACK; ms
    floors   one slot written and fdatasync'd; one QoS 1 round trip of a bare client; ms

FOLDER also has floor.json: host, port, ca, cert and key of the bare client, and a topic it may write to.
"""

import asyncio
import json
import os
import random
import sys
import threading
import time
from glob import glob
from pathlib import Path
from typing import Any

sys.path.insert(0, "/usr/lib/edge")

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.bus import Bus
from edge.protocol.inner import Delivery, PressTold
from edge.store.files import RealFiles
from edge.store.journal import SEGMENT, SLOT

BUTTON, LAMP = 17, 24
FLOOR = Path("/var/lib/edge/bench-floor/floor.seg")
WAIT_S = 30.0


def attribute(number: int, what: str) -> str:
    return glob(f"/sys/devices/platform/gpio-sim.0/gpiochip*/sim_gpio{number}/{what}")[0]


class Meter:
    def __init__(self) -> None:
        self.bus = Bus(Path("/run/edge/bus"), "bench", ("callbox", "uplink"))
        self.bus.on(PressTold, self._told)
        self.bus.on(Delivery, self._delivery)
        self.bus.open()
        self.told: dict[str, tuple[PressTold, int]] = {}
        self.sent: dict[str, int] = {}

    def _told(self, _sender: str, told: PressTold) -> None:
        self.told.setdefault(told.press.press_id, (told, time.monotonic_ns()))

    def _delivery(self, _sender: str, delivery: Delivery) -> None:
        for word in delivery.incidents:
            if word.sent_ns is not None:
                self.sent.setdefault(word.incident_id, word.sent_ns)

    async def press(self) -> dict[str, Any]:
        known = set(self.told)
        pull = os.open(attribute(BUTTON, "pull"), os.O_WRONLY)
        lamp = asyncio.create_task(asyncio.to_thread(lamp_on_ns))
        await asyncio.sleep(0.2)
        os.pwrite(pull, b"pull-down", 0)
        edge_ns = time.monotonic_ns()
        told, told_ns = await self._wait(
            lambda: next((v for k, v in self.told.items() if k not in known), None)
        )
        await asyncio.sleep(0.3)
        os.pwrite(pull, b"pull-up", 0)
        os.close(pull)
        sent_ns = await self._wait(lambda: self.sent.get(told.press.incident_id))
        return {
            "edge_to_lamp": (await lamp - edge_ns) / 1e6,
            "edge_to_durable": (told_ns - edge_ns) / 1e6 if told.durable else None,
            "edge_to_puback": (sent_ns - edge_ns) / 1e6,
            "confirmed_to_durable": (told.stored_ns - told.confirmed_ns) / 1e6,
            "confirmed_to_puback": (sent_ns - told.confirmed_ns) / 1e6,
        }

    async def _wait(self, look: Any) -> Any:
        async with asyncio.timeout(WAIT_S):
            while (found := look()) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return found


def lamp_on_ns() -> int:
    """Waits for the lamp, which is dark now."""
    fd = os.open(attribute(LAMP, "value"), os.O_RDONLY)
    end_ns = time.monotonic_ns() + round(WAIT_S * 1e9)
    try:
        while os.pread(fd, 1, 0) != b"1" and time.monotonic_ns() < end_ns:
            time.sleep(0.0005)
        return time.monotonic_ns()
    finally:
        os.close(fd)


class Floors:
    def __init__(self, folder: Path) -> None:
        files = RealFiles()
        FLOOR.parent.mkdir(exist_ok=True)
        files.create(FLOOR, SEGMENT)
        self.file = files.open(FLOOR, write=True)
        self.slot = 0
        settings = json.loads((folder / "floor.json").read_text())
        self.topic = settings["topic"]
        self.acknowledged = threading.Event()
        self.at_ns = 0
        connected = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="floor", protocol=paho.MQTTv5)
        self.client.tls_set(settings["ca"], settings["cert"], settings["key"])
        self.client.on_connect = lambda *_: connected.set()
        self.client.on_publish = self._on_publish
        self.client.connect(settings["host"], settings["port"])
        self.client.loop_start()
        if not connected.wait(WAIT_S):
            raise RuntimeError("the broker does not let the bare client in")

    def _on_publish(self, *_: Any) -> None:
        self.at_ns = time.monotonic_ns()
        self.acknowledged.set()

    def once(self) -> dict[str, Any]:
        self.slot = (self.slot + 1) % (SEGMENT // SLOT)
        data = random.randbytes(600).ljust(SLOT, b"\0")
        began_ns = time.monotonic_ns()
        self.file.write(self.slot * SLOT, data)
        self.file.sync()
        disk_ns = time.monotonic_ns() - began_ns
        time.sleep(0.2)
        self.acknowledged.clear()
        began_ns = time.monotonic_ns()
        self.client.publish(self.topic, random.randbytes(700), qos=1)
        if not self.acknowledged.wait(WAIT_S):
            raise RuntimeError("the broker does not acknowledge")
        return {"fdatasync": disk_ns / 1e6, "qos1_round_trip": (self.at_ns - began_ns) / 1e6}


async def main(folder: Path) -> None:
    meter, floors = Meter(), await asyncio.to_thread(Floors, folder)
    (folder / "ready").touch()
    while True:
        word = (await asyncio.to_thread((folder / "go").read_text)).strip()
        try:
            found = await meter.press() if word == "press" else await asyncio.to_thread(floors.once)
        except Exception as error:
            found = {"error": repr(error)}
        (folder / "told.new").write_text(json.dumps(found))
        (folder / "told.new").rename(folder / "told")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
