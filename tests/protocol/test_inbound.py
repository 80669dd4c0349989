"""The one door: whatever comes in is a message or a reason, and the reason quotes nothing that was sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.errors import Refused
from edge.protocol import topics
from edge.protocol.channels import CHANNELS
from edge.protocol.common import Model, Stamp
from edge.protocol.inbound import MAX_BYTES, MAX_DEPTH, message_id, parse
from edge.protocol.inner import BUS, Incident, Order, PressTold, Unsettled
from edge.protocol.wire import Ack, Alert, Command, Health, Receipt, Result, dump, plain
from edge.uplink.inbox import Inbox

ID = "0190c4a0-1c80-7000-8000-0000000000ff"
AT = Stamp(utc="2026-07-18T16:03:21.480Z", mono_ns=1, boot_id="0" * 32, seq=1, trust="raised")
MARK = "zqxjkv"
"""Stands in what is sent, and nowhere in what we say."""

MODELS: list[type[Model]] = [*{c.model for c in CHANNELS}, *BUS.values()]
MODELS.sort(key=lambda m: m.__name__)
EXAMPLES = [(c.model, plain(e)) for c in CHANNELS for e in c.examples]


def refusal(of: str | None, reason: str, channel: str = "cmd") -> Result:
    return Result(id=ID, device="box-1", of=of, channel=channel, status="refused", reason=reason, at=AT)


def judged(model: type[Model], payload: bytes) -> str:
    """The reason it was refused for, "" when it was taken; any other exception fails the test."""
    try:
        message = parse(model, payload)
    except Refused as refused:
        reason = str(refused)
        assert 0 < len(reason) <= 200
        assert reason.isprintable()
        assert MARK not in reason
        # The refusal itself must be a message that can be sent.
        dump(refusal(message_id(payload), reason))
        return reason
    assert parse(model, dump(message)) == message, "what was taken can be said again"
    return ""


each_model = pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)


@each_model
@given(payload=st.binary(max_size=400))
@example(payload=b"")
@example(payload=b"\xff\xfe{}")
@example(payload=b"null")
@example(payload='{"id": "\ud800"}'.encode("utf-8", "surrogatepass"))
@example(payload=b'{"id": "\\ud800"}')
@example(payload=b"{}")
def test_random_bytes_are_refused_with_a_reason(model: type[Model], payload: bytes) -> None:
    # An idle Incident has nothing that must be there.
    assert judged(model, payload) or model is Incident


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=40),
    st.sampled_from(
        [MARK, MARK * 100, f"{MARK}\n", f"\x1b[2J{MARK}", "", ID, "box-1\n", "+", "#", "a/b", "२०२६"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([MARK, "id", "at", "press", "schema", ""]) | st.text(max_size=5),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


def paths(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        found += paths(value, (*at, key))
    return found


@given(st.sampled_from(EXAMPLES), st.data())
def test_a_valid_message_with_something_changed_is_taken_or_refused(
    example: tuple[type[Model], dict[str, Any]], data: st.DataObject
) -> None:
    model, message = example[0], json.loads(json.dumps(example[1]))
    *way, last = data.draw(st.sampled_from(paths(message)))
    node = message
    for key in way:
        node = node[key]
    match data.draw(st.sampled_from(["change", "drop", "add", "rename"])):
        case "change":
            node[last] = data.draw(values)
        case "drop":
            del node[last]
        case "add" if isinstance(node, dict):
            node[data.draw(st.sampled_from([MARK, "x" * 60 + MARK, f"\x00{MARK}"]))] = data.draw(values)
        case "rename" if isinstance(node, dict):
            node[MARK] = node.pop(last)
    judged(model, json.dumps(message).encode())


@given(st.sampled_from(EXAMPLES), st.data())
def test_a_valid_message_with_some_bytes_changed_is_taken_or_refused(
    example: tuple[type[Model], dict[str, Any]], data: st.DataObject
) -> None:
    raw = bytearray(json.dumps(example[1]).encode())
    for at, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), min_size=1, max_size=5)
    ):
        raw[at] = byte
    judged(example[0], bytes(raw))


@each_model
@pytest.mark.parametrize(
    "payload",
    [
        b"[" * MAX_BYTES,
        b"{" * MAX_BYTES,
        b'{"a":' * 1000,
        b'{"id":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"id":"' + b"a" * MAX_BYTES + b'"}',
        b" " * (MAX_BYTES + 1),
        b'{"attempt":' + b"9" * 8000 + b"}",
        b'{"version":1e400,"session":-1e400}',
        b'{"at":{"mono_ns":' + b"9" * 4000 + b"}}",
        b'{"id":"\\u0000"}',
        b"{}" * 100,
        b"NaN",
        b'{"session":Infinity}',
        '{"id": 1}'.encode("utf-16"),
    ],
    ids=range(14),
)
def test_what_is_too_much_for_a_parser_is_refused(model: type[Model], payload: bytes) -> None:
    # An idle Incident has nothing that must be there, and what it does not know it passes over.
    assert judged(model, payload) or model is Incident


def test_depth_is_counted_outside_of_texts_only() -> None:
    command = Command(id=ID, name="ping", by="[" * 50 + '{"\\')
    assert parse(Command, dump(command)) == command
    deep = b'{"x":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH
    with pytest.raises(Refused, match="id: Field required"):
        parse(Command, deep)
    with pytest.raises(Refused, match="nested deeper than 8"):
        parse(Command, b'{"x":' + deep + b"}")


def test_a_refusal_names_the_key_and_the_rule() -> None:
    bad = {"schema": "edge/command/1", "id": ID, "name": "reboot", "by": "x", "ttl_s": 0}
    with pytest.raises(Refused) as refused:
        parse(Command, json.dumps(bad).encode())
    assert str(refused.value).startswith("name: Input should be 'ping', 'rebirth'")
    bad = {"schema": "edge/command/1", "id": ID, "name": "ping", "by": "x", "args": {"Level!": "debug"}}
    with pytest.raises(Refused, match=r"^args\.\*: String should match pattern"):
        parse(Command, json.dumps(bad).encode())


def test_another_version_of_a_message_is_refused() -> None:
    with pytest.raises(Refused, match=r"schema: Input should be 'edge/ack/1'"):
        parse(Ack, json.dumps({"schema": "edge/ack/2", "id": ID}).encode())


def test_a_key_of_a_newer_sender_is_passed_over() -> None:
    receipt = Receipt(id=ID, of=ID, desk="desk-1", stored_utc="2026-07-18T16:03:21.480Z")
    assert parse(Receipt, json.dumps({**plain(receipt), "newer": {"a": 1}}).encode()) == receipt


@each_model
def test_a_message_with_everything_left_out_that_may_be_is_taken(model: type[Model]) -> None:
    """None is left out on the wire: whatever may be None must be allowed to be absent."""
    for name, field in model.model_fields.items():
        if field.is_required():
            assert not any(a is type(None) for a in getattr(field.annotation, "__args__", ())), name


BAD_TIMES = [
    "२०२६-07-18T16:03:21.480Z",
    "2026-13-18T16:03:21.480Z",
    "2026-07-18T24:00:00.000Z",
    "2026-07-18T16:03:21Z",
    "2026-07-18T16:03:21.480Z\n",
    "2026-07-18T16:03:21.480+00:00",
]


@pytest.mark.parametrize("utc", BAD_TIMES)
def test_a_time_is_rfc_3339_in_our_form(utc: str) -> None:
    with pytest.raises(Refused, match=r"^utc: "):
        parse(Stamp, json.dumps({"utc": utc}).encode())


BAD_TEXTS = ["a\nb", "a\x00b", "\x1b[2J", "\x85", "\x9b1m", "\u2028", "\u202eabc", "\u2066", "a" * 201]


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_a_text_is_one_short_line_that_runs_one_way(text: str) -> None:
    ack = {"id": ID, "incident_id": ID, "state": "seen", "version": 1, "desk": "desk-1", "by": text}
    with pytest.raises(Refused, match=r"^by: String should"):
        parse(Ack, json.dumps(ack).encode())


def test_hindi_is_a_text() -> None:
    ack = {"id": ID, "incident_id": ID, "state": "seen", "version": 1, "desk": "desk-1", "by": "आशा रानी"}
    assert parse(Ack, json.dumps(ack).encode()).by == "आशा रानी"


def test_numbers_have_bounds() -> None:
    health = plain(next(e for c in CHANNELS if c.model is Health for e in c.examples))
    for change in ({"session": 2**53 + 1}, {"uptime_s": -1}, {"machine": {"x": float("inf")}}):
        with pytest.raises(Refused):
            parse(Health, json.dumps({**health, **change}).encode())
    assert isinstance(
        parse(Health, json.dumps({**health, "machine": {"x": 2**60}}).encode()).machine["x"], float
    )


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (json.dumps({"id": ID}).encode(), ID),
        (b'{"id": "------------------------------------"}', None),
        (json.dumps({"id": ID.upper()}).encode(), None),
        (json.dumps({"id": ID + "\n"}).encode(), None),
        (b'{"id": 5}', None),
        (b"[]", None),
        (b"\xff", None),
        (b"[" * 9, None),
        (b" " * MAX_BYTES + json.dumps({"id": ID}).encode(), None),
        (b'{"id": ' + b"9" * 5000 + b"}", None),
    ],
)
def test_the_id_of_what_was_refused_is_told_only_if_it_is_one(payload: bytes, found: str | None) -> None:
    """36 dashes were once taken for an id, and the refusal that named them could not be made."""
    assert message_id(payload) == found


def test_the_bus_carries_presses_of_the_wire() -> None:
    alert = next(e for c in CHANNELS if c.model is Alert for e in c.examples)
    assert isinstance(alert, Alert)
    told = PressTold(press=alert.press, durable=False, edge_ns=1, confirmed_ns=2, stored_ns=3)
    for message in (
        told,
        Unsettled(presses=(told,) * 32),
        Incident(),
        Order(id=ID, process="media", name="ping", by="x"),
    ):
        assert parse(type(message), dump(message), 64 * 1024) == message


# ------------------------------------------------------------------------------------------------- topics


LEVELS = ["karnal", "v1", "box", "desk", "box-1", "ack", "birth", "+", "#", "", MARK, "a\n", "Ä"]


@given(st.text(max_size=80) | st.lists(st.sampled_from(LEVELS), max_size=7).map("/".join))
def test_a_topic_is_taken_apart_or_refused(topic: str) -> None:
    reason, found = "", None
    try:
        found = topics.parse(topic)
    except Refused as refused:
        reason = str(refused)
    if found is None:
        assert 0 < len(reason) <= 200
        assert MARK not in reason
    else:
        made = topics.box(found.city, found.name, found.channel)
        assert topic in (made, topics.desk(found.city, found.name))


NO_TOPICS = [
    "karnal\n/v1/box/box-1/ack",
    "karnal/v1/box/box-1\n/ack",
    "karnal/v1/box/+/ack",
    "karnal/v1/box/#",
    "karnal/v2/box/box-1/ack",
    "karnal/v1/box/box-1/ack/x",
    "karnal/v1/desk/desk-1/ack",
    "karnal/v1/van/van-1/birth",
    "Karnal/v1/box/box-1/ack",
    "$SYS/broker/uptime/x/y",
    "",
]


@pytest.mark.parametrize("topic", NO_TOPICS)
def test_a_topic_that_is_none_of_ours_is_refused(topic: str) -> None:
    with pytest.raises(Refused):
        topics.parse(topic)


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda c: f"{c.party}-{c.name}")
def test_what_is_made_is_taken_apart_again(channel: Any) -> None:
    made = (
        topics.box("karnal", "box-1", channel.name)
        if channel.party == "box"
        else topics.desk("karnal", "box-1")
    )
    assert topics.parse(made) == ("karnal", channel.party, "box-1", channel.name)


# ------------------------------------------------------------------------------------- the box's own door

known_topics = st.sampled_from(
    [
        *(topics.box("karnal", device, c.name) for c in CHANNELS for device in ("box-1", "box-2")),
        topics.desk("karnal", "desk-1"),
        "karnal/v1/box/box-1",
        "$SYS/x",
        "",
    ]
)
payloads = (
    st.binary(max_size=100)
    | st.sampled_from(EXAMPLES).map(lambda e: json.dumps(e[1]).encode())
    | values.map(lambda v: json.dumps(v).encode())
)


@given(known_topics, payloads)
def test_any_message_on_any_topic_is_handed_on_or_refused_with_a_reason(topic: str, payload: bytes) -> None:
    taken: list[Any] = []
    refused: list[tuple[str, str | None, str]] = []
    inbox = Inbox(
        "box-1",
        dict.fromkeys(("ack", "receipt", "cmd"), taken.append),
        on_desk=taken.append,
        on_refused=lambda *told: refused.append(told),
    )
    inbox.message(topic, payload)
    assert len(taken) + len(refused) == 1
    for channel, of, reason in refused:
        assert reason
        assert MARK not in reason
        dump(refusal(of, reason, channel))
