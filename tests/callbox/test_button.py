"""One contact under every bounce, spike, lost edge and late loop: a finger's press is one press."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.callbox.button import OPEN_NS, Contact, ContactEvent, What

MS = 1_000_000
STABLE_NS, HOLD_NS, STUCK_NS, LOOK_NS = 5 * MS, 3000 * MS, 60_000 * MS, 100 * MS


def contact(known_closed: bool = False, stable_ns: int = STABLE_NS) -> Contact:
    return Contact(
        "police", stable_ns=stable_ns, hold_ns=HOLD_NS, stuck_ns=STUCK_NS, known_closed=known_closed
    )


# -- a line, and a loop that looks at it --------------------


@dataclass
class Line:
    """The physical level over time, open at first."""

    runs: list[tuple[bool, int]] = field(default_factory=list)
    """(closed, ns) in turn."""

    def edges(self) -> list[tuple[int, bool]]:
        at, found, before = 0, [], False
        for level, ns in self.runs:
            if level != before:
                found.append((at, level))
            at, before = at + ns, level
        return found

    def merged(self) -> Iterator[tuple[bool, int, int]]:
        """(closed, begin, end); the last run lasts for ever."""
        edges = [(-(10**12), False), *self.edges()]
        for (begin, level), (end, _) in zip(edges, [*edges[1:], (10**15, False)], strict=True):
            yield level, begin, end

    def level(self, at_ns: int) -> bool:
        return next(level for level, begin, end in self.merged() if begin <= at_ns < end)

    def presses(self, stable_ns: int = STABLE_NS) -> list[int]:
        """When each press must be known, by the rule alone."""
        found, closed = [], False
        for level, begin, end in self.merged():
            if level and not closed and end - begin >= stable_ns:
                closed = True
                found.append(begin + stable_ns)
            elif not level and closed and end - begin >= OPEN_NS:
                closed = False
        return found


@dataclass
class Loop:
    """Delivers edges and looks as `edge.callbox.callbox` does: edges wake it, a timer waits for what is due,
    the level is read again every 100 ms. Each wake may be late."""

    line: Line
    delays: Iterator[int]
    lost: frozenset[int] = frozenset()
    look_again: bool = True
    behind_ns: int = 0
    """Edges arrive so much later than the level can be read."""
    machine: Contact = field(default_factory=contact)
    happened: list[tuple[int, ContactEvent]] = field(default_factory=list)
    wakes: list[int] = field(default_factory=list)
    timer_wakes: int = 0

    def run(self, until_ns: int) -> Loop:
        edges = [
            (t + self.behind_ns, t, lv) for n, (t, lv) in enumerate(self.line.edges()) if n not in self.lost
        ]
        now, look_ns = -2 * LOOK_NS, -LOOK_NS
        self._take(now, self.machine.sample(False, now))
        while now < until_ns:
            due_ns = self.machine.due_ns()
            timer_ns = due_ns if due_ns is not None and due_ns > now else None
            wanted = [t for t in (edges[0][0] if edges else None, timer_ns, look_ns) if t is not None]
            wake = max(min(wanted), now + 1)
            self.timer_wakes += wake == timer_ns
            now = wake + next(self.delays, 0)
            self.wakes.append(now)
            while edges and edges[0][0] <= now:
                _, stamp, level = edges.pop(0)
                self._take(now, self.machine.edge(level, stamp))
            due_ns = self.machine.due_ns()
            if due_ns is not None and due_ns <= now:
                self._take(now, self.machine.tick(now, self.line.level(now)))
            if look_ns <= now:
                look_ns = now + LOOK_NS
                if self.look_again:
                    self._take(now, self.machine.sample(self.line.level(now), now))
        return self

    def _take(self, now: int, events: list[ContactEvent]) -> None:
        self.happened += [(now, event) for event in events]

    def times(self, what: What) -> list[int]:
        return [now for now, event in self.happened if event.what is what]


def span(low: float, high: float) -> st.SearchStrategy[int]:
    return st.integers(round(low * 1000), round(high * 1000)).map(lambda us: us * 1000)


SPIKE = span(0.01, 2.99)
ANY_RUNS = st.lists(st.tuples(st.booleans(), span(0.01, 120)), max_size=40)
# A worn contact: closes and opens with bounce, is pressed for 5 ms to 4 s, and left for 30 ms or longer.
BOUNCE = st.lists(st.tuples(span(0.01, 2.9), span(0.01, 2.9)), max_size=4)
PRESS = st.tuples(
    BOUNCE, st.one_of(span(5, 20), span(5, 4000)), BOUNCE, st.one_of(span(30, 40), span(30, 500))
)
NOISE = st.lists(SPIKE, max_size=3)
DELAYS = st.lists(st.one_of(st.just(0), span(0, 3), span(0, 80)), max_size=200)


@st.composite
def hands(draw: st.DrawFn) -> tuple[Line, int]:
    """Presses with bounce, and spikes between them; and how many presses there are."""
    line, count = Line([(False, 200 * MS)]), 0
    for item in draw(st.lists(st.one_of(PRESS, NOISE), min_size=1, max_size=8)):
        if isinstance(item, list):
            for spike in item:
                line.runs += [(True, spike), (False, 30 * MS)]
            continue
        opening, held, closing, gap = item
        for closed_ns, open_ns in opening:
            line.runs += [(True, closed_ns), (False, open_ns)]
        line.runs.append((True, held))
        for open_ns, closed_ns in closing:
            line.runs += [(False, open_ns), (True, closed_ns)]
        line.runs.append((False, gap))
        count += 1
    return line, count


def length(line: Line) -> int:
    return sum(ns for _, ns in line.runs)


@settings(max_examples=150)
@given(hands(), DELAYS)
def test_I2_one_physical_contact_gives_one_press_and_a_spike_none_however_late_the_loop_is(
    made: tuple[Line, int], delays: list[int]
) -> None:
    line, count = made
    loop = Loop(line, iter(delays)).run(length(line) + 300 * MS)
    assert len(loop.times(What.PRESSED)) == count
    assert len(loop.times(What.RELEASED)) == count


@settings(max_examples=150)
@given(ANY_RUNS, DELAYS, st.booleans())
def test_any_line_is_counted_by_the_rule_also_without_ever_reading_it_again(
    runs: list[tuple[bool, int]], delays: list[int], look_again: bool
) -> None:
    line = Line(runs)
    loop = Loop(line, iter(delays), look_again=look_again).run(length(line) + 300 * MS)
    due = line.presses()
    found = loop.times(What.PRESSED)
    assert len(found) == len(due)
    for at, press in zip(found, due, strict=True):
        # Not at the next look, but the first time the loop could know.
        assert at == min(wake for wake in loop.wakes if wake >= press)


@given(ANY_RUNS, DELAYS)
def test_a_timer_never_spins(runs: list[tuple[bool, int]], delays: list[int]) -> None:
    line = Line([*runs, (True, 70_000 * MS), (False, 100 * MS)])
    loop = Loop(line, iter(delays)).run(length(line) + 300 * MS)
    assert loop.timer_wakes <= 2 * len(line.edges()) + 4
    assert loop.machine.due_ns() is None


@settings(max_examples=100)
@given(
    st.lists(st.tuples(span(15, 4000), span(60, 500)), min_size=1, max_size=6),
    DELAYS,
    st.integers(0, 8 * MS),
)
def test_I2_a_look_that_is_ahead_of_the_edges_costs_no_press_and_makes_none(
    presses: list[tuple[int, int]], delays: list[int], behind_ns: int
) -> None:
    """The line is read at once; the edge comes by way of a thread that may have to wait for its turn."""
    line = Line([(False, 200 * MS)])
    for held, gap in presses:
        line.runs += [(True, held), (False, gap)]
    loop = Loop(line, iter(delays), behind_ns=behind_ns).run(length(line) + 300 * MS)
    assert len(loop.times(What.PRESSED)) == len(presses)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(span(220, 2000), span(260, 800)), min_size=1, max_size=6),
    DELAYS,
    st.frozensets(st.integers(0, 12)),
)
def test_I2_a_press_longer_than_two_looks_is_counted_once_whichever_edges_are_lost(
    presses: list[tuple[int, int]], delays: list[int], lost: frozenset[int]
) -> None:
    line = Line([(False, 300 * MS)])
    for held, gap in presses:
        line.runs += [(True, held), (False, gap)]
    on_time = (min(d, MS) for d in delays)
    loop = Loop(line, on_time, lost=lost).run(length(line) + 500 * MS)
    assert len(loop.times(What.PRESSED)) == len(presses)
    assert loop.machine.state == "released"


@given(ANY_RUNS, DELAYS, st.frozensets(st.integers(0, 40)), st.booleans())
def test_whatever_was_lost_the_state_is_the_lines_after_it_stood_still(
    runs: list[tuple[bool, int]], delays: list[int], lost: frozenset[int], closed: bool
) -> None:
    line = Line([*runs, (not closed, MS), (closed, 1000 * MS)])
    loop = Loop(line, iter(delays), lost=lost).run(length(line))
    assert loop.machine.state == ("held" if closed else "released")
    presses, releases = loop.times(What.PRESSED), loop.times(What.RELEASED)
    assert len(presses) - len(releases) == closed


@pytest.mark.parametrize("stable_ms", [2, 5, 15])
def test_hammering_at_8_hz_counts_every_contact(stable_ms: int) -> None:
    line = Line([(False, 100 * MS), *[(True, 62 * MS), (False, 63 * MS)] * 80])
    machine = contact(stable_ns=stable_ms * MS)
    loop = Loop(line, iter([7 * MS] * 2000), machine=machine).run(length(line) + 300 * MS)
    assert len(loop.times(What.PRESSED)) == 80


def test_a_press_of_15_ms_counts_at_every_allowed_window() -> None:
    for stable_ms in (2, 5, 15):
        machine = contact(stable_ns=stable_ms * MS)
        line = Line([(False, 100 * MS), (True, 15 * MS), (False, 300 * MS)])
        assert len(Loop(line, iter([]), machine=machine).run(length(line)).times(What.PRESSED)) == 1


# -- single cases --------------------


def test_the_press_says_when_its_first_edge_was_before_all_bounce() -> None:
    line = Line([(False, 100 * MS), (True, MS), (False, MS), (True, 2 * MS), (False, MS), (True, 50 * MS)])
    loop = Loop(line, iter([])).run(300 * MS)
    pressed = [event for _, event in loop.happened if event.what is What.PRESSED]
    assert [event.edge_ns for event in pressed] == [100 * MS]


def test_the_edge_that_comes_after_the_look_says_when_it_was() -> None:
    """Once the window began anew at the look, and a 15 ms press that was looked at late in it was lost."""
    machine = contact()
    machine.sample(False, 0)
    assert machine.sample(True, 111 * MS) == []
    assert machine.edge(True, 100 * MS) == []
    (event,) = machine.edge(False, 115 * MS)
    assert (event.what, event.edge_ns) == (What.PRESSED, 100 * MS)


def test_a_second_press_whose_opening_edge_was_lost_counts_when_the_line_was_seen_open() -> None:
    machine = contact()
    machine.sample(False, 0)
    machine.edge(True, 10 * MS)
    assert machine.tick(15 * MS, True)[0].what is What.PRESSED
    assert machine.sample(False, 100 * MS) == []
    assert machine.edge(True, 140 * MS)[0].what is What.RELEASED
    assert machine.tick(145 * MS, True)[0].what is What.PRESSED


def test_a_spike_whose_second_edge_was_lost_is_no_press() -> None:
    for at_next in ("look", "edge"):
        machine = contact()
        machine.sample(False, 0)
        machine.edge(True, 10 * MS)
        assert machine.tick(15 * MS, False) == []
        if at_next == "look":
            assert machine.sample(False, 100 * MS) == []
        else:
            assert machine.edge(True, 100 * MS) == []
            assert machine.edge(False, 101 * MS) == []
        assert machine.tick(300 * MS, False) == []
        assert machine.state == "released"


def test_hold_and_stuck_are_told_once_each_and_at_their_time() -> None:
    line = Line([(False, 100 * MS), (True, 90_000 * MS), (False, 100 * MS), (True, 3500 * MS), (False, MS)])
    loop = Loop(line, iter([])).run(length(line) + 300 * MS)
    assert loop.times(What.HELD) == [3100 * MS, 90_200 * MS + 3000 * MS]
    assert loop.times(What.STUCK) == [60_100 * MS]


def test_a_hold_is_not_ended_by_a_bounce_in_its_middle() -> None:
    line = Line([(False, 100 * MS), (True, 1500 * MS), (False, 10 * MS), (True, 2000 * MS), (False, MS)])
    loop = Loop(line, iter([])).run(length(line) + 300 * MS)
    assert loop.times(What.HELD) == [3100 * MS]


def test_a_contact_held_at_start_counts() -> None:
    machine = contact()
    assert machine.state == "unknown"
    assert machine.sample(True, 10 * MS) == []
    (event,) = machine.tick(15 * MS, True)
    assert (event.what, event.held_at_start) == (What.PRESSED, True)


def test_a_contact_held_at_start_that_the_journal_knows_does_not_count_again() -> None:
    machine = contact()
    machine.count_as_known()
    assert machine.sample(True, 10 * MS) == []
    assert machine.tick(100 * MS, True) == []
    assert machine.state == "held"
    assert machine.edge(False, 200 * MS) == []
    assert machine.tick(230 * MS, False)[0].what is What.RELEASED
    machine.edge(True, 300 * MS)
    (event,) = machine.tick(305 * MS, True)
    assert (event.what, event.held_at_start) == (What.PRESSED, False)


@pytest.mark.parametrize("by_edge", [False, True])
def test_a_known_contact_that_was_let_go_while_nobody_looked_is_released(by_edge: bool) -> None:
    machine = contact(known_closed=True)
    (event,) = machine.edge(False, 10) if by_edge else machine.sample(False, 10)
    assert event.what is What.RELEASED
    assert machine.state == "released"


def test_I2_a_closing_edge_is_a_new_press_also_where_the_journal_knows_the_contact_as_closed() -> None:
    """It was let go while the box was down, and closes before it was first looked at."""
    machine = contact(known_closed=True)
    assert [e.what for e in machine.edge(True, 10 * MS)] == [What.RELEASED]
    assert [e.what for e in machine.tick(15 * MS, True)] == [What.PRESSED]


def test_what_the_journal_knows_comes_too_late_once_the_line_was_seen() -> None:
    machine = contact()
    machine.edge(True, 10 * MS)
    machine.count_as_known()
    assert machine.tick(15 * MS, True)[0].what is What.PRESSED
