"""``edge bench desk``: from a box's publish to the desk's store and to a real browser, with a city at work.

Boxes are real ones (`edge.sim.city_run`) over the real broker, each with a heartbeat every 30 s; alerts come
at a steady rate from contacts at random boxes. A press is published in the very loop turn its stamp is taken
in. Its row is seen in the desk's database by this process, which looks every few milliseconds. The floor is a
bare subscriber that does nothing with an alert but write it to a database of its own (WAL, synchronous=FULL),
in the same run. With ``--costs`` only the desk's own processor time and memory are taken, at several sizes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import random
import shutil
import sqlite3
import ssl
import tempfile
import threading
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.bench import Report, Spread, need_real_disk, progress
from edge.clock import SystemClock, pause
from edge.errors import SetupFailed
from edge.protocol import topics
from edge.sim.bench_press import browser_at
from edge.sim.city import City
from edge.sim.city_demo import BOXES_PER_WORKER, allow_files
from edge.sim.city_run import CityRun
from edge.sim.stack import CITY, Stack

HEALTH_S = 30.0
FLOOR = "floor"
LOOK_S = 0.005
PAGES = ("/", "/api/incidents", "/api/boxes", "/api/history", "/api/answers?by=hour", "/api/health")
ASK_S = 0.25
SETTLE_S = 5.0
DRAIN_S = 30.0
COST_SIZES = (100, 300, 600, 1200)
LIMITS_MS = {
    "publish_to_store": ("p99", 1000.0),
    "publish_to_browser": ("p95", 1500.0),
    "page_answer": ("p95", 300.0),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--boxes", type=int, default=600)
    parser.add_argument("--rate", type=float, default=20.0, help="alerts a second")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long they come")
    parser.add_argument("--no-browser", action="store_true")
    parser.add_argument(
        "--costs", action="store_true", help=f"the desk's processor and memory at {COST_SIZES} boxes at rest"
    )
    parser.add_argument("--dir", type=Path, help="a folder on a disk; default: a new one under /var/tmp")


def run(args: argparse.Namespace) -> Report:
    folder = args.dir or Path(tempfile.mkdtemp(prefix="edge-", dir="/var/tmp"))
    try:
        need_real_disk(folder)
        if args.costs:
            return asyncio.run(_costs(folder, args.seconds))
        return asyncio.run(_load(folder, args))
    finally:
        if args.dir is None:
            shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _city(folder: Path, boxes: int) -> AsyncIterator[tuple[Stack, CityRun]]:
    allow_files(boxes)
    city = City(1, boxes)
    stack = Stack(folder, roles=(), others=[FLOOR])
    workers = -(-boxes // BOXES_PER_WORKER)
    uplink = {"health_s": HEALTH_S}
    async with (
        stack,
        CityRun(
            folder / "city",
            "127.0.0.1",
            stack.broker.port,
            stack.pki,
            CITY,
            city,
            workers=workers,
            uplink=uplink,
        ) as run,
    ):
        await run.linked()
        yield stack, run


# -- under load ------------------------------------------------------------------------------------


async def _load(folder: Path, args: argparse.Namespace) -> Report:
    report = Report("desk", round(args.rate * args.seconds))
    clock = SystemClock()
    async with _city(folder / "stack", args.boxes) as (stack, run):
        shown: dict[str, int] = {}
        browser = contextlib.nullcontext() if args.no_browser else browser_at(stack, shown, clock)
        async with browser:
            await asyncio.sleep(SETTLE_S)
            with (
                Looker(folder / "stack/desk/desk.sqlite3") as stored,
                Floor(stack, folder) as floor,
                Asker(stack) as asker,
            ):
                await _alerts(run, args.rate, args.seconds)
                made = {p.press_id: p.at_ns for p in run.presses.values()}
                wanted = [stored.seen, floor.seen, *([] if args.no_browser else [shown])]
                with contextlib.suppress(SetupFailed):
                    await run.until(
                        lambda: all(made.keys() <= seen.keys() for seen in wanted),
                        DRAIN_S,
                        "all have arrived",
                    )
    for name, seen in (("publish_to_store", stored.seen), ("publish_to_browser", shown)):
        if found := [(seen[press] - at_ns) / 1e6 for press, at_ns in made.items() if press in seen]:
            report.metrics[name] = Spread.of(found, "ms")
    for path, spent in asker.spent.items():
        report.metrics[f"page_answer {path}"] = Spread.of(spent, "ms")
    report.metrics["page_answer"] = Spread.of([ms for spent in asker.spent.values() for ms in spent], "ms")
    bare = [(floor.seen[press] - at_ns) / 1e6 for press, at_ns in made.items() if press in floor.seen]
    report.floors["bare_subscriber_to_store"] = Spread.of(bare, "ms")
    base = report.floors["bare_subscriber_to_store"].p50
    report.ratios = {
        f"{name}_vs_floor": round(report.metrics[name].p50 / base, 3)
        for name in ("publish_to_store", "publish_to_browser")
        if name in report.metrics
    }
    report.counts = {
        "boxes": args.boxes,
        "presses": len(made),
        "lost": len(made.keys() - stored.seen.keys()),
        "doubled": stored.rows - len(stored.seen),
        "errors": asker.errors,
    }
    if report.counts["lost"]:
        report.failed.append(f"{report.counts['lost']:g} presses are not in the desk's store")
    if asker.errors:
        report.failed.append(f"{asker.errors} calls were answered by an error")
    for name, (which, limit) in LIMITS_MS.items():
        if name in report.metrics and getattr(report.metrics[name], which) > limit:
            report.missed.append(f"{name} {which} is above {limit:g} ms")
    return report


async def _alerts(run: CityRun, rate: float, seconds: float) -> None:
    """Presses at random boxes, evenly in time."""
    rng, clock = random.Random(1), SystemClock()
    boxes = [box for box in run.city.boxes if box.comes]
    began = clock.mono_ns()
    presses: set[asyncio.Task[Any]] = set()
    for number in range(round(rate * seconds)):
        due_s = number / rate - (clock.mono_ns() - began) / 1e9
        await asyncio.sleep(max(0.0, due_s))
        box = rng.choice(boxes)
        # A box whose button is still held refuses: the next one is pressed in its stead.
        presses.add(asyncio.create_task(_press(run, box.device)))
        progress(f"alert {number + 1}")
    await asyncio.gather(*presses)


async def _press(run: CityRun, device: str) -> None:
    with contextlib.suppress(Exception):
        await run.press(device, "police", hold_s=0.1)


class Looker:
    """Sees rows as they come to be visible in the desk's database."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._clock = SystemClock()
        self.seen: dict[str, int] = {}
        self.rows = 0

    def __enter__(self) -> Looker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        last = 0
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=5)) as db:
            while not self._over.is_set():
                rows = db.execute("SELECT rowid, press_id FROM presses WHERE rowid > ?", (last,)).fetchall()
                now_ns = self._clock.mono_ns()
                for rowid, press_id in rows:
                    last = rowid
                    self.rows += 1
                    self.seen.setdefault(str(press_id), now_ns)
                pause(LOOK_S)


