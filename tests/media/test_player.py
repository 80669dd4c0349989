"""The player: what is said when, without a sound."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from edge.media.player import REPEAT_S, SECOND, TONE, Act, Clip, Play, Player
from edge.protocol.common import CitizenState

STATES: list[CitizenState] = [
    *("idle", "pressed", "trying", "sent", "received", "seen", "coming", "connected", "closed", "nobody"),
]


class Box:
    """A player with its driver and its clock."""

    def __init__(self, *languages: str) -> None:
        self.player = Player(languages or ("hi", "en"))  # type: ignore[arg-type]
        self.now = 0
        self.heard: list[str] = []
        """Tags as they begin, and "|" for a cut into silence."""

    def tell(self, citizen: CitizenState, incident: str | None = "a", dark: bool = False) -> None:
        self._do(self.player.tell(None if citizen == "idle" else incident, citizen, dark, self.now))

    def end(self) -> None:
        assert self.player.playing is not None
        self._do(self.player.ended(self.now))

    def end_all(self) -> None:
        while self.player.playing is not None:
            self.end()

    def pass_s(self, seconds: float, callbox: CitizenState | None = None) -> None:
        """Time passes; callbox repeats itself each second, when it lives."""
        for _ in range(round(seconds)):
            self.now += SECOND
            if callbox is not None:
                self.tell(callbox)
            due = self.player.due_ns()
            if due is not None and due <= self.now:
                self._do(self.player.next(self.now))

    def _do(self, acts: list[Act]) -> None:
        self.heard += [act.clip.tag if isinstance(act, Play) else "|" for act in acts]


def test_a_press_is_answered_by_a_tone_and_a_sentence_in_each_language_in_order() -> None:
    box = Box()
    box.tell("pressed")
    assert box.heard == ["tone"]
    box.end_all()
    assert box.heard == ["tone", "pressed.hi", "pressed.en"]


def test_a_sentence_that_is_still_true_ends_and_the_newest_state_follows() -> None:
    box = Box()
    box.tell("pressed")
    box.end()
    for state in ("sent", "received", "seen"):
        box.tell(state)  # type: ignore[arg-type]
    assert box.heard == ["tone", "pressed.hi"]
    box.end_all()
    assert box.heard == ["tone", "pressed.hi", "seen.hi", "seen.en"]


def test_a_sentence_that_is_no_longer_true_is_cut() -> None:
    box = Box()
    box.tell("trying")
    box.tell("sent")
    assert box.heard == ["trying.hi", "sent.hi"]
    box.tell("nobody")
    assert box.heard[-1] == "nobody.hi"
    box.tell("coming")
    assert box.heard[-1] == "coming.hi"


def test_help_that_is_taken_back_is_no_longer_promised() -> None:
    box = Box()
    box.tell("coming")
    box.tell("received")
    assert box.heard == ["coming.hi", "received.hi"]


def test_waiting_is_said_again_after_20_s_while_it_holds() -> None:
    box = Box("en")
    box.tell("received")
    box.end_all()
    box.pass_s(19, callbox="received")
    assert box.heard == ["received.en"]
    box.pass_s(2, callbox="received")
    assert box.heard == ["received.en"] * 2
    box.end_all()
    box.tell("closed")
    box.end_all()
    box.pass_s(100, callbox="closed")
    assert box.heard == ["received.en"] * 2 + ["closed.en"]


def test_nothing_is_said_again_on_the_word_of_a_callbox_that_fell_silent() -> None:
    box = Box("en")
    box.tell("coming")
    box.end_all()
    box.pass_s(600)
    assert box.heard == ["coming.en"]
    box.pass_s(REPEAT_S["coming"] + 2, callbox="coming")
    assert box.heard == ["coming.en"] * 2


def test_the_last_word_of_a_closed_incident_is_spoken_to_its_end() -> None:
    box = Box()
    box.tell("closed")
    box.tell("idle")
    box.end_all()
    assert box.heard == ["closed.hi", "closed.en"]


def test_idle_without_a_closing_word_is_silent_at_once() -> None:
    box = Box()
    box.tell("received")
    box.tell("idle")
    assert box.heard == ["received.hi", "|"]


def test_pressing_again_while_something_is_said_cuts_nothing() -> None:
    box = Box()
    box.tell("coming")
    for _ in range(5):
        box.tell("pressed")
        box.tell("coming")
    box.end_all()
    assert box.heard == ["coming.hi", "coming.en"]


def test_pressing_again_in_silence_gets_the_tone_and_what_holds() -> None:
    box = Box("en")
    box.tell("coming")
    box.end_all()
    box.tell("pressed")
    box.end_all()
    box.tell("coming")
    box.end_all()
    assert box.heard == ["coming.en", "tone", "coming.en"]


def test_a_new_incident_cuts_what_was_said_of_the_old_one() -> None:
    box = Box("en")
    box.tell("closed", incident="a")
    box.tell("pressed", incident="b")
    box.end_all()
    assert box.heard == ["closed.en", "tone", "pressed.en"]


def test_a_media_process_that_starts_in_an_incident_says_what_holds_without_a_tone() -> None:
    box = Box("en")
    box.tell("seen")
    assert box.heard == ["seen.en"]


def test_a_hold_silences_what_has_begun() -> None:
    box = Box()
    box.tell("pressed")
    box.end()
    box.tell("pressed", dark=True)
    assert box.heard == ["tone", "pressed.hi", "|"]
    box.tell("coming", dark=True)
    box.pass_s(100)
    assert box.heard == ["tone", "pressed.hi", "|"]


def test_the_test_sound_is_played_when_nothing_is_open_and_refused_otherwise() -> None:
    box = Box("en")
    assert box.player.test() is None
    box._do(box.player.next(0))
    box.tell("idle")
    assert box.player.testing
    box.end_all()
    assert box.heard == ["tone", "test.en"]
    assert not box.player.testing
    box.tell("pressed")
    assert box.player.test() == "an incident is open"


def test_I10_a_press_pre_empts_a_running_test() -> None:
    box = Box("en")
    box.player.test()
    box._do(box.player.next(0))
    box.end()
    box.tell("pressed")
    assert box.heard == ["tone", "test.en", "tone"]
    assert not box.player.testing


steps = st.one_of(
    st.tuples(st.just("tell"), st.sampled_from(STATES), st.sampled_from(["a", "b"]), st.booleans()),
    st.tuples(st.just("end")),
    st.tuples(st.just("due")),
    st.tuples(st.just("wait"), st.integers(0, 90)),
    st.tuples(st.just("test")),
)


def _play(
    player: Player, steps: list[tuple[object, ...]], may_be_dark: bool
) -> Iterator[tuple[str, bool, list[Act]]]:
    """Runs the steps; after each: the state told, whether it is dark, and the acts."""
    now, state, dark = 0, "idle", False
    for step in steps:
        acts: list[Act] = []
        match step:
            case ("tell", citizen, incident, is_dark):
                state, dark = str(citizen), bool(is_dark) and may_be_dark
                name = None if state == "idle" else str(incident)
                acts = player.tell(name, citizen, dark, now)  # type: ignore[arg-type]
            case ("end",) if player.playing is not None:
                acts = player.ended(now)
            case ("wait", int(seconds)):
                now += seconds * SECOND
            case ("due",):
                acts = player.next(now)
            case ("test",) if player.test() is None:
                acts = player.next(now)
        yield state, dark, acts


@given(st.lists(steps, max_size=60))
def test_what_begins_is_what_holds_and_in_the_dark_nothing_does(steps: list[tuple[object, ...]]) -> None:
    player = Player(["hi", "en"])
    playing: Clip | None = None
    for step, (state, dark, acts) in zip(steps, _play(player, steps, True), strict=True):
        if step[0] == "end":
            playing = None
        for act in acts:
            playing = act.clip if isinstance(act, Play) else None
            if isinstance(act, Play) and act.clip != TONE and act.clip.state != "test":
                # A later press shows `pressed` for a moment while the sentence before it goes on; the second
                # language of `closed` may follow into idle.
                assert act.clip.state == state or state in ("idle", "pressed")
            if dark and isinstance(act, Play):
                assert player.testing or act.clip.state == "test"
        assert playing == player.playing


@given(st.lists(steps, max_size=60), st.sampled_from(STATES[2:]))
def test_the_last_sentence_is_always_the_state_that_holds(
    steps: list[tuple[object, ...]], last: CitizenState
) -> None:
    player, said = Player(["hi", "en"]), ""
    steps = [*steps, ("tell", last, "a", False), *[("end",)] * 6]
    for _, _, acts in _play(player, steps, False):
        for act in acts:
            if isinstance(act, Play) and act.clip != TONE and act.clip.state != "test":
                said = act.clip.state
    assert said == last
    assert player.playing is None
