"""Events and results on their way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.store.outbox import ALARM, INFO, RESULT, WARNING, Row
from edge.uplink.rowqueue import AGAIN_NS, WINDOW, RowQueue
from tests.box import uid

S = 1_000_000_000


def row(number: int, priority: int = INFO, created_utc_ns: int = 1000 * S, ttl_s: int | None = None) -> Row:
    return Row(uid(number), "event", priority, b"{}", created_utc_ns, ttl_s)


def ids(rows: list[Row]) -> list[str]:
    return [r.id for r in rows]


def test_I9_the_most_important_goes_first_and_then_what_came_first_whatever_the_clock_said() -> None:
    queue = RowQueue()
    for number, priority in ((9, INFO), (1, INFO), (5, ALARM), (3, RESULT), (2, ALARM), (4, WARNING)):
        queue.add(row(number, priority))
    assert ids(queue.take(0)) == [uid(n) for n in (5, 2, 3, 4, 9, 1)]


@given(st.integers(0, 40), st.lists(st.integers(0, 40)))
def test_no_more_than_the_window_are_with_the_broker_and_each_gets_its_turn(
    count: int, answers: list[int]
) -> None:
    queue, flying, seen = RowQueue(), set[str](), set[str]()
    for number in range(count):
        queue.add(row(number))
    for answer in [*answers, *range(41), *range(41)]:
        taken = ids(queue.take(0))
        assert not flying & set(taken)
        flying |= set(taken)
        seen |= set(taken)
        assert len(flying) <= WINDOW
        if uid(answer) in flying:
            queue.puback(uid(answer), 0)
            flying.discard(uid(answer))
    assert seen == {uid(n) for n in range(count)}


def test_what_the_broker_has_and_no_desk_is_sent_again_after_a_while() -> None:
    queue = RowQueue()
    queue.add(row(1))
    queue.take(0)
    assert queue.puback(uid(1), 0) == row(1)
    assert queue.take(AGAIN_NS - 1) == []
    assert queue.take(AGAIN_NS) == [row(1)]
    assert queue.remove(uid(1))
    assert not queue.remove(uid(1))
    assert queue.puback(uid(1), 0) is None


def test_a_lost_link_makes_everything_due() -> None:
    queue = RowQueue()
    queue.add(row(1))
    queue.take(0)
    queue.link_lost()
    assert queue.take(0) == [row(1)]


def test_I9_what_was_made_while_nobody_knew_the_time_never_grows_too_old() -> None:
    """A box that boots in the past and then learns the time once threw away all that had happened since."""
    queue = RowQueue()
    queue.add(row(1, created_utc_ns=1000 * S, ttl_s=60))
    queue.add(row(2, created_utc_ns=0, ttl_s=60))
    queue.add(row(3, created_utc_ns=1000 * S))
    assert queue.expired(1060 * S) == []
    assert queue.expired(1061 * S) == [uid(1)]
    assert queue.expired(10**18) == [uid(1)]
    assert queue.expired(0) == [], "a clock set back makes nothing older"