class Floor:
    """A bare client that writes each alert to a database, and nothing else."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        identity = stack.pki.client(FLOOR)
        context = ssl.create_default_context(cafile=str(stack.pki.ca))
        context.load_cert_chain(str(identity.cert), str(identity.key))
        self._path = folder / "floor.sqlite3"
        self._clock = SystemClock()
        self.seen: dict[str, int] = {}
        self._up = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=FLOOR, protocol=paho.MQTTv5)
        self._client.tls_set_context(context)
        self._client.on_connect = lambda client, *_: client.subscribe(
            topics.box(stack.city, "+", "alert"), options=SubscribeOptions(qos=1)
        )
        self._client.on_subscribe = lambda *_: self._up.set()
        self._client.on_message = lambda _c, _u, message: self._write(bytes(message.payload))
        self._port = stack.broker.port

    def __enter__(self) -> Floor:
        self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE presses (press_id TEXT PRIMARY KEY, alert TEXT NOT NULL)")
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        if not self._up.wait(10):
            raise SetupFailed("the floor's client was not let in by the broker")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._db.close()

    def _write(self, payload: bytes) -> None:
        press_id = json.loads(payload)["id"]
        self._db.execute("INSERT OR IGNORE INTO presses VALUES (?, ?)", (press_id, payload.decode()))
        self.seen.setdefault(press_id, self._clock.mono_ns())


class Asker:
    """Asks for the pages in turn, as a browser beside the others."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._clock = SystemClock()
        self.spent: dict[str, list[float]] = defaultdict(list)
        self.errors = 0

    def __enter__(self) -> Asker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        headers = {"Authorization": f"Bearer {self._stack.token}"}
        connection = http.client.HTTPConnection("127.0.0.1", self._stack.desk_port, timeout=30)
        while not self._over.is_set():
            for path in PAGES:
                began = self._clock.mono_ns()
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                answer.read()
                self.spent[path].append((self._clock.mono_ns() - began) / 1e6)
                self.errors += answer.status != 200
                pause(ASK_S)
        connection.close()


# -- cost of a box ---------------------------------------------------------------------------------


async def _costs(folder: Path, seconds: float) -> Report:
    report = Report("desk", len(COST_SIZES))
    for boxes in COST_SIZES:
        async with _city(folder / str(boxes), boxes) as (stack, _run):
            await asyncio.sleep(2 * SETTLE_S)
            pid = stack.launcher.pid("desk")
            before = _cpu_s(pid)
            await asyncio.sleep(seconds)
            spent = (_cpu_s(pid) - before) / seconds
            report.counts[f"cpu_percent_{boxes}"] = round(100 * spent, 2)
            report.counts[f"cpu_ms_per_box_and_minute_{boxes}"] = round(60_000 * spent / boxes, 2)
            report.counts[f"rss_mb_{boxes}"] = round(_rss_mb(pid), 1)
        progress(f"{boxes} boxes")
    first, last = (report.counts[f"cpu_ms_per_box_and_minute_{n}"] for n in (COST_SIZES[0], COST_SIZES[-1]))
    report.ratios["cost_of_a_box_at_1200_vs_at_100"] = round(last / first, 3) if first else 0.0
    return report


def _cpu_s(pid: int) -> float:
    """Of all threads, from /proc/PID/stat (proc(5): fields 14 and 15, in ticks of 10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _rss_mb(pid: int) -> float:
    (line,) = [t for t in Path(f"/proc/{pid}/status").read_text().splitlines() if t.startswith("VmRSS")]
    return int(line.split()[1]) / 1024
