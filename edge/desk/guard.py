"""What every HTTP request passes: the right host and origin, a bounded body; and headers on every answer."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 16 * 1024
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_SAFE = frozenset({"GET", "HEAD"})
_POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware. `hosts`: the names under which browsers may reach this desk; `images`: an address of
    another host that pages may take pictures from, for the map.

    A foreign page can make a name of its own point here (DNS rebinding), or post a form here (CSRF): the
    first shows in `Host`, the second in `Origin`.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], images: str = "") -> None:
        self._app = app
        self._hosts = hosts
        elsewhere = urlsplit(images)
        more = f"; img-src 'self' {elsewhere.scheme}://{elsewhere.netloc}" if elsewhere.netloc else ""
        self._headers = {**_HEADERS, "Content-Security-Policy": _POLICY + more}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def headed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                api = scope["path"].startswith("/api/")
                headers.setdefault("Cache-Control", "no-store" if api else "no-cache")
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None and scope["method"] not in _SAFE:
            # Bodies are small, so the whole of one is read here, or found to be too long.
            body = await _read(receive)
            if body is None:
                refusal = 413, "the body is too long"
            else:
                receive = _again(body, receive)
        if refusal is not None:
            await JSONResponse({"detail": refusal[1]}, refusal[0])(scope, receive, headed_send)
            return
        await self._app(scope, receive, headed_send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _host_name(host) not in self._hosts:
            return 421, "this desk is not reached under that name: see desk.http_names"
        origin = headers.get("origin")
        if scope["method"] not in _SAFE and origin is not None and urlsplit(origin).netloc != host:
            return 403, "the request comes from another site's page"
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            return 413, "the body is too long"
        return None


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


async def _read(receive: Receive) -> bytes | None:
    """The body, None when it is longer than `MAX_BODY`."""
    body = b""
    while len(body) <= MAX_BODY:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body if len(body) <= MAX_BODY else None
    return None


def _again(body: bytes, receive: Receive) -> Receive:
    """`receive` as it was before the body was read."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed
