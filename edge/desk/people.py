"""Who works at the desk and what each may do: persons, invitations, and tokens of programs. Pure.

Nobody is given a password: a supervisor (or, for the first person, the desk itself at its first start) makes
an invitation, a link that works once; whoever opens it chooses name and password. A forgotten password is
mended by another invitation. Secrets come in here as digests only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from edge.clock import Reading, iso_utc
from edge.desk.records import InvitationRow, Outcome, PersonRow, TokenRow, timeline
from edge.errors import Conflict, NotFound, Unauthorised

Role = Literal["observer", "operator", "supervisor"]
Scope = Literal["look", "view", "act", "command", "export", "manage"]
"""look: boxes, incidents and figures without personal data; view: all of an incident; act: on incidents;
command: orders to boxes; export: files of incidents and boxes; manage: people, tokens, the audit."""

SCOPES: Mapping[Role, frozenset[Scope]] = {
    "observer": frozenset({"look"}),
    "operator": frozenset({"look", "view", "act", "command"}),
    "supervisor": frozenset({"look", "view", "act", "command", "export", "manage"}),
}
ALL: frozenset[Scope] = SCOPES["supervisor"]
INVITATION_S = 24 * 3600
MAX_PEOPLE = 2000
MAX_TOKENS = 200
MAX_INVITATIONS = 200


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a person, or a program with a token."""

    name: str
    """Stands beside everything that is done."""
    scopes: frozenset[Scope] = SCOPES["operator"]
    login: str = ""
    """Of a person; a program has none."""
    role: Role | Literal["program"] = "operator"

    def need(self, scope: Scope) -> None:
        """Raises Unauthorised."""
        if scope not in self.scopes:
            raise Unauthorised(f"{self.name} may not do this: it needs the right to {scope}")


class Person(BaseModel):
    login: str
    name: str
    """As others see it, in any script."""
    role: Role
    group: int = 0
    """Index of the group that the person answers alerts in; observers ring for none."""
    active: bool = True
    made_utc: str
    password: str
    """Argon2id, as argon2's own encoded text (RFC 9106)."""

    def actor(self) -> Actor:
        return Actor(self.name, SCOPES[self.role], self.login, self.role)

    def row(self) -> PersonRow:
        return PersonRow(self.login, self.model_dump_json())


class Invitation(BaseModel):
    """A link that works once; `digest` is the SHA-256 of its secret."""

    digest: str
    role: Role
    group: int = 0
    login: str = ""
    """Of a person who is there already and chooses a new password; else a new one comes."""
    by: str
    ends_ns: int
    """Desk's UTC, ns: it outlives a restart."""

    def row(self, *, over: bool = False) -> InvitationRow:
        return InvitationRow(self.digest, self.model_dump_json(), over)


class Token(BaseModel):
    """Of a program, for example the ICCC's own software."""

    digest: str
    label: str
    scopes: frozenset[Scope]
    by: str
    made_utc: str
    ends_ns: int
    revoked: bool = False

    def row(self) -> TokenRow:
        return TokenRow(self.digest, self.model_dump_json())


