"""The desk's HTTP API. The page is one client of it; whatever the page does, a program can do as well.

Authorisation of acts is the core's (`Core.act`); here it is only found out who asks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles

from edge import __version__
from edge.clock import Clock
from edge.desk import views
from edge.desk.book import Incident
from edge.desk.core import Actor, Order, Shift
from edge.desk.guard import LOOPBACK, Guard
from edge.desk.roster import Box
from edge.desk.service import DeskHealth, Service
from edge.desk.sessions import SESSION_S, Session, Sessions
from edge.errors import Conflict, DeskBusy, EdgeError, NotFound, StoreError, Unauthorised
from edge.ids import uuid7
from edge.protocol.common import Id, Name
from edge.protocol.wire import Command

COOKIE = "edge_desk"
PAGES = Path(str(files("edge.desk") / "pages"))

_STATUS: dict[type[EdgeError], int] = {NotFound: 404, Conflict: 409, DeskBusy: 503, StoreError: 503}


def _answers(*codes: int) -> dict[int | str, dict[str, Any]]:
    told = {
        400: "the request is not as documented",
        401: "log in first",
        403: "you may not do this",
        404: "there is no such thing",
        409: "it does not fit the present state",
        413: "the body is too long",
        421: "the desk is not reached under that name",
        422: "a value is not allowed",
        503: "the desk's store does not answer",
    }
    return {
        code: {"model": views.Problem, "description": told[code]}
        for code in (400, 401, 413, 421, 422, *codes)
    }


class Visitor:
    """Who asks: a person with a session, or a program with the access token."""

    def __init__(self, actor: Actor, session: Session | None) -> None:
        self.actor = actor
        self.session = session

    @property
    def on_shift(self) -> bool:
        return self.session is not None and self.session.on_shift


def make_app(service: Service, sessions: Sessions, clock: Clock, names: tuple[str, ...] = ()) -> FastAPI:
    """The ASGI application. `names`: host names besides loopback's."""
    app = FastAPI(
        title="edge desk",
        version=__version__,
        description=__doc__ or "",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.sessions = sessions
    _errors(app)
    app.include_router(_door(service, sessions))
    app.include_router(_rooms(service, sessions, clock, app))
    app.mount("/", StaticFiles(directory=PAGES, html=True), name="page")
    app.add_middleware(Guard, hosts=LOOPBACK | frozenset(names))
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


class NotLoggedIn(Unauthorised):
    """Nobody is known to ask."""


def _visitor(request: Request) -> Visitor:
    sessions: Sessions = request.app.state.sessions
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    try:
        if scheme.lower() == "bearer":
            sessions.check(token.strip())
            return Visitor(Actor("api"), None)
        session = sessions.find(request.cookies.get(COOKIE, ""))
    except Unauthorised as error:
        raise NotLoggedIn(str(error)) from None
    return Visitor(session.actor, session)


Who = Annotated[Visitor, Depends(_visitor)]
IncidentId = Annotated[Id, InPath(description="UUID of the incident")]
Device = Annotated[Name, InPath(description="the box's device id")]


def _me(visitor: Visitor) -> views.Me:
    return views.Me(name=visitor.actor.name, role=visitor.actor.role, on_shift=visitor.on_shift)


def _door(service: Service, sessions: Sessions) -> APIRouter:
    """The one call that needs no identity: it makes one."""
    door = APIRouter(prefix="/api", tags=["session"])

    @door.post("/session", responses=_answers())
    async def log_in(body: views.Login, response: Response) -> views.Me:
        """Begins a session with the access token; the answer sets its cookie."""
        try:
            session, key = sessions.begin(body.token, body.name)
        except Unauthorised as error:
            raise NotLoggedIn(str(error)) from None
        response.set_cookie(COOKIE, key, max_age=SESSION_S, httponly=True, samesite="strict", path="/")
        return _me(Visitor(session.actor, session))

    return door


def _rooms(service: Service, sessions: Sessions, clock: Clock, app: FastAPI) -> APIRouter:
    """Everything behind the door."""

    rooms = APIRouter(prefix="/api", dependencies=[Depends(_visitor)])

    @rooms.get("/session", responses=_answers(), tags=["session"])
    async def who_am_i(who: Who) -> views.Me:
        """Who you are, and whether you are on shift."""
        return _me(who)

    @rooms.delete("/session", status_code=204, responses=_answers(), tags=["session"])
    async def log_out(who: Who, response: Response) -> None:
        """Ends the session and its streams."""
        if who.session is not None:
            sessions.end(who.session)
            service.hub.end_session(who.session)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")

    @rooms.post("/shift", responses=_answers(403, 409, 503), tags=["session"])
    async def shift(who: Who, body: views.ShiftBody) -> views.Me:
        """Begins or ends your shift: boxes are told how many operators watch."""
        if who.session is None:
            raise Conflict("a shift belongs to a person's session, not to the access token")
        if who.on_shift != body.on:
            sessions.shift(who.session, body.on)
            service.tell_health()
            await service.act(who.actor, Shift(body.on))
        return _me(who)

    @rooms.get("/health", responses=_answers(), tags=["desk"])
    async def health() -> DeskHealth:
        """How the desk itself is."""
        return service.health()

    @rooms.get("/boxes", responses=_answers(), response_model_exclude_none=True, tags=["boxes"])
    async def boxes() -> list[Box]:
        """All boxes that ever spoke to this desk, by device id."""
        return service.core.roster.listed()

    @rooms.get("/boxes/{device}", responses=_answers(404), response_model_exclude_none=True, tags=["boxes"])
    async def box(device: Device) -> Box:
        return service.core.roster.get(device)

    @rooms.post(
        "/boxes/{device}/commands", status_code=202, responses=_answers(403, 404, 409, 503), tags=["boxes"]
    )
    async def command(who: Who, device: Device, body: views.CommandBody) -> views.CommandGiven:
        """Gives a command; what becomes of it appears on the box."""
        order = Command(
            id=uuid7(clock), name=body.name, ttl_s=body.ttl_s, by=who.actor.name, args=dict(body.args)
        )
        await service.act(who.actor, Order(device, order))
        return views.CommandGiven(command_id=order.id)

    @rooms.get("/incidents", responses=_answers(), response_model_exclude_none=True, tags=["incidents"])
    async def incidents() -> list[Incident]:
        """Those that ring, oldest first; those in hand, oldest first; the latest closed, newest first."""
        return service.core.book.listed()

    @rooms.get("/incidents/{incident_id}", responses=_answers(404, 503), tags=["incidents"])
    async def incident(incident_id: IncidentId) -> views.IncidentDetail:
        """One incident, however old, and everything that happened to it."""
        found = await service.incident(incident_id)
        entries = await service.timeline(incident_id)
        return views.IncidentDetail(
            incident=found, timeline=[views.TimelineEntry.model_validate(entry) for entry in entries]
        )

    @rooms.post(
        "/incidents/{incident_id}/acts",
        responses=_answers(403, 404, 409, 503),
        response_model_exclude_none=True,
        tags=["incidents"],
    )
    async def act(who: Who, incident_id: IncidentId, body: Annotated[views.IncidentAct, Body()]) -> Incident:
        """Acknowledge, say that help is coming, close, reopen, or answer the question about a test.

        Answered when it is stored. 409 says who was first, or what must be done before.
        """
        await service.act(who.actor, views.action(incident_id, body))
        return await service.incident(incident_id)

    @rooms.get(
        "/events",
        response_class=StreamingResponse,
        responses={
            **_answers(),
            200: {
                "description": "Server-sent events with increasing ids: first `snapshot` (a Snapshot), then"
                " `incident` (an Incident) and `box` (a Box) as they change, and `tick` (a DeskHealth) each"
                " second",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
        },
        tags=["desk"],
    )
    async def events(who: Who) -> StreamingResponse:
        """The stream of changes. Silence for 5 s means that the desk is gone."""

        async def frames() -> AsyncIterator[str]:
            picture = lambda: service.picture(who.actor, who.on_shift)  # noqa: E731
            async for text in service.hub.follow(who.session, picture):
                yield text
                if who.session is not None and not sessions.is_open(who.session):
                    return

        return StreamingResponse(frames(), media_type="text/event-stream")

    @rooms.get("/openapi.json", responses=_answers(), tags=["desk"])
    async def openapi() -> dict[str, Any]:
        """This document."""
        return app.openapi()

    return rooms
