"""The HTTP API: who comes in, what is answered, and that it is answered only when stored."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from edge.clock import ManualClock
from edge.desk.sessions import IDLE_S, SESSION_S, Sessions, read_or_make_token
from edge.errors import ConfigError, StoreError, Unauthorised
from tests.desk.conftest import PASSWORD, TOKEN, Desk, build
from tests.desk.wire import alert, health, uid

DOORS = {
    ("/api/session", "post"),
    ("/api/invitations/look", "post"),
    ("/api/invitations/accept", "post"),
}
VALUES = {
    "device": "box-1",
    "incident_id": uid(1),
    "alarm_id": "broker",
    "login": "asha",
    "token_id": "0" * 16,
    "kind": "csv",
}
ACTS = f"/api/incidents/{uid(1)}/acts"


async def test_nobody_comes_in_without_an_identity(desk: Desk) -> None:
    async with desk.client() as client:
        for path, operations in (await _openapi(desk))["paths"].items():
            for method in operations:
                if (path, method) in DOORS:
                    continue
                url = re.sub(r"\{(\w+)\}", lambda found: VALUES[found[1]], path)
                answer = await client.request(method.upper(), url)
                assert answer.status_code == 401, (method, path)
        wrong = await client.post("/api/session", json={"login": desk.person("Asha"), "password": "x" * 22})
        assert wrong.status_code == 401
        assert "set-cookie" not in wrong.headers
        assert (await client.get("/api/boxes", headers={"Authorization": "Bearer x"})).status_code == 401
        assert (await client.get("/")).status_code == 200


async def test_a_session_is_a_cookie_that_scripts_and_other_sites_cannot_use(desk: Desk) -> None:
    async with desk.client() as client:
        body = {"login": desk.person("Asha"), "password": PASSWORD}
        answer = await client.post("/api/session", json=body)
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert (await client.get("/api/session")).json() == {
            "name": "Asha",
            "login": "asha",
            "role": "operator",
            "scopes": ["act", "command", "look", "view"],
            "group": 0,
            "on_shift": False,
        }
        assert (await client.delete("/api/session")).status_code == 204
        assert (await client.get("/api/session")).status_code == 401


async def test_a_restart_of_the_desk_sends_nobody_to_the_login(desk: Desk) -> None:
    async with desk.client() as client:
        await desk.sign_in(client)
        key = client.cookies["edge_desk"]
        assert (await client.post("/api/shift", json={"on": True})).json()["on_shift"]
        await desk.keeper.stored()
        again = build(desk.store.path.parent)
        assert again.sessions.actor(again.sessions.find(key)).name == "Asha"
        assert again.sessions.find(key).on_shift
        await client.delete("/api/session")
        await desk.keeper.stored()
        with pytest.raises(Unauthorised):
            build(desk.store.path.parent).sessions.find(key)


def test_a_session_ends_by_itself_and_an_idle_one_sooner_but_not_on_shift(desk: Desk) -> None:
    clock = ManualClock()
    desk.person("Asha")
    sessions = Sessions(TOKEN, desk.core.people, clock)
    watching, key = sessions.begin("asha")
    _, other = sessions.begin("asha")
    sessions.shift(watching, True)
    clock.advance(IDLE_S - 1)
    assert sessions.actor(sessions.find(other)).name == "Asha"
    clock.advance(IDLE_S)
    with pytest.raises(Unauthorised):
        sessions.find(other)
    assert sessions.find(key) is watching
    clock.advance(SESSION_S)
    with pytest.raises(Unauthorised):
        sessions.find(key)


def test_the_token_is_made_at_random_and_for_the_desks_user_alone(tmp_path: Any) -> None:
    path = tmp_path / "secret" / "token"
    token = read_or_make_token(path)
    assert len(token) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_or_make_token(path) == token
    assert read_or_make_token(tmp_path / "other") != token
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_or_make_token(path)
    path.chmod(0o600)
    path.write_text("1234")
    with pytest.raises(ConfigError, match="fewer than"):
        read_or_make_token(path)


async def test_another_sites_page_can_neither_rebind_a_name_nor_post_a_form(desk: Desk) -> None:
    async with desk.program() as client:
        assert (await client.get("/api/boxes", headers={"Host": "evil.example"})).status_code == 421
        assert (await client.get("/", headers={"Host": "evil.example:8080"})).status_code == 421
        forged = await client.post("/api/session", json={}, headers={"Origin": "http://evil.example"})
        assert forged.status_code == 403
        own = await client.post(
            "/api/session",
            json={"login": desk.person("Asha"), "password": PASSWORD},
            headers={"Origin": "http://127.0.0.1:8080"},
        )
        assert own.status_code == 200


async def test_every_answer_carries_the_headers_that_confine_the_page(desk: Desk) -> None:
    async with desk.client() as client:
        for path in ("/", "/api/boxes", "/nothing", "/api/nothing"):
            headers = (await client.get(path)).headers
            assert headers["content-security-policy"].startswith("default-src 'self'")
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"


async def test_a_body_without_end_is_cut_off(desk: Desk) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    async with desk.client() as client:
        assert (await client.post("/api/session", content=b" " * 20_000)).status_code == 413
        assert (await client.post("/api/session", content=endless())).status_code == 413


async def test_an_incidents_whole_way_and_its_timeline(desk: Desk) -> None:
    desk.service.take(alert(1), "alert")
    async with desk.client() as client:
        await desk.sign_in(client)
        assert (await client.post(ACTS, json={"act": "close", "disposition": "real"})).status_code == 409
        assert (await client.post(ACTS, json={"act": "seen"})).json()["state"] == "seen"
        assert (await client.post(ACTS, json={"act": "coming"})).json()["state"] == "coming"
        assert (await client.post(ACTS, json={"act": "close"})).status_code == 422
        closed = await client.post(ACTS, json={"act": "close", "disposition": "prank"})
        assert closed.json()["disposition"] == "prank"
        assert (await client.post(ACTS, json={"act": "reopen"})).json()["state"] == "open"
        detail = (await client.get(f"/api/incidents/{uid(1)}")).json()
        assert [e["kind"] for e in detail["timeline"]] == ["press", "seen", "coming", "closed", "reopened"]
        assert [e["by"] for e in detail["timeline"]][1:] == ["Asha"] * 4
        assert detail["timeline"][0]["box_stamp"]["trust"] == "synchronised"
        assert detail["incident"]["presses"][0]["press_id"] == uid(1)
        assert (await client.get(f"/api/incidents/{uid(99)}")).status_code == 404
        assert (await client.get("/api/incidents/not-an-id")).status_code == 422
    assert [type(s).__name__ for s in desk.sent] == ["SendReceipt"] + ["SendAck"] * 4


async def test_of_two_who_take_an_alert_at_once_one_wins_and_the_other_is_told(desk: Desk) -> None:
    async with desk.client() as one, desk.client() as two:
        await desk.sign_in(one, "Asha")
        await desk.sign_in(two, "Vikram")
        for number in range(1, 21):
            desk.service.take(alert(number, device=f"box-{number}"), "alert")
            url = f"/api/incidents/{uid(number)}/acts"
            answers = await asyncio.gather(*(c.post(url, json={"act": "seen"}) for c in (one, two)))
            assert sorted(a.status_code for a in answers) == [200, 409]
            winner = next(a for a in answers if a.status_code == 200).json()["by"]
            loser = next(a for a in answers if a.status_code == 409).json()["detail"]
            assert loser == f"{winner} was first"


async def test_I3_nothing_is_answered_while_the_store_hangs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung, commit = threading.Event(), desk.store.commit

    def hanging(*args: Any) -> None:
        hung.wait(20)
        commit(*args)

    monkeypatch.setattr(desk.store, "commit", hanging)
    monkeypatch.setattr("edge.desk.service.ACT_WAIT_S", 0.05)
    monkeypatch.setattr("edge.desk.service.LATE_S", 0)
    desk.service.take(alert(1), "alert")
    async with desk.program() as client:
        assert (await client.get("/api/incidents")).json()[0]["state"] == "open", "it rings all the same"
        assert (await client.post(ACTS, json={"act": "seen"})).status_code == 503
        told = (await client.get("/api/health")).json()
        assert (told["ok"], told["store"]) == (False, False)
        assert desk.sent == []
        assert desk.presences == []
        hung.set()
        await desk.keeper.stored()
        assert [type(s).__name__ for s in desk.sent] == ["SendReceipt", "SendAck"]
        assert (await client.get("/api/health")).json()["ok"]


async def test_I3_a_store_that_fails_is_tried_again_and_answers_nothing_meanwhile(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, commit = asyncio.Event(), desk.store.commit
    loop = asyncio.get_running_loop()
    full = True

    def failing(*args: Any) -> None:
        if full:
            loop.call_soon_threadsafe(tried.set)
            raise StoreError("desk store was not written: database or disk is full")
        commit(*args)

    monkeypatch.setattr(desk.store, "commit", failing)
    monkeypatch.setattr("edge.desk.keeper.RETRY_S", 0.01)
    desk.service.take(alert(1), "alert")
    await tried.wait()
    async with desk.program() as client:
        await asyncio.sleep(0)
        assert desk.sent == []
        full = False
        await desk.keeper.stored()
        assert [type(s).__name__ for s in desk.sent] == ["SendReceipt"]
        assert (await client.get(f"/api/incidents/{uid(1)}")).json()["timeline"][0]["kind"] == "press"


async def test_a_command_needs_the_broker_and_shows_on_the_box(desk: Desk) -> None:
    desk.service.take(health(), "health")
    async with desk.program() as client:
        given = await client.post("/api/boxes/box-1/commands", json={"name": "ping"})
        assert given.status_code == 202
        told = (await client.get("/api/boxes/box-1")).json()
        assert told["commands"][0]["command_id"] == given.json()["command_id"]
        assert (await client.post("/api/boxes/box-9/commands", json={"name": "ping"})).status_code == 404
        assert (await client.post("/api/boxes/box-1/commands", json={"name": "reboot"})).status_code == 422
        desk.service.link_changed(False, "gone")
        assert (await client.post("/api/boxes/box-1/commands", json={"name": "ping"})).status_code == 409


async def test_a_stream_begins_with_the_whole_picture_and_counts_up(desk: Desk) -> None:
    desk.service.take(alert(1), "alert")
    session, _ = desk.sessions.begin(desk.person("Asha"))
    actor = desk.sessions.actor(session)
    stream = desk.hub.follow(session, True, lambda: desk.service.picture(actor, session.on_shift))
    kind, _, picture = _frame(await anext(stream))
    assert kind == "snapshot"
    assert [i["incident_id"] for i in picture["incidents"]] == [uid(1)]
    assert desk.hub.staffed == 0
    desk.sessions.shift(session, True)
    assert desk.hub.staffed == 1
    desk.service.take(alert(2, 1), "alert")
    desk.service.tick()
    frames = [_frame(f) for f in (await anext(stream)).split("\n\n") if f]
    assert [f[0] for f in frames] == ["incident", "box", "tick"]
    assert [f[1] for f in frames] == sorted({f[1] for f in frames})
    assert len(frames[0][2]["presses"]) == 2
    desk.hub.end_session(session)
    with contextlib.suppress(StopAsyncIteration):
        await anext(stream)
    assert desk.hub.connected == 0


async def test_a_reader_that_does_not_read_is_let_go(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.desk.stream.MAX_WAITING", 5)
    stream = desk.hub.follow(None, True, lambda: "{}")
    await anext(stream)
    for _ in range(50):
        desk.service.tick()
    assert len([frame async for frame in stream]) <= 1
    assert desk.hub.connected == 0


async def test_every_answer_of_the_api_is_documented(desk: Desk) -> None:
    document = await _openapi(desk)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert {"401", "413", "421", "422"} <= set(operation["responses"]), (method, path)


async def _openapi(desk: Desk) -> dict[str, Any]:
    async with desk.program() as client:
        return dict((await client.get("/api/openapi.json")).json())


def _frame(text: str) -> tuple[str, int, Any]:
    fields = dict(line.split(": ", 1) for line in text.strip().split("\n"))
    return fields["event"], int(fields["id"]), json.loads(fields["data"])


async def test_the_pages_files_are_kept_and_their_address_changes_with_them(desk: Desk) -> None:
    async with desk.client() as client:
        start = await client.get("/")
        assert start.headers["Cache-Control"] == "no-cache"
        named = re.findall(r'(?:href|src)="([^"#]+)"', start.text)
        assert len(named) > 5
        for address in named:
            answer = await client.get(address)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["Cache-Control"]
        # A page that was open before an update asks under the old name.
        old = await client.get("/page/0/desk.js")
        assert old.status_code == 200
        assert old.headers["Cache-Control"] == "no-cache"
        assert (await client.get("/page/0/%2e%2e/api/page.py")).status_code == 404
