"""What a test can do to a box and see of it: one interface, behind it a virtual machine or a real Pi."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

BUTTONS = {"police": 17, "women": 27, "medical": 22}
"""Contact -> BCM number of its line; a closed contact pulls it to ground."""
LID = 5
OUTPUTS = {"lamp": 24, "buzzer": 25}


class BenchError(Exception):
    """The bench, not the box, does not do what was asked; the text says what to look at."""


@dataclass(frozen=True)
class Edge:
    """An output changed."""

    output: str
    level: int
    at_ns: int
    """CLOCK_MONOTONIC of the box."""


class Bench(Protocol):
    """One box under test. Everything is asynchronous; times are seconds unless a name says otherwise."""

    async def start(self) -> None:
        """Power on, booted, and armed; raises `BenchError`."""

    async def close(self) -> None: ...

    # -- hands and eyes ----------------------------------------------------------------------------

    async def press(self, button: str, hold_s: float | None = 0.4) -> int:
        """Closes a contact and opens it after `hold_s`; None: keeps it closed, over cuts as well.

        The power may be off. Returns CLOCK_MONOTONIC ns of the contact, of the clock that `watch` tells.
        """

    @property
    def held(self) -> list[str]:
        """Buttons that are kept closed."""

    async def release(self, button: str) -> None: ...

    async def bounce(self, button: str, ms: Sequence[float]) -> list[float]:
        """Closes and opens the contact in turn, each for so many milliseconds; it is open afterwards.

        Returns how long each truly was: a bench that is busy is not exact.
        """

    async def lid(self, is_open: bool) -> None:
        """The tamper contact."""

    async def watch(self, seconds: float, *outputs: str) -> list[Edge]:
        """The first entry of each output is its level at the beginning."""

    # -- power, link, time -------------------------------------------------------------------------

    @property
    def powered(self) -> bool: ...

    async def cut(self) -> None:
        """The power is gone, at once."""

    async def restore(self, *, cold: bool = False) -> None:
        """Power on; returns when the box is armed. Contacts that are held stay held.

        cold: by a whole boot, where the bench knows anything quicker.
        """

    async def wait_for_reset(self, timeout_s: float) -> None:
        """Returns when the hardware watchdog has reset a box that hangs; raises `BenchError`."""

    async def link(self, up: bool) -> None:
        """The network cable."""

    async def set_clock(self, utc_s: float) -> None: ...

    # -- inside ------------------------------------------------------------------------------------

    async def sh(self, command: str, *, timeout_s: float = 60, check: bool = True) -> str:
        """Runs it as root and returns what it printed; raises `BenchError` when it fails, if `check`."""

    async def write(self, path: str, text: str) -> None: ...


async def armed(bench: Bench, timeout_s: float = 90) -> None:
    """Waits until callbox has said that it is ready."""
    await bench.sh(
        f"timeout {timeout_s:g} sh -c 'until systemctl is-active -q edge-callbox; do sleep 0.2; done' "
        "&& exit 0; systemctl status edge-callbox --no-pager; exit 1",
        timeout_s=timeout_s + 10,
    )
