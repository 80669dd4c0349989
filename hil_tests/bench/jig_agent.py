#!/usr/bin/python3
"""The bench's hand on the jig, a Raspberry Pi wired to a box: lines of JSON on stdin, one answer for each.

    {"claim": {"contacts": [LINE, ..], "outputs": [LINE, ..], "relay": LINE | null}}   comes first
    {"pull": LINE, "level": 0 | 1, "for": S}   closes (1) or opens a contact; for S, when given
    {"train": LINE, "ms": [..]}       closes and opens it in turn, each for so long, ends open
    {"watch": [LINE, ..], "for": S}   levels of outputs as they change: [line, level, CLOCK_MONOTONIC ns]
    {"relay": 0 | 1}                  the box's power

LINE is a BCM number of the jig. A closed contact is a line pulled to ground, an open one is let go: the jig
never drives a contact high. Orders run side by side; an answer names its order's id. When stdin ends, all
contacts are opened and the relay drops.

The orders on lines are those of the virtual guest's agent (`images/bench/usr/lib/bench/agent.py`). It runs
under the Python of Raspberry Pi OS with python3-lgpio and knows nothing of the product.
"""

import itertools
import json
import os
import signal
import sys
import tempfile
import threading
import time
from typing import Any


def until(at_ns: int) -> None:
    while (left := at_ns - time.monotonic_ns()) > 0:
        # Short waits are spun: a sleep may take a millisecond more than asked for.
        time.sleep(left / 1e9 - 0.002 if left > 4_000_000 else 0)


class Jig:
    """The lines of the header. `lgpio`: the module, which cannot be imported just anywhere (see `main`)."""

    def __init__(self, lgpio: Any) -> None:
        self._lgpio = lgpio
        self._chip = self._header()
        self._contacts: list[int] = []
        self._outputs: list[int] = []
        self._relay: int | None = None
        self._lock = threading.Lock()
        self._over = False

    def _header(self) -> int:
        """Handle of the chip with the header's lines: number 0, but 4 on a Pi 5 with an older kernel."""
        for number in range(8):
            try:
                handle: int = self._lgpio.gpiochip_open(number)
            except self._lgpio.error:
                continue
            if self._lgpio.gpio_get_chip_info(handle)[3].startswith("pinctrl-"):
                return handle
            self._lgpio.gpiochip_close(handle)
        raise OSError("no GPIO header can be opened: is the user in the group gpio?")

    def claim(self, order: Any) -> dict[str, Any]:
        lines, lg, chip = order["claim"], self._lgpio, self._chip
        number = None
        try:
            for number in lines["contacts"]:
                # Without the jig's own pull: an open contact is the box's alone.
                lg.gpio_claim_output(chip, number, 1, lg.SET_OPEN_DRAIN | lg.SET_PULL_NONE)
                self._contacts.append(number)
            for number in lines["outputs"]:
                # Low when the box has no power.
                lg.gpio_claim_input(chip, number, lg.SET_PULL_DOWN)
                self._outputs.append(number)
            if lines["relay"] is not None:
                number = lines["relay"]
                lg.gpio_claim_output(chip, number, 0)
                self._relay = number
        except lg.error as error:
            raise OSError(
                f"GPIO {number} cannot be claimed, does another program hold it? {error}"
            ) from error
        return {}

    def pull(self, order: Any) -> dict[str, Any]:
        at_ns = self._set(order["pull"], order["level"])
        if "for" in order:
            until(at_ns + round(order["for"] * 1e9))
            self._set(order["pull"], 1 - order["level"])
        return {"at_ns": at_ns}

    def train(self, order: Any) -> dict[str, Any]:
        at_ns = time.monotonic_ns()
        switched = []
        for number, ms in enumerate(order["ms"]):
            self._set(order["train"], 1 - number % 2)
            switched.append(time.monotonic_ns())
            at_ns += round(ms * 1e6)
            until(at_ns)
        self._set(order["train"], 0)
        switched.append(time.monotonic_ns())
        return {"ms": [(end - begin) / 1e6 for begin, end in itertools.pairwise(switched)]}

    def watch(self, order: Any) -> dict[str, Any]:
        last: dict[int, int] = {}
        seen: list[list[int]] = []
        end_ns = time.monotonic_ns() + round(order["for"] * 1e9)
        while (now_ns := time.monotonic_ns()) < end_ns:
            for number in order["watch"]:
                if number not in self._outputs:
                    raise ValueError(f"GPIO {number} is not one of the outputs that were claimed")
                level = self._lgpio.gpio_read(self._chip, number)
                if last.get(number) != level:
                    last[number] = level
                    seen.append([number, level, now_ns])
            time.sleep(0.001)
        return {"seen": seen}

    def relay(self, order: Any) -> dict[str, Any]:
        if self._relay is None:
            raise ValueError("no line was claimed for a relay")
        with self._lock:
            if not self._over:
                self._lgpio.gpio_write(self._chip, self._relay, order["relay"])
        return {}

    def let_go(self) -> None:
        """Opens every contact and drops the relay; what still runs changes nothing afterwards."""
        with self._lock:
            self._over = True
            for number in self._contacts:
                self._lgpio.gpio_write(self._chip, number, 1)
            if self._relay is not None:
                self._lgpio.gpio_write(self._chip, self._relay, 0)

    def _set(self, number: int, level: int) -> int:
        if number not in self._contacts:
            raise ValueError(f"GPIO {number} is not one of the contacts that were claimed")
        with self._lock:
            at_ns = time.monotonic_ns()
            if not self._over:
                self._lgpio.gpio_write(self._chip, number, 1 - level)
        return at_ns

    def answer(self, order: Any) -> dict[str, Any]:
        orders = {
            "claim": self.claim,
            "pull": self.pull,
            "train": self.train,
            "watch": self.watch,
            "relay": self.relay,
        }
        try:
            return next(call for name, call in orders.items() if name in order)(order)
        except StopIteration:
            return {"error": f"an order has one of {', '.join(orders)}"}
        except Exception as error:
            return {"error": str(error) or repr(error)}


def serve(jig: Jig) -> None:
    lock = threading.Lock()

    def one(text: bytes) -> None:
        order = json.loads(text)
        reply = json.dumps({"id": order["id"], **jig.answer(order)})
        with lock:
            print(reply, flush=True)

    for text in sys.stdin.buffer:
        threading.Thread(target=one, args=(text,), daemon=True).start()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="jig-") as work:
        os.chdir(work)  # where lgpio makes a pipe when it is imported
        try:
            import lgpio
        except ImportError as error:
            sys.exit(f"{error}: apt install python3-lgpio")
        try:
            jig = Jig(lgpio)
        except OSError as error:
            sys.exit(str(error))
        try:
            serve(jig)
        finally:
            jig.let_go()
            os.chdir("/")


if __name__ == "__main__":
    main()
