"""The configuration file: what is refused, and how it is told."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge import toml
from edge.config import MAX_BYTES, Config, load, parse
from edge.config_command import show
from edge.errors import ConfigError

PLACE = {"lat": 29.6857, "lon": 76.9905}
GOOD: dict[str, Any] = {
    "box": {
        "city": "karnal",
        "device": "box-1",
        "name": "Bus stand, gate 2",
        "place": {**PLACE, "civic": {"A1": "Haryana", "A3": "Karnal"}},
        "services": {"police": "112", "women": "181"},
    },
    "paths": {"data": "/tmp/data", "run": "/tmp/run"},
    "button": {"driver": "sim", "contacts": {"police": {"pin": 17, "service": "police"}}},
    "uplink": {"host": "broker.invalid", "port": 8883, "retry_max_s": 2.5},
    "sim": {"stage": "/tmp/stage.sock"},
}
TEXT = toml.dumps(GOOD)


def faults(text: str | bytes) -> list[str]:
    """What is said of a bad file; each fault on its line, and each line names the file."""
    raw = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(ConfigError) as told:
        parse(raw, "edge.toml")
    lines = str(told.value).split("\n")
    assert all(re.match(r"edge\.toml(:[0-9]+)?: .", line) for line in lines), lines
    assert all(line.isprintable() and len(line) < 900 for line in lines), lines
    return lines


def contact(name: str, service: str) -> dict[str, Any]:
    return {"button": {"contacts": {name: {"pin": 5, "service": service}}}}


def test_a_good_file_is_read() -> None:
    found = parse(TEXT.encode(), "edge.toml")
    assert found.need_box().device == "box-1"
    assert found.button.contacts["police"].pin == 17


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"box": {"device": "Box 1"}}, r":3: box\.device = 'Box 1': String should match pattern"),
        ({"box": {"languages": ["ta"]}}, r":\d+: box\.languages\.0 = 'ta': Input should be 'hi' or 'en'"),
        (
            {"box": {"place": {**PLACE, "lat": 91.0}}},
            r":\d+: box\.place\.lat = 91\.0: .* less than or equal to 90",
        ),
        (
            {"box": {"place": {**PLACE, "latt": 9.0}}},
            r"box\.place\.latt is not a known key: did you mean lat\?",
        ),
        (
            {"box": {"place": {**PLACE, "civic": {"city": "x"}}}},
            r":\d+: box\.place\.civic\.city is not a known",
        ),
        ({"button": {"stable_ms": 1}}, r":\d+: button\.stable_ms = 1: .* greater than or equal to 2"),
        ({"uplink": {"prot": 8883}}, r":\d+: uplink\.prot is not a known key: did you mean port\?"),
        ({"uplink": {"zzz": 1}}, r"uplink\.zzz is not a known key: see `edge config show --defaults`"),
        ({"uplnk": {}}, r"uplnk is not a known key: did you mean uplink\?"),
        ({"paths": {"data": ""}}, r"paths\.data = '': a path must name something"),
        ({"paths": {"data": "a\0b"}}, r"paths\.data = 'a\\x00b': a path must name something"),
        ({"clock": {"setter": "faketime"}}, r"clock\.faketime_file is not given"),
        ({"indicator": {"lamp_pin": 17}}, r"GPIO 17 is given to two things"),
        (contact("a", "fire"), r"not one of \[box\.services\]: police, women"),
        (contact("B", "police"), r"button\.contacts\.B = 'B': String should match"),
        ({"desk": {"id": "desk-1"}}, r"desk\.city is missing: give it a value"),
    ],
)
def test_an_error_names_key_line_value_and_what_is_allowed(table: dict[str, Any], told: str) -> None:
    merged = {**GOOD, **{name: {**GOOD.get(name, {}), **part} for name, part in table.items()}}
    lines = faults(toml.dumps(merged))
    assert any(re.search(told, line) for line in lines), lines


def test_the_line_is_the_one_in_the_file() -> None:
    lines = faults("# first\n[uplink]\n\nhost = 'x'\n  port = 70000\n")
    assert lines == ["edge.toml:5: uplink.port = 70000: Input should be less than or equal to 65535"]


def test_every_fault_is_told_at_once() -> None:
    assert len(faults("[uplink]\nport = 0\nkeepalive_s = 0\n[journal]\nsegments = 1")) == 3


def test_a_missing_key_is_told_at_its_table() -> None:
    assert faults("[box]\ncity = 'karnal'\nname = 'x'\nplace = {lat = 1, lon = 2}\n") == [
        "edge.toml:1: box.device is missing: give it a value"
    ]


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff",
        b"a = ",
        b"a = 1\na = 2",
        b"[" * 2000,
        b"a = " + b"[" * 5000,
        b"[uplink]\nport = " + b"9" * 5000,
        b"[uplink]\nport = 0x" + b"f" * 5000,
        b"[uplink]\nkeepalive_s = 1e400",
        b"[audio]\nvolume = nan",
        b"[audio]\nvolume = inf",
        b"[box]\nlanguages = " + b"[" * 300 + b"]" * 300,
        b"uplink = 5",
        b"uplink = [1]",
        b'"a\\nb" = 1',
        b'["a\\u001b[2J"]\nx = 1',
        b"[uplink]\nport = 1979-05-27T07:32:00Z",
        b"[" + b" " * 200_000,
        b" " * (MAX_BYTES + 1),
    ],
)
def test_what_cannot_be_a_configuration_is_refused_with_a_reason(raw: bytes) -> None:
    assert faults(raw)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_a_box_is_asked_of_a_desks_file_in_vain() -> None:
    with pytest.raises(ConfigError, match=r"no \[box\] section"):
        Config().need_box()
    with pytest.raises(ConfigError, match=r"no \[desk\] section"):
        Config().need_desk()


# --------------------------------------------------------------------------------------------------- fuzz


def survives(raw: bytes) -> None:
    """Good or refused, and refused in our words."""
    try:
        found = parse(raw, "edge.toml")
    except ConfigError:
        faults(raw)
    else:
        assert parse(show(found).encode(), "shown") == found


scalars = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.sampled_from(["gpio", "sim", "police", "hi", "callbox", "/dev/null", "112"]),
)
KEYS = [*Config.model_fields, *(key for part in GOOD.values() for key in part)]
names = st.sampled_from([*KEYS, "lat", "lon", "civic", "pin", "service", "lamp_pin", "setter"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=10
)
tables = st.recursive(
    st.dictionaries(names, scalars | st.lists(scalars, max_size=3), max_size=5),
    lambda inner: st.dictionaries(names, inner | scalars, max_size=5),
    max_leaves=12,
)


@given(st.binary(max_size=400))
def test_random_bytes_are_survived(raw: bytes) -> None:
    survives(raw)


@given(st.text(alphabet="[]{}=.,\"'\\#\n\t ab01_-+:TZexnif\x00é", max_size=200))
def test_what_looks_like_toml_is_survived(text: str) -> None:
    survives(text.encode())


@given(tables)
@example({"box": {"place": {"civic": 5}}})
def test_tables_of_any_shape_are_survived(table: dict[str, Any]) -> None:
    survives(toml.dumps(table).encode())


@given(
    st.sampled_from([(section, key) for section, part in GOOD.items() for key in part]),
    scalars | tables | st.lists(scalars, max_size=3),
)
def test_a_good_file_with_one_value_changed_is_survived(where: tuple[str, str], value: Any) -> None:
    section, key = where
    survives(toml.dumps({**GOOD, section: {**GOOD[section], key: value}}).encode())


@given(st.lists(st.tuples(st.integers(0, len(TEXT) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_good_file_with_some_bytes_changed_is_survived(changes: list[tuple[int, int]]) -> None:
    raw = bytearray(TEXT.encode())
    for at, byte in changes:
        raw[at] = byte
    survives(bytes(raw))


def test_the_good_file_is_good_toml() -> None:
    assert tomllib.loads(TEXT) == GOOD
