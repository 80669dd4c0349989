"""``edge press``: a finger on a button of the simulated box."""

from __future__ import annotations

import argparse
import json
import socket
from pathlib import Path
from typing import Any

from edge import config
from edge.errors import DriverError, Refused

DEMO_STAGE = Path(".demo/run/stage.sock")
"""Where `edge demo` puts its stage, in the folder both are started in."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("button", nargs="?", default="police", metavar="BUTTON", help="default: police")
    parser.add_argument("--hold", type=float, default=0.5, metavar="S", help="seconds; default 0.5")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--config", type=Path, metavar="FILE", help="the box's configuration, with [sim]")
    where.add_argument("--stage", type=Path, metavar="SOCKET", help=f"default: {DEMO_STAGE}")


def main(args: argparse.Namespace) -> int:
    press(_stage(args), args.button, args.hold)
    print(f"pressed {args.button} for {args.hold:g} s")
    return 0


def _stage(args: argparse.Namespace) -> Path:
    if args.config is None:
        return args.stage or DEMO_STAGE
    sim = config.load(args.config).sim
    if sim is None:
        raise DriverError(f"{args.config} has no [sim]: it is a real box's; press its button by hand")
    return sim.stage


def press(stage: Path, button: str, hold_s: float = 0.5) -> None:
    """Presses a button at the stage and returns when it is released.

    Raises:
        DriverError: nobody listens at that socket.
        Refused: there is no such button, or it cannot be held that long.
    """
    with socket.socket(socket.AF_UNIX) as hand:
        hand.settimeout(max(hold_s, 0) + 10)
        try:
            hand.connect(str(stage))
            hand.sendall(_line({"hello": "hand"}) + _line({"press": button, "hold_s": hold_s}))
            answer = json.loads(hand.makefile("rb").readline() or b"{}")
        except OSError as error:
            raise DriverError(
                f"no simulated box answers at {stage} ({error.strerror or error}); "
                "start one with `./run demo`"
            ) from error
    if not answer.get("ok"):
        raise Refused(answer.get("reason", "the stage went away before the button was released"))


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"
