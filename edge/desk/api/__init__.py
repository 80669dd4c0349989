"""The desk's HTTP API. The page is one client of it; whatever the page does, a program can do as well.

Authorisation of acts is the core's (`Core.act`); here it is only found out who asks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse

from edge import __version__
from edge.desk import views
from edge.desk.api import door, page, people, records, work
from edge.desk.api.visitor import NotLoggedIn, Who, answers, visitor
from edge.desk.desk import Desk
from edge.desk.guard import LOOPBACK, Guard
from edge.errors import Conflict, DeskBusy, EdgeError, NotFound, StoreError, Unauthorised

_STATUS: dict[type[EdgeError], int] = {NotFound: 404, Conflict: 409, DeskBusy: 503, StoreError: 503}


def make_app(desk: Desk) -> FastAPI:
    """The ASGI application."""
    app = FastAPI(
        title="edge desk",
        version=__version__,
        description=__doc__ or "",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.sessions = desk.sessions
    _errors(app)
    app.include_router(door.router(desk))
    rooms = APIRouter(prefix="/api", dependencies=[Depends(visitor)])
    for part in (work, records, people):
        rooms.include_router(part.router(desk))
    rooms.include_router(_desk(desk, app))
    app.include_router(rooms)
    page.mount(app)
    app.add_middleware(Guard, hosts=LOOPBACK | frozenset(desk.names), images=desk.info.tiles)
    return app


def _errors(app: FastAPI) -> None:
    async def told(_request: Request, error: Exception) -> Response:
        if isinstance(error, Unauthorised):
            return JSONResponse({"detail": str(error)}, 401 if isinstance(error, NotLoggedIn) else 403)
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        return JSONResponse({"detail": str(error)}, status)

    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        faults = [f"{'.'.join(str(p) for p in f['loc'])}: {f['msg']}" for f in error.errors()[:3]]
        return JSONResponse({"detail": "; ".join(faults)[:400]}, 422)

    app.add_exception_handler(EdgeError, told)
    app.add_exception_handler(RequestValidationError, invalid)


def _desk(desk: Desk, app: FastAPI) -> APIRouter:
    router = APIRouter(tags=["desk"])
    service, sessions = desk.service, desk.sessions

    @router.get("/health", responses=answers())
    async def health() -> views.DeskHealth:
        """How the desk itself is."""
        return service.health()

    @router.get("/desk", responses=answers())
    async def info() -> views.DeskInfo:
        """What a page must know of this desk: groups, contacts, the map's tiles."""
        return desk.info

    @router.get(
        "/events",
        response_class=StreamingResponse,
        responses={
            **answers(),
            200: {
                "description": "Server-sent events with increasing ids: first `snapshot` (a Snapshot), then"
                " `incident` (an Incident), `box` (a Box) and `alarms` (all Alarms) as they change, and"
                " `tick` (a DeskHealth) each second",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
        },
    )
    async def events(who: Who) -> StreamingResponse:
        """The stream of changes. Silence for 5 s means that the desk is gone."""

        async def frames() -> AsyncIterator[str]:
            picture = lambda: service.picture(who.actor, who.on_shift)  # noqa: E731
            async for text in service.hub.follow(who.session, who.whole, picture):
                yield text
                if who.session is not None and not sessions.is_open(who.session):
                    return

        return StreamingResponse(frames(), media_type="text/event-stream")

    @router.get("/openapi.json", responses=answers())
    async def openapi() -> dict[str, Any]:
        """This document."""
        return app.openapi()

    return router
