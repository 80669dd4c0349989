"""Commands for other processes: said again until answered or over, and each comes to one end."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.protocol.common import CommandName
from edge.protocol.wire import Command
from edge.uplink.commands import MAX_PENDING, CommandBook, fault, target
from tests.box import uid

S = 1_000_000_000
PROCESSES = ("callbox", "media", "uplink")


def command(number: int = 1, name: str = "press_test", *, ttl_s: int = 30, **args: Any) -> Command:
    values: dict[str, Any] = {"id": uid(number), "name": name, "ttl_s": ttl_s, "by": "Asha", "args": args}
    return Command.model_validate(values)


@pytest.mark.parametrize(
    ("name", "args", "process"),
    [
        ("ping", {}, "uplink"),
        ("rebirth", {}, "uplink"),
        ("press_test", {}, "callbox"),
        ("arm_test", {}, "callbox"),
        ("indicator_test", {}, "callbox"),
        ("log_level", {"level": "debug"}, "uplink"),
        ("log_level", {"level": "debug", "process": "media"}, "media"),
        ("restart", {"process": "callbox"}, "callbox"),
        ("restart", {}, "uplink"),
        ("ping", {"process": "callbox"}, "uplink"),
    ],
)
def test_every_command_has_its_process(name: str, args: dict[str, Any], process: str) -> None:
    assert target(command(name=name, **args)) == process
    assert fault(command(name=name, **args), PROCESSES) == ""


def test_the_table_above_knows_all_commands() -> None:
    assert all(target(command(name=name)) in PROCESSES for name in get_args(CommandName))


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("restart", {"process": "desk"}, "process"),
        ("log_level", {"process": "init", "level": "debug"}, "process"),
        ("log_level", {}, "level"),
        ("log_level", {"level": "loud"}, "level"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_in_words(name: str, args: dict[str, Any], words: str) -> None:
    assert words in fault(command(name=name, **args), PROCESSES)


def test_an_order_is_said_again_until_it_is_answered_once() -> None:
    book = CommandBook()
    book.add(command(), 0)
    orders = [order for at in range(0, 2 * S, S // 4) for order in book.tick(at)[0]]
    assert len(orders) == 4
    assert {order.id for order in orders} == {uid(1)}
    verdict = book.answered(uid(1), False, "a real incident is open")
    assert verdict is not None
    assert (verdict.status, verdict.reason) == ("failed", "a real incident is open")
    assert book.answered(uid(1), True, "") is None
    assert book.tick(100 * S) == ([], [])


def test_its_time_counts_from_its_receipt() -> None:
    book = CommandBook()
    book.add(command(ttl_s=5), 100 * S)
    assert book.tick(105 * S - 1)[1] == []
    (verdict,) = book.tick(105 * S)[1]
    assert verdict.status == "expired"
    assert "5 s" in verdict.reason


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "answer", "wait"]), st.integers(0, 50), st.integers(1, 60), st.booleans()
        )
    )
)
def test_every_command_comes_to_one_end(steps: list[tuple[str, int, int, bool]]) -> None:
    book, now, added, ended = CommandBook(), 0, set[str](), list[str]()
    for what, number, seconds, ok in steps:
        if what == "add" and uid(number) not in added and book.has_room():
            book.add(command(number, ttl_s=seconds), now)
            added.add(uid(number))
        elif what == "answer":
            verdict = book.answered(uid(number), ok, "")
            ended += [verdict.command.id] if verdict else []
        elif what == "wait":
            now += seconds * S
            ended += [verdict.command.id for verdict in book.tick(now)[1]]
        assert len(added) - len(ended) <= MAX_PENDING
    ended += [verdict.command.id for verdict in book.tick(now + 3600 * S)[1]]
    assert sorted(ended) == sorted(added)
