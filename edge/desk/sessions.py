"""Who may come in: the access token of the token file, and the sessions begun with it."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from edge.clock import Clock
from edge.desk.core import Actor
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

    key: str
    actor: Actor
    ends_ns: int
    on_shift: bool = False


class Sessions:
    """All sessions of this process; a restart of the desk ends them."""

    def __init__(self, token: str, clock: Clock) -> None:
        self._token = token.encode()
        self._clock = clock
        self._open: dict[str, Session] = {}

    def begin(self, token: str, name: str) -> Session:
        """Raises Unauthorised for any other token."""
        self.check(token)
        self._sweep()
        if len(self._open) >= MAX_SESSIONS:
            raise Unauthorised("too many sessions are open; end one first")
        # A new key each time: nothing that a browser held before the login becomes valid by it.
        session = Session(
            secrets.token_urlsafe(32), Actor(name), self._clock.mono_ns() + SESSION_S * 1_000_000_000
        )
        self._open[session.key] = session
        return session

    def check(self, token: str) -> None:
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            raise Unauthorised("the access token is not right")

    def find(self, key: str) -> Session:
        """Raises Unauthorised when the session is unknown or over."""
        session = self._open.get(key)
        if session is None or session.ends_ns <= self._clock.mono_ns():
            self._open.pop(key, None)
            raise Unauthorised("log in first")
        return session

    def end(self, session: Session) -> None:
        session.on_shift = False
        self._open.pop(session.key, None)

    def _sweep(self) -> None:
        now = self._clock.mono_ns()
        for key in [k for k, s in self._open.items() if s.ends_ns <= now]:
            self.end(self._open[key])
