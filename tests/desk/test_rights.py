"""What each role and each token may call; and that who only looks sees nobody's name."""

from __future__ import annotations

from typing import Any, get_args

import httpx
import pytest

from edge.clock import SystemClock
from edge.desk.people import SCOPES, Role, Scope, Token
from edge.desk.sessions import digest
from tests.desk.conftest import PASSWORD, Desk
from tests.desk.wire import alert, health, uid

INCIDENT = f"/api/incidents/{uid(1)}"
CALLS: list[tuple[str, str, Any, Scope]] = [
    ("GET", "/api/health", None, "look"),
    ("GET", "/api/desk", None, "look"),
    ("GET", "/api/boxes", None, "look"),
    ("GET", "/api/boxes/box-1", None, "look"),
    ("GET", "/api/boxes/box-1/course", None, "look"),
    ("GET", "/api/boxes/box-1/timeline", None, "view"),
    ("POST", "/api/boxes/box-1/commands", {"name": "ping"}, "command"),
    ("GET", "/api/alarms", None, "look"),
    ("POST", "/api/alarms/broker/seen", None, "act"),
    ("GET", "/api/incidents", None, "look"),
    ("GET", INCIDENT, None, "view"),
    ("POST", f"{INCIDENT}/acts", {"act": "seen"}, "act"),
    ("POST", f"{INCIDENT}/acts", {"act": "note", "text": "x"}, "act"),
    ("POST", f"{INCIDENT}/acts", {"act": "close", "disposition": "real"}, "act"),
    ("GET", "/api/history", None, "look"),
    ("GET", "/api/answers?by=hour", None, "look"),
    ("GET", "/api/export/incidents.csv", None, "export"),
    ("GET", "/api/export/boxes.geojson", None, "export"),
    ("GET", "/api/audit", None, "manage"),
    ("GET", "/api/people", None, "act"),
    ("POST", "/api/people/invitations", {"role": "observer"}, "manage"),
    ("PATCH", "/api/people/asha", {"group": 0}, "manage"),
    ("GET", "/api/tokens", None, "manage"),
    ("POST", "/api/tokens", {"label": "x", "scopes": ["look"]}, "manage"),
    ("DELETE", "/api/tokens/0", None, "manage"),
]


async def check(client: httpx.AsyncClient, scopes: frozenset[Scope]) -> None:
    for method, path, body, needed in CALLS:
        answer = await client.request(method, path, json=body)
        if needed in scopes:
            assert answer.status_code not in (401, 403), (method, path, answer.text)
        else:
            assert answer.status_code == 403, (method, path)
            assert needed in answer.json()["detail"]


def fill(desk: Desk) -> None:
    desk.service.take(alert(1), "alert")
    desk.service.take(health(), "health")
    desk.person("Asha")
    desk.person("Meera", "supervisor")


@pytest.mark.parametrize("role", get_args(Role))
async def test_a_role_may_do_what_it_is_for_and_nothing_else(desk: Desk, role: Role) -> None:
    fill(desk)
    async with desk.client() as client:
        await desk.sign_in(client, "Ravi", role)
        await check(client, SCOPES[role])


@pytest.mark.parametrize("scope", get_args(Scope))
async def test_a_token_opens_what_its_scope_says(desk: Desk, scope: Scope) -> None:
    fill(desk)
    now = SystemClock().read()
    token = Token(
        digest=digest("secret"),
        label="ICCC",
        scopes=frozenset({scope, "look"}),
        by="Meera",
        made_utc="",
        ends_ns=now.utc_ns + 10**12,
    )
    desk.keeper.submit(desk.core.people.grant(token, now))
    async with desk.client(Authorization="Bearer secret") as client:
        await check(client, token.scopes)


async def test_a_person_who_may_come_in_no_more_is_out_at_once(desk: Desk) -> None:
    fill(desk)
    async with desk.client() as client, desk.client() as boss:
        await desk.sign_in(client, "Asha")
        await desk.sign_in(boss, "Meera", "supervisor")
        key = client.cookies["edge_desk"]
        assert (await boss.patch("/api/people/asha", json={"active": False})).json()["active"] is False
        assert (await client.get("/api/boxes")).status_code == 401
        body = {"login": "asha", "password": PASSWORD}
        assert (await client.post("/api/session", json=body)).status_code == 401
        await boss.patch("/api/people/asha", json={"active": True})
        client.cookies.set("edge_desk", key)
        assert (await client.get("/api/boxes")).status_code == 401, "the old session stays over"


async def test_signing_in_gives_another_key_than_the_browser_brought(desk: Desk) -> None:
    chosen = {"Cookie": "edge_desk=chosen-by-somebody-else"}
    body = {"login": desk.person("Asha"), "password": PASSWORD}
    async with desk.client() as client, desk.client() as other:
        answer = await client.post("/api/session", json=body, headers=chosen)
        assert answer.status_code == 200
        assert "chosen-by-somebody-else" not in answer.headers["set-cookie"]
        assert (await other.get("/api/session", headers=chosen)).status_code == 401


async def test_wrong_passwords_lock_out_and_stand_in_the_audit(desk: Desk) -> None:
    desk.person("Asha")
    body = {"login": "asha", "password": "not the password"}
    async with desk.client() as client, desk.program() as program:
        told = [(await client.post("/api/session", json=body)).json()["detail"] for _ in range(6)]
        assert told[:5] == ["name or password is not right"] * 5
        assert "wait" in told[5]
        right = await client.post("/api/session", json={"login": "asha", "password": PASSWORD})
        assert right.status_code == 401
        nobody = await client.post("/api/session", json={**body, "login": "nobody"})
        assert nobody.json()["detail"] == told[0], "who is there and who is not cannot be told apart"
        kinds = [e["kind"] for e in (await program.get("/api/audit")).json()]
        assert kinds.count("sign_in_refused") == 5


async def test_who_only_looks_sees_no_names_and_not_who_asked_for_silence(desk: Desk) -> None:
    desk.service.take(alert(1, silent=True), "alert")
    desk.service.take(alert(2, device="box-2", test=True, test_by="Technician Ravi"), "alert")
    async with desk.client() as asha, desk.client() as looker:
        await desk.sign_in(asha, "Asha")
        await asha.post(f"{INCIDENT}/acts", json={"act": "seen"})
        await asha.post(f"{INCIDENT}/acts", json={"act": "dispatch", "contact": "police"})
        await asha.post(f"{INCIDENT}/acts", json={"act": "note", "text": "a private word"})
        await asha.post("/api/boxes/box-1/commands", json={"name": "ping"})
        await desk.sign_in(looker, "Looker", "observer")
        session = desk.sessions.find(looker.cookies["edge_desk"])
        told = [desk.service.picture(desk.sessions.actor(session), on_shift=False)]
        for path in ("/api/incidents", "/api/boxes", "/api/history", "/api/alarms"):
            told.append((await looker.get(path)).text)
        for text in told:
            for private in ("Asha", "Ravi", "private word", '"silent": true', '"silent":true'):
                assert private not in text.replace('"name": "Looker"', "")
        assert '"silent":true' in (await asha.get("/api/incidents")).text
