"""The generated documents: no drift, valid examples, and directions that the broker's rules allow."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from edge.cli import main
from edge.config import Uplink
from edge.desk.broker import PRESENCE_EXPIRY_S
from edge.errors import Refused
from edge.protocol import topics
from edge.protocol.channels import CHANNELS, Channel
from edge.protocol.inbound import parse
from edge.protocol.inner import BUS
from edge.protocol.schema import asyncapi, bus, differing, documents, schema, stale
from edge.protocol.wire import DESK, FROM_BOX, TO_BOX, dump, plain
from edge.uplink.uplink import EVENT_TTL_S, RESULT_TTL_S

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "protocol"
ACL = (ROOT / "firmware_config" / "centre" / "acl").read_text()


def name_of(channel: Channel) -> str:
    return f"{channel.party}-{channel.name}"


each_channel = pytest.mark.parametrize("channel", CHANNELS, ids=name_of)


def test_the_documents_are_what_the_models_say() -> None:
    assert (differing(DOCS), stale(DOCS)) == ([], []), "run `edge protocol write`"


def test_the_documents_come_out_the_same_each_time() -> None:
    assert documents() == documents()


def test_drift_is_told_and_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protocol", "write", str(tmp_path)]) == 0
    assert main(["protocol", "check", str(tmp_path)]) == 0
    (tmp_path / "schemas" / "alert.1.json").write_text("{}")
    (tmp_path / "schemas" / "gone.1.json").write_text("{}")
    (tmp_path / "bus.json").unlink()
    capsys.readouterr()
    assert main(["protocol", "check", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "schemas/alert.1.json differs" in told
    assert "bus.json differs" in told
    assert "gone.1.json is of no message any more" in told
    assert main(["protocol", "write", str(tmp_path)]) == 0
    assert main(["protocol", "check", str(tmp_path)]) == 0


def test_every_channel_of_the_protocol_is_documented_and_no_other() -> None:
    told = {(c.party, c.speaker, c.name, c.model) for c in CHANNELS}
    assert told == {
        *(("box", "box", name, model) for name, model in FROM_BOX.items()),
        *(("box", "desk", name, model) for name, model in TO_BOX.items()),
        *(("desk", "desk", name, model) for name, model in DESK.items()),
    }


@each_channel
def test_an_address_is_a_topic_of_the_protocol(channel: Channel) -> None:
    topic = channel.address.format(city="karnal", device="box-1", desk="desk-1")
    found = topics.parse(topic)
    assert (found.party, found.channel) == (channel.party, channel.name)


@each_channel
def test_a_schema_is_one_and_its_examples_are_valid_and_fit_the_wire(channel: Channel) -> None:
    made = schema(channel.model)
    Draft202012Validator.check_schema(made)
    assert channel.examples
    for example in channel.examples:
        Draft202012Validator(made).validate(plain(example))
        assert parse(channel.model, dump(example)) == example


def test_every_example_in_the_document_is_valid_against_the_schema_it_points_to() -> None:
    document = json.loads((DOCS / "asyncapi.json").read_text())
    for message in document["components"]["messages"].values():
        file = DOCS / message["payload"]["schema"]["$ref"]
        validator = Draft202012Validator(json.loads(file.read_text()))
        for example in message["examples"]:
            validator.validate(example["payload"])


def test_every_reference_in_the_document_leads_somewhere() -> None:
    document = asyncapi()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            reference = node.get("$ref", "")
            if reference.startswith("#/"):
                place: Any = document
                for part in reference[2:].split("/"):
                    place = place[part]
            elif reference:
                assert (DOCS / reference).is_file()
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)


def granted(rules: str, rights: str) -> set[str]:
    return set(re.findall(rf"^(?:pattern|topic) {rights} city/v1/(\S+)$", rules, re.MULTILINE))


@each_channel
def test_a_channels_direction_is_what_the_brokers_rules_grant_and_the_reverse_is_denied(
    channel: Channel,
) -> None:
    boxes, desks = ACL.split("user desk-1")
    box_topic = f"{channel.party}/{'%u' if channel.party == 'box' else '+'}/{channel.name}"
    desk_topic = f"{channel.party}/+/{channel.name}"
    own_desk_topic = desk_topic if channel.party == "box" else f"desk/desk-1/{channel.name}"
    said = asyncapi()["operations"][channel.name if channel.party == "box" else name_of(channel)]
    if channel.speaker == "box":
        assert said["action"] == "send"
        assert box_topic in granted(boxes, "write")
        assert box_topic not in granted(boxes, "read")
        assert desk_topic in granted(desks, "read")
        assert desk_topic not in granted(desks, "write")
    else:
        assert said["action"] == "receive"
        assert box_topic in granted(boxes, "read")
        assert box_topic not in granted(boxes, "write")
        assert own_desk_topic in granted(desks, "write")


def test_expiries_are_those_of_the_programs() -> None:
    told = {name_of(c): c.expiry_s for c in CHANNELS}
    assert told["box-event"] == EVENT_TTL_S
    assert told["box-result"] == RESULT_TTL_S
    assert told["desk-birth"] == PRESENCE_EXPIRY_S
    uplink = Uplink()
    assert (uplink.health_s, uplink.receipt_wait_s, uplink.repeat_s) == (30, 2, 15), "told in the notes"


def test_the_bus_is_documented_whole() -> None:
    made = bus()
    Draft202012Validator.check_schema(made)
    assert set(made["properties"]) == set(BUS)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats(-1e9, 1e9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from(CHANNELS), st.data())
def test_the_schema_takes_nothing_that_a_box_or_desk_would_refuse(
    channel: Channel, data: st.DataObject
) -> None:
    """Whoever validates against the published schema is not refused: a valid message with one key changed."""
    message = plain(data.draw(st.sampled_from(channel.examples)))
    message[data.draw(st.sampled_from(sorted(message)))] = data.draw(values)
    if Draft202012Validator(schema(channel.model)).is_valid(message):
        try:
            parse(channel.model, json.dumps(message).encode())
        except (Refused, ValidationError) as error:
            raise AssertionError(f"refused: {error}: {message}") from error
