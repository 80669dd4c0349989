"""What tests of a box's parts share: its configuration, presses by number, and a bus that is a list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from edge.clock import ManualClock
from edge.config import Config
from edge.protocol.common import Model, Press, Stamp
from edge.protocol.inner import PressTold

T = TypeVar("T", bound=Model)
CITY, DEVICE = "karnal", "box-1"
WAIT_S = 15


def uid(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


def stamp(seq: int = 1) -> Stamp:
    return Stamp.of(ManualClock().read(), seq)


def press(number: int, incident: int | None = None, **more: Any) -> Press:
    """A press by number; without `incident` it is the first of its incident."""
    values: dict[str, Any] = {
        "press_id": uid(number),
        "incident_id": uid(number if incident is None else incident),
        "button": "police",
        "service": "police",
        "routing": "112",
        "at": stamp(number),
        **more,
    }
    return Press(**values)


def told(number: int, incident: int | None = None, durable: bool = True, **more: Any) -> PressTold:
    return PressTold(
        press=press(number, incident, **more), durable=durable, edge_ns=1, confirmed_ns=2, stored_ns=3
    )


def config(folder: Path, **sections: dict[str, Any]) -> Config:
    """A box of three buttons, one of them silent, with the sim drivers; `sections` win key by key."""
    table: dict[str, dict[str, Any]] = {
        "box": {
            "city": CITY,
            "device": DEVICE,
            "name": "Bus stand, gate 2",
            "place": {"lat": 29.6857, "lon": 76.9905},
        },
        "paths": {"data": folder / "data", "run": folder / "run"},
        "button": {
            "driver": "sim",
            "tamper_pin": 5,
            "contacts": {
                "police": {"pin": 17, "service": "police"},
                "women": {"pin": 27, "service": "women", "silent": True},
                "medical": {"pin": 22, "service": "medical"},
            },
        },
        "indicator": {"lamp_pin": 24, "buzzer_pin": 25, "beacon_pin": 23},
        "audio": {"driver": "sim"},
        "journal": {"segments": 2},
        "uplink": {"first_spread_s": 0, "retry_max_s": 1},
        "sim": {"stage": folder / "run" / "stage.sock"},
    }
    for name, keys in sections.items():
        table[name] = {**table.get(name, {}), **keys}
    return Config.model_validate(table)


class ListBus:
    """Stands for `edge.bus.Bus`: what is published is kept, what is heard is said by the test."""

    def __init__(self) -> None:
        self.said: list[Model] = []
        self._handlers: dict[type[Model], list[Callable[[str, Any], None]]] = {}

    def on(self, model: type[Model], handler: Callable[[str, Any], None]) -> None:
        self._handlers.setdefault(model, []).append(handler)

    def publish(self, message: Model) -> None:
        # As over the real one: only what survives JSON under its wire names.
        raw = message.model_dump_json(by_alias=True, exclude_none=True)
        self.said.append(type(message).model_validate_json(raw))

    def hear(self, message: Model, sender: str = "peer") -> None:
        for handler in self._handlers.get(type(message), ()):
            handler(sender, message)

    def of(self, model: type[T]) -> list[T]:
        return [m for m in self.said if isinstance(m, model)]


async def until(look: Callable[[], Any], what: str = "what the test waits for") -> Any:
    """Waits until `look` gives something true, and returns it; how long that takes is not the point."""
    try:
        async with asyncio.timeout(WAIT_S):
            while not (found := look()):  # noqa: ASYNC110 - most of what is waited for has no event
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"never came: {what}") from None
    return found


async def turns(number: int = 5) -> None:
    """Lets everything that is ready on the loop run."""
    for _ in range(number):
        await asyncio.sleep(0)
