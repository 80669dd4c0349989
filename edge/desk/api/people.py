"""People and programs, and what they may do. All of it needs the right to manage, and the core says so."""

from __future__ import annotations

from fastapi import APIRouter

from edge.clock import iso_utc
from edge.desk import views
from edge.desk.api.visitor import Login, Who, answers
from edge.desk.core import ChangePerson, GrantToken, Invite, RevokeToken
from edge.desk.desk import Desk
from edge.desk.people import Person, Token
from edge.desk.sessions import digest, new_secret
from edge.errors import NotFound


def router(desk: Desk) -> APIRouter:
    rooms = APIRouter(tags=["people"])
    service, sessions, everybody = desk.service, desk.sessions, desk.service.core.people

    @rooms.get("/people", responses=answers())
    async def people(who: Who) -> list[views.PersonView]:
        """Everybody who works here; who acts on incidents sees it too, to hand one over."""
        who.actor.need("act")
        on_duty = service.duty().present
        return [_shown(person, person.login in on_duty) for person in everybody.listed()]

    @rooms.post("/people/invitations", status_code=201, responses=answers(404, 409, 503))
    async def invite(who: Who, body: views.InvitationBody) -> views.InvitationMade:
        """A link that works once, within a day, for a new person or for a new password."""
        secret = new_secret()
        await service.act(who.actor, Invite(digest(secret), body.role, body.group, body.login or ""))
        return views.InvitationMade(secret=secret, link=f"/#invitation={secret}")

    @rooms.patch("/people/{login}", responses=answers(404, 409, 503))
    async def change(who: Who, login: Login, body: views.PersonChange) -> views.PersonView:
        """Role, group, and whether the person may come in at all; ends his sessions."""
        await service.act(who.actor, ChangePerson(login, body.role, body.group, body.active))
        for old in sessions.end_all(login):
            service.hub.end_session(old)
        return _shown(everybody.get(login), on_shift=False)

    @rooms.get("/tokens", responses=answers())
    async def tokens(who: Who) -> list[views.TokenView]:
        """Of programs; the tokens themselves are not kept."""
        who.actor.need("manage")
        return [_token(token) for token in everybody.tokens()]

    @rooms.post("/tokens", status_code=201, responses=answers(409, 503))
    async def grant(who: Who, body: views.TokenBody) -> views.TokenMade:
        """A token for a program, for example the ICCC's own. It is shown this once."""
        secret = new_secret()
        now_ns = desk.clock.utc_ns()
        token = Token(
            digest=digest(secret),
            label=body.label,
            scopes=body.scopes,
            by=who.actor.name,
            made_utc=iso_utc(now_ns),
            ends_ns=now_ns + body.days * 86400 * 10**9,
        )
        await service.act(who.actor, GrantToken(token))
        return views.TokenMade(token=secret, id=_id(token))

    @rooms.delete("/tokens/{token_id}", status_code=204, responses=answers(404, 503))
    async def revoke(who: Who, token_id: str) -> None:
        """It opens nothing any more."""
        who.actor.need("manage")
        found = next((t for t in everybody.tokens() if _id(t) == token_id), None)
        if found is None:
            raise NotFound("no such token")
        await service.act(who.actor, RevokeToken(found.digest))

    return rooms


def _shown(person: Person, on_shift: bool) -> views.PersonView:
    return views.PersonView(**person.model_dump(exclude={"password"}), on_shift=on_shift)


def _id(token: Token) -> str:
    """Enough of the digest to name it."""
    return token.digest[:16]


def _token(token: Token) -> views.TokenView:
    return views.TokenView(
        id=_id(token),
        label=token.label,
        scopes=sorted(token.scopes),
        by=token.by,
        made_utc=token.made_utc,
        ends_utc=iso_utc(token.ends_ns),
        revoked=token.revoked,
    )
