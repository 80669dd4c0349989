"""The one place that reads a clock.

Monotonic nanoseconds (CLOCK_MONOTONIC, the clock the kernel stamps GPIO edges with) order what happens
within one boot; UTC is for people and is never used for order (I9). How far UTC can be trusted is read from
the kernel's NTP state.
"""

from __future__ import annotations

import ctypes
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Literal, Protocol

Trust = Literal["synchronised", "raised", "unsynchronised"]

_STA_UNSYNC = 0x0040
# glibc's struct timex is 208 bytes on 64-bit Linux; status and maxerror stand at these offsets.
_TIMEX_SIZE, _TIMEX_MAXERROR, _TIMEX_STATUS = 208, 24, 40


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the clocks of this machine."""

    utc_ns: int
    """Nanoseconds since 1970-01-01T00:00:00Z as this machine believes it."""
    mono_ns: int
    """CLOCK_MONOTONIC nanoseconds; comparable only within one boot id."""
    boot_id: str
    """The kernel's random id of this boot (32 hexadecimal digits)."""
    trust: Trust
    """``synchronised`` by NTP or PTP, ``raised`` by the start step, or free running."""
    max_error_ms: int | None
    """The kernel's bound on the error of UTC, None when it is not synchronised."""


class Clock(Protocol):
    """What every part asks for the time; tests pass a `ManualClock`."""

    def mono_ns(self) -> int: ...
    def utc_ns(self) -> int: ...
    def read(self) -> Reading: ...


@cache
def boot_id() -> str:
    """The kernel's boot id without dashes; a random stand-in never repeats within a process."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    except OSError:
        return os.urandom(16).hex()


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def kernel_sync() -> tuple[bool, int | None]:
    """Whether the kernel says that its clock is synchronised, and its error bound in ms (adjtimex(2))."""
    try:
        timex = ctypes.create_string_buffer(_TIMEX_SIZE)
        if _libc().adjtimex(timex) < 0:
            return False, None
    except (OSError, AttributeError):
        return False, None
    status = ctypes.c_int.from_buffer(timex, _TIMEX_STATUS).value
    if status & _STA_UNSYNC:
        return False, None
    return True, ctypes.c_long.from_buffer(timex, _TIMEX_MAXERROR).value // 1000


class SystemClock:
    """The machine's clocks. `raised_mark` is the file the start step leaves when it had to raise UTC."""

    def __init__(self, raised_mark: Path | None = None) -> None:
        self._raised_mark = raised_mark

    def mono_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC)

    def utc_ns(self) -> int:
        return time.time_ns()

    def read(self) -> Reading:
        synced, error_ms = kernel_sync()
        trust: Trust = "synchronised" if synced else "unsynchronised"
        if not synced and self._raised_mark is not None and self._raised_mark.exists():
            trust = "raised"
        return Reading(self.utc_ns(), self.mono_ns(), boot_id(), trust, error_ms)


class ManualClock:
    """A clock that moves only when told to; hours of behaviour pass in no time.

    `advance` moves both clocks, `jump_utc` only UTC, as a wrong or corrected clock does.
    """

    def __init__(self, utc_ns: int = 1_800_000_000_000_000_000, mono_ns: int = 1_000_000_000) -> None:
        self._utc_ns = utc_ns
        self._mono_ns = mono_ns
        self.boot = "0" * 32
        self.trust: Trust = "synchronised"

    def mono_ns(self) -> int:
        return self._mono_ns

    def utc_ns(self) -> int:
        return self._utc_ns

    def read(self) -> Reading:
        return Reading(self._utc_ns, self._mono_ns, self.boot, self.trust, 10)

    def advance(self, seconds: float) -> None:
        step = round(seconds * 1e9)
        self._mono_ns += step
        self._utc_ns += step

    def jump_utc(self, seconds: float) -> None:
        self._utc_ns += round(seconds * 1e9)


def iso_utc(utc_ns: int) -> str:
    """RFC 3339 text with milliseconds and Z."""
    whole, rest = divmod(utc_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03d}Z"


def set_system_utc(utc_ns: int) -> None:
    """Sets the machine's clock (needs CAP_SYS_TIME); raises PermissionError without it."""
    time.clock_settime_ns(time.CLOCK_REALTIME, utc_ns)


def pause(seconds: float) -> None:
    """Blocks the calling thread; for drivers' threads and command-line tools, never on a loop."""
    time.sleep(seconds)
