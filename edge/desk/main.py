"""``edge desk``: wires store, core, broker and HTTP together; runs until a signal, or until one ends.

``edge desk audit verify`` and ``edge desk backup`` read the store of a desk, which may run meanwhile;
``edge desk demo-city`` is a desk with a city of simulated boxes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import uvicorn

from edge import config
from edge.cli import DEFAULT_CONFIG
from edge.clock import SystemClock
from edge.desk import views
from edge.desk.api import make_app
from edge.desk.audit import Head
from edge.desk.book import Contact, Rules
from edge.desk.broker import Broker
from edge.desk.core import DESK, Core, Invite
from edge.desk.desk import Desk
from edge.desk.history import History
from edge.desk.keeper import Keeper
from edge.desk.passwords import Locks, Passwords
from edge.desk.records import Outcome
from edge.desk.service import Link, Service, box_row
from edge.desk.sessions import Sessions, digest, new_secret, read_or_make_token
from edge.desk.store import Store
from edge.desk.stream import Hub
from edge.errors import ConfigError, SetupFailed
from edge.supervision import notify, serve

log = logging.getLogger(__name__)

DATABASE = "desk.sqlite3"
CLOSE_S = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE")
    verbs = parser.add_subparsers(
        dest="verb", metavar="[audit | backup | demo-city]", title="without one it runs"
    )
    audits = verbs.add_parser("audit", help="the chain of everything that was done at the desk")
    verify = audits.add_subparsers(dest="what", required=True).add_parser(
        "verify", help="walk the chain: nothing was changed, put in or taken out; prints its head"
    )
    verify.add_argument(
        "--head", type=_head, metavar="NUMBER:HASH", help="a head kept elsewhere, which must be in it"
    )
    demo = verbs.add_parser("demo-city", help="a desk with a simulated city of boxes, and a day of its life")
    demo.add_argument("--boxes", type=int, default=600, metavar="N")
    demo.add_argument("--seed", type=int, default=1, metavar="N", help="the same seed, the same city and day")
    demo.add_argument("--speed", type=float, default=60, metavar="X", help="so much faster than a clock")
    demo.add_argument("--from-hour", type=float, default=6, metavar="H", help="of the day; default 6")
    demo.add_argument("--port", type=int, default=8080, metavar="N", help="the desk's; default 8080")
    demo.add_argument("--dir", type=Path, default=Path(".demo-city"), metavar="D", help="state")
    copy = verbs.add_parser("backup", help="a whole copy of the store, proved; the desk may go on meanwhile")
    copy.add_argument("target", type=Path, metavar="FILE", help="must not be there yet")


def _head(text: str) -> Head:
    try:
        return Head.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(args: argparse.Namespace) -> int:
    if args.verb == "demo-city":
        # By name, as `edge.cli` does: the desk knows nothing of what simulates boxes.
        return int(import_module("edge.sim.city_demo").main(args))
    desk = config.load(args.config).need_desk()
    if args.verb is None:
        return serve("desk", lambda stop: run(desk, stop))
    store = Store(desk.data / DATABASE, read_only=True)
    try:
        head = store.verify(args.head) if args.verb == "audit" else store.backup(args.target)
    finally:
        store.close()
    print(f"audit in order, {head.number} rows; keep this head somewhere else:\n{head}")
    return 0


async def run(desk: config.Desk, stop: asyncio.Event) -> None:
    """The desk, until `stop` is set.

    Raises:
        ConfigError: token file or HTTP port cannot be used.
        StoreError: the database cannot be opened.
        SetupFailed: a part of the desk ended by itself.
    """
    clock = SystemClock()
    listener = listen(desk.http_host, desk.http_port)
    token = read_or_make_token(desk.token_file)
    store = Store(desk.data / DATABASE)
    core = Core(desk.silent_after_s, _rules(desk))
    store.load_into(core, clock.read())
    hub, broker = Hub(), Broker(desk, clock)
    keeper = Keeper(
        store,
        clock,
        presence_s=desk.presence_s,
        box_row=lambda device: box_row(core, device),
        send=broker.send,
        presence=broker.presence,
    )
    reader, history, figures = Store(store.path, read_only=True), History(store.path), History(store.path)
    service = Service(core, clock, hub, keeper, reader, history, figures, Link())
    broker.attach(service)
    keep = lambda row: keeper.submit(Outcome([row]))  # noqa: E731
    sessions = Sessions(token, core.people, clock, keep, store.sessions())
    passwords = Passwords()
    door = Desk(
        service,
        sessions,
        clock,
        passwords,
        Locks(clock),
        _info(desk),
        (*desk.http_names, desk.http_host),
        desk.https,
    )
    http = Http(
        uvicorn.Config(
            make_app(door),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=CLOSE_S,
        )
    )
    loop = asyncio.get_running_loop()
    parts = [
        loop.create_task(keeper.run(), name="keeper"),
        loop.create_task(service.run(), name="ticks"),
        loop.create_task(broker.session.run(), name="broker"),
        loop.create_task(http.serve([listener]), name="http"),
    ]
    stopped = loop.create_task(stop.wait(), name="stop")
    log.info("desk is up url=http://%s:%d/ token_file=%s", desk.http_host, desk.http_port, desk.token_file)
    if core.people.empty:
        secret = new_secret()
        keeper.submit(core.act(DESK, Invite(digest(secret), "supervisor"), clock.read()))
        # On the standard output, not in the log: logs are kept, and read by many.
        address = f"http://{desk.http_host}:{desk.http_port}"
        print(
            f"Nobody can sign in yet. The first supervisor opens {address}/#invitation={secret}", flush=True
        )
    notify("READY=1")
    try:
        done, _ = await asyncio.wait([stopped, *parts], return_when=asyncio.FIRST_COMPLETED)
        if stopped not in done:
            raise SetupFailed(f"a part of the desk ended: {', '.join(_why(part) for part in done)}")
    finally:
        http.should_exit = True
        service.close()
        await broker.session.close()
        await asyncio.wait(parts[-1:], timeout=CLOSE_S + 1)
        for task in (stopped, *parts):
            task.cancel()
        await asyncio.gather(stopped, *parts, return_exceptions=True)
        passwords.close()
        for connection in (reader, history, figures):
            connection.close()


def _rules(desk: config.Desk) -> Rules:
    contacts = tuple(Contact(c.key, c.name, c.number, c.service) for c in desk.contacts)
    return Rules(desk.answer_s, len(desk.groups), contacts)


def _info(desk: config.Desk) -> views.DeskInfo:
    return views.DeskInfo(
        city=desk.city,
        groups=list(desk.groups),
        answer_s=desk.answer_s,
        contacts=[views.ContactView(**contact.model_dump()) for contact in desk.contacts],
        tiles=desk.tiles,
        tiles_credit=desk.tiles_credit,
    )


class Http(uvicorn.Server):
    """uvicorn, without its signal handlers: the process's own are in `supervision.serve`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """The listening socket.

    Raises:
        ConfigError: the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named: asyncio turns Nagle's delay (40 ms an answer) off only for what says it is TCP.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(128)
    except OSError as error:
        sock.close()
        raise ConfigError(
            f"the desk cannot listen on {host} port {port}: {error.strerror};"
            " end the program that has it, or give desk.http_host or desk.http_port another value"
        ) from None
    return sock


def _why(task: asyncio.Task[Any]) -> str:
    error = None if task.cancelled() else task.exception()
    return f"{task.get_name()} ({error!r})" if error else task.get_name()
