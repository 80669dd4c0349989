"""How presses get to the desk, under every order, repetition and loss of what comes back."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.protocol.wire import Ack
from edge.uplink.delivery import IN_FLIGHT, KEEP_ACKS, KEEP_RECEIVED, PUBACK_NS, DeliveryBook
from tests.box import told, uid

S = 1_000_000_000
TRYING_NS, RECEIPT_NS, REPEAT_NS = 3 * S, 2 * S, 15 * S
NOW = 1000 * S


def book(link: bool = True) -> DeliveryBook:
    made = DeliveryBook(trying_ns=TRYING_NS, receipt_wait_ns=RECEIPT_NS, repeat_ns=REPEAT_NS)
    if link:
        made.link(True, NOW)
    return made


def ack(incident: int, state: str, version: int = 1, desk: str = "desk-1") -> Ack:
    return Ack.model_validate(
        {
            "id": uid(1),
            "incident_id": uid(incident),
            "state": state,
            "version": version,
            "desk": desk,
            "by": "Asha",
        }
    )


def send(made: DeliveryBook, now_ns: int) -> list[str]:
    """Publishes what is due, and returns its ids."""
    ids = [t.press.press_id for t in made.due(now_ns)]
    for press_id in ids:
        made.published(press_id, now_ns)
    return ids


# -- whatever happens --------------------

PRESS = st.integers(1, 6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("press"), PRESS, st.booleans()),
        st.tuples(st.just("commit"), PRESS, st.none()),
        st.tuples(st.just("link"), st.just(0), st.booleans()),
        st.tuples(st.just("wait"), st.just(0), st.sampled_from([S // 4, 2 * S, 20 * S])),
        st.tuples(st.just("send"), st.just(0), st.none()),
        st.tuples(st.just("puback"), PRESS, st.booleans()),
        st.tuples(st.just("receipt"), PRESS, st.none()),
        st.tuples(
            st.just("ack"),
            st.integers(1, 2),
            st.tuples(
                st.sampled_from(["open", "seen", "coming", "closed"]),
                st.integers(1, 5),
                st.sampled_from(["desk-1", "desk-2"]),
            ),
        ),
        st.tuples(st.just("current"), st.integers(0, 2), st.none()),
        st.tuples(st.just("restart"), st.just(0), st.none()),
    ),
    max_size=60,
)


@settings(max_examples=200)
@given(STEPS)
def test_I3_an_alert_is_due_until_its_receipt_and_a_reminder_until_a_person_and_nothing_is_claimed(
    steps: list[tuple[str, int, Any]],
) -> None:
    """Presses 1 to 3 are of incident 1, 4 to 6 of incident 2."""
    made, now, link = book(link=False), NOW, False
    heard: dict[int, bool] = {}
    committed: set[int] = set()
    received: set[int] = set()
    pubacked: set[int] = set()
    sent: set[int] = set()
    said: dict[int, set[str]] = {1: set(), 2: set()}
    current = 0
    for what, number, how in steps:
        incident = 1 if number <= 3 else 2
        if what == "press":
            news = made.press(told(number, incident, durable=how), now)
            assert news == (number not in heard and number not in received)
            heard[number] = True
        elif what == "commit":
            made.committed(uid(number))
            if number in heard:
                committed.add(number)
        elif what == "link":
            made.link(how, now)
            link = how
            pubacked.clear()
            sent.clear()
        elif what == "wait":
            now += how
        elif what == "send":
            sent |= {int(i[-12:], 16) for i in send(made, now)}
        elif what == "puback" and number in sent:
            made.puback(uid(number), 1)
            pubacked.add(number)
        elif what == "receipt":
            made.receipt(uid(number), now)
            received.add(number)
        elif what == "ack":
            if made.ack(ack(number, *how)):
                said[number].add(how[0])
        elif what == "current":
            made.current(uid(number) if number else None)
            current = number
        elif what == "restart":
            made, link, current = book(link=False), False, 0
            made.load_received([uid(n) for n in sorted(received)])
            for n in sorted(committed - received):
                made.press(told(n, 1 if n <= 3 else 2), now, committed=True)
            heard = dict.fromkeys(committed - received, True)
            pubacked.clear()
            sent.clear()
            said = {1: set(), 2: set()}
        missing = set(heard) - received
        assert made.waits() == len(missing)
        held = set(made.held([uid(n) for n in range(1, 7)]))
        assert held == {uid(n) for n in received | (committed & set(heard))}
        for n in (1, 2):
            progress = made.progress(uid(n), now)
            mine = {p for p in heard if (1 if p <= 3 else 2) == n}
            if progress in ("seen", "coming", "closed"):
                assert progress in said[n]
            if progress == "closed":
                assert mine <= received
            if progress == "received":
                assert mine & received
            if progress == "sent":
                assert link
                assert mine & pubacked
        assert made.dead(now) is False or link
        for word in made.words(now):
            assert word.incident_id in (uid(1), uid(2))
        assert len(made.open_incidents()) == (1 if current else 0)
    # Whatever was said: with the next link each one that is missing goes out again.
    made.link(False, now)
    made.link(True, now)
    assert {int(i[-12:], 16) for i in send(made, now)} >= set(heard) - received


# -- single cases --------------------


def test_I3_an_alert_is_repeated_with_growing_pauses_until_a_desk_has_it() -> None:
    made, times, now = book(), [], NOW
    made.press(told(1), NOW)
    while now < NOW + 60 * S:
        for press_id in send(made, now):
            times.append((now - NOW) // S)
            made.puback(press_id, 1)
        now += S
    assert times == [0, 2, 6, 14, 29, 44, 59]
    made.receipt(uid(1), now)
    assert send(made, now + 1000 * S) == []


def test_I3_then_the_newest_of_the_open_incident_is_repeated_until_a_person_has_seen_it() -> None:
    made = book()
    made.current(uid(1))
    for number in (1, 2, 3):
        made.press(told(number, 1), NOW)
    send(made, NOW)
    for number in (3, 1, 2):
        made.receipt(uid(number), NOW)
    assert send(made, NOW + REPEAT_NS) == [uid(3)]
    assert send(made, NOW + REPEAT_NS + S) == []
    assert made.ack(ack(1, "seen"))
    assert send(made, NOW + 10 * REPEAT_NS) == []
    assert made.ack(ack(1, "open", 2)), "taken back"
    assert send(made, NOW + 10 * REPEAT_NS) == [uid(3)]


def test_I3_after_a_restart_the_reminder_goes_on_and_no_alert_is_news() -> None:
    made = book()
    made.load_received([uid(1), uid(2)])
    made.current(uid(1))
    assert not made.press(told(1, 1), NOW)
    assert not made.press(told(2, 1), NOW)
    assert made.progress(uid(1), NOW) == "received"
    assert send(made, NOW) == [uid(2)]
    # callbox tells both each second
    for second in range(1, 10):
        made.press(told(1, 1), NOW + second * S)
        made.press(told(2, 1), NOW + second * S)
        assert send(made, NOW + second * S) == []


def test_I3_puback_is_sent_and_no_more_and_not_after_the_link_went() -> None:
    made = book()
    made.press(told(1), NOW)
    send(made, NOW)
    assert made.progress(uid(1), NOW) == "pressed"
    made.puback(uid(1), 1)
    assert made.progress(uid(1), NOW + S) == "sent"
    made.link(False, NOW + S)
    assert made.progress(uid(1), NOW + S) == "pressed"
    assert made.progress(uid(1), NOW + TRYING_NS) == "trying"


def test_nothing_is_due_without_a_link_and_everything_when_it_is_back() -> None:
    made = book()
    for number in (1, 2):
        made.press(told(number, 1), NOW)
    send(made, NOW)
    made.link(False, NOW)
    assert send(made, NOW + 100 * S) == []
    made.link(True, NOW + 100 * S)
    assert set(send(made, NOW + 100 * S)) == {uid(1), uid(2)}


def test_a_broker_that_leaves_an_alert_without_its_answer_is_dead_after_5_s() -> None:
    """Once each repeat began the time anew."""
    made, now = book(), NOW
    made.press(told(1), NOW)
    while not made.dead(now):
        send(made, now)
        now += S // 4
    assert now - NOW == PUBACK_NS
    made.link(False, now)
    assert not made.dead(now + 100 * S), "a link that is down is not dropped again while it is being made"


def test_an_alert_that_the_broker_refused_is_not_waited_for_and_comes_again() -> None:
    made = book()
    made.press(told(1), NOW)
    send(made, NOW)
    made.refused(uid(1))
    assert not made.dead(NOW + PUBACK_NS)
    assert send(made, NOW + RECEIPT_NS) == [uid(1)]


def test_a_new_press_does_not_wait_for_a_backlog_and_the_backlog_goes_in_parts() -> None:
    made = book(link=False)
    for number in range(1, 101):
        made.press(told(number, 1), NOW)
    made.link(True, NOW)
    first = send(made, NOW)
    assert len(first) == IN_FLIGHT
    assert first[0] == uid(100)
    made.press(told(101, 1), NOW)
    assert send(made, NOW) == [uid(101)]
    assert send(made, NOW) == []
    seen = Counter([*first, uid(101)])
    ready = [*first, uid(101)]
    while ready:
        for press_id in ready:
            made.puback(press_id, 1)
            made.receipt(press_id, NOW)
        ready = send(made, NOW)
        seen.update(ready)
    assert set(seen) == {uid(n) for n in range(1, 102)}
    assert max(seen.values()) == 1


def test_I3_an_older_word_of_a_desk_is_passed_over_also_when_another_desk_spoke_between() -> None:
    made = book()
    made.current(uid(1))
    assert made.ack(ack(1, "closed", 5))
    assert not made.ack(ack(1, "seen", 4))
    assert made.ack(ack(1, "coming", 1, "desk-2"))
    assert not made.ack(ack(1, "closed", 4)), "of desk-1, which is at 5"
    assert made.progress(uid(1), NOW) == "coming"


def test_an_ack_of_one_incident_says_nothing_of_another() -> None:
    made = book()
    made.press(told(1), NOW)
    made.press(told(2), NOW)
    made.ack(ack(1, "closed"))
    made.current(uid(2))
    assert [w.progress for w in made.words(NOW) if w.incident_id == uid(2)] == ["pressed"]


def test_I2_a_closed_does_not_close_while_a_press_of_the_incident_is_on_its_way() -> None:
    made = book()
    made.current(uid(1))
    made.press(told(1, 1), NOW)
    made.receipt(uid(1), NOW)
    made.press(told(2, 1), NOW)
    made.ack(ack(1, "closed", 3))
    assert made.progress(uid(1), NOW) == "received"
    made.receipt(uid(2), NOW)
    assert made.progress(uid(1), NOW) == "closed"


def test_I2_a_press_after_the_closed_waits_for_a_newer_word_than_that() -> None:
    """The desk reopens for it. Between its receipt and its word the old `closed` once stood, and the box
    closed what the desk had open."""
    made = book()
    made.current(uid(1))
    made.press(told(1, 1), NOW)
    made.receipt(uid(1), NOW)
    made.ack(ack(1, "closed", 3))
    made.press(told(2, 1), NOW)
    made.receipt(uid(2), NOW)
    assert made.progress(uid(1), NOW) == "received"
    assert not made.ack(ack(1, "closed", 3)), "the same word again is still the old one"
    assert made.ack(ack(1, "open", 4))
    assert made.progress(uid(1), NOW) == "received"
    assert made.ack(ack(1, "closed", 5))
    assert made.progress(uid(1), NOW) == "closed"


@pytest.mark.parametrize(("state", "taken_back"), [("open", True), ("seen", False), (None, False)])
def test_I3_only_the_desk_takes_an_acknowledgement_back(state: str | None, taken_back: bool) -> None:
    made = book()
    made.current(uid(1))
    if state is not None:
        made.ack(ack(1, state))
    assert [word.taken_back for word in made.words(NOW)] == [taken_back]


def test_I2_custody_is_claimed_only_for_what_is_on_disk_here_or_at_a_desk() -> None:
    made = book()
    made.press(told(1), NOW)
    made.press(told(2), NOW)
    assert made.held([uid(1), uid(2), uid(3)]) == []
    made.committed(uid(1))
    made.receipt(uid(2), NOW)
    assert made.held([uid(1), uid(2), uid(3)]) == [uid(1), uid(2)]
    assert [t.press.press_id for t in made.uncommitted()] == []


def test_a_press_that_became_durable_is_told_so() -> None:
    made = book()
    made.press(told(1, durable=False), NOW)
    assert not made.due(NOW)[0].durable
    assert not made.press(told(1, durable=True), NOW)
    assert made.due(NOW)[0].durable
    made.press(told(1, durable=False), NOW)
    assert made.due(NOW)[0].durable


def test_I6_what_is_remembered_is_bounded() -> None:
    made = book()
    made.current(uid(1))
    for number in range(1, 3 * KEEP_ACKS):
        made.ack(ack(number, "seen"))
    assert len(made._acks) <= KEEP_ACKS
    assert made.progress(uid(1), NOW) == "seen", "the open incident's is kept"
    for number in range(1, KEEP_RECEIVED + 100):
        made.press(told(number, 1), NOW)
        made.receipt(uid(number), NOW)
    assert len(made._received) <= KEEP_RECEIVED
    assert len(made._waiting) == 1, "of the open incident the newest, for the reminder"
    made.current(None)
    assert not made._waiting
    for number in range(10_000):
        made.ack(ack(1, "seen", number, f"desk-{number}"))
    assert len(made._versions) <= 4 * KEEP_ACKS
