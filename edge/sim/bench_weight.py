"""``edge bench weight``: memory of the processes, what an idle box writes to its disk, size of a heartbeat.

A box at rest with its link up and a desk on the other end. Disk writes are the kernel's count of what each
process made the disk write (``write_bytes`` of /proc/PID/io), scaled to an hour; the floor is a bare
interpreter's memory.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.bench import Report, Spread, need_real_disk, progress
from edge.errors import SetupFailed
from edge.run import ROLES
from edge.sim.observer import Observer
from edge.sim.stack import CITY, DESK, DEVICE, Stack

SETTLE_S = 20
LIMITS = {"rss_callbox": 50.0, "rss_uplink": 60.0, "idle_bytes_per_hour": 100e3, "heartbeat_bytes": 1024.0}
IMPORT_FLOOR = "import time; print('up', flush=True); time.sleep(60)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=int, default=600, help="how long the idle box is watched")
    parser.add_argument("--dir", type=Path, help="a folder on a disk; default: a new one under /var/tmp")


def run(args: argparse.Namespace) -> Report:
    folder = args.dir or Path(tempfile.mkdtemp(prefix="edge-", dir="/var/tmp"))
    try:
        return asyncio.run(_measure(folder, args.seconds))
    finally:
        if args.dir is None:
            shutil.rmtree(folder, ignore_errors=True)


async def _measure(folder: Path, seconds: int) -> Report:
    need_real_disk(folder)
    stack = Stack(folder / "stack", box={"uplink": {"health_s": 30.0}})
    observer = Observer(stack)
    try:
        await stack.start()
        observer.open()
        await observer.until("the box reaches the broker", lambda: observer.link or None)
        await asyncio.sleep(SETTLE_S)
        before = {role: _written(stack.launcher.pid(role)) for role in ROLES}
        rss: dict[str, list[float]] = {role: [] for role in ROLES}
        for second in range(seconds):
            await asyncio.sleep(1)
            for role in ROLES:
                rss[role].append(_rss_mb(stack.launcher.pid(role)))
            progress(f"idle {second + 1}/{seconds} s")
        written = {role: _written(stack.launcher.pid(role)) - before[role] for role in ROLES}
        await stack.launcher.stop("desk")
        heartbeat = await asyncio.to_thread(_heartbeat_bytes, stack)
    finally:
        await observer.close()
        await stack.stop()
    report = Report("weight", seconds)
    report.metrics = {f"rss_{role}": Spread.of(values, "MB") for role, values in rss.items()}
    report.metrics["heartbeat_bytes"] = Spread.of([heartbeat], "bytes")
    report.floors = {"rss_bare_interpreter": Spread.of([_bare_mb()], "MB")}
    floor_mb = report.floors["rss_bare_interpreter"].p50
    report.ratios = {
        f"rss_{role}_vs_bare": round(report.metrics[f"rss_{role}"].p50 / floor_mb, 2) for role in ROLES
    }
    per_hour = 3600 / seconds
    report.counts = {f"idle_bytes_per_hour_{role}": round(n * per_hour) for role, n in written.items()}
    report.counts["idle_bytes_per_hour"] = round(sum(written.values()) * per_hour)
    found = {**{n: s.max for n, s in report.metrics.items()}, **report.counts}
    for name, limit in LIMITS.items():
        if found[name] > limit:
            # A message is as long on every machine; the rest depends on the interpreter and the moment.
            reasons = report.failed if name == "heartbeat_bytes" else report.missed
            reasons.append(f"{name} <= {limit:g}: {found[name]:g}")
    return report


def _written(pid: int) -> int:
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["write_bytes"])


def _rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SetupFailed(f"process {pid} tells no memory")


def _bare_mb() -> float:
    with subprocess.Popen([sys.executable, "-c", IMPORT_FLOOR], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = _rss_mb(process.pid)
        process.kill()
    return found


def _heartbeat_bytes(stack: Stack) -> int:
    """The size of the next heartbeat on the wire, heard in the place of the desk."""
    identity = stack.pki.client(DESK)
    context = ssl.create_default_context(cafile=str(stack.pki.ca))
    context.load_cert_chain(str(identity.cert), str(identity.key))
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=DESK, protocol=paho.MQTTv5)
    client.tls_set_context(context)
    sizes: list[int] = []
    client.on_connect = lambda c, *_: c.subscribe(f"{CITY}/v1/box/{DEVICE}/health", qos=1)
    client.on_message = lambda _c, _u, message: sizes.append(len(message.payload))
    client.connect("127.0.0.1", stack.broker.port)
    for _ in range(700):
        client.loop(timeout=0.1)
        if sizes:
            break
    client.disconnect()
    if not sizes:
        raise SetupFailed("no heartbeat was heard within 70 s")
    return sizes[0]