class People:
    """Everybody. Authorisation is the core's; here it is only seen to that what is asked for can be."""

    def __init__(self, groups: int = 1) -> None:
        self._groups = groups
        self._people: dict[str, Person] = {}
        self._invitations: dict[str, Invitation] = {}
        self._tokens: dict[str, Token] = {}

    def load(
        self, people: Iterable[Person], invitations: Iterable[Invitation], tokens: Iterable[Token]
    ) -> None:
        self._people = {p.login: p for p in people}
        self._invitations = {i.digest: i for i in invitations}
        self._tokens = {t.digest: t for t in tokens}

    # -- what is known -------------------------------------------------------------------------

    @property
    def empty(self) -> bool:
        """Nobody could manage the desk."""
        return not any(p.active and p.role == "supervisor" for p in self._people.values())

    def listed(self) -> list[Person]:
        return sorted(self._people.values(), key=lambda p: (not p.active, p.login))

    def tokens(self) -> list[Token]:
        return sorted(self._tokens.values(), key=lambda t: (t.revoked, t.label))

    def get(self, login: str) -> Person:
        try:
            return self._people[login]
        except KeyError:
            raise NotFound(f"nobody is called {login}") from None

    def active(self, login: str) -> Person | None:
        person = self._people.get(login)
        return person if person is not None and person.active else None

    def invitation(self, digest: str, now: Reading) -> Invitation:
        """Raises Unauthorised when it was used, was never made, or is too old."""
        found = self._invitations.get(digest)
        if found is None or now.utc_ns >= found.ends_ns:
            raise Unauthorised("this invitation was used, or is too old: ask for another")
        return found

    def program(self, digest: str, now: Reading) -> Actor:
        """Raises Unauthorised when there is no such token, or not any more."""
        found = self._tokens.get(digest)
        if found is None or found.revoked or now.utc_ns >= found.ends_ns:
            raise Unauthorised("the access token is not right, or not any more")
        return Actor(found.label, found.scopes, "", "program")

    # -- what supervisors do -------------------------------------------------------------------

    def invite(self, digest: str, role: Role, group: int, login: str, by: str, now: Reading) -> Outcome:
        """`login` names a person who gets a new password; empty: a new person.

        Raises:
            Conflict: no such group, or too many people.
            NotFound: nobody is called so.
        """
        self._group(group)
        if login:
            person = self.get(login)
            role, group = person.role, person.group
        elif len(self._people) >= MAX_PEOPLE:
            raise Conflict(f"more than {MAX_PEOPLE} people")
        old = [
            i for i in self._invitations.values() if i.ends_ns <= now.utc_ns or (login and i.login == login)
        ]
        if len(self._invitations) - len(old) >= MAX_INVITATIONS:
            raise Conflict("too many invitations are open: wait until some of them are too old")
        made = Invitation(
            digest=digest,
            role=role,
            group=group,
            login=login,
            by=by,
            ends_ns=now.utc_ns + INVITATION_S * 10**9,
        )
        for over in old:
            del self._invitations[over.digest]
        self._invitations[digest] = made
        told = timeline(now, "invited", by=by, role=role, login=login)
        return Outcome([made.row(), *(i.row(over=True) for i in old), told])

    def accept(self, digest: str, login: str, name: str, password: str, now: Reading) -> Outcome:
        """Makes the person, or gives the one who is there the new password.

        Args:
            password: encoded by argon2.

        Raises:
            Unauthorised: as `invitation`.
            Conflict: somebody is called so already.
        """
        made = self.invitation(digest, now)
        if made.login:
            person = self.get(made.login).model_copy(update={"password": password, "active": True})
            kind = "password_renewed"
        else:
            if login in self._people:
                raise Conflict(f"somebody is called {login} already: choose another name to sign in with")
            person = Person(
                login=login,
                name=name,
                role=made.role,
                group=made.group,
                made_utc=iso_utc(now.utc_ns),
                password=password,
            )
            kind = "joined_desk"
        self._people[person.login] = person
        del self._invitations[digest]
        told = timeline(now, kind, by=person.name, login=person.login, role=person.role, invited_by=made.by)
        return Outcome([person.row(), made.row(over=True), told])

    def change(
        self,
        login: str,
        by: str,
        now: Reading,
        *,
        role: Role | None = None,
        group: int | None = None,
        active: bool | None = None,
    ) -> Outcome:
        """What is None stays.

        Raises:
            Conflict: nobody would be left to manage the desk, or there is no such group.
        """
        person = self.get(login)
        if group is not None:
            self._group(group)
        wanted = {"role": role, "group": group, "active": active}
        changed = {key: value for key, value in wanted.items() if value is not None}
        person = person.model_copy(update=changed)
        others = [
            p for p in self._people.values() if p.login != login and p.active and p.role == "supervisor"
        ]
        if not others and not (person.active and person.role == "supervisor"):
            raise Conflict("nobody would be left to manage the desk: make another supervisor first")
        self._people[login] = person
        told = timeline(now, "person_changed", by=by, login=login, **changed)  # type: ignore[arg-type]
        return Outcome([person.row(), told])

    def grant(self, token: Token, now: Reading) -> Outcome:
        """Raises Conflict when there are too many."""
        live = [t for t in self._tokens.values() if not t.revoked and t.ends_ns > now.utc_ns]
        if len(live) >= MAX_TOKENS:
            raise Conflict(f"more than {MAX_TOKENS} tokens: revoke one")
        self._tokens[token.digest] = token
        told = timeline(
            now, "token_made", by=token.by, label=token.label, scopes=" ".join(sorted(token.scopes))
        )
        return Outcome([token.row(), told])

    def revoke(self, digest: str, by: str, now: Reading) -> Outcome:
        found = self._tokens.get(digest)
        if found is None:
            raise NotFound("no such token")
        self._tokens[digest] = found = found.model_copy(update={"revoked": True})
        return Outcome([found.row(), timeline(now, "token_revoked", by=by, label=found.label)])

    def _group(self, group: int) -> None:
        if not 0 <= group < self._groups:
            raise Conflict(f"there is no group {group}, only 0 to {self._groups - 1}")
