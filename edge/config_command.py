"""``edge config``: checks a file, or shows it whole, every key with what it means and what is allowed."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from edge import config, toml
from edge.cli import DEFAULT_CONFIG
from edge.config import Config
from edge.errors import ConfigError
from edge.protocol.docstrings import field_docs

WIDTH = 100
_PATTERNS = {
    r"^[a-z0-9][a-z0-9_-]{0,39}$": "a name of a-z, 0-9, _ and -, at most 40 long",
    r"^[0-9+*#]{2,16}$": "a telephone number",
    r"^[A-Z]{2}$": "two capital letters",
    r"^[a-z0-9.:-]{1,253}$": "a host name or address",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    check = verbs.add_parser("check", help="say whether a file is good, or every fault in it")
    check.add_argument("file", type=Path, nargs="?", default=DEFAULT_CONFIG, metavar="FILE")
    show = verbs.add_parser("show", help="every key with its value, meaning and range, as TOML")
    which = show.add_mutually_exclusive_group()
    which.add_argument("--defaults", action="store_true", help="as it is without a file")
    which.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE")


def main(args: argparse.Namespace) -> int:
    if args.verb == "show":
        print(show(Config() if args.defaults else config.load(args.config)), end="")
        return 0
    try:
        found = config.load(args.file)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{args.file}: ok: {summary(found)}")
    for note in notes(found):
        print(f"{args.file}: note: {note}")
    return 0


def summary(found: Config) -> str:
    """The file in one line."""
    parts = []
    if found.box is not None:
        buttons = ", ".join(found.button.contacts) or "none"
        broker = f"{found.uplink.host}:{found.uplink.port}"
        parts.append(
            f"box {found.box.device} of {found.box.city} ({', '.join(found.box.roles)}), "
            f"buttons: {buttons}, broker {broker}"
        )
    if found.desk is not None:
        desk = found.desk
        parts.append(
            f"desk {desk.id} of {desk.city}, broker {desk.broker_host}:{desk.broker_port}, "
            f"http {desk.http_host}:{desk.http_port}"
        )
    return "; ".join(parts) or "neither a box nor a desk: nothing can run with it yet"


def notes(found: Config) -> Iterator[str]:
    """What is allowed, and yet a technician will want to know."""
    files: dict[str, Path] = {}
    if found.box is not None:
        if "callbox" in found.box.roles and not found.button.contacts:
            yield "no [button.contacts.NAME]: this call box has no button"
        files.update({f"uplink.{name}": getattr(found.uplink, name) for name in ("ca", "cert", "key")})
    if found.desk is not None:
        files.update({f"desk.{name}": getattr(found.desk, name) for name in ("ca", "cert", "key")})
    for key, path in files.items():
        if not os.access(path, os.R_OK):
            yield f"{key} = {path} is absent, or not readable by this user"


# -- show ----------------------------------------------------------------------------------------------------


def show(found: Config) -> str:
    """The whole configuration as commented TOML; what is not set is there as a comment."""
    lines = ["# Configuration of an edge box or desk. A key behind a # is not set."]
    for name, field in Config.model_fields.items():
        value = getattr(found, name)
        model = _model(field.annotation)
        assert model is not None
        lines += _table((name,), model, value)
    return "\n".join(lines) + "\n"


def _table(path: tuple[str, ...], model: type[BaseModel], value: BaseModel | None) -> Iterator[str]:
    """A section with its keys, then the tables in it; all of it a comment where `value` is None."""
    off = "" if value is not None else "#"
    yield ""
    yield from _comment(vars(model).get("__doc__"))
    yield f"{off}[{_path(path)}]"
    tables: list[str] = []
    for name, field in model.model_fields.items():
        set_to = getattr(value, name) if value is not None else None
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        inner = _model(field.annotation)
        if inner is not None:
            entries = _entries if getattr(field.annotation, "__origin__", None) is dict else _table
            tables += entries((*path, name), inner, set_to)
            continue
        shown = set_to if value is not None else default
        told = [*_comment(field_docs(model).get(name, "")), *_comment(_allowed(model, name, default))]
        if isinstance(default, Mapping):
            tables += ["", *told, f"{off}[{_path((*path, name))}]"]
            tables += [f"{off}{line}" for line in toml.dumps(shown or {}).splitlines() if line]
        else:
            yield from told
            line = f"{name} =" if shown is None else f"{name} = {toml.value(shown)}"
            yield line if set_to is not None else f"#{line}"
    yield from tables


def _entries(
    path: tuple[str, ...], model: type[BaseModel], entries: Mapping[str, Any] | None
) -> Iterator[str]:
    """A table of tables: those that are there, or one as a pattern."""
    for name, entry in (entries or {"NAME": None}).items():
        yield from _table((*path, name), model, entry)


def _path(path: tuple[str, ...]) -> str:
    return ".".join(toml.key(part) for part in path)


def _comment(text: str | None) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join((text or "").replace("`", "").split()), WIDTH)]


def _model(annotation: object) -> type[BaseModel] | None:
    """The section a field holds, alone, by name or perhaps."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for a in get_args(annotation) if (found := _model(a)) is not None), None)


def _allowed(model: type[BaseModel], name: str, default: Any) -> str:
    """What a key may be, in words, and its default."""
    whole = _schema(model)
    words = _words(whole["properties"][name], whole.get("$defs", {}))
    if model.model_fields[name].is_required():
        return f"{words}; must be given"
    if isinstance(default, Mapping):
        return words
    return words if default is None else f"{words}; default {toml.value(default)}"


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _words(schema: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _words(parts[schema["$ref"].rsplit("/", 1)[1]], parts)
    if "anyOf" in schema:
        told = [_words(s, parts) for s in schema["anyOf"] if s.get("type") != "null"]
        return " or ".join(told) + (" or left out" if len(told) < len(schema["anyOf"]) else "")
    if "enum" in schema:
        return "one of " + ", ".join(toml.value(v) for v in schema["enum"])
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return ("whole number" if kind == "integer" else "number") + _range(schema)
    if kind == "boolean":
        return "true or false"
    if kind == "array":
        return f"list, each {_words(schema.get('items', {}), parts)}"
    if kind == "object":
        each: Mapping[str, Any] = next(iter(schema.get("patternProperties", {}).values()), {})
        return f"table, each {_words(each, parts)}"
    if schema.get("format") == "path":
        return "path"
    words = _PATTERNS.get(schema.get("pattern", ""), "text")
    return f"{words}, at most {schema['maxLength']} characters" if "maxLength" in schema else words


def _range(schema: Mapping[str, Any]) -> str:
    low = f"{schema['minimum']}" if "minimum" in schema else ""
    if "exclusiveMinimum" in schema:
        low = f"more than {schema['exclusiveMinimum']}"
    high = f" to {schema['maximum']}" if "maximum" in schema else ""
    return f", {low}{high}" if low or high else ""
