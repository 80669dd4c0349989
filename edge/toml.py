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
    lines = [f"{key(name)} = {value(given)}" for name, given in plain.items()]
    if path and (lines or not table):
        lines = ["", f"[{'.'.join(key(p) for p in path)}]", *lines]
    for name, given in table.items():
        if isinstance(given, Mapping):
            lines += _lines(given, (*path, name))
    return lines


def value(given: Any) -> str:
    """One value as TOML writes it; raises TypeError for what TOML cannot say."""
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, int | float):
        return repr(given)
    if isinstance(given, str | PurePath):
        return _text(str(given))
    if isinstance(given, list | tuple):
        return f"[{', '.join(value(v) for v in given)}]"
    raise TypeError(f"no TOML for {type(given).__name__}")


def key(name: str) -> str:
    """A key, in quotes where it needs them."""
    return name if name and set(name) <= _BARE else _text(name)


def _text(text: str) -> str:
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
