"""The command `edge`: parses arguments and hands over; each part brings its own subcommand when it is called.

Modules are imported only by the subcommand that needs them, so that a process starts in a moment.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from edge import __version__
from edge.errors import EdgeError, MissingPackage

DEFAULT_CONFIG = Path("/etc/edge/edge.toml")

# subcommand -> (module with add_arguments(parser) and main(args) -> int, help)
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("edge.run", "run one process of a box: callbox, uplink or media"),
    "desk": ("edge.desk.main", "run the operator desk"),
    "demo": ("edge.sim.demo", "broker, one simulated box and the desk on this machine"),
    "press": ("edge.sim.press", "press a button of the simulated box"),
    "clock": ("edge.clock_raise", "raise the system clock at start, never lower it"),
    "config": ("edge.config_command", "check a configuration file, or show one with its defaults"),
    "fsck": ("edge.store.fsck", "prove the stores of a data directory and repair what can be repaired"),
    "protocol": ("edge.protocol.schema", "write the JSON Schemas and the AsyncAPI document"),
    "bench": ("edge.bench", "measure: press, start, weight, faults"),
}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except EdgeError as error:
        print(f"edge {next(a for a in arguments if a in COMMANDS)}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # `edge config show | head`: the reader has what it wanted, and nothing can be said at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _run(arguments: list[str]) -> int:
    # No plugin of another package runs in these processes; looking for some would be a tenth of their start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    parser = argparse.ArgumentParser(prog="edge", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--version", action="version", version=f"edge {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((a for a in arguments if not a.startswith("-")), None)
    for name, (module, text) in COMMANDS.items():
        # Only the chosen one is built: a process on its way to a button makes no parsers nobody asks for.
        if name == chosen or chosen not in COMMANDS:
            sub = commands.add_parser(name, help=text, description=text)
            if name == chosen:
                _part(module).add_arguments(sub)
    args = parser.parse_args(arguments)
    status = int(_part(COMMANDS[args.command][0]).main(args))
    sys.stdout.flush()
    return status


def _part(module: str) -> Any:
    """The module of a subcommand; raises MissingPackage where only another part of the product is there."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "edge":
            raise
        raise MissingPackage(
            f"the Python package {error.name} is not installed: this machine has not the part of the product "
            "that this needs (box, desk or sim)"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
