"""Who comes in: sessions of persons, tokens of programs, and the administrator's token file."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from edge.clock import Clock
from edge.desk.people import ALL, Actor, People
from edge.desk.records import SessionRow
from edge.errors import ConfigError, Unauthorised

SESSION_S = 12 * 3600
"""A session ends by itself after the longest shift."""
IDLE_S = 30 * 60
"""And after so long without an act, but never while its person is on shift: who watches must not stop."""
MAX_SESSIONS = 500
MIN_TOKEN = 20


def read_or_make_token(path: Path) -> str:
    """The administrator's token; a random one is made, readable by the desk's user alone, if there is none.

    Raises:
        ConfigError: the file cannot be read or made, is too short to be a secret, or others can read it.
    """
    try:
        with contextlib.suppress(FileExistsError):
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(new_secret() + "\n")
        mode = path.stat().st_mode
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"desk.token_file {path} cannot be used: {error}") from None
    if mode & 0o077:
        raise ConfigError(f"desk.token_file {path} can be read by others: chmod 600 {path}")
    if len(token) < MIN_TOKEN:
        raise ConfigError(
            f"desk.token_file {path} holds fewer than {MIN_TOKEN} characters: delete it, and one is made"
        )
    return token


def new_secret() -> str:
    """256 bits, for a cookie, a link or a token."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is stored of a secret: enough to know it again. It is random, so a plain SHA-256 is enough."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


@dataclass(slots=True)
class Session:
    """A person who has signed in."""

    digest: str
    login: str
    ends_ns: int
    used_ns: int
    on_shift: bool = False

    def row(self, *, over: bool = False) -> SessionRow:
        return SessionRow(self.digest, self.login, "", self.on_shift, over)


class Sessions:
    """All sessions. `keep` stores a row; with `rows` of an earlier run, people stay signed in over a restart.

    Monotonic time does not survive a restart, so a session that does gets its full time again.
    """

    def __init__(
        self,
        token: str,
        people: People,
        clock: Clock,
        keep: Callable[[SessionRow], None] = lambda row: None,
        rows: Iterable[SessionRow] = (),
    ) -> None:
        self._token = token.encode()
        self._people = people
        self._clock = clock
        self._keep = keep
        self._open: dict[str, Session] = {}
        for row in rows:
            self._open[row.digest] = self._make(row.digest, row.name, bool(row.on_shift))

    def begin(self, login: str) -> tuple[Session, str]:
        """A new session and the key that opens it.

        Raises:
            Unauthorised: too many sessions are open.
        """
        for session in list(self._open.values()):
            self.is_open(session)
        if len(self._open) >= MAX_SESSIONS:
            raise Unauthorised("too many sessions are open; end one first")
        # A new key each time: nothing that a browser held before signing in becomes valid by it.
        key = new_secret()
        session = self._open[digest(key)] = self._make(digest(key), login, False)
        self._keep(session.row())
        return session, key

    def program(self, token: str) -> Actor:
        """Whose token it is. Raises Unauthorised."""
        if hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            return Actor("administrator", ALL, "", "program")
        return self._people.program(digest(token), self._clock.read())

    def find(self, key: str) -> Session:
        """Raises Unauthorised when the session is unknown or over."""
        session = self._open.get(digest(key))
        if session is None or not self.is_open(session):
            raise Unauthorised("sign in first")
        session.used_ns = self._clock.mono_ns()
        return session

    def actor(self, session: Session) -> Actor:
        """Who it is now: a role that was changed holds at once. Raises Unauthorised."""
        person = self._people.active(session.login)
        if person is None:
            self.end(session)
            raise Unauthorised("sign in first")
        return person.actor()

    def is_open(self, session: Session) -> bool:
        """Also ends a session whose time has come, or whose person may not come in any more."""
        now_ns = self._clock.mono_ns()
        idle = not session.on_shift and now_ns - session.used_ns >= IDLE_S * 10**9
        if idle or session.ends_ns <= now_ns or self._people.active(session.login) is None:
            self.end(session)
        return session.digest in self._open

    def shift(self, session: Session, on: bool) -> None:
        session.on_shift = on
        self._keep(session.row())

    def end(self, session: Session) -> None:
        session.on_shift = False
        if self._open.pop(session.digest, None) is not None:
            self._keep(session.row(over=True))

    def end_all(self, login: str) -> list[Session]:
        """Of a person whose password or rights were changed; returns them."""
        ended = [s for s in self._open.values() if s.login == login]
        for session in ended:
            self.end(session)
        return ended

    def _make(self, key_digest: str, login: str, on_shift: bool) -> Session:
        now_ns = self._clock.mono_ns()
        return Session(key_digest, login, now_ns + SESSION_S * 10**9, now_ns, on_shift)
