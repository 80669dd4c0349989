"""Passwords: what is one, whose it is, and who must wait after wrong ones."""

from __future__ import annotations

import pytest

from edge.clock import ManualClock
from edge.desk.passwords import FREE_TRIES, LONGEST_LOCK_S, Locks, Passwords, check_strength
from edge.errors import Conflict, DeskBusy, Unauthorised


@pytest.mark.parametrize(
    "password", ["", "short one", "a" * 40, "abababababab", "x" * 201, "my asha password"]
)
def test_a_weak_password_is_told_what_makes_a_good_one(password: str) -> None:
    with pytest.raises(Conflict, match="three words"):
        check_strength(password, "asha")


@pytest.mark.parametrize("password", ["three words apart", "लाल घोड़ा नदी किनारे"])
def test_a_good_password_may_be_in_any_script(password: str) -> None:
    check_strength(password, "asha")


async def test_a_password_is_known_again_and_no_other_and_nobody_has_none() -> None:
    passwords = Passwords()
    encoded = await passwords.encode("three words apart")
    assert encoded.startswith("$argon2id$")
    assert encoded != await passwords.encode("three words apart"), "each has a salt of its own"
    assert await passwords.right(encoded, "three words apart")
    assert not await passwords.right(encoded, "three words apart ")
    assert not await passwords.right(None, "nobody has this password")
    assert not await passwords.right("no hash at all", "x")
    passwords.close()


async def test_a_storm_of_attempts_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.desk.passwords.MAX_WAITING", 0)
    with pytest.raises(DeskBusy):
        await Passwords().encode("three words apart")


def test_wrong_passwords_make_wait_ever_longer_but_only_where_they_came_from() -> None:
    clock = ManualClock()
    locks = Locks(clock)
    for _ in range(FREE_TRIES - 1):
        locks.wrong("asha", "192.0.2.1")
    locks.check("asha", "192.0.2.1")
    locks.wrong("asha", "192.0.2.1")
    with pytest.raises(Unauthorised, match="wait 30 s"):
        locks.check("asha", "192.0.2.1")
    locks.check("asha", "192.0.2.2")
    locks.check("ravi", "192.0.2.1")
    clock.advance(30)
    locks.check("asha", "192.0.2.1")
    for _ in range(40):
        locks.wrong("asha", "192.0.2.1")
    clock.advance(LONGEST_LOCK_S - 1)
    with pytest.raises(Unauthorised, match="wait 1 s"):
        locks.check("asha", "192.0.2.1")
    locks.forgive("asha")
    locks.check("asha", "192.0.2.1")


def test_the_right_one_forgets_the_wrong_ones() -> None:
    locks = Locks(ManualClock())
    for _ in range(3 * FREE_TRIES):
        locks.wrong("asha", "here")
        locks.right("asha", "here")
    locks.check("asha", "here")


def test_what_is_kept_of_attempts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.desk.passwords.MAX_KEPT", 10)
    locks = Locks(ManualClock())
    for number in range(1000):
        locks.wrong(f"name-{number}", "here")
    assert len(locks._wrong) == 10
