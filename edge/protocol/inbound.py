"""The one door for bytes from outside: bounded, decoded, validated, or refused with a reason."""

from __future__ import annotations

import json
from typing import TypeVar

from pydantic import ValidationError

from edge.errors import Refused
from edge.protocol.common import Model

MAX_BYTES = 8192
"""No message of this protocol comes near it."""
MAX_DEPTH = 8

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
        raise Refused(explain(error)) from None


def message_id(payload: bytes) -> str | None:
    """The `id` of a message that was refused, if it has a plausible one, so that the refusal can name it."""
    if len(payload) > MAX_BYTES or _depth(payload) > MAX_DEPTH:
        return None
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    value = found.get("id") if isinstance(found, dict) else None
    plausible = isinstance(value, str) and len(value) == 36 and set(value) <= set("0123456789abcdef-")
    return value if plausible else None


def explain(error: ValidationError) -> str:
    """The first faults of a validation, as ``key: rule``, without the value."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    told = "; ".join(f"{_key(f['loc'])}: {f['msg']}" for f in faults[:3])
    return "".join(c if c.isprintable() else "?" for c in told)[:200]


def _key(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(part)[:40] for part in loc) or "message"


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
