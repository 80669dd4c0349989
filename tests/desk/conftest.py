"""A desk in this process: real core, store, keeper and API; a list stands for the broker."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI

from edge.clock import SystemClock
from edge.desk.api import make_app
from edge.desk.book import Contact, Rules
from edge.desk.core import Core
from edge.desk.desk import Desk as Door
from edge.desk.history import History
from edge.desk.keeper import Keeper
from edge.desk.passwords import Locks, Passwords
from edge.desk.people import Role
from edge.desk.records import Outcome, Send
from edge.desk.service import Link, Service, box_row
from edge.desk.sessions import Sessions
from edge.desk.store import Store
from edge.desk.stream import Hub
from edge.desk.views import DeskInfo

TOKEN = "a-token-for-tests-only"
PASSWORD = "three words apart"
_ENCODED = PasswordHasher().hash(PASSWORD)
RULES = Rules(contacts=(Contact("police", "Police control room", "112", "police"),))
INFO = DeskInfo(city="karnal", groups=["Control room"], answer_s=15, contacts=[], tiles="", tiles_credit="")


@dataclass
class Desk:
    """The parts, wired as `edge.desk.main` wires them."""

    door: Door

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
        return make_app(self.door)

    def person(self, name: str, role: Role = "operator", group: int = 0) -> str:
        """Makes a person, if there is none of that name; returns what he signs in with."""
        login = name.lower()
        people, now = self.core.people, SystemClock().read()
        if people.active(login) is None:
            self.keeper.submit(people.invite(f"invitation of {login}", role, group, "", "test", now))
            self.keeper.submit(people.accept(f"invitation of {login}", login, name, _ENCODED, now))
        return login

    def acts_of(self, incident_id: str) -> list[str]:
        """What stands in the stored timeline of an incident, in order."""
        with contextlib.closing(sqlite3.connect(self.store.path)) as db:
            rows = db.execute("SELECT kind FROM timeline WHERE incident_id = ? ORDER BY seq", (incident_id,))
            return [kind for (kind,) in rows]

    async def sign_in(self, client: httpx.AsyncClient, name: str = "Asha", role: Role = "operator") -> None:
        body = {"login": self.person(name, role), "password": PASSWORD}
        assert (await client.post("/api/session", json=body)).status_code == 200

    def client(self, **headers: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", headers=headers)

    def program(self) -> httpx.AsyncClient:
        return self.client(Authorization=f"Bearer {TOKEN}")


def build(path: Path, presence_s: float = 10, rules: Rules | None = None) -> Desk:
    clock = SystemClock()
    store = Store(path / "desk.sqlite3")
    core = Core(90, rules or RULES)
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
    reader, history, figures = Store(store.path, read_only=True), History(store.path), History(store.path)
    service = Service(core, clock, hub, keeper, reader, history, figures, Link())
    service.link_changed(True)
    sessions = Sessions(
        TOKEN, core.people, clock, lambda row: keeper.submit(Outcome([row])), store.sessions()
    )
    door = Door(service, sessions, clock, Passwords(), Locks(clock), INFO)
    return Desk(door, store, core, keeper, service, sessions, hub, sent, presences)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = build(tmp_path)
    task = asyncio.get_running_loop().create_task(made.keeper.run())
    yield made
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    made.service.close()
