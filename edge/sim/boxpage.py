"""The page that stands for the box: its buttons close the stage's contacts, its lamp is the stage's lamp."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field

from edge.desk.guard import LOOPBACK, Guard
from edge.errors import Refused, SetupFailed
from edge.media.phrases import PHRASES
from edge.media.prompts import RENDERED
from edge.sim.observer import Observer
from edge.sim.stack import SERVICES, Stack
from edge.sim.stage import TAMPER

PAGES = Path(__file__).with_name("pages")
BEAT_S = 2.0


class Touch(BaseModel):
    """A finger on a contact, or off it."""

    model_config = ConfigDict(extra="forbid")
    line: Annotated[str, Field(max_length=40)]
    level: Literal[0, 1]


class BoxPage:
    """Serves one stack's box on loopback."""

    def __init__(self, stack: Stack, observer: Observer, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self._stack, self._observer, self._port = stack, observer, port
        self._pages: set[asyncio.Event] = set()
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None
        observer.on_change(self._wake)

    async def start(self) -> None:
        """Listens; raises `SetupFailed` when the port is taken."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", self._port))
        except OSError as error:
            listener.close()
            raise SetupFailed(
                f"the box's page cannot listen on port {self._port}: {error.strerror}"
            ) from None
        settings = uvicorn.Config(
            self._app(),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(settings)
        self._task = asyncio.get_running_loop().create_task(self._server.serve([listener]), name="box page")

    async def close(self) -> None:
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            for page in self._pages:
                page.set()
            await self._task

    def _app(self) -> FastAPI:
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

        @app.post("/touch")
        async def touch(body: Touch) -> Response:
            try:
                self._stack.stage.set_line(body.line, body.level)
            except Refused as error:
                return JSONResponse({"detail": str(error)}, 404)
            return Response(status_code=204)

        @app.get("/events")
        async def events() -> StreamingResponse:
            return StreamingResponse(self._frames(), media_type="text/event-stream")

        app.mount("/voice", StaticFiles(directory=RENDERED))
        app.mount("/", StaticFiles(directory=PAGES, html=True))
        app.add_middleware(Guard, hosts=LOOPBACK)
        return app

    async def _frames(self) -> AsyncIterator[str]:
        """The box as it is, at each change, and every two seconds a sign of life."""
        changed = asyncio.Event()
        self._pages.add(changed)
        try:
            while self._server is not None and not self._server.should_exit:
                picture = json.dumps(self._picture(), ensure_ascii=False)
                yield f"data: {picture}\n\n"
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(BEAT_S):
                        await changed.wait()
                changed.clear()
        finally:
            self._pages.discard(changed)
            if not self._pages:
                # Whoever held a button has gone, and no finger stays behind.
                for line in SERVICES:
                    self._stack.stage.set_line(line, 0)

    def _picture(self) -> dict[str, Any]:
        stage, incident = self._stack.stage, self._observer.incident
        tag = stage.sound
        state = (tag or "").split(".")[0]
        return {
            "outputs": stage.outputs,
            "lines": stage.lines,
            "lid": stage.lines[TAMPER],
            "sound": tag,
            "says": PHRASES.get(state),
            "citizen": incident.citizen if incident else "idle",
            "dark": bool(incident and incident.dark),
            "link": self._observer.link,
            "services": SERVICES,
            "desk": self._stack.desk_url,
            "alive": {name: self._stack.launcher.is_ready(name) for name in self._stack.launcher.names},
        }

    def _wake(self) -> None:
        for page in self._pages:
            page.set()


class _Server(uvicorn.Server):
    """Without uvicorn's signal handlers: the demo has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
