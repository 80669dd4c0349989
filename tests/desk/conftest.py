"""A desk in this process: real core, store, keeper and API; a list stands for the broker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from edge.clock import SystemClock
from edge.desk.api import make_app
from edge.desk.core import Core
from edge.desk.keeper import Keeper
from edge.desk.records import Outcome, Send
from edge.desk.service import Link, Service, box_row
from edge.desk.sessions import Sessions
from edge.desk.store import Store
from edge.desk.stream import Hub

TOKEN = "a-token-for-tests-only"


@dataclass
class Desk:
    """The parts, wired as `edge.desk.main` wires them."""

    store: Store
    core: Core
    keeper: Keeper
    service: Service
    sessions: Sessions
    hub: Hub
    sent: list[Send] = field(default_factory=list)
    presences: list[int] = field(default_factory=list)

    @cached_property
    def app(self) -> FastAPI:
        return make_app(self.service, self.sessions, SystemClock())

    def client(self, **headers: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", headers=headers)

    def program(self) -> httpx.AsyncClient:
        return self.client(Authorization=f"Bearer {TOKEN}")


def build(path: Path, presence_s: float = 10) -> Desk:
    clock = SystemClock()
    store = Store(path / "desk.sqlite3")
    core = Core(90)
    store.load_into(core, clock.read())
    hub = Hub()
    sent: list[Send] = []
    presences: list[int] = []

    def send(sends: Sequence[Send]) -> None:
        sent.extend(sends)

    keeper = Keeper(
        store,
        clock,
        presence_s=presence_s,
        box_row=lambda device: box_row(core, device),
        send=send,
        presence=lambda: presences.append(hub.staffed),
    )
    service = Service(core, clock, hub, keeper, Store(store.path, read_only=True), Link())
    service.link_changed(True)
    sessions = Sessions(TOKEN, clock, lambda row: keeper.submit(Outcome([row])), store.sessions())
    return Desk(store, core, keeper, service, sessions, hub, sent, presences)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = build(tmp_path)
    task = asyncio.get_running_loop().create_task(made.keeper.run())
    yield made
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    made.service.close()
