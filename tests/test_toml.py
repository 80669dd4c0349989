"""Writing TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import toml

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)
tables = st.recursive(
    st.dictionaries(texts, values, max_size=4),
    lambda inner: st.dictionaries(texts, values | inner, max_size=3),
    max_leaves=6,
)


@given(tables)
def test_what_is_written_is_read_again_as_it_was(table: dict[str, Any]) -> None:
    assert tomllib.loads(toml.dumps(table)) == table


def test_paths_are_texts_and_none_is_left_out() -> None:
    assert toml.dumps({"a": {"path": Path("/x"), "none": None}}) == '[a]\npath = "/x"\n'


def test_what_toml_cannot_say_is_an_error() -> None:
    with pytest.raises(TypeError, match="no TOML for bytes"):
        toml.dumps({"a": b"x"})
