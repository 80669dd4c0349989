"""The desk's one door: whatever comes in on a topic is taken or refused with a reason, and never harms."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge import config
from edge.clock import SystemClock
from edge.desk.broker import Broker
from edge.desk.service import plain
from edge.protocol.wire import FROM_BOX, dump
from tests.desk.conftest import build
from tests.desk.wire import alert, birth, event, health, result, uid

GOOD: dict[str, dict[str, Any]] = {
    "alert": json.loads(dump(alert(1, test=True, test_by="Ravi"))),
    "event": json.loads(dump(event(2, incident=1))),
    "birth": json.loads(dump(birth(3, session=1))),
    "health": json.loads(dump(health(incidents={1: "seen"}, machine={"temp_c": 40.5}))),
    "result": json.loads(dump(result(uid(4)))),
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["open", "box-2", uid(1), "fault_x", "temp_c"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def spoil(message: Any, path: list[int], value: Any) -> Any:
    """The message with one place in it, found by `path`, replaced."""
    if not isinstance(message, dict) or not message or not path:
        return value
    key = sorted(message)[path[0] % len(message)]
    return {**message, key: spoil(message[key], path[1:], value)}


MESSAGES = st.sampled_from(sorted(GOOD)).flatmap(
    lambda channel: st.tuples(
        st.just(channel),
        st.one_of(
            st.binary(max_size=60),
            JSON.map(lambda v: json.dumps(v).encode()),
            st.builds(
                lambda path, value: json.dumps(spoil(GOOD[channel], path, value)).encode(),
                st.lists(st.integers(0, 30), min_size=1, max_size=3),
                JSON,
            ),
            st.just(json.dumps(GOOD[channel]).encode()),
        ),
    )
)


def door(tmp_path: Path) -> tuple[Broker, Any]:
    nothing = tmp_path / "unused"
    desk = config.Desk(
        id="desk-1", city="karnal", data=tmp_path, ca=nothing, cert=nothing, key=nothing, token_file=nothing
    )
    made, broker = build(tmp_path), Broker(desk, SystemClock())
    broker.attach(made.service)
    return broker, made


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(MESSAGES, max_size=12))
def test_no_message_on_any_topic_does_harm_and_each_refusal_says_why(
    tmp_path: Path, messages: list[tuple[str, bytes]]
) -> None:
    for old in tmp_path.iterdir():
        old.unlink()

    async def run() -> None:
        broker, desk = door(tmp_path)
        keeper = asyncio.get_running_loop().create_task(desk.keeper.run())
        for channel, payload in messages:
            before = desk.service.refused
            broker.receive(f"karnal/v1/box/box-1/{channel}", payload)
            if desk.service.refused > before:
                assert desk.core.roster.get("box-1").refused
            for box in desk.core.roster.listed():
                plain(box)
        await desk.keeper.stored()
        assert desk.keeper.fault == ""
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper
        desk.service.close()
        again = build(tmp_path)
        assert again.core.book.listed() == desk.core.book.listed()
        again.service.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "x",
        "karnal/v1/box/box-1/cmd",
        "other/v1/box/box-1/alert",
        "karnal/v1/desk/desk-1/birth",
        "a/" * 99,
    ],
)
async def test_a_message_on_any_other_topic_is_counted_and_belongs_to_no_box(
    tmp_path: Path, topic: str
) -> None:
    broker, desk = door(tmp_path)
    broker.receive(topic, dump(alert(1)))
    assert desk.service.refused == 1
    assert desk.core.roster.listed() == []
    desk.service.close()


def test_the_desk_listens_to_every_channel_of_the_boxes(tmp_path: Path) -> None:
    broker, _ = door(tmp_path)
    assert broker.session._options.subscriptions == tuple(f"karnal/v1/box/+/{c}" for c in FROM_BOX)
