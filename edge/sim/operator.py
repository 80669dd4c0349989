"""A person at the desk, played by a program: a client of the desk's HTTP API like any page.

For `edge demo --once` and for harnesses. The standard library's HTTP client on threads, so that a box's tools
need no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import secrets
import socket
import threading
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlsplit

from edge.clock import Clock, SystemClock
from edge.errors import SetupFailed

ANSWER_S = 10.0
OnEvent = Callable[[str, Any, int], None]
"""Called on the loop with the event's kind, its JSON, and CLOCK_MONOTONIC ns of its arrival."""


class Operator:
    """One session at the desk; ``async with`` comes in, opens the event stream and begins the shift.

    `token` is the administrator's: by it the person is invited, and then signs in as everybody does.
    """

    def __init__(
        self, url: str, token: str, name: str, on_event: OnEvent | None = None, clock: Clock | None = None
    ) -> None:
        self._url = url
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._token, self._name = token, name
        self._on_event = on_event
        self._clock = clock or SystemClock()
        self._cookie = ""
        self._stream: socket.socket | None = None
        self._reader: threading.Thread | None = None
        self._open = asyncio.Event()

    async def __aenter__(self) -> Self:
        login = re.sub(r"[^a-z0-9]+", "-", self._name.lower()).strip("-")
        secret = await invitation(self._url, self._token, login)
        password = secrets.token_urlsafe(16)
        body = {"secret": secret, "login": login, "name": self._name, "password": password}
        await self.call("POST", "/api/invitations/accept", body)
        await self._follow()
        await self.call("POST", "/api/shift", {"on": True})
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it; a close would not
        if self._reader is not None:
            await asyncio.to_thread(self._reader.join, ANSWER_S)

    async def act(self, incident_id: str, act: str, **more: Any) -> Any:
        """``seen``, ``coming``, ``close`` (with ``disposition=``) ...; returns the incident as it then is."""
        return await self.call("POST", f"/api/incidents/{incident_id}/acts", {"act": act, **more})

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request; returns its JSON.

        Raises:
            SetupFailed: the desk does not answer, or refuses; with its reason.
        """
        return await asyncio.to_thread(self._call, method, path, body)

    def _call(self, method: str, path: str, body: Any) -> Any:
        found, cookie = _ask(self._url, method, path, body, self._headers())
        self._cookie = cookie or self._cookie
        return found

    def _headers(self) -> dict[str, str]:
        return {"Cookie": self._cookie} if self._cookie else {}

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        connection = http.client.HTTPConnection(self._host, self._port, timeout=ANSWER_S)
        try:
            await asyncio.to_thread(connection.connect)
        except OSError as error:
            raise SetupFailed(f"the desk does not answer GET /api/events: {error}") from error
        self._stream = connection.sock
        self._reader = threading.Thread(target=self._read, args=(connection, loop), daemon=True)
        self._reader.start()
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._open.wait()
        except TimeoutError:
            raise SetupFailed("the desk's event stream does not begin") from None

    def _read(self, stream: http.client.HTTPConnection, loop: asyncio.AbstractEventLoop) -> None:
        kind = ""
        try:
            stream.request("GET", "/api/events", headers=self._headers())
            answer = stream.getresponse()
            while line := answer.readline():
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field == "event":
                    kind = value
                elif field == "data":
                    loop.call_soon_threadsafe(self._heard, kind, json.loads(value), self._clock.mono_ns())
        except (OSError, ValueError, AttributeError, RuntimeError, http.client.HTTPException):
            return  # the stream was closed here, or the desk went away: the next call says so

    def _heard(self, kind: str, data: Any, at_ns: int) -> None:
        self._open.set()
        if self._on_event is not None:
            self._on_event(kind, data, at_ns)


async def invitation(url: str, token: str, login: str = "", role: str = "operator") -> str:
    """The secret of an invitation to the desk, made with the administrator's token.

    `login`: if there is such a person it is for a new password, else for a new person.

    Raises:
        SetupFailed: the desk does not answer, or refuses.
    """
    bearer = {"Authorization": f"Bearer {token}"}
    people, _ = await asyncio.to_thread(_ask, url, "GET", "/api/people", None, bearer)
    known = any(person["login"] == login for person in people)
    body = {"role": role, "login": login if known else None}
    made, _ = await asyncio.to_thread(_ask, url, "POST", "/api/people/invitations", body, bearer)
    return str(made["secret"])


def _ask(url: str, method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[Any, str]:
    """The answer's JSON, and the cookie that it sets, if it sets one."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=ANSWER_S)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise SetupFailed(f"the desk does not answer {method} {path}: {error}") from error
    finally:
        connection.close()
    try:
        found = json.loads(text) if text else None
    except ValueError:
        found = text[:200].decode(errors="replace")
    if answer.status >= 400:
        reason = found.get("detail") if isinstance(found, dict) else found
        raise SetupFailed(f"the desk refuses {method} {path}: {answer.status} {reason}")
    cookies = answer.headers.get_all("Set-Cookie", [])
    return found, cookies[-1].split(";", 1)[0] if cookies else ""
