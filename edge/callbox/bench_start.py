"""``edge bench start``: from exec to the button armed, beside the bare import of what the button needs.

Armed is what the process says of itself (READY=1 of sd_notify(3)), heard by this process; the floor says the
same after its imports. Both start from exec, in turn.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from edge.bench import Report, Spread, progress
from edge.clock import SystemClock
from edge.errors import SetupFailed

TARGET = 1.8
_SAY = (
    "import os, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
    "s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])"
)
FLOORS = {
    # `import pydantic` alone is lazy: it loads nothing that a model needs. The bare import of what a program
    # uses of it is BaseModel; the lazy one is printed beside it.
    "bare_import": f"import gpiozero, lgpio, zmq; from pydantic import BaseModel; {_SAY}",
    "lazy_import": f"import gpiozero, lgpio, zmq, pydantic; {_SAY}",
}
CONFIG = """
[box]
city = "karnal"
device = "box-1"
name = "Bench"
place = {{ lat = 29.69, lon = 76.99 }}
[paths]
data = "{data}"
run = "{folder}/run"
[button]
driver = "sim"
[button.contacts.police]
pin = 17
service = "police"
[audio]
driver = "sim"
[sim]
stage = "{folder}/stage.sock"
"""


class Starts:
    """Starts a process and waits for its word."""

    def __init__(self, folder: Path) -> None:
        self._clock = SystemClock()
        self._path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))
        self._socket.settimeout(20)
        self._env = {**os.environ, "NOTIFY_SOCKET": str(self._path), "LG_WD": str(folder)}

    def once_ms(self, *argv: str) -> float:
        began = self._clock.mono_ns()
        process = subprocess.Popen(
            [sys.executable, *argv], env=self._env, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        try:
            while b"READY=1" not in self._socket.recv(4096):
                pass
            return (self._clock.mono_ns() - began) / 1e6
        except TimeoutError:
            raise SetupFailed(f"not ready within 20 s: {' '.join(argv)[:80]}") from None
        finally:
            process.kill()
            process.wait()
            self._forget()

    def _forget(self) -> None:
        """Late words of a process that is gone."""
        self._socket.setblocking(False)
        try:
            while self._socket.recv(4096):
                pass
        except BlockingIOError:
            self._socket.settimeout(20)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", type=int, default=30)


def run(args: argparse.Namespace) -> Report:
    folder = Path(tempfile.mkdtemp(prefix="edge-", dir="/var/tmp"))
    try:
        return _measure(folder, args.n)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(folder: Path, n: int) -> Report:
    starts = Starts(folder)
    healthy, absent = folder / "box.toml", folder / "no-disk.toml"
    healthy.write_text(CONFIG.format(folder=folder, data=folder / "data"))
    # A data folder inside a file cannot be made, whoever tries: a disk that is not there.
    absent.write_text(CONFIG.format(folder=folder, data=healthy / "data"))
    names = ("callbox_to_armed", "callbox_to_armed.disk_absent", *FLOORS)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(n + 1):
        times = {
            **{name: starts.once_ms("-c", code) for name, code in FLOORS.items()},
            "callbox_to_armed": starts.once_ms("-m", "edge", "run", "callbox", "--config", str(healthy)),
            "callbox_to_armed.disk_absent": starts.once_ms(
                "-m", "edge", "run", "callbox", "--config", str(absent)
            ),
        }
        if number:  # the first fills the page cache
            for name, ms in times.items():
                found[name].append(ms)
        progress(f"start {number}/{n}")
    report = Report("start", n)
    report.floors = {name: Spread.of(found.pop(name), "ms") for name in FLOORS}
    report.metrics = {name: Spread.of(values, "ms") for name, values in found.items()}
    for name, spread in report.metrics.items():
        for floor, bare in report.floors.items():
            report.ratios[f"{name}_vs_{floor}"] = round(spread.p50 / bare.p50, 3)
        ratio = report.ratios[f"{name}_vs_bare_import"]
        if ratio > TARGET:
            report.missed.append(f"{name}, median <= {TARGET} x the bare import: {ratio}")
    return report
