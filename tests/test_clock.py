"""Readings, and the clock that moves only when told to."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import clock as clock_module
from edge.clock import ManualClock, SystemClock, boot_id, iso_utc, kernel_sync
from edge.protocol.common import Stamp


def test_monotonic_time_never_goes_back() -> None:
    clock = SystemClock()
    readings = [clock.mono_ns() for _ in range(1000)]
    assert readings == sorted(readings)


def test_a_boot_has_one_id() -> None:
    assert boot_id() == boot_id()
    assert len(boot_id()) == 32
    assert set(boot_id()) <= set("0123456789abcdef")


def test_a_clock_that_was_raised_says_so_until_it_is_synchronised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "clock-raised"
    clock = SystemClock(mark)
    monkeypatch.setattr(clock_module, "kernel_sync", lambda: (False, None))
    assert clock.read().trust == "unsynchronised"
    mark.touch()
    assert clock.read().trust == "raised"
    monkeypatch.setattr(clock_module, "kernel_sync", lambda: (True, 3))
    assert (clock.read().trust, clock.read().max_error_ms) == ("synchronised", 3)


class Kernel:
    """adjtimex(2) as ctypes would call it."""

    def __init__(self, result: int, status: int, error_us: int) -> None:
        self._result, self._status, self._error_us = result, status, error_us

    def adjtimex(self, timex: ctypes.Array[ctypes.c_char]) -> int:
        ctypes.c_int.from_buffer(timex, 40).value = self._status
        ctypes.c_long.from_buffer(timex, 24).value = self._error_us
        return self._result


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (Kernel(0, 0, 12_000), (True, 12)),
        (Kernel(5, 0x40, 16_000_000), (False, None)),
        (Kernel(-1, 0, 0), (False, None)),
        (object(), (False, None)),
    ],
)
def test_trust_is_what_the_kernel_says(
    monkeypatch: pytest.MonkeyPatch, kernel: object, said: tuple[bool, int | None]
) -> None:
    monkeypatch.setattr(clock_module, "_libc", lambda: kernel)
    assert kernel_sync() == said


def test_the_real_kernel_answers() -> None:
    synchronised, error_ms = kernel_sync()
    assert (error_ms is not None) == synchronised


@given(st.integers(0, 253402300799_999999999))
def test_every_time_has_a_text_that_the_protocol_takes(utc_ns: int) -> None:
    stamp = Stamp(utc=iso_utc(utc_ns), mono_ns=0, boot_id="0" * 32, seq=0, trust="raised")
    assert stamp.utc == iso_utc(utc_ns // 10**6 * 10**6)


def test_a_jump_of_utc_leaves_monotonic_time_alone() -> None:
    clock = ManualClock(utc_ns=10**18, mono_ns=5)
    clock.jump_utc(-86400)
    assert (clock.mono_ns(), clock.utc_ns()) == (5, 10**18 - 86400 * 10**9)
    clock.advance(1.5)
    assert (clock.mono_ns(), clock.utc_ns()) == (5 + 1_500_000_000, 10**18 - 86398_500_000_000)
