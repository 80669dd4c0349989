"""The one door for bytes from outside: bounded, decoded, validated, or refused with a reason."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError

from edge.errors import Refused
from edge.protocol.common import Model

MAX_BYTES = 8192
"""No message of this protocol comes near it."""
MAX_DEPTH = 8
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

M = TypeVar("M", bound=Model)


def parse(model: type[M], payload: bytes, limit: int = MAX_BYTES) -> M:
    """One message out of a payload.

    Raises:
        Refused: too long, not UTF-8 JSON, nested too deep, or not as the model says; the text names the
            field and the rule in at most 200 characters and never quotes what was sent.
    """
    if len(payload) > limit:
        raise Refused(f"message of {len(payload)} bytes is longer than {limit}")
    if _depth(payload) > MAX_DEPTH:
        raise Refused(f"message is nested deeper than {MAX_DEPTH}")
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        raise Refused(_explain(error, _names(model))) from None


def message_id(payload: bytes) -> str | None:
    """The `id` of a message that was refused, if it has a plausible one, so that the refusal can name it."""
    if len(payload) > MAX_BYTES or _depth(payload) > MAX_DEPTH:
        return None
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    value = found.get("id") if isinstance(found, dict) else None
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def _explain(error: ValidationError, known: frozenset[str]) -> str:
    """The first faults of a validation, as ``key: rule``, without the value."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    told: dict[str, None] = {}
    for fault in faults[:20]:
        # Of a union every member gives its own reason; the place is told once for each.
        told[f"{_key(fault['loc'], known)}: {fault['msg']}"] = None
    text = "; ".join(list(told)[:3])
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def _key(loc: tuple[int | str, ...], known: frozenset[str]) -> str:
    """The place of a fault in our words: a key that the sender chose is told as ``*``."""
    parts = [str(part) if isinstance(part, int) or part in known else "*" for part in loc if part != "[key]"]
    return ".".join(parts) or "message"


@cache
def _names(model: type[BaseModel]) -> frozenset[str]:
    """The names of all fields of a message and of the messages in it, as they are on the wire."""
    return frozenset(_field_names(model))


def _field_names(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield field.alias or name
        yield from (name for inner in _models(field.annotation) for name in _field_names(inner))


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _depth(payload: bytes) -> int:
    """Nesting of brackets outside strings, seen without decoding."""
    deepest = depth = 0
    in_string = escaped = False
    for byte in payload:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest
