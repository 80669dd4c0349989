"""Who asks: found out here, for every call; what he may do is the core's to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi import Path as InPath

from edge.desk import views
from edge.desk.people import Actor
from edge.desk.sessions import Session, Sessions
from edge.errors import Unauthorised
from edge.protocol.common import Id, Name

COOKIE = "edge_desk"


class NotLoggedIn(Unauthorised):
    """Nobody is known to ask."""


@dataclass(frozen=True)
class Visitor:
    """A person with a session, or a program with a token."""

    actor: Actor
    session: Session | None

    @property
    def on_shift(self) -> bool:
        return self.session is not None and self.session.on_shift

    @property
    def whole(self) -> bool:
        """Whether he sees personal data."""
        return "view" in self.actor.scopes


def visitor(request: Request) -> Visitor:
    """Raises NotLoggedIn."""
    sessions: Sessions = request.app.state.sessions
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    try:
        if scheme.lower() == "bearer":
            return Visitor(sessions.program(token.strip()), None)
        session = sessions.find(request.cookies.get(COOKIE, ""))
        return Visitor(sessions.actor(session), session)
    except Unauthorised as error:
        raise NotLoggedIn(str(error)) from None


def address(request: Request) -> str:
    """Where the request comes from, as far as that can be told."""
    return request.client.host if request.client is not None else ""


def answers(*codes: int) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI document: what every call may answer, and `codes` besides."""
    told = {
        400: "the request is not as documented",
        401: "sign in first",
        403: "you may not do this",
        404: "there is no such thing",
        409: "it does not fit the present state",
        413: "the body is too long",
        421: "the desk is not reached under that name",
        422: "a value is not allowed",
        503: "the desk is busy, or its store does not answer",
    }
    return {
        code: {"model": views.Problem, "description": told[code]}
        for code in (400, 401, 403, 413, 421, 422, *codes)
    }


Who = Annotated[Visitor, Depends(visitor)]
IncidentId = Annotated[Id, InPath(description="UUID of the incident")]
Device = Annotated[Name, InPath(description="the box's device id")]
Login = Annotated[Name, InPath(description="what the person signs in with")]
