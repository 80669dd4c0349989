"""``edge clock``: the start step of a box without a battery-backed clock, and a look at the clock.

A Raspberry Pi boots in the past, finds its certificates "not yet valid" and stays mute. Before the services
start, UTC is raised, and never lowered, to the newest moment that is known to have been: the software was
built, a press was recorded, a certificate began to be valid. NTP puts it right later.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import edge
from edge import config
from edge.certificate import not_before
from edge.cli import DEFAULT_CONFIG
from edge.clock import Clock, SystemClock, iso_utc, set_system_utc
from edge.config import Config
from edge.errors import CertificateError, ClockError, StoreError
from edge.store.files import RealFiles
from edge.store.journal import Kind, read

MARK = "clock-raised"
"""In the run folder, when UTC was raised since boot; `edge.clock.SystemClock` looks for it."""
SECOND_NS = 1_000_000_000
LIMIT_NS = 10 * 366 * 86400 * SECOND_NS
"""What is further beyond the build than this is damage, not a date: a box must not wake up in 2100."""
NEWEST_ROWS = 200
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "y": 365 * 86400}


@dataclass(frozen=True, slots=True)
class Witness:
    """Something that cannot have happened before `utc_ns`."""

    utc_ns: int
    what: str


def newest(witnesses: Iterable[Witness], built: Witness) -> tuple[Witness, list[Witness]]:
    """The newest witness one may believe, and those that are too far beyond the build to be true."""
    told = [built, *witnesses]
    far = [w for w in told if w.utc_ns > built.utc_ns + LIMIT_NS]
    return max((w for w in told if w not in far), key=lambda w: w.utc_ns), far


def witnesses(settings: Config) -> Iterator[Witness]:
    """What this box has on its disk; what cannot be read or understood has nothing to say."""
    yield from _certificates(settings)
    yield from _journal(settings.paths.data / "callbox" / "journal")
    yield from _outbox(settings.paths.data / "uplink" / "outbox.db")


def build_time() -> Witness:
    """When the software was built; in a checkout, the date of its file."""
    with contextlib.suppress(ImportError, AttributeError):
        return Witness(importlib.import_module("edge._build").BUILD_TIME_UTC * SECOND_NS, "the build")
    return Witness(os.stat(edge.__file__).st_mtime_ns, "the file of the software")


def _certificates(settings: Config) -> Iterator[Witness]:
    for path in (settings.uplink.cert, settings.uplink.ca):
        with contextlib.suppress(OSError, CertificateError):
            utc_ns = round(not_before(path.read_bytes()).timestamp()) * SECOND_NS
            yield Witness(utc_ns, f"certificate {path.name}")


def _journal(folder: Path) -> Iterator[Witness]:
    with contextlib.suppress(StoreError):
        for _, record in read(folder, RealFiles())[0]:
            if record.kind is Kind.PRESS:
                yield from _stamped(record.payload, "the press journal")


def _outbox(path: Path) -> Iterator[Witness]:
    # `immutable`: this runs as root, and the files SQLite makes beside a database would be root's. What is
    # only in the write-ahead log is not seen; the journal has the presses.
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
        rows = db.execute(
            "SELECT body FROM rows ORDER BY created_utc_ns DESC LIMIT ?", (NEWEST_ROWS,)
        ).fetchall()
        for (body,) in rows:
            if isinstance(body, bytes):
                yield from _stamped(body, "the outbox")


def _stamped(body: bytes, what: str) -> Iterator[Witness]:
    """The moment of a stored message, if the clock that gave it was itself raised or synchronised."""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
        message = json.loads(body)
        stamp = message.get("press", message)["at"]
        if stamp["trust"] in ("synchronised", "raised"):
            moment = datetime.strptime(stamp["utc"], "%Y-%m-%dT%H:%M:%S.%f%z")
            yield Witness(round(moment.timestamp()) * SECOND_NS, what)


def raise_clock(settings: Config, clock: Clock, set_utc: Callable[[int], None]) -> str:
    """Raises UTC if it must be, leaves the mark, and says in one line what was done.

    Raises:
        ClockError: the clock cannot be set.
    """
    found, far = newest(witnesses(settings), build_time())
    now_ns = clock.utc_ns()
    notes = "".join(f"; {w.what} says {_told(w.utc_ns)}, which is not believed" for w in far)
    if now_ns >= found.utc_ns:
        return f"clock left alone utc={_told(now_ns)} newest={found.what!r} at={_told(found.utc_ns)}{notes}"
    try:
        set_utc(found.utc_ns)
    except PermissionError:
        raise ClockError(
            "the system clock cannot be set: this needs CAP_SYS_TIME (run it as root, before the services)"
        ) from None
    except OSError as error:
        raise ClockError(f"the system clock cannot be set: {error}") from error
    text = f"clock raised from={_told(now_ns)} to={_told(found.utc_ns)} by={found.what!r}{notes}"
    try:
        settings.paths.run.mkdir(mode=0o755, parents=True, exist_ok=True)
        (settings.paths.run / MARK).write_text(text + "\n")
    except OSError as error:
        raise ClockError(f"the clock was raised, but that cannot be noted: {error}") from error
    return text


def _told(utc_ns: int) -> str:
    try:
        return iso_utc(utc_ns)
    except (OverflowError, ValueError, OSError):
        return f"{utc_ns // SECOND_NS} s"


class FakeTime:
    """libfaketime's offset file (``FAKETIME_TIMESTAMP_FILE``): the settable clock of a test."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def offset_s(self) -> float:
        """The offset that holds: ``-31536000``, ``+1.5d``; 0 without a file.

        Raises:
            ClockError: the file holds something else than an offset.
        """
        try:
            text = self._path.read_text().strip()
        except FileNotFoundError:
            return 0.0
        found = re.fullmatch(r"([+-][0-9]+(?:\.[0-9]+)?)([smhdy]?)", text)
        if text and found is None:
            raise ClockError(f"{self._path} holds no offset like +86400.5")
        return float(found[1]) * _UNITS[found[2]] if found else 0.0

    def set_utc(self, utc_ns: int) -> None:
        """Moves the offset so that every process under the library sees `utc_ns` from now on.

        Raises:
            ClockError: this process does not see the library's time, so it cannot tell by how much.
        """
        if "faketime" not in os.environ.get("LD_PRELOAD", ""):
            raise ClockError("clock.setter is 'faketime', but this process does not run under libfaketime")
        offset_s = self.offset_s() + (utc_ns - self._clock.utc_ns()) / 1e9
        draft = self._path.with_name(self._path.name + ".new")
        draft.write_text(f"{offset_s:+.6f}\n")
        os.replace(draft, self._path)


# -- the command ---------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("raise", help="raise UTC to the newest moment known to have been; never lower it")
    verbs.add_parser("show", help="tell UTC, how far it can be trusted and its error bound")
    for verb in verbs.choices.values():
        verb.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE")


def main(args: argparse.Namespace) -> int:
    if args.verb == "show":
        print(_show(args.config))
        return 0
    settings = config.load(args.config)
    clock = SystemClock()
    set_utc = set_system_utc
    if settings.clock.setter == "faketime":
        assert settings.clock.faketime_file is not None  # the configuration refuses that
        set_utc = FakeTime(settings.clock.faketime_file, clock).set_utc
    print(raise_clock(settings, clock, set_utc))
    return 0


def _show(path: Path) -> str:
    run = config.Paths().run
    if path != DEFAULT_CONFIG or path.exists():
        run = config.load(path).paths.run
    reading = SystemClock(run / MARK).read()
    error = "unknown" if reading.max_error_ms is None else f"{reading.max_error_ms} ms"
    return (
        f"utc={iso_utc(reading.utc_ns)} trust={reading.trust} max_error={error}\n"
        f"monotonic={reading.mono_ns / 1e9:.3f} s boot_id={reading.boot_id}"
    )
