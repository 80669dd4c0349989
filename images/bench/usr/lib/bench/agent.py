#!/usr/bin/python3 -Su
"""The bench's hand inside its guest: lines of JSON over a virtio serial port, one answer for each.

    {"sh": TEXT, "timeout": S}        runs it with sh; answers rc, out, err
    {"put": PATH, "text": TEXT, "mode": OCTAL}
    {"pull": LINE, "level": 0 | 1, "for": S}   presses a contact of gpio-sim; lets go after S, when given
    {"train": LINE, "ms": [..]}       closes and opens it in turn, each for so long, ends open; answers ms
    {"watch": [LINE, ..], "for": S}   levels of outputs as they change: [line, level, CLOCK_MONOTONIC ns]

Orders run side by side; an answer names its order's id. It runs as root and speaks to whoever holds the
other end: it is in the bench's image alone.
"""

import glob
import itertools
import json
import os
import subprocess
import threading
import time
from typing import Any

PORT = "/dev/virtio-ports/bench.0"
PULL = {0: "pull-up", 1: "pull-down"}  # a closed contact pulls its line to ground


def line(number: int, what: str) -> str:
    found = glob.glob(f"/sys/devices/platform/gpio-sim.0/gpiochip*/sim_gpio{number}/{what}")
    if not found:
        raise FileNotFoundError(f"gpio-sim has no line {number}")
    return found[0]


def level_set(number: int, level: int) -> int:
    with open(line(number, "pull"), "w") as file:
        at_ns = time.monotonic_ns()
        file.write(PULL[level])
    return at_ns


def until(at_ns: int) -> None:
    while (left := at_ns - time.monotonic_ns()) > 0:
        # Short waits are spun: a sleep of a guest may take a millisecond more than asked for.
        time.sleep(left / 1e9 - 0.002 if left > 4_000_000 else 0)


def pull(order: Any) -> dict[str, Any]:
    at_ns = level_set(order["pull"], order["level"])
    if "for" in order:
        until(at_ns + round(order["for"] * 1e9))
        level_set(order["pull"], 1 - order["level"])
    return {"at_ns": at_ns}


def train(order: Any) -> dict[str, Any]:
    # Opened once beforehand: a spike of half a millisecond leaves no time to look for the file.
    fd = os.open(line(order["train"], "pull"), os.O_WRONLY)
    at_ns = time.monotonic_ns()
    switched = []
    for number, ms in enumerate(order["ms"]):
        os.pwrite(fd, PULL[1 - number % 2].encode(), 0)
        switched.append(time.monotonic_ns())
        at_ns += round(ms * 1e6)
        until(at_ns)
    os.pwrite(fd, PULL[0].encode(), 0)
    switched.append(time.monotonic_ns())
    os.close(fd)
    return {"ms": [(end - begin) / 1e6 for begin, end in itertools.pairwise(switched)]}


def watch(order: Any) -> dict[str, Any]:
    fds = {number: os.open(line(number, "value"), os.O_RDONLY) for number in order["watch"]}
    last: dict[int, int] = {}
    seen: list[list[int]] = []
    end_ns = time.monotonic_ns() + round(order["for"] * 1e9)
    while (now_ns := time.monotonic_ns()) < end_ns:
        for number, fd in fds.items():
            level = int(os.pread(fd, 1, 0))
            if last.get(number) != level:
                last[number] = level
                seen.append([number, level, now_ns])
        time.sleep(0.001)
    for fd in fds.values():
        os.close(fd)
    return {"seen": seen}


def sh(order: Any) -> dict[str, Any]:
    done = subprocess.run(order["sh"], shell=True, capture_output=True, timeout=order.get("timeout", 60))
    return {
        "rc": done.returncode,
        "out": done.stdout.decode(errors="replace"),
        "err": done.stderr.decode(errors="replace"),
    }


def put(order: Any) -> dict[str, Any]:
    with open(order["put"], "w") as file:
        file.write(order["text"])
    os.chmod(order["put"], int(order.get("mode", "644"), 8))
    return {}


ORDERS = {"sh": sh, "put": put, "pull": pull, "train": train, "watch": watch}


def answer(order: Any) -> bytes:
    try:
        found = next(call for name, call in ORDERS.items() if name in order)(order)
    except Exception as error:
        found = {"error": repr(error)}
    return json.dumps({"id": order["id"], **found}).encode() + b"\n"


def serve(fd: int, lock: threading.Lock, text: bytes) -> None:
    reply = answer(json.loads(text))
    with lock:
        while reply:
            reply = reply[os.write(fd, reply) :]


def main() -> None:
    fd, lock, rest = os.open(PORT, os.O_RDWR), threading.Lock(), b""
    while True:
        data = os.read(fd, 65536)
        if not data:  # nobody at the other end yet
            time.sleep(0.02)
            continue
        rest += data
        while b"\n" in rest:
            text, rest = rest.split(b"\n", 1)
            threading.Thread(target=serve, args=(fd, lock, text), daemon=True).start()


main()
