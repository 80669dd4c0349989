"""MQTT topics: ``<city>/v1/box/<device>/<channel>`` and ``<city>/v1/desk/<desk>/birth``.

Always five levels, and each channel has one direction.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from edge.errors import Refused
from edge.protocol.wire import DESK, FROM_BOX, TO_BOX

_SEGMENT = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


class Topic(NamedTuple):
    """A topic taken apart."""

    city: str
    party: str
    """``box`` or ``desk``."""
    name: str
    """The device or the desk."""
    channel: str


def box(city: str, device: str, channel: str) -> str:
    """The topic of a box's channel; ``+`` is allowed as `device` for a subscription."""
    return f"{city}/v1/box/{device}/{channel}"


def desk(city: str, name: str) -> str:
    """The topic of a desk's presence; ``+`` is allowed as `name` for a subscription."""
    return f"{city}/v1/desk/{name}/birth"


def parse(topic: str) -> Topic:
    """Takes a topic apart.

    Raises:
        Refused: not one of this protocol's topics; the text does not quote it.
    """
    parts = topic.split("/")
    if len(parts) != 5 or parts[1] != "v1":
        raise Refused("topic: has not the form CITY/v1/PARTY/NAME/CHANNEL")
    city, _, party, name, channel = parts
    known = {"box": {**FROM_BOX, **TO_BOX}, "desk": DESK}.get(party, {})
    if channel not in known:
        raise Refused("topic: names no party or channel of this protocol")
    if not _SEGMENT.fullmatch(city) or not _SEGMENT.fullmatch(name):
        raise Refused("topic: city and name are 1 to 40 of a-z, 0-9, _ and -")
    return Topic(city, party, name, channel)
