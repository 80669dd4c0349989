"""``edge bench press``: from the contact to lamp, tone, disk, broker and a real browser, beside what disk and
broker alone take.

The contact is made, and everything is seen, by this process, with its own CLOCK_MONOTONIC stamps taken on
arrival; only ``confirmed``, ``stored`` and ``puback`` are stamps of the box, which nobody else can take (the
floor's PUBACK is stamped by its client too). After each press the floors are measured at the same pace: one
write and fdatasync in a file laid out like the journal's, and one QoS 1 round trip of a bare client over the
same TLS.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import shutil
import ssl
import statistics
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.bench import Report, Spread, need_real_disk, need_syncing_disk, progress
from edge.clock import SystemClock
from edge.errors import SetupFailed
from edge.sim.observer import Observer, at_least
from edge.sim.operator import Operator, invitation
from edge.sim.stack import CITY, Stack
from edge.store.files import RealFiles
from edge.store.journal import SEGMENT, SLOT

if TYPE_CHECKING:
    from playwright.async_api import Page

HOLD_S = 0.15
REST_S = 0.3
MEDIA_FAULTS = ("media_stopped", "media_crashing", "media_eating")
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LISTEN = "document.addEventListener('desk:alert', (e) => window.handled(e.detail.press_id))"
Samples = dict[str, list[float]]


class DiskFloor:
    """One slot and one fdatasync in a preallocated file, as the journal does it and nothing else."""

    def __init__(self, folder: Path) -> None:
        files = RealFiles()
        path = folder / "floor.seg"
        files.create(path, SEGMENT)
        self._file = files.open(path, write=True)
        self._slot = 0
        self._clock = SystemClock()

    def once_ms(self) -> float:
        self._slot = (self._slot + 1) % (SEGMENT // SLOT)
        data = random.randbytes(600).ljust(SLOT, b"\0")
        began = self._clock.mono_ns()
        self._file.write(self._slot * SLOT, data)
        self._file.sync()
        return (self._clock.mono_ns() - began) / 1e6


class BrokerFloor:
    """A bare paho client: publish at QoS 1 to PUBACK, a payload of an alert's size."""

    def __init__(self, stack: Stack) -> None:
        identity = stack.pki.client("floor")
        context = ssl.create_default_context(cafile=str(stack.pki.ca))
        context.load_cert_chain(str(identity.cert), str(identity.key))
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="floor", protocol=paho.MQTTv5)
        self._client.tls_set_context(context)
        self._acknowledged = threading.Event()
        self._connected = threading.Event()
        self._clock = SystemClock()
        self._at_ns = 0
        self._client.on_connect = lambda *_: self._connected.set()
        self._client.on_publish = self._on_publish
        self._client.connect("127.0.0.1", stack.broker.port)
        self._client.loop_start()
        if not self._connected.wait(10):
            raise SetupFailed("the floor's client was not let in by the broker")

    def _on_publish(self, *_: Any) -> None:
        self._at_ns = self._clock.mono_ns()
        self._acknowledged.set()

    def once_ms(self) -> float:
        self._acknowledged.clear()
        began = self._clock.mono_ns()
        self._client.publish(f"{CITY}/v1/box/floor/health", random.randbytes(700), qos=1)
        if not self._acknowledged.wait(10):
            raise SetupFailed("the broker does not acknowledge")
        return (self._at_ns - began) / 1e6

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@asynccontextmanager
async def page_at(stack: Stack, role: str = "operator") -> AsyncIterator[Page]:
    """A page of real Chromium at the desk, a person signed in.

    Raises:
        SetupFailed: playwright or Chromium is not there.
    """
    try:
        from playwright.async_api import async_playwright
    except ImportError as error:
        raise SetupFailed(f"playwright is not installed: {error}; or give --no-browser") from error
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SetupFailed("chromium is not installed: apt install chromium; or give --no-browser")
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        page = await browser.new_page()
        secret = await invitation(stack.desk_url, stack.token, role=role)
        await page.goto(f"{stack.desk_url}/#invitation={secret}")
        await page.fill("input[name=name]", "Browser")
        await page.fill("input[name=login]", "browser")
        await page.fill("input[name=password]", secrets.token_urlsafe(16))
        await page.click("button.primary")
        await page.wait_for_selector("#list .quiet, #alerts .alert")
        yield page
        await browser.close()


