"""``edge desk demo-city``: a desk on this machine, and a day of a simulated city in front of it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import resource
import signal
from collections import Counter

from edge.errors import SetupFailed
from edge.sim.city import City
from edge.sim.city_run import CityRun, Pressed
from edge.sim.operator import invitation
from edge.sim.stack import Stack

CITY = "sagar"
GROUPS = ("Control room", "Police control room")
BOXES_PER_WORKER = 150
FILES_PER_BOX = 2
"""Of the broker: one connection, and some to spare."""
SAY_S = 60.0


def main(args: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if not 0 < args.speed <= 10_000:
        raise SetupFailed(f"--speed {args.speed:g}: give a number above 0, at most 10000")
    if not 0 <= args.from_hour < 24:
        raise SetupFailed(f"--from-hour {args.from_hour:g}: give an hour from 0 to 23.99")
    return asyncio.run(_demo(args))


def allow_files(boxes: int) -> None:
    """Raises what this process and its children may open; the broker has a connection for each box.

    Raises:
        SetupFailed: the system does not allow so many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 512 + boxes * FILES_PER_BOX
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise SetupFailed(
            f"{boxes} boxes need {wanted} open files, the system allows {hard}: raise ulimit -n"
        )
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _demo(args: argparse.Namespace) -> int:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    city = City(args.seed, args.boxes)
    allow_files(args.boxes)
    print(f"starting broker, desk and {len(city.boxes)} boxes; state is in {args.dir}", flush=True)
    stack = Stack(args.dir, roles=(), desk={"desk": {"groups": GROUPS}}, desk_http_port=args.port, city=CITY)
    workers = -(-args.boxes // BOXES_PER_WORKER)
    try:
        async with (
            stack,
            CityRun(
                args.dir / "city", "127.0.0.1", stack.broker.port, stack.pki, CITY, city, workers=workers
            ) as run,
        ):
            await _serve(stack, run, args)
    except asyncio.CancelledError:
        print("\nending", flush=True)
    return 0


async def _serve(stack: Stack, run: CityRun, args: argparse.Namespace) -> None:
    secret = await invitation(stack.desk_url, stack.token, role="supervisor")
    print(
        f"""
  the desk   {stack.desk_url}/#invitation={secret}
             (the first time: choose a name and a password; later {stack.desk_url}/)

  A day passes {args.speed:g} times as fast as a clock, from {args.from_hour:g} o'clock on.
  Ctrl-C ends it all.
""",
        flush=True,
    )
    await run.linked()
    made: Counter[str] = Counter()

    def count(pressed: Pressed) -> None:
        made["tests" if pressed.test else "calls"] += 1

    run.on_press(count)
    from_s = args.from_hour * 3600
    telling = asyncio.create_task(_tell(run, made))
    try:
        while True:
            await run.play(run.city.day(), args.speed, from_s)
            from_s = 0
    finally:
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling


async def _tell(run: CityRun, made: Counter[str]) -> None:
    while True:
        await asyncio.sleep(SAY_S)
        print(
            f"  {run.links} boxes linked; {made['calls']} calls and {made['tests']} tests so far", flush=True
        )
