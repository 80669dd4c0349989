"""Identifiers: UUID version 7 (RFC 9562), so that ids sort roughly by time of minting."""

from __future__ import annotations

import os

from edge.clock import Clock


def uuid7(clock: Clock) -> str:
    """A new UUIDv7 as 36 lower-case characters.

    The time in it is only for human eyes (the clock may be wrong); 74 random bits make it unique.
    """
    millis = (clock.utc_ns() // 1_000_000) & ((1 << 48) - 1)
    value = int.from_bytes(os.urandom(10), "big")
    rand_a, rand_b = value >> 68, value & ((1 << 62) - 1)
    digits = f"{(millis << 80) | (0x7 << 76) | (rand_a << 64) | (0b10 << 62) | rand_b:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