@asynccontextmanager
async def browser_at(stack: Stack, seen: dict[str, int], clock: SystemClock) -> AsyncIterator[None]:
    """A page that watches; `seen` gets press id -> when its handler had run."""
    async with page_at(stack) as page:
        await page.expose_function("handled", lambda press: seen.setdefault(press, clock.mono_ns()))
        await page.evaluate(LISTEN)
        yield


class Presses:
    """Makes presses one by one and collects what was seen of each."""

    def __init__(
        self, stack: Stack, observer: Observer, operator: Operator, browser: dict[str, int] | None
    ) -> None:
        self._stack = stack
        self._observer = observer
        self._operator = operator
        self._browser = browser
        self._rng = random.Random(1)

    async def one(self, into: Samples) -> None:
        observer, stage = self._observer, self._stack.stage
        # A lamp that is on already cannot be seen to light up; and not in step with any timer of the box.
        await observer.until("the lamp is dark", lambda: None if stage.outputs["lamp"] else True)
        await asyncio.sleep(self._rng.uniform(0.05, 0.15))
        known = set(observer.presses)
        edge_ns = stage.set_line("police", 1)
        told = await observer.until(
            "the press is told",
            lambda: next((t for i, t in observer.presses.items() if i not in known), None),
        )
        told_ns = observer.now_ns()
        await asyncio.sleep(HOLD_S)
        stage.set_line("police", 0)
        incident = told.press.incident_id
        puback_ns = await observer.until("the broker has it", lambda: observer.pubacks.get(incident))
        await observer.until("the desk has it", lambda: at_least(observer, incident, "received"))
        lamp_ns = observer.output_after("lamp", edge_ns)
        buzzer_ns = observer.output_after("buzzer", edge_ns)
        tone_ns = observer.output_after("sound", edge_ns)
        browser_ns = await self._in_browser(told.press.press_id)
        stored_ms = (told.stored_ns - told.confirmed_ns) / 1e6
        found = {
            "edge_to_lamp": lamp_ns,
            "edge_to_buzzer": buzzer_ns,
            "edge_to_tone": tone_ns,
            "edge_to_durable": told_ns if told.durable else None,
            "press_to_browser": browser_ns,
        }
        for name, at_ns in found.items():
            if at_ns is not None:
                into[name].append((at_ns - edge_ns) / 1e6)
        into["confirmed_to_durable"].append(stored_ms)
        into["confirmed_to_puback"].append((puback_ns - told.confirmed_ns) / 1e6)
        if not told.durable:
            into["not_durable"].append(1)
        await self._operator.act(incident, "seen")
        await self._operator.act(incident, "close", disposition="false")
        await observer.until("the box is idle", self._idle)

    def _idle(self) -> bool | None:
        incident = self._observer.incident
        return True if incident is not None and incident.incident_id is None else None

    async def _in_browser(self, press_id: str) -> int | None:
        if self._browser is None:
            return None
        for _ in range(500):
            if press_id in self._browser:
                return self._browser[press_id]
            await asyncio.sleep(0.01)
        raise SetupFailed("the page in Chromium did not handle the alert within 5 s")


async def measure(folder: Path, n: int, fault_n: int, browser: bool) -> Report:
    need_real_disk(folder)
    clock = SystemClock()
    stack = Stack(folder / "stack")
    observer = Observer(stack)
    seen: dict[str, int] = {}
    samples: Samples = defaultdict(list)
    floors: Samples = defaultdict(list)
    try:
        await stack.start()
        observer.open()
        await observer.until("the box reaches the broker", lambda: observer.link or None)
        disk, broker = DiskFloor(folder), BrokerFloor(stack)
        async with Operator(stack.desk_url, stack.token, "Bench") as operator:
            presses = Presses(stack, observer, operator, seen if browser else None)
            if browser:
                async with browser_at(stack, seen, clock):
                    await _phase(presses, n, samples, floors, disk, broker, "healthy")
            else:
                await _phase(presses, n, samples, floors, disk, broker, "healthy")
            presses = Presses(stack, observer, operator, None)
            by_fault: dict[str, Samples] = {}
            for fault in MEDIA_FAULTS if fault_n else ():
                by_fault[fault] = defaultdict(list)
                async with media_fault(stack, fault):
                    await _phase(presses, fault_n, by_fault[fault], floors, disk, broker, fault)
        broker.close()
    finally:
        await observer.close()
        await stack.stop()
    return _report(n, samples, floors, by_fault)


