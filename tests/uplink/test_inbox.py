"""What comes down from the broker: handed on whole, or refused with a reason; never a crash."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import Refused
from edge.protocol.common import Model
from edge.protocol.wire import Ack, Command, DeskBirth, Receipt, dump
from edge.uplink.inbox import Inbox
from tests.box import CITY, DEVICE, uid

TOPIC = f"{CITY}/v1/box/{DEVICE}"
DESK = f"{CITY}/v1/desk/desk-1/birth"
RECEIPT = Receipt(id=uid(1), of=uid(2), desk="desk-1", stored_utc="2026-01-01T00:00:00.000Z")
GOOD: dict[str, Model] = {
    f"{TOPIC}/receipt": RECEIPT,
    f"{TOPIC}/ack": Ack(id=uid(1), incident_id=uid(2), state="seen", version=1, desk="desk-1"),
    f"{TOPIC}/cmd": Command(id=uid(1), name="ping", by="Asha"),
    DESK: DeskBirth(id=uid(1), desk="desk-1", utc="", staffed=2),
}


class Seen:
    def __init__(self) -> None:
        self.handed: list[Any] = []
        self.refused: list[tuple[str, str | None, str]] = []
        self.inbox = Inbox(
            DEVICE,
            dict.fromkeys(("receipt", "ack", "cmd"), self.handed.append),
            on_desk=self.handed.append,
            on_refused=lambda *what: self.refused.append(what),
        )


@pytest.mark.parametrize("topic", GOOD)
def test_a_good_message_is_handed_on(topic: str) -> None:
    seen = Seen()
    seen.inbox.message(topic, dump(GOOD[topic]))
    assert seen.handed == [GOOD[topic]]
    assert seen.refused == []


@pytest.mark.parametrize(
    ("topic", "payload", "channel", "of"),
    [
        (f"{TOPIC}/alert", dump(RECEIPT), "alert", uid(1)),
        (f"{TOPIC}/nothing", b"{}", "unknown", None),
        (f"{CITY}/v1/box/box-2/cmd", dump(GOOD[f"{TOPIC}/cmd"]), "cmd", uid(1)),
        ("x", b"", "unknown", None),
        (f"{TOPIC}/receipt", b"", "receipt", None),
        (f"{TOPIC}/receipt", b"[" * 100_000, "receipt", None),
        (f"{TOPIC}/receipt", b"x" * 100_000, "receipt", None),
        (
            f"{TOPIC}/cmd",
            json.dumps({"id": uid(7), "name": "format_disk", "by": "x"}).encode(),
            "cmd",
            uid(7),
        ),
        (f"{TOPIC}/cmd", json.dumps({"id": uid(7), "name": "ping"}).encode(), "cmd", uid(7)),
        (f"{CITY}/v1/desk/desk-2/birth", dump(GOOD[DESK]), "birth", uid(1)),
    ],
)
def test_a_bad_one_is_refused_with_its_channel_its_id_and_a_reason(
    topic: str, payload: bytes, channel: str, of: str | None
) -> None:
    seen = Seen()
    seen.inbox.message(topic, payload)
    assert seen.handed == []
    ((told_channel, told_of, reason),) = seen.refused
    assert (told_channel, told_of) == (channel, of)
    assert 0 < len(reason) <= 200


def test_a_handler_may_refuse_too() -> None:
    seen = Seen()

    def no(_message: Any) -> None:
        raise Refused("not today")

    Inbox(
        DEVICE, {"cmd": no}, on_desk=seen.handed.append, on_refused=lambda *what: seen.refused.append(what)
    ).message(f"{TOPIC}/cmd", dump(GOOD[f"{TOPIC}/cmd"]))
    assert seen.refused == [("cmd", uid(1), "not today")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def messages(draw: st.DrawFn) -> tuple[str, bytes]:
    """Noise, other JSON, and good messages of which some keys were changed."""
    topic = draw(st.one_of(st.sampled_from(sorted(GOOD)), st.text(max_size=60)))
    if draw(st.booleans()):
        return topic, draw(st.binary(max_size=300))
    body = json.loads(dump(GOOD[draw(st.sampled_from(sorted(GOOD)))]))
    for key, value in draw(st.dictionaries(st.sampled_from(sorted(body)), JSON, max_size=3)).items():
        body[key] = value
    return topic, json.dumps(body).encode()


@settings(max_examples=200)
@given(messages())
def test_whatever_comes_is_handed_on_whole_or_refused_with_a_reason(message: tuple[str, bytes]) -> None:
    seen = Seen()
    seen.inbox.message(*message)
    assert len(seen.handed) + len(seen.refused) == 1
    for _, _, reason in seen.refused:
        assert reason.isprintable()
        assert 0 < len(reason) <= 200
