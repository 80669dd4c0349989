"""Runs a process of the product with faults in it, from outside: nothing of this is in the product.

``python -m edge.sim.sabotage CONTROL [--with NAME] -- run callbox --config FILE`` wraps named functions and
then starts the command as usual. CONTROL is a small file mapped into memory that the harness writes: at which
crash point the process is to kill itself, and how its disks fail at the moment.
"""

from __future__ import annotations

import argparse
import errno
import mmap
import os
import select
import signal
import sqlite3
import struct
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

from edge.errors import StoreError
from edge.store.files import File, RealFiles
from edge.store.lossy import LossyFiles

SIZE = 4096
_POINT = slice(0, 64)
_WORDS = struct.Struct("<5I")
_WORDS_AT = 64


@dataclass(frozen=True)
class Point:
    """A place between the edge and the receipt where a process may die."""

    name: str
    program: str
    target: str
    """``module:Class.method``"""
    when: str
    """``before`` or ``after`` the call."""
    only: Callable[[tuple[Any, ...]], bool] = lambda _args: True


def _first_is_alert(args: tuple[Any, ...]) -> bool:
    return str(args[1]).endswith("/alert")


def _holds_press(args: tuple[Any, ...]) -> bool:
    return any(type(row).__name__ == "PressRow" for row in args[1])


_WRITE = "edge.store.journal:Journal._write"
_SYNC = "edge.store.journal:Journal._sync"
_PUBLISH = "edge.mqtt:MqttSession.publish"
_COMMIT = "edge.store.outbox:Outbox.commit"
_DESK_COMMIT = "edge.desk.store:Store.commit"
POINTS: tuple[Point, ...] = (
    Point("edge_seen", "callbox", "edge.callbox.panel:Panel._edge", "before"),
    Point("confirmed", "callbox", "edge.callbox.callbox:Callbox._pressed", "before"),
    Point("handed_to_disk", "callbox", "edge.callbox.callbox:Callbox._pressed", "after"),
    Point("journal_before_write", "callbox", _WRITE, "before"),
    Point("journal_written", "callbox", _WRITE, "after"),
    Point("journal_synced", "callbox", _SYNC, "after"),
    Point("before_announced", "callbox", "edge.callbox.callbox:Callbox._stored", "before"),
    Point("announced", "callbox", "edge.callbox.callbox:Callbox._stored", "after"),
    Point("press_heard", "uplink", "edge.uplink.uplink:Uplink._on_press", "before"),
    Point("outbox_before_commit", "uplink", _COMMIT, "before"),
    Point("outbox_committed", "uplink", _COMMIT, "after"),
    Point("alert_before_publish", "uplink", _PUBLISH, "before", _first_is_alert),
    Point("alert_published", "uplink", _PUBLISH, "after", _first_is_alert),
    Point("alert_puback", "uplink", "edge.uplink.delivery:DeliveryBook.puback", "after"),
    Point("alert_arrived", "desk", "edge.desk.broker:Broker.receive", "before", _first_is_alert),
    Point("desk_before_commit", "desk", _DESK_COMMIT, "before", _holds_press),
    Point("desk_committed", "desk", _DESK_COMMIT, "after", _holds_press),
    Point("receipt_sent", "desk", "edge.desk.broker:Broker.send", "after"),
    Point("receipt_heard", "uplink", "edge.uplink.uplink:Uplink._on_receipt", "before"),
    Point("receipt_noted", "uplink", "edge.uplink.uplink:Uplink._on_receipt", "after"),
)