async def _phase(
    presses: Presses, n: int, into: Samples, floors: Samples, disk: DiskFloor, broker: BrokerFloor, name: str
) -> None:
    await presses.one(defaultdict(list))  # the first pays for what is made once
    for number in range(n):
        await presses.one(into)
        # A press comes to a disk and a broker that have rested; the floors must find them so too.
        await asyncio.sleep(REST_S)
        floors["fdatasync"].append(await asyncio.to_thread(disk.once_ms))
        await asyncio.sleep(REST_S)
        floors["qos1_round_trip"].append(await asyncio.to_thread(broker.once_ms))
        progress(f"{name} {number + 1}/{n}")


@asynccontextmanager
async def media_fault(stack: Stack, fault: str) -> AsyncIterator[None]:
    """Media hangs, ends in a loop as fast as it is started, or eats memory to its limit, again and again."""
    launcher = stack.launcher
    healthy = launcher.program("media")
    if fault == "media_stopped":
        launcher.suspend("media")
        yield
        launcher.resume("media")
        return
    body = "raise SystemExit(1)"
    if fault == "media_eating":
        body = (
            "import resource; resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))\n"
            "held = []\n"
            "while True: held.append(bytearray(1 << 20))"
        )
    await launcher.stop("media")
    launcher.replace(replace(healthy, argv=(sys.executable, "-c", body)))
    await launcher.start("media")
    yield
    await launcher.stop("media")
    launcher.replace(healthy)
    await launcher.start("media")


def _report(n: int, samples: Samples, floors: Samples, by_fault: dict[str, Samples]) -> Report:
    report = Report("press", n)
    lost = samples.pop("not_durable", [])
    report.metrics = {name: Spread.of(values, "ms") for name, values in samples.items()}
    report.floors = {name: Spread.of(values, "ms") for name, values in floors.items()}
    need_syncing_disk(report.floors["fdatasync"].p50 * 1000)
    floor_ms = report.floors["fdatasync"].p50
    both_ms = floor_ms + report.floors["qos1_round_trip"].p50
    report.ratios = {
        "confirmed_to_durable_vs_fdatasync": round(report.metrics["confirmed_to_durable"].p50 / floor_ms, 3),
        "confirmed_to_puback_vs_both_floors": round(report.metrics["confirmed_to_puback"].p50 / both_ms, 3),
    }
    report.counts = {"not_durable": len(lost)}
    for fault, found in by_fault.items():
        found.pop("not_durable", None)
        for name in ("edge_to_lamp", "edge_to_durable", "confirmed_to_puback"):
            if not found[name]:
                report.failed.append(f"{name} was never seen under {fault}")
                continue
            report.metrics[f"{name}.{fault}"] = Spread.of(found[name], "ms")
            healthy = statistics.median(samples[name])
            report.ratios[f"{name}.{fault}_vs_healthy"] = round(statistics.median(found[name]) / healthy, 3)
    report.missed = _missed(report)
    return report


def _missed(report: Report) -> list[str]:
    """The targets that this run does not show."""
    m, r = report.metrics, report.ratios
    checks = [
        ("edge to lamp p99 <= 20 ms", m["edge_to_lamp"].p99, 20),
        ("edge to durable p99 <= 50 ms", m["edge_to_durable"].p99, 50),
        ("confirmed to durable, median <= 1.5 x fdatasync", r["confirmed_to_durable_vs_fdatasync"], 1.5),
        ("confirmed to PUBACK, median <= 2 x both floors", r["confirmed_to_puback_vs_both_floors"], 2.0),
    ]
    if "edge_to_tone" in m:
        checks.append(("edge to tone p95 <= 150 ms", m["edge_to_tone"].p95, 150))
    if "press_to_browser" in m:
        checks.append(("press to browser, median <= 250 ms", m["press_to_browser"].p50, 250))
    return [f"{what}: {found:.3f}" for what, found, limit in checks if found > limit]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", type=int, default=200, help="presses while all is well")
    parser.add_argument("--fault-n", type=int, default=60, help="presses under each fault of media")
    parser.add_argument("--no-browser", action="store_true")
    parser.add_argument("--dir", type=Path, help="a folder on a disk; default: a new one under /var/tmp")


def run(args: argparse.Namespace) -> Report:
    folder = args.dir or Path(tempfile.mkdtemp(prefix="edge-", dir="/var/tmp"))
    try:
        return asyncio.run(measure(folder, args.n, args.fault_n, not args.no_browser))
    finally:
        if args.dir is None:
            shutil.rmtree(folder, ignore_errors=True)
