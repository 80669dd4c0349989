"""The calls that need no identity, since they make one: signing in, and using an invitation."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from edge.desk import views
from edge.desk.api.visitor import COOKIE, NotLoggedIn, Who, address, answers
from edge.desk.core import Shift, Tell
from edge.desk.desk import Desk
from edge.desk.passwords import check_strength
from edge.desk.people import Actor
from edge.desk.sessions import SESSION_S, digest
from edge.errors import Conflict, Unauthorised

WRONG = "name or password is not right"


def router(desk: Desk) -> APIRouter:
    door = APIRouter(prefix="/api", tags=["session"])
    service, sessions, people = desk.service, desk.sessions, desk.service.core.people

    async def let_in(login: str, response: Response) -> views.Me:
        session, key = sessions.begin(login)
        actor = sessions.actor(session)
        response.set_cookie(
            COOKIE,
            key,
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=desk.secure_cookies,
            path="/",
        )
        await service.act(actor, Tell("signed_in"))
        return service.me(actor, on_shift=False)

    @door.post("/session", responses=answers(503))
    async def sign_in(body: views.Login, request: Request, response: Response) -> views.Me:
        """Begins a session; the answer sets its cookie. After too many wrong passwords: how long to wait."""
        where = address(request)
        try:
            desk.locks.check(body.login, where)
        except Unauthorised as error:
            raise NotLoggedIn(str(error)) from None
        person = people.active(body.login)
        if not await desk.passwords.right(person.password if person else None, body.password):
            desk.locks.wrong(body.login, where)
            if person is not None:
                await service.act(person.actor(), Tell("sign_in_refused", data=(("address", where),)))
            raise NotLoggedIn(WRONG)
        desk.locks.right(body.login, where)
        return await let_in(body.login, response)

    @door.post("/invitations/look", responses=answers())
    async def look(body: views.SecretBody) -> views.InvitationShown:
        """What an invitation is for. 401: it was used, or is too old."""
        try:
            found = people.invitation(digest(body.secret), desk.clock.read())
        except Unauthorised as error:
            raise NotLoggedIn(str(error)) from None
        return views.InvitationShown(role=found.role, login=found.login, by=found.by)

    @door.post("/invitations/accept", responses=answers(409, 503))
    async def accept(body: views.AcceptBody, response: Response) -> views.Me:
        """Chooses name and password, and begins a session. The invitation is used up."""
        key = digest(body.secret)
        try:
            invitation = people.invitation(key, desk.clock.read())
        except Unauthorised as error:
            raise NotLoggedIn(str(error)) from None
        login = invitation.login or body.login
        check_strength(body.password, login)
        encoded = await desk.passwords.encode(body.password)
        await service.apply(people.accept(key, login, body.name, encoded, desk.clock.read()))
        desk.locks.forgive(login)
        for old in sessions.end_all(login):
            service.hub.end_session(old)
        return await let_in(login, response)

    @door.get("/session", responses=answers())
    async def who_am_i(who: Who) -> views.Me:
        """Who you are, and whether you are on shift."""
        return service.me(who.actor, who.on_shift)

    @door.delete("/session", status_code=204, responses=answers())
    async def sign_out(who: Who, response: Response) -> None:
        """Ends the session and its streams."""
        if who.session is not None:
            sessions.end(who.session)
            service.hub.end_session(who.session)
            await service.act(who.actor, Tell("signed_out"))
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")

    @door.post("/shift", responses=answers(409, 503))
    async def shift(who: Who, body: views.ShiftBody) -> views.Me:
        """Begins or ends your shift: boxes are told how many operators watch."""
        if who.session is None:
            raise Conflict("a shift belongs to a person's session, not to a program's token")
        if who.on_shift != body.on:
            _may(who.actor)
            sessions.shift(who.session, body.on)
            service.tell_health()
            await service.act(who.actor, Shift(body.on))
        return service.me(who.actor, who.on_shift)

    return door


def _may(actor: Actor) -> None:
    actor.need("act")