class Control:
    """The mapped file; the harness and the process it sabotages see the same bytes."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(SIZE))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SIZE)

    def arm(self, point: str) -> None:
        """The next time this point is passed, the process kills itself; "" disarms."""
        self._map[_POINT] = point.encode().ljust(64, b"\0")

    @property
    def armed(self) -> str:
        return self._map[_POINT].rstrip(b"\0").decode()

    def faults(self, *, write: int = 0, sync: int = 0, stall_ms: int = 0, outbox: int = 0) -> None:
        """errno of journal writes and syncs, stall of a sync in ms, errno of outbox commits; 0: no fault."""
        self._map[_WORDS_AT : _WORDS_AT + _WORDS.size] = _WORDS.pack(write, sync, stall_ms, outbox, 0)

    def read_faults(self) -> tuple[int, int, int, int]:
        write, sync, stall_ms, outbox, _ = _WORDS.unpack_from(self._map, _WORDS_AT)
        return write, sync, stall_ms, outbox


def _nap(seconds: float) -> None:
    """time.sleep() fails with EINVAL in a process whose clock libfaketime moves."""
    select.select((), (), (), seconds)


class ControlledFiles(LossyFiles):
    """The lossy disk, its faults read from the control at each use."""

    def __init__(self, control: Control) -> None:
        super().__init__(seed=os.getpid())
        self._control = control

    def open(self, path: Path, *, write: bool) -> File:
        self._read_control()
        return super().open(path, write=write)

    def check_write(self) -> None:
        self._read_control()
        super().check_write()

    def _read_control(self) -> None:
        self.fail_write = self._control.read_faults()[0] or None

    def before_sync(self, wait: Callable[[float], None] = _nap) -> None:
        _, sync, stall_ms, _ = self._control.read_faults()
        self.fail_sync, self.stall_s = sync or None, stall_ms / 1000
        while self.stall_s > 0:
            wait(0.02)
            self.stall_s = min(self.stall_s - 0.02, self._control.read_faults()[2] / 1000)
        super().before_sync(wait)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="edge.sim.sabotage", description=__doc__)
    parser.add_argument("control", type=Path)
    parser.add_argument("--with", dest="spoil", choices=sorted(SPOILERS), help="break a rule on purpose")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args(argv)
    control = Control(args.control)
    words = [word for word in args.command if word != "--"]
    program = words[1] if words[0] == "run" else words[0]
    if program == "callbox":
        _lossy_journal(control, honest=args.spoil != "no_fsync")
    if program == "uplink":
        _failing_outbox(control)
    if args.spoil:
        SPOILERS[args.spoil]()
    for point in POINTS:
        if point.program == program:
            _plant(point, control)
    from edge.cli import main as edge_main

    return edge_main(words)


# -- faults a box must survive ------------------------------------------------------------------------


def _plant(point: Point, control: Control) -> None:
    def die_if_armed(args: tuple[Any, ...]) -> None:
        if control.armed == point.name and point.only(args):
            control.arm("")
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if point.when == "before":
                die_if_armed(args)
            result = call(*args, **kwargs)
            if point.when == "after":
                die_if_armed(args)
            return result

        return wrapped

    _replace(point.target, wrap)


def _replace(target: str, wrap: Callable[[Any], Any]) -> None:
    module, path = target.split(":")
    owner: Any = import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, name, wrap(getattr(owner, name)))


def _lossy_journal(control: Control, *, honest: bool) -> None:
    """The journal on a disk that forgets; the fallback stays in honest memory, as /run is."""
    made: list[Any] = []

    def files(*, durable: bool = True, mounted: Path | None = None) -> Any:
        if not made:
            lossy = ControlledFiles(control)
            lossy.honest = honest
            made.append(lossy)
            return lossy
        return RealFiles(durable=durable, mounted=mounted)

    _replace("edge.callbox.main:RealFiles", lambda _real: files)


def _failing_outbox(control: Control) -> None:
    def wrap(commit: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(self: Any, jobs: Any) -> Any:
            number = control.read_faults()[3]
            if number:
                raise StoreError(number, f"outbox cannot be written: {os.strerror(number)}")
            return commit(self, jobs)

        return wrapped

    _replace(_COMMIT, wrap)


# -- rules broken on purpose: the harness must notice each (negative controls) --------------------------


def _no_fsync() -> None:
    """The journal says durable without a sync: `_lossy_journal` sees to it."""


def _no_dedup() -> None:
    """The desk takes each copy of an alert for a new press."""

    def wrap(receive: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(self: Any, topic: str, payload: bytes) -> Any:
            if topic.endswith("/alert"):
                payload = _renamed_if_known(Path(self._desk.data) / "desk.sqlite3", payload)
            return receive(self, topic, payload)

        return wrapped

    _replace("edge.desk.broker:Broker.receive", wrap)


def _renamed_if_known(database: Path, payload: bytes) -> bytes:
    import json

    alert = json.loads(payload)
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        known = db.execute("SELECT 1 FROM presses WHERE press_id = ?", (alert["id"],)).fetchone()
    if known:
        fresh = alert["id"][:-12] + os.urandom(6).hex()
        alert["id"] = alert["press"]["press_id"] = fresh
    return json.dumps(alert).encode()


def _puback_is_receipt() -> None:
    """The uplink drops a row when the broker has it, and repeats nothing after that."""

    def wrap(on_puback: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(self: Any, mid: int, refusal: str) -> Any:
            channel, message_id = self._inflight.get(mid, ("", ""))
            result = on_puback(self, mid, refusal)
            if channel == "alert":
                self._book.receipt(message_id, self._clock.mono_ns())
                self._writer.submit(lambda box: box.receive(message_id), lambda _r, _e: None)
            return result

        return wrapped

    _replace("edge.uplink.uplink:Uplink._on_puback", wrap)
    _replace("edge.uplink.delivery:DeliveryBook._reminder", lambda _call: lambda _self: None)


def _receipt_before_commit() -> None:
    """The desk answers first and stores afterwards."""

    def wrap(_settle: Callable[..., Any]) -> Callable[..., Any]:
        async def wrapped(self: Any, batch: Any, pulse: bool) -> None:
            self.answer(batch)
            # So that the box hears it before the disk does; a busy disk would do the same.
            import asyncio

            await asyncio.sleep(0.5)
            await self.save(batch, pulse)

        return wrapped

    _replace("edge.desk.keeper:Keeper.settle", wrap)


SPOILERS: dict[str, Callable[[], None]] = {
    "no_fsync": _no_fsync,
    "no_dedup": _no_dedup,
    "puback_is_receipt": _puback_is_receipt,
    "receipt_before_commit": _receipt_before_commit,
}
SPOILED_PROGRAM = {
    "no_fsync": "callbox",
    "no_dedup": "desk",
    "puback_is_receipt": "uplink",
    "receipt_before_commit": "desk",
}
DISK_FULL, READ_ONLY, IO_ERROR = errno.ENOSPC, errno.EROFS, errno.EIO


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
