"""JSON Schemas (2020-12) and an AsyncAPI 3.0 document, made from the models; ``edge protocol``.

They are checked in under ``docs/protocol/`` and a test fails when they differ from what is made here.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from edge.protocol import inbound
from edge.protocol.channels import CHANNELS, Channel
from edge.protocol.common import Model
from edge.protocol.docstrings import field_docs
from edge.protocol.inner import BUS
from edge.protocol.wire import plain

DEFAULT_DIR = Path("docs/protocol")
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PARAMETERS = {
    "city": "The city's name.",
    "device": "The box: also the common name of its certificate and its MQTT client id.",
    "desk": "The desk: also the common name of its certificate and its MQTT client id.",
}


def documents() -> dict[str, str]:
    """Every generated file: its path below ``docs/protocol/`` and its text."""
    files = {_schema_file(c.model): _text(schema(c.model)) for c in CHANNELS}
    files["asyncapi.json"] = _text(asyncapi())
    files["bus.json"] = _text(bus())
    return files


def schema(model: type[Model]) -> dict[str, Any]:
    """The JSON Schema of one wire message."""
    name, version = _name(model)
    made = _tidy(model.model_json_schema(by_alias=True), model)
    # A reader need not insist on it, but a message goes nowhere without.
    made["required"] = ["schema", *made.get("required", [])]
    return {"$schema": DIALECT, "$id": f"urn:edge:{name}:{version}", **made}


def bus() -> dict[str, Any]:
    """The messages between the processes of one box: for those who read its code, not for integrators."""
    kinds = {
        kind: _tidy(model.model_json_schema(by_alias=True, ref_template="#/$defs/{model}"), model)
        for kind, model in BUS.items()
    }
    parts: dict[str, Any] = {}
    for made in kinds.values():
        parts.update(made.pop("$defs", {}))
    return {
        "$schema": DIALECT,
        "$id": "urn:edge:bus:1",
        "description": "Between the processes of a box: ZeroMQ frames, a line each KIND, SENDER and this.",
        "properties": kinds,
        "$defs": dict(sorted(parts.items())),
    }


def asyncapi() -> dict[str, Any]:
    """The document, from the point of view of a box: what it sends, and what it receives."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Edge call box",
            "version": "1",
            "description": (
                "What a call box and the desks of a command centre say to each other over MQTT 5. `send` is "
                "what a box publishes and a desk subscribes to; `receive` is the other way round. "
                f"JSON in UTF-8, at most {inbound.MAX_BYTES} bytes and {inbound.MAX_DEPTH} levels. "
                "README.md tells what a desk must do."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "centre": {
                "host": "broker.example:8883",
                "protocol": "secure-mqtt",
                "protocolVersion": "5.0",
                "description": "The centre's broker; its rules are in firmware_config/centre/.",
                "security": [{"$ref": "#/components/securitySchemes/certificate"}],
            }
        },
        "channels": {_key(c): _channel(c) for c in CHANNELS},
        "operations": {_key(c): _operation(c) for c in CHANNELS},
        "components": {
            "messages": {_key(c): _message(c) for c in CHANNELS},
            "parameters": {name: {"description": text} for name, text in _PARAMETERS.items()},
            "securitySchemes": {
                "certificate": {
                    "type": "X509",
                    "description": "TLS 1.2 or newer; the common name is user name and client id.",
                }
            },
        },
    }


def _key(channel: Channel) -> str:
    return channel.name if channel.party == "box" else f"{channel.party}-{channel.name}"


def _channel(channel: Channel) -> dict[str, Any]:
    named = [name for name in _PARAMETERS if f"{{{name}}}" in channel.address]
    return {
        "address": channel.address,
        "description": channel.note,
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in named},
        "messages": {_key(channel): {"$ref": f"#/components/messages/{_key(channel)}"}},
    }


def _operation(channel: Channel) -> dict[str, Any]:
    mqtt: dict[str, Any] = {"qos": channel.qos, "retain": channel.retain}
    if channel.expiry_s is not None:
        mqtt["messageExpiryInterval"] = channel.expiry_s
    return {
        "action": "send" if channel.speaker == "box" else "receive",
        "channel": {"$ref": f"#/channels/{_key(channel)}"},
        "summary": _summary(channel.model),
        "messages": [{"$ref": f"#/channels/{_key(channel)}/messages/{_key(channel)}"}],
        "bindings": {"mqtt": {**mqtt, "bindingVersion": "0.2.0"}},
    }


def _message(channel: Channel) -> dict[str, Any]:
    return {
        "name": channel.model.__name__,
        "summary": _summary(channel.model),
        "contentType": "application/json",
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./{_schema_file(channel.model)}"},
        },
        "examples": [{"payload": plain(example)} for example in channel.examples],
    }


def _summary(model: type[Model]) -> str:
    return " ".join((model.__doc__ or "").split())


def _name(model: type[Model]) -> tuple[str, str]:
    _, name, version = str(model.model_fields["schema_"].default).split("/")
    return name, version


def _schema_file(model: type[Model]) -> str:
    name, version = _name(model)
    return f"schemas/{name}.{version}.json"


def _tidy(made: dict[str, Any], model: type[Model]) -> dict[str, Any]:
    """Without pydantic's titles, with the fields' own words, and as strict about keys as the models are."""
    for part in _models(model):
        place = made if part is model else made["$defs"][part.__name__]
        if "__doc__" not in vars(part) or not part.__doc__:
            place.pop("description", None)
        for field, text in field_docs(part).items():
            name = part.model_fields[field].alias or field
            place["properties"][name] = {**place["properties"][name], "description": text}
    tidied = _untitled(made)
    assert isinstance(tidied, dict)
    return tidied


def _untitled(node: Any) -> Any:
    if isinstance(node, list):
        return [_untitled(item) for item in node]
    if not isinstance(node, dict):
        return node
    # In `properties` the keys are names of fields, and "title" might be one.
    kept = {k: _untitled(v) for k, v in node.items() if k != "title" or not isinstance(v, str)}
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    return kept


def _models(model: object) -> dict[type[BaseModel], None]:
    """A model and every model in its fields, each once."""
    found: dict[type[BaseModel], None] = {}

    def walk(annotation: object) -> None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in found:
            found[annotation] = None
            for field in annotation.model_fields.values():
                walk(field.annotation)
        for argument in get_args(annotation):
            walk(argument)

    walk(model)
    return found


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


# -- the command ---------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("write", help="write the generated documents")
    verbs.add_parser("check", help="say which of them differ from the models")
    for verb in verbs.choices.values():
        verb.add_argument("folder", type=Path, nargs="?", default=DEFAULT_DIR, metavar="DIR")


def main(args: argparse.Namespace) -> int:
    if args.verb == "write":
        for name in stale(args.folder):
            (args.folder / name).unlink()
        for name, text in documents().items():
            path = args.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        print(f"{args.folder}: {len(documents())} documents written")
        return 0
    faults = [f"{name} differs" for name in differing(args.folder)]
    faults += [f"{name} is of no message any more" for name in stale(args.folder)]
    for fault in faults:
        print(f"{args.folder}: {fault}: run `edge protocol write`")
    return int(bool(faults))


def differing(folder: Path) -> list[str]:
    """The documents that are absent or differ from what the models say."""
    return [
        name
        for name, text in documents().items()
        if not (folder / name).is_file() or (folder / name).read_bytes() != text.encode()
    ]


def stale(folder: Path) -> list[str]:
    """Schemas of messages that are no more."""
    return sorted({f"schemas/{path.name}" for path in folder.glob("schemas/*.json")} - set(documents()))
