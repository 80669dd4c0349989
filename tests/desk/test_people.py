"""Invitations work once, nobody gives away what he has not, and somebody is always left in charge."""

from __future__ import annotations

from typing import get_args

import pytest

from edge.clock import ManualClock
from edge.desk.core import DESK, ChangePerson, Core, GrantToken, Invite, RevokeToken, Seen
from edge.desk.people import ALL, INVITATION_S, SCOPES, Actor, Role, Scope, Token
from edge.errors import Conflict, NotFound, Unauthorised
from tests.desk.wire import alert, uid


class Office:
    """A desk's core with people in it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.core = Core(90)

    def invite(
        self, by: Actor = DESK, *, digest: str = "d", role: Role = "operator", login: str = ""
    ) -> None:
        self.core.act(by, Invite(digest, role, 0, login), self.clock.read())

    def accept(
        self, digest: str = "d", login: str = "asha", name: str = "Asha", password: str = "one"
    ) -> None:
        self.core.people.accept(digest, login, name, password, self.clock.read())

    def person(self, login: str, role: Role) -> Actor:
        self.invite(digest=login, role=role)
        self.accept(login, login, login.title())
        return self.core.people.get(login).actor()


@pytest.fixture
def office() -> Office:
    return Office()


def test_an_invitation_makes_a_person_once(office: Office) -> None:
    office.invite(role="supervisor")
    assert office.core.people.empty
    office.accept()
    assert not office.core.people.empty
    assert office.core.people.get("asha").actor() == Actor("Asha", SCOPES["supervisor"], "asha", "supervisor")
    with pytest.raises(Unauthorised, match="was used, or is too old"):
        office.accept(login="ravi")


def test_an_invitation_grows_too_old_by_the_desks_utc(office: Office) -> None:
    office.invite()
    office.clock.advance(INVITATION_S)
    with pytest.raises(Unauthorised, match="too old"):
        office.accept()


def test_a_new_password_comes_by_an_invitation_that_names_the_person_and_undoes_the_one_before(
    office: Office,
) -> None:
    boss = office.person("meera", "supervisor")
    office.person("asha", "operator")
    office.invite(boss, digest="first", login="asha")
    office.invite(boss, digest="second", role="supervisor", login="asha")
    with pytest.raises(Unauthorised):
        office.accept("first", password="two")
    office.accept("second", login="somebody-else", name="Other", password="three")
    found = office.core.people.get("asha")
    assert (found.password, found.role, found.name) == ("three", "operator", "Asha")


def test_a_name_that_somebody_has_is_refused_and_the_invitation_still_works(office: Office) -> None:
    office.person("asha", "operator")
    office.invite()
    with pytest.raises(Conflict, match="choose another"):
        office.accept(login="asha", password="stolen")
    office.accept(login="asha-2")
    assert office.core.people.get("asha").password == "one"


@pytest.mark.parametrize("change", [{"active": False}, {"role": "operator"}])
def test_somebody_is_always_left_to_manage_the_desk(office: Office, change: dict[str, object]) -> None:
    boss = office.person("meera", "supervisor")
    with pytest.raises(Conflict, match="another supervisor first"):
        office.core.act(boss, ChangePerson("meera", **change), office.clock.read())  # type: ignore[arg-type]
    office.person("ravi", "supervisor")
    office.core.act(boss, ChangePerson("meera", **change), office.clock.read())  # type: ignore[arg-type]


def test_a_group_that_is_not_there_is_refused(office: Office) -> None:
    boss = office.person("meera", "supervisor")
    with pytest.raises(Conflict, match="no group 3"):
        office.core.act(boss, Invite("x", "operator", 3), office.clock.read())
    with pytest.raises(Conflict, match="no group 3"):
        office.core.act(boss, ChangePerson("meera", group=3), office.clock.read())


def test_nobody_is_called_so(office: Office) -> None:
    boss = office.person("meera", "supervisor")
    with pytest.raises(NotFound):
        office.core.act(boss, ChangePerson("nobody", active=False), office.clock.read())
    with pytest.raises(NotFound):
        office.core.act(boss, RevokeToken("nothing"), office.clock.read())


def token(scopes: frozenset[Scope], ends_ns: int) -> Token:
    return Token(digest="t", label="ICCC", scopes=scopes, by="Meera", made_utc="", ends_ns=ends_ns)


def test_a_token_opens_what_it_was_given_for_until_it_ends_or_is_revoked(office: Office) -> None:
    boss = office.person("meera", "supervisor")
    now = office.clock.read()
    office.core.act(boss, GrantToken(token(frozenset({"view"}), now.utc_ns + 10**9)), now)
    program = office.core.people.program("t", now)
    office.core.take(alert(1), now)
    with pytest.raises(Unauthorised, match="the right to act"):
        office.core.act(program, Seen(uid(1)), now)
    office.clock.advance(1)
    with pytest.raises(Unauthorised):
        office.core.people.program("t", office.clock.read())
    office.core.act(boss, GrantToken(token(frozenset({"act"}), now.utc_ns + 10**12)), now)
    office.core.act(office.core.people.program("t", now), Seen(uid(1)), now)
    office.core.act(boss, RevokeToken("t"), now)
    with pytest.raises(Unauthorised):
        office.core.people.program("t", now)


@pytest.mark.parametrize("scope", get_args(Scope))
def test_nobody_gives_away_what_he_has_not(office: Office, scope: Scope) -> None:
    some = Actor("ICCC", ALL - {scope} | {"manage"}, "", "program")
    now = office.clock.read()
    wanted = token(frozenset({scope}), now.utc_ns + 10**9)
    if scope == "manage":
        office.core.act(some, GrantToken(wanted), now)
        return
    with pytest.raises(Unauthorised):
        office.core.act(some, GrantToken(wanted), now)
    with pytest.raises(Unauthorised):
        office.core.act(some, Invite("x", "supervisor"), now)


@pytest.mark.parametrize("role", ["observer", "operator"])
@pytest.mark.parametrize(
    "action",
    [
        Invite("x", "observer"),
        ChangePerson("meera", active=False),
        GrantToken(token(frozenset({"look"}), 10**19)),
        RevokeToken("t"),
    ],
)
def test_only_who_manages_the_desk_decides_about_people(office: Office, role: Role, action: object) -> None:
    office.person("meera", "supervisor")
    other = office.person("ravi", role)
    with pytest.raises(Unauthorised, match="right to manage"):
        office.core.act(other, action, office.clock.read())  # type: ignore[arg-type]
