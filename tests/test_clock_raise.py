"""The start step that raises UTC: what it believes, and a process that sees it, a year in the past."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import config, toml
from edge.certificate import not_before
from edge.clock import ManualClock, SystemClock, iso_utc
from edge.clock_raise import LIMIT_NS, MARK, FakeTime, Witness, build_time, newest, raise_clock, witnesses
from edge.config import Config
from edge.errors import ClockError
from edge.protocol.common import Press, Stamp
from edge.protocol.inner import PressTold
from edge.protocol.wire import Alert, dump
from edge.sim.pki import Pki
from edge.store.files import RealFiles
from edge.store.journal import SLOT, Journal, Kind
from edge.store.outbox import ALERT, Outbox, Row

ROOT = Path(__file__).parents[1]
ID = "0190c4a0-0000-7000-8000-00000000000a"
YEAR_NS = 365 * 86400 * 10**9
PLACE = {"lat": 29.0, "lon": 76.0}
NOW_NS = SystemClock().utc_ns()


def at(year: int) -> int:
    return round(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 10**9


@pytest.fixture
def box(tmp_path: Path) -> Config:
    return Config.model_validate(
        {
            "box": {"city": "karnal", "device": "box-1", "name": "Gate", "place": PLACE},
            "paths": {"data": tmp_path / "data", "run": tmp_path / "run"},
            "uplink": {n: tmp_path / f"{n}.pem" for n in ("ca", "cert", "key")},
        }
    )


def press(utc_ns: int, trust: str = "synchronised") -> Press:
    stamp = Stamp(utc=iso_utc(utc_ns), mono_ns=1, boot_id="0" * 32, seq=1, trust=trust)  # type: ignore[arg-type]
    return Press(press_id=ID, incident_id=ID, button="police", service="police", routing="112", at=stamp)


def journal(box: Config, *presses: Press) -> Path:
    folder = box.paths.data / "callbox" / "journal"
    store = Journal(folder, RealFiles(), 2)
    store.open()
    for seq, made in enumerate(presses, 1):
        told = PressTold(press=made, durable=True, edge_ns=1, confirmed_ns=1, stored_ns=1)
        store.append(Kind.PRESS, seq, told.model_dump_json().encode())
    store.close()
    return folder


def outbox(box: Config, *presses: Press) -> Path:
    path = box.paths.data / "uplink" / "outbox.db"
    store = Outbox(path, max_rows=100, max_bytes=10**6)
    for number, made in enumerate(presses):
        alert = Alert(
            id=ID,
            device="box-1",
            name="Gate",
            place=PLACE,  # type: ignore[arg-type]
            press=made,
            durable=True,
            attempt=1,
        )
        store.commit([lambda o, n=number, a=alert: o.put(Row(f"{n}", "alert", ALERT, dump(a), n))])  # type: ignore[misc]
    store.close()
    return path


# -------------------------------------------------------------------------------------- what it believes


@given(st.lists(st.integers(-(2**62), 2**63)), st.integers(0, 2**61))
def test_the_newest_that_is_believed_is_never_older_than_the_build_nor_far_beyond_it(
    told: list[int], built: int
) -> None:
    best, far = newest([Witness(t, "x") for t in told], Witness(built, "build"))
    assert built <= best.utc_ns <= built + LIMIT_NS
    assert all(t <= best.utc_ns for t in told if t not in [w.utc_ns for w in far])
    assert all(w.utc_ns > built + LIMIT_NS for w in far)


def test_journal_outbox_and_certificate_are_witnesses(box: Config, tmp_path: Path) -> None:
    journal(box, press(at(2025)))
    outbox(box, press(at(2024)))
    pki = Pki(tmp_path / "pki")
    box.uplink.cert.write_bytes(pki.client("box-1").cert.read_bytes())
    found = {w.what: w.utc_ns for w in witnesses(box)}
    assert found["the press journal"] == at(2025)
    assert found["the outbox"] == at(2024)
    assert found["certificate cert.pem"] == not_before(box.uplink.cert.read_bytes()).timestamp() * 1e9


def test_a_record_of_a_clock_that_ran_free_is_no_witness(box: Config) -> None:
    journal(box, press(at(2031), "unsynchronised"), press(at(2025), "raised"))
    assert [w.utc_ns for w in witnesses(box)] == [at(2025)]


def test_nothing_on_the_disk_is_nothing_to_say(box: Config) -> None:
    assert list(witnesses(box)) == []


def test_damaged_stores_are_passed_over_and_left_as_they_are(box: Config) -> None:
    folder = journal(box, press(at(2025)), press(at(2026)))
    segment = folder / "press-000.seg"
    data = bytearray(segment.read_bytes())
    data[SLOT + 100] ^= 1
    segment.write_bytes(data)
    path = outbox(box, press(at(2024)))
    path.write_bytes(b"SQLite format 3\x00" + os.urandom(5000))
    box.uplink.cert.write_bytes(b"rubbish")
    before = {p: p.read_bytes() for p in box.paths.data.rglob("*") if p.is_file()}
    assert [w.utc_ns for w in witnesses(box)] == [at(2025)]
    assert {p: p.read_bytes() for p in box.paths.data.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"at": 5}', b'{"press": []}', b"\xff", b'{"at":{"trust":[]}}']
)
def test_rows_that_are_no_messages_are_passed_over(box: Config, body: bytes) -> None:
    path = outbox(box, press(at(2024)))
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO rows VALUES ('z', 'event', 4, ?, 99, NULL)", (body,))
    db.close()
    assert [w.utc_ns for w in witnesses(box)] == [at(2024)]


# --------------------------------------------------------------------------------------- what it does


def test_it_raises_to_the_newest_and_leaves_its_mark(box: Config) -> None:
    journal(box, press(NOW_NS + YEAR_NS))
    clock = ManualClock(utc_ns=at(2001))
    done: list[int] = []
    told = raise_clock(box, clock, done.append)
    assert abs(done[0] - NOW_NS - YEAR_NS) < 10**9
    assert "clock raised from=2001-01-01T00:00:00.000Z" in told
    assert "the press journal" in told
    assert (box.paths.run / MARK).read_text() == told + "\n"
    assert SystemClock(box.paths.run / MARK).read().trust in ("raised", "synchronised")


def test_it_never_lowers_the_clock(box: Config) -> None:
    done: list[int] = []
    told = raise_clock(box, ManualClock(utc_ns=at(2090)), done.append)
    assert (done, told.split(" utc=")[0]) == ([], "clock left alone")
    assert not (box.paths.run / MARK).exists()


def test_a_record_from_2100_does_not_throw_the_clock_there(box: Config) -> None:
    journal(box, press(at(2100)))
    done: list[int] = []
    told = raise_clock(box, ManualClock(utc_ns=at(2001)), done.append)
    assert done == [build_time().utc_ns]
    assert "2100-01-01T00:00:00.000Z, which is not believed" in told


def test_without_the_right_to_set_the_clock_it_says_so(box: Config) -> None:
    def refuse(_utc_ns: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    with pytest.raises(ClockError, match="CAP_SYS_TIME"):
        raise_clock(box, ManualClock(utc_ns=at(2001)), refuse)


def test_faketime_is_not_set_from_outside_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    with pytest.raises(ClockError, match="does not run under libfaketime"):
        FakeTime(tmp_path / "offset", ManualClock()).set_utc(5)


@pytest.mark.parametrize(
    ("text", "offset_s"), [("", 0), ("-1y", -31536000), ("+1.5d\n", 129600), ("-86400.25", -86400.25)]
)
def test_offsets_are_read_as_faketime_reads_them(tmp_path: Path, text: str, offset_s: float) -> None:
    (tmp_path / "offset").write_text(text)
    assert FakeTime(tmp_path / "offset", ManualClock()).offset_s() == offset_s


def test_another_form_of_time_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "offset").write_text("2020-01-01 00:00:00")
    with pytest.raises(ClockError, match="no offset"):
        FakeTime(tmp_path / "offset", ManualClock()).offset_s()


# ------------------------------------------------------------------------------- with a clock that can be set


def library() -> str:
    for folder in ("/usr/lib", "/usr/local/lib"):
        for path in sorted(Path(folder).glob("*/faketime/libfaketime.so.1")):
            return str(path)
    raise AssertionError("libfaketime is not installed: apt install faketime")


class PastBox:
    """A box's file and the environment of its processes, which boot a year ago."""

    def __init__(self, folder: Path) -> None:
        self.pki = Pki(folder / "pki")
        self.offset = folder / "offset"
        self.offset.write_text("-31536000\n")
        self.file = folder / "box.toml"
        identity = self.pki.client("box-1")
        self.cert = identity.cert
        self.file.write_text(
            toml.dumps(
                {
                    "box": {"city": "karnal", "device": "box-1", "name": "Gate", "place": PLACE},
                    "paths": {"data": folder / "data", "run": folder / "run"},
                    "uplink": {"ca": self.pki.ca, "cert": identity.cert, "key": identity.key},
                    "clock": {"setter": "faketime", "faketime_file": self.offset},
                }
            )
        )
        self.env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self.offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def edge(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "edge", *words, "--config", str(self.file)],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def past(tmp_path: Path) -> PastBox:
    return PastBox(tmp_path)


