"""Passwords: Argon2id (RFC 9106) off the loop, and who must wait after wrong ones."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from edge.clock import Clock
from edge.errors import Conflict, DeskBusy, Unauthorised

MIN_LENGTH = 12
MAX_LENGTH = 200
MIN_DIFFERENT = 5
"""Different characters."""
FREE_TRIES = 5
FIRST_LOCK_S, LONGEST_LOCK_S = 30.0, 900.0
MAX_WAITING = 20
MAX_KEPT = 10_000
_NOBODY = PasswordHasher().hash("nobody has this password")


def check_strength(password: str, login: str) -> None:
    """Raises Conflict; the text says what a password must be."""
    if (
        not MIN_LENGTH <= len(password) <= MAX_LENGTH
        or len(set(password)) < MIN_DIFFERENT
        or login.lower() in password.lower()
    ):
        raise Conflict(
            f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters, at least {MIN_DIFFERENT} different ones"
            " and not the name you sign in with: three words that have nothing to do with one another do well"
        )


class Passwords:
    """Makes and checks encoded passwords in a thread of their own; each takes some 50 ms and 64 MiB."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._thread = ThreadPoolExecutor(1, "desk-passwords")
        self._waiting = 0

    async def encode(self, password: str) -> str:
        """Raises DeskBusy when too many wait."""
        return str(await self._run(self._hasher.hash, password))

    async def right(self, encoded: str | None, password: str) -> bool:
        """Whether it is the one; None, for a person who is not there, takes as long. Raises DeskBusy."""
        return bool(await self._run(self._verify, encoded or _NOBODY, password)) and encoded is not None

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _verify(self, encoded: str, password: str) -> bool:
        try:
            return bool(self._hasher.verify(encoded, password))
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, what: object, *args: str) -> object:
        if self._waiting >= MAX_WAITING:
            raise DeskBusy("too many people sign in at this moment: try again")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, what, *args)  # type: ignore[arg-type]
        finally:
            self._waiting -= 1


class Locks:
    """Who has given a wrong password too often waits: 30 s, then twice as long each time, up to 15 min.

    Counted for a login from an address: somebody elsewhere cannot lock an operator out of his own desk.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wrong: dict[tuple[str, str], tuple[int, int]] = {}
        """(login, address) -> how often, and monotonic ns until which it is locked."""

    def check(self, login: str, address: str) -> None:
        """Raises Unauthorised while it is locked."""
        _, until_ns = self._wrong.get((login, address), (0, 0))
        left_s = (until_ns - self._clock.mono_ns()) / 1e9
        if left_s > 0:
            raise Unauthorised(f"too many wrong passwords: wait {left_s:.0f} s, or ask a supervisor")

    def wrong(self, login: str, address: str) -> None:
        count = self._wrong.pop((login, address), (0, 0))[0] + 1
        lock_s = 0.0
        if count >= FREE_TRIES:
            lock_s = min(LONGEST_LOCK_S, FIRST_LOCK_S * 2 ** min(20, count - FREE_TRIES))
        if len(self._wrong) >= MAX_KEPT:
            del self._wrong[next(iter(self._wrong))]
        self._wrong[(login, address)] = (count, self._clock.mono_ns() + round(lock_s * 1e9))

    def right(self, login: str, address: str) -> None:
        self._wrong.pop((login, address), None)

    def forgive(self, login: str) -> None:
        """A supervisor has invited the person anew."""
        for key in [k for k in self._wrong if k[0] == login]:
            del self._wrong[key]
