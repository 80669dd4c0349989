"""When to try a connection again: full jitter, so that a city of boxes does not return in one wave.

Pure: it is asked for the next pause and told what came of the attempt.
"""

from __future__ import annotations

import hashlib
import random

ALERT_CAP_S = 8.0
"""Ceiling of the pause while an alert waits."""
REFUSED_FLOOR_S = 30.0
"""Refused credentials will be refused again: no pause is shorter than this, or half the ceiling."""


class Backoff:
    """Pauses of ``rand(0, min(cap, 2^n))`` seconds after the n-th failure in a row; never over the cap."""

    def __init__(
        self, name: str, *, cap_s: float, first_spread_s: float, rng: random.Random | None = None
    ) -> None:
        """`name` spreads the first attempt: the same name always gets the same share of `first_spread_s`."""
        self._cap_s = cap_s
        self._rng = rng or random.Random()
        share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
        self._next_s: float | None = share * first_spread_s
        self._failures = 0
        self._refused = False

    def pause_s(self, *, alert: bool) -> float:
        """Seconds to wait before the next attempt; `alert`: one is waiting in the outbox."""
        if self._next_s is not None:
            return 0.0 if alert else self._next_s
        cap_s = min(self._cap_s, ALERT_CAP_S) if alert else self._cap_s
        grown_s = 2.0 ** min(self._failures, 30)
        if self._refused:
            floor_s = min(REFUSED_FLOOR_S, cap_s / 2)
            return self._rng.uniform(floor_s, min(cap_s, max(2 * floor_s, grown_s)))
        return self._rng.uniform(0, min(cap_s, grown_s))

    def failed(self, *, refused: bool) -> None:
        """An attempt failed; `refused` when the other end did not accept who we are."""
        self._next_s = None
        self._failures += 1
        self._refused = refused

    def succeeded(self) -> None:
        """A session is up; the pause after it ends starts from the bottom again."""
        self._next_s = None
        self._failures = 0
        self._refused = False
