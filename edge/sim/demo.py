"""``edge demo``: broker, one simulated box and desk on this machine, and a page that stands for the box."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
from pathlib import Path

from edge.errors import SetupFailed
from edge.sim.broker import free_port
from edge.sim.observer import Observer
from edge.sim.once import once
from edge.sim.operator import invitation
from edge.sim.stack import SERVICES, Stack

PORT = 8080


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=Path, default=Path(".demo"), metavar="D", help="state; default .demo")
    parser.add_argument("--once", action="store_true", help="one press to one acknowledgement, then end")
    parser.add_argument(
        "--port", type=int, metavar="N", help=f"the desk's port, the box's is the next; default {PORT}"
    )


def main(args: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    ports = _ports(args.port, args.once)
    return asyncio.run(_demo(args.dir, ports, args.once))


def _ports(wanted: int | None, once: bool) -> tuple[int, int]:
    """The desk's and the box's. A person's bookmarks want them to stay; a port that was asked for must be."""
    if once and wanted is None:
        return free_port(), free_port()
    first = wanted or PORT
    if not 1 <= first < 65535:
        raise SetupFailed(f"--port {first}: give a number from 1 to 65534")
    taken = [port for port in (first, first + 1) if not _is_free(port)]
    if taken and wanted is not None:
        raise SetupFailed(
            f"port {taken[0]} is taken: give --port another number, or end the program that has it"
        )
    return (free_port(), free_port()) if taken else (first, first + 1)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


async def _demo(folder: Path, ports: tuple[int, int], only_once: bool) -> int:
    """Runs until it is over or a signal comes; takes everything down in either case."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    stack = Stack(folder, desk_http_port=ports[0])
    observer = Observer(stack)
    try:
        print(f"starting broker, desk and box; state and logs are in {stack.folder}", flush=True)
        await stack.start()
        observer.open()
        await observer.until("the box reaches the broker", lambda: observer.link or None)
        return await (once(stack, observer) if only_once else _serve(stack, observer, ports[1]))
    except asyncio.CancelledError:
        print("\nending", flush=True)
        return 130 if only_once else 0
    finally:
        await observer.close()
        await stack.stop()


async def _serve(stack: Stack, observer: Observer, port: int) -> int:
    """Shows the way in, then what happens, until a signal comes."""
    from edge.sim.boxpage import BoxPage

    page = BoxPage(stack, observer, port)
    await page.start()
    secret = await invitation(stack.desk_url, stack.token, role="supervisor")
    print(
        f"""
  the desk   {stack.desk_url}/#invitation={secret}
             (the first time: choose a name and a password; later {stack.desk_url}/)
  the box    {page.url}

  Open both. Press a button on the box's page, or in another terminal, in this folder:

      ./run edge press            ({", ".join(SERVICES)}; --hold 4 darkens and mutes what has begun)

  Ctrl-C ends it all.
""",
        flush=True,
    )
    told = ""

    def tell() -> None:
        nonlocal told
        citizen = observer.incident.citizen if observer.incident else "idle"
        if citizen != told:
            told = citizen
            print(f"  the box tells the citizen: {citizen}", flush=True)

    observer.on_change(tell)
    try:
        await asyncio.Event().wait()
    finally:
        await page.close()
    return 0
