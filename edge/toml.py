"""Writes TOML 1.0; the standard library only reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePath
from string import ascii_letters, digits
from typing import Any

_BARE = frozenset(ascii_letters + digits + "_-")


def dumps(table: Mapping[str, Any]) -> str:
    """TOML of nested mappings, lists, texts, paths, numbers and booleans; None is left out."""
    return "\n".join(_lines(table, ())).lstrip("\n") + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {k: v for k, v in table.items() if not isinstance(v, Mapping) and v is not None}
    lines = [f"{_key(k)} = {_value(v)}" for k, v in plain.items()]
    if path and (lines or not table):
        lines = ["", f"[{'.'.join(_key(p) for p in path)}]", *lines]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += _lines(value, (*path, key))
    return lines


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | PurePath):
        return _text(str(value))
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(v) for v in value)}]"
    raise TypeError(f"no TOML for {type(value).__name__}")


def _text(text: str) -> str:
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(text: str) -> str:
    return text if text and set(text) <= _BARE else _text(text)