LOOK = "import sys, time\nfor line in sys.stdin: print(time.time_ns(), time.monotonic_ns(), flush=True)"


@pytest.fixture
def watcher(past: PastBox) -> Iterator[subprocess.Popen[str]]:
    """A process of that box that lives through the raise and tells its clocks when asked."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", LOOK], env=past.env, stdin=pipe, stdout=pipe, text=True
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def clocks(process: subprocess.Popen[str]) -> tuple[int, int]:
    assert process.stdin is not None
    assert process.stdout is not None
    print(file=process.stdin, flush=True)
    utc_ns, mono_ns = process.stdout.readline().split()
    return int(utc_ns), int(mono_ns)


def test_a_box_that_boots_a_year_ago_sees_its_certificate_valid_after_the_raise_I9(
    past: PastBox, watcher: subprocess.Popen[str]
) -> None:
    begin_ns = round(not_before(past.cert.read_bytes()).timestamp() * 1e9)
    utc_before, mono_before = clocks(watcher)
    assert utc_before < begin_ns
    done = past.edge("clock", "raise")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("clock raised from=")
    utc_after, mono_after = clocks(watcher)
    assert utc_after >= begin_ns
    assert 0 <= mono_after - mono_before < 60 * 10**9, "CLOCK_MONOTONIC does not jump"
    again = past.edge("clock", "raise")
    assert again.stdout.startswith("clock left alone")
    shown = past.edge("clock", "show")
    assert shown.returncode == 0, shown.stderr
    assert "trust=raised" in shown.stdout or "trust=synchronised" in shown.stdout


def test_the_command_tells_what_is_wrong_with_its_configuration(past: PastBox) -> None:
    past.file.write_text("[clock]\nsetter = 'faketime'\n")
    done = past.edge("clock", "raise")
    assert (done.returncode, "faketime_file is not given" in done.stderr) == (1, True)


def test_the_configuration_of_the_test_is_one(past: PastBox) -> None:
    assert config.load(past.file).clock.setter == "faketime"
