"""What every process owes its supervisor: readiness, a watchdog fed by the loop itself, and a clean end.

systemd's notification protocol (sd_notify(3)) through systemd-python, or the same datagrams from the
standard library where that package is absent.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable

from edge import log as edge_log
from edge.bus import Bus
from edge.errors import EdgeError
from edge.protocol.inner import Alive, Done

log = logging.getLogger(__name__)

RESTART_AFTER_S = 1.0
SWITCH_S = 0.00002
ALIVE_S = 2.0
"""Period of the `Alive` message of each process."""


def notify(state: str) -> bool:
    """Tells systemd `state` (``READY=1``, ``WATCHDOG=1`` ...); False where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    try:
        from systemd import daemon
    except ImportError:
        return _notify_plain(address, state)
    try:
        return bool(daemon.notify(state))
    except OSError:
        # Whoever listened is gone. That is its trouble: a press must not end with it.
        return False


def _notify_plain(address: str, state: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            # A leading @ names a socket in the abstract namespace.
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
            sock.sendall(state.encode())
        except OSError:
            return False
    return True


def watchdog_s() -> float | None:
    """Half the watchdog period systemd asks for, in seconds; None without a watchdog."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    if not usec.isdecimal() or int(usec) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2e6


async def heartbeat(bus: Bus, process: str, detail: Callable[[], str] = lambda: "") -> None:
    """Says `Alive` on the bus and feeds the watchdog, both from the loop: a hung loop does neither."""
    # So many beats to one `Alive` that the watchdog is fed at least as often as it asks for.
    beats = math.ceil(ALIVE_S / (watchdog_s() or ALIVE_S))
    for beat in itertools.count():
        if beat % beats == 0:
            bus.publish(Alive(process=process, pid=os.getpid(), detail=detail()[:200]))
        notify("WATCHDOG=1")
        await asyncio.sleep(ALIVE_S / beats)


async def every(period_s: float, call: Callable[[], None]) -> None:
    """Calls it for ever. What a call raises is logged and ends nothing: the next may save a press."""
    while True:
        await asyncio.sleep(period_s)
        try:
            call()
        except Exception:
            log.exception("repeated call failed name=%s", getattr(call, "__name__", "?"))


def common_order(order_id: str, name: str, args: dict[str, str], stop: asyncio.Event) -> Done:
    """What every process does when told to: ``log_level``, ``restart`` (its supervisor starts it anew)."""
    if name == "log_level":
        try:
            edge_log.set_level(args.get("level", ""))
        except ValueError as error:
            return Done(id=order_id, ok=False, reason=str(error))
        return Done(id=order_id, ok=True)
    if name == "restart":
        # Late enough for the answer to be heard.
        asyncio.get_running_loop().call_later(RESTART_AFTER_S, stop.set)
        return Done(id=order_id, ok=True)
    return Done(id=order_id, ok=False, reason=f"{name} is not for this process")


def serve(process: str, main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Runs a process's `main` until SIGTERM or SIGINT; `main` gets the event that is set then.

    Returns the exit status: 0 after a clean end, 1 after an `EdgeError`, whose text is logged, or after any
    other error, which is logged with its trace.
    """
    edge_log.set_up(process)
    # A driver's thread that has something for the loop, or the loop for it, waits this long at most for the
    # other's Python; the default of 5 ms is longer than a whole press may take.
    sys.setswitchinterval(SWITCH_S)

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await main(stop)
        notify("STOPPING=1")

    try:
        asyncio.run(run())
    except EdgeError as error:
        log.error("%s cannot run: %s", process, error)
        return 1
    except Exception:
        log.exception("%s ended by an error nobody expected", process)
        return 1
    with contextlib.suppress(OSError):
        logging.shutdown()
    return 0
