"""``edge run ROLE``: starts one process of a box."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from edge import config
from edge.cli import DEFAULT_CONFIG

ROLES = ("callbox", "uplink", "media")
"""Every process of a box, by the name it has on the bus; ``edge.ROLE.main:run(config) -> int``."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE")


def main(args: argparse.Namespace) -> int:
    return int(import_module(f"edge.{args.role}.main").run(config.load(args.config)))
