"""Commands from the centre: each executed at most once, and only within its time to live. Pure.

`CommandBook` decides; the uplink carries the actions out. That a command was begun is on disk before it is
carried out, so that a crash cannot execute it twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge.log import LEVELS
from edge.protocol.inner import Order
from edge.protocol.wire import Command

Status = Literal["done", "failed", "expired", "refused"]
REPEAT_NS = 500_000_000
TARGETS: dict[str, str] = {"press_test": "callbox", "arm_test": "callbox", "indicator_test": "callbox"}
MAX_PENDING = 32


@dataclass(frozen=True, slots=True)
class Verdict:
    """A command has come to its end."""

    command: Command
    status: Status
    reason: str = ""


@dataclass(slots=True)
class _Pending:
    command: Command
    order: Order
    until_ns: int
    due_ns: int


def fault(command: Command, processes: tuple[str, ...]) -> str:
    """Why a command cannot be carried out, in words for its sender; empty when it can."""
    target = command.args.get("process", "uplink")
    if command.name in ("log_level", "restart") and target not in processes:
        return f"args.process must be one of {', '.join(processes)}"
    if command.name == "log_level" and command.args.get("level") not in LEVELS:
        return f"args.level must be one of {', '.join(LEVELS)}"
    return ""


def target(command: Command) -> str:
    """The process that carries a command out."""
    if command.name in ("log_level", "restart"):
        return command.args.get("process", "uplink")
    return TARGETS.get(command.name, "uplink")


class CommandBook:
    """Commands that other processes carry out: their orders are repeated until they answer or time is up."""

    def __init__(self) -> None:
        self._pending: dict[str, _Pending] = {}

    def has_room(self) -> bool:
        return len(self._pending) < MAX_PENDING

    def add(self, command: Command, received_ns: int) -> None:
        order = Order(
            id=command.id, process=target(command), name=command.name, by=command.by, args=command.args
        )
        until_ns = received_ns + command.ttl_s * 10**9
        self._pending[command.id] = _Pending(command, order, until_ns, received_ns)

    def answered(self, order_id: str, ok: bool, reason: str) -> Verdict | None:
        pending = self._pending.pop(order_id, None)
        if pending is None:
            return None
        return Verdict(pending.command, "done" if ok else "failed", reason)

    def tick(self, now_ns: int) -> tuple[list[Order], list[Verdict]]:
        """The orders to say (again), and the commands whose time is over."""
        over = [p for p in self._pending.values() if now_ns >= p.until_ns]
        for pending in over:
            del self._pending[pending.command.id]
        orders = []
        for pending in self._pending.values():
            if pending.due_ns <= now_ns:
                pending.due_ns = now_ns + REPEAT_NS
                orders.append(pending.order)
        verdicts = [
            Verdict(p.command, "expired", f"{p.order.process} did not answer within {p.command.ttl_s} s")
            for p in over
        ]
        return orders, verdicts
