"""The whole product on one machine: broker, stage, one simulated box and a desk, in one folder.

For the demo, for tests and for benches. Everything listens on loopback or on Unix sockets in the folder::

    async with Stack(folder) as stack:
        await stack.stage.press("police")

The parts can be handled alone: `stack.broker` and `stack.stage` here, the programs by name (callbox, uplink,
media, desk) through `stack.launcher`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from edge import config, toml
from edge.errors import ConfigError, SetupFailed
from edge.run import ROLES
from edge.sim.broker import Broker, free_port
from edge.sim.launcher import Launcher, Program
from edge.sim.pki import Pki
from edge.sim.stage import Stage

CITY, DEVICE, DESK = "karnal", "box-1", "desk-1"
SERVICES = {"police": "112", "women": "181", "medical": "108"}
LONGEST_SOCKET = 107
"""Bytes of a Unix socket's path on Linux."""


class Stack:
    """`folder` is made when it is absent, and what it holds (certificates, journals) is kept and used again.

    Args:
        roles: which processes of the box run.
        with_desk: whether the desk runs.
        box, desk: what differs from the defaults in the configurations, by section and key, for example
            ``box={"uplink": {"health_s": 1}}``.
        desk_http_port: 0 takes a free one.
        others: more names that the broker takes for desks; the caller is them.
        watchdog_s: enforced on every program when given.
    """

    def __init__(
        self,
        folder: Path,
        *,
        roles: Iterable[str] = ROLES,
        with_desk: bool = True,
        box: Mapping[str, Mapping[str, Any]] | None = None,
        desk: Mapping[str, Mapping[str, Any]] | None = None,
        desk_http_port: int = 0,
        city: str = CITY,
        others: Iterable[str] = (),
        watchdog_s: float | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.run = self.folder / "run"
        """The bus's sockets and the stage's."""
        self.data = self.folder / "data"
        self.box_config = self.folder / "box.toml"
        self.desk_config = self.folder / "desk.toml"
        self.token_file = self.folder / "desk.token"
        self.desk_port = desk_http_port or free_port()
        self.desk_url = f"http://127.0.0.1:{self.desk_port}"
        longest = self.run / "callbox.sock"
        if len(str(longest).encode()) > LONGEST_SOCKET:
            raise SetupFailed(f"{self.folder} is too long a path for Unix sockets: use a shorter one")
        self.pki = Pki(self.folder / "pki")
        self.broker = Broker(self.folder / "broker", self.pki, city, [DESK, *others])
        self.stage = Stage(self.run / "stage.sock", SERVICES)
        self.city = city
        self._box, self._desk = box or {}, desk or {}
        programs = [self._program(role, "run", role, self.box_config) for role in roles]
        if with_desk:
            programs.insert(0, self._program("desk", "desk", None, self.desk_config))
        self.launcher = Launcher(self.folder / "log", [replace(p, watchdog_s=watchdog_s) for p in programs])

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, timeout_s: float = 30) -> None:
        """Brings everything up, each part ready in the sense of its own word.

        Raises:
            SetupFailed: a part did not come up; everything is down again.
        """
        try:
            self.write_configs()
            await self.stage.start()
            await self.broker.start()
            await self.launcher.start()
            await self.launcher.ready(timeout_s=timeout_s)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Takes everything down, box first, so that its last words still find the broker."""
        await self.launcher.stop()
        await self.stage.close()
        await self.broker.stop()

    def write_configs(self) -> None:
        """Writes both configurations, checked as the product checks them; programs read them at start."""
        for path, table in ((self.box_config, self._box_table()), (self.desk_config, self._desk_table())):
            path.write_text(toml.dumps(table))
            try:
                config.load(path)
            except ConfigError as error:
                raise SetupFailed(str(error)) from error

    @property
    def token(self) -> str:
        """The operators' access token; the desk makes it at its first start."""
        try:
            return self.token_file.read_text().strip()
        except OSError as error:
            raise SetupFailed(f"the desk has made no token yet: {error}") from error

    def _program(self, name: str, command: str, role: str | None, path: Path) -> Program:
        words = [command, *([role] if role else []), "--config", str(path)]
        root = str(Path(__file__).parents[2])
        return Program(name, (sys.executable, "-m", "edge", *words), env={"PYTHONPATH": root})

    def _box_table(self) -> dict[str, Any]:
        identity = self.pki.client(DEVICE)
        place = {"lat": 29.6857, "lon": 76.9905, "civic": {"A1": "Haryana", "A3": "Karnal", "RD": "GT Road"}}
        contacts = {s: {"pin": pin, "service": s} for s, pin in zip(SERVICES, (17, 27, 22), strict=True)}
        table: dict[str, Any] = {
            "box": {
                "city": self.city,
                "device": DEVICE,
                "name": "Bus stand, gate 2",
                "services": SERVICES,
                "place": place,
            },
            "paths": {"data": self.data, "run": self.run},
            "button": {"driver": "sim", "tamper_pin": 5, "contacts": contacts},
            "indicator": {"lamp_pin": 24, "buzzer_pin": 25, "beacon_pin": 23},
            "audio": {"driver": "sim"},
            "uplink": {
                "host": "127.0.0.1",
                "port": self.broker.port,
                "ca": self.pki.ca,
                "cert": identity.cert,
                "key": identity.key,
                # One box is no city, and whoever kills the broker wants to see it come back.
                "first_spread_s": 0,
                "retry_max_s": 2,
                "health_s": 5,
            },
            "sim": {"stage": self.stage.path},
        }
        return _merged(table, self._box)

    def _desk_table(self) -> dict[str, Any]:
        identity = self.pki.client(DESK)
        table: dict[str, Any] = {
            "desk": {
                "id": DESK,
                "city": self.city,
                "data": self.folder / "desk",
                "broker_host": "127.0.0.1",
                "broker_port": self.broker.port,
                "ca": self.pki.ca,
                "cert": identity.cert,
                "key": identity.key,
                "http_port": self.desk_port,
                "token_file": self.token_file,
            }
        }
        return _merged(table, self._desk)


def _merged(table: Mapping[str, Any], over: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`over` wins key by key, section by section."""
    sections = dict.fromkeys([*table, *over])
    return {name: {**table.get(name, {}), **over.get(name, {})} for name in sections}
