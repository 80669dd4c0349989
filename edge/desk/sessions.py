"""Who may come in: the access token of the token file, and the sessions begun with it."""

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
from edge.desk.core import Actor
from edge.desk.records import SessionRow
from edge.errors import ConfigError, Unauthorised

SESSION_S = 12 * 3600
"""A session ends by itself after the longest shift."""
MAX_SESSIONS = 500
MIN_TOKEN = 20


def read_or_make_token(path: Path) -> str:
    """The access token; a random one is made, readable by the desk's user alone, when the file is absent.

    Raises:
        ConfigError: the file cannot be read or made, is too short to be a secret, or others can read it.
    """
    try:
        with contextlib.suppress(FileExistsError):
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_urlsafe(24) + "\n")
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


@dataclass(slots=True)
class Session:
    """A person who has come in with the token."""

    digest: str
    actor: Actor
    ends_ns: int
    on_shift: bool = False

    def row(self, *, over: bool = False) -> SessionRow:
        return SessionRow(self.digest, self.actor.name, self.actor.role, self.on_shift, over)


class Sessions:
    """All sessions. `keep` stores a row; with `rows` of an earlier run, people stay signed in over a restart.

    Monotonic time does not survive a restart, so a session that does gets its full time again.
    """

    def __init__(
        self,
        token: str,
        clock: Clock,
        keep: Callable[[SessionRow], None] = lambda row: None,
        rows: Iterable[SessionRow] = (),
    ) -> None:
        self._token = token.encode()
        self._clock = clock
        self._keep = keep
        self._open: dict[str, Session] = {}
        for row in rows:
            actor = Actor(row.name, "operator" if row.role == "operator" else "observer")
            self._open[row.digest] = Session(row.digest, actor, self._end_ns(), bool(row.on_shift))

    def begin(self, token: str, name: str) -> tuple[Session, str]:
        """A new session and the key that opens it.

        Raises:
            Unauthorised: any other token, or too many sessions.
        """
        self.check(token)
        for over in [s for s in self._open.values() if s.ends_ns <= self._clock.mono_ns()]:
            self.end(over)
        if len(self._open) >= MAX_SESSIONS:
            raise Unauthorised("too many sessions are open; end one first")
        # A new key each time: nothing that a browser held before the login becomes valid by it.
        key = secrets.token_urlsafe(32)
        session = Session(_digest(key), Actor(name), self._end_ns())
        self._open[session.digest] = session
        self._keep(session.row())
        return session, key

    def check(self, token: str) -> None:
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            raise Unauthorised("the access token is not right")

    def find(self, key: str) -> Session:
        """Raises Unauthorised when the session is unknown or over."""
        session = self._open.get(_digest(key))
        if session is None or not self.is_open(session):
            raise Unauthorised("log in first")
        return session

    def is_open(self, session: Session) -> bool:
        """Also ends a session whose time has come."""
        if session.ends_ns <= self._clock.mono_ns():
            self.end(session)
        return session.digest in self._open

    def shift(self, session: Session, on: bool) -> None:
        session.on_shift = on
        self._keep(session.row())

    def end(self, session: Session) -> None:
        session.on_shift = False
        if self._open.pop(session.digest, None) is not None:
            self._keep(session.row(over=True))

    def _end_ns(self) -> int:
        return self._clock.mono_ns() + SESSION_S * 1_000_000_000


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
