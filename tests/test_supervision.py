"""Readiness, watchdog and a clean end, against a real notification socket and real processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge import supervision
from edge.errors import StoreError
from edge.protocol.common import Model
from edge.protocol.inner import Alive

ROOT = Path(__file__).parents[1]
ID = "0190c4a0-1c80-7000-8000-0000000000ff"
WAIT_S = 10


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The end of NOTIFY_SOCKET at which systemd listens."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(WAIT_S)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield listener


@pytest.fixture(params=["systemd-python", "plain"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With systemd-python, and as if it were not installed."""
    if request.param == "plain":
        monkeypatch.setitem(sys.modules, "systemd", None)
    return str(request.param)


def test_a_word_arrives_at_the_supervisor(systemd: socket.socket, either: str) -> None:
    assert supervision.notify("READY=1")
    assert systemd.recv(100) == b"READY=1"


def test_a_word_arrives_at_an_abstract_socket(monkeypatch: pytest.MonkeyPatch, either: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("")  # the kernel chooses an abstract name
        name = listener.getsockname()
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name[1:].decode())
        assert supervision.notify("WATCHDOG=1")
        assert listener.recv(100) == b"WATCHDOG=1"


def test_a_supervisor_that_is_gone_ends_nobody(systemd: socket.socket, either: str) -> None:
    """systemd-python raises there: a process once ended because whoever had started it was gone."""
    systemd.close()
    assert supervision.notify("WATCHDOG=1") is False
    os.unlink(os.environ["NOTIFY_SOCKET"])
    assert supervision.notify("WATCHDOG=1") is False


def test_without_a_supervisor_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert supervision.notify("READY=1") is False


@pytest.mark.parametrize(
    ("usec", "pid", "told"),
    [
        ("3000000", None, 1.5),
        ("3000000", "own", 1.5),
        ("3000000", "1", None),
        ("0", None, None),
        ("", None, None),
        ("soon", None, None),
        ("²", None, None),
        ("-5", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_period(
    monkeypatch: pytest.MonkeyPatch, usec: str | None, pid: str | None, told: float | None
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert supervision.watchdog_s() == told


class Recorder:
    """Stands for the bus."""

    def __init__(self) -> None:
        self.said: list[Model] = []

    def publish(self, message: Model) -> None:
        self.said.append(message)


@pytest.mark.parametrize(("watchdog_s", "fed"), [(None, 1), (4.0, 1), (1.5, 3), (0.5, 8), (60.0, 1)], ids=str)
async def test_one_alive_in_two_seconds_and_the_watchdog_as_often_as_it_asks(
    monkeypatch: pytest.MonkeyPatch, watchdog_s: float | None, fed: int
) -> None:
    """`fed`: how often in the two seconds of an Alive; the waits are taken, not waited for."""
    bus: Any = Recorder()
    waits: list[float] = []
    feeds: list[str] = []
    turns = 5 * fed

    async def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == turns:
            raise asyncio.CancelledError

    monkeypatch.setenv("WATCHDOG_USEC", "" if watchdog_s is None else str(round(watchdog_s * 1e6)))
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.setattr(supervision, "notify", lambda state: feeds.append(state) or True)
    monkeypatch.setattr(supervision.asyncio, "sleep", wait)
    with contextlib.suppress(asyncio.CancelledError):
        await supervision.heartbeat(bus, "media", lambda: "x" * 500)
    assert len(bus.said) == 5
    assert bus.said[0] == Alive(process="media", pid=os.getpid(), detail="x" * 200)
    assert sum(waits) == pytest.approx(5 * supervision.ALIVE_S)
    assert feeds == ["WATCHDOG=1"] * turns
    if watchdog_s is not None:
        assert max(waits) <= watchdog_s / 2


async def test_orders_that_every_process_obeys(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = asyncio.Event()
    monkeypatch.setattr(supervision, "RESTART_AFTER_S", 0)
    levels: list[str] = []
    monkeypatch.setattr(supervision.edge_log, "set_level", levels.append)
    assert supervision.common_order(ID, "log_level", {"level": "debug"}, stop).ok
    assert levels == ["debug"]
    assert supervision.common_order(ID, "restart", {}, stop).ok
    async with asyncio.timeout(WAIT_S):
        await stop.wait()
    other = supervision.common_order(ID, "dance", {}, stop)
    assert (other.ok, other.reason) == (False, "dance is not for this process")


def test_a_level_that_is_none_is_refused_with_its_reason() -> None:
    done = supervision.common_order(ID, "log_level", {"level": "loud\n"}, asyncio.Event())
    assert not done.ok
    assert done.reason.startswith("log level 'loud\\n' is none of")


# ---------------------------------------------------------------------------------------- whole processes

PROCESS = """
import asyncio, sys
from edge import supervision
from edge.errors import StoreError

async def main(stop):
    supervision.notify("READY=1")
    if sys.argv[1] == "store": raise StoreError("the disk is gone: look at its cable")
    if sys.argv[1] == "fault": raise RuntimeError("a fault of ours")
    await stop.wait()

sys.exit(supervision.serve("callbox", main))
"""


def process(how: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, how], cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_ends_clean_when_it_is_told_to(systemd: socket.socket, number: signal.Signals) -> None:
    running = process("wait")
    assert systemd.recv(100) == b"READY=1"
    running.send_signal(number)
    assert running.wait(WAIT_S) == 0
    assert systemd.recv(100) == b"STOPPING=1"
    assert running.communicate()[1] == ""


def test_an_error_of_ours_is_told_without_a_trace_and_ends_with_status_1() -> None:
    running = process("store")
    told = running.communicate(timeout=WAIT_S)[1]
    assert running.returncode == 1
    assert told.endswith("callbox cannot run: the disk is gone: look at its cable\n")
    assert "Traceback" not in told


def test_any_other_error_is_logged_with_its_trace_and_ends_with_status_1() -> None:
    running = process("fault")
    told = running.communicate(timeout=WAIT_S)[1]
    assert running.returncode == 1
    assert "callbox ERROR edge.supervision callbox ended by an error nobody expected" in told
    assert "RuntimeError: a fault of ours" in told


def test_the_errors_of_the_tree_are_what_serve_takes_for_ours() -> None:
    assert issubclass(StoreError, supervision.EdgeError)
