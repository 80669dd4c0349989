"""What comes down from the broker: taken apart, validated, handed on, or refused with a reason."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from edge.errors import Refused
from edge.protocol import inbound, topics
from edge.protocol.wire import TO_BOX, DeskBirth

log = logging.getLogger(__name__)


class Inbox:
    """Sorts messages to the handlers of their channels. A handler may raise `Refused` too."""

    def __init__(
        self,
        device: str,
        handlers: Mapping[str, Callable[[Any], None]],
        *,
        on_desk: Callable[[DeskBirth], None],
        on_refused: Callable[[str, str | None, str], None],
    ) -> None:
        """`on_refused` gets the channel, the id of what was refused if it could be read, and the reason."""
        self._device = device
        self._handlers = handlers
        self._on_desk = on_desk
        self._on_refused = on_refused

    def message(self, topic: str, payload: bytes) -> None:
        channel = "unknown"
        try:
            where = topics.parse(topic)
            channel = where.channel
            if where.party == "desk":
                birth = inbound.parse(DeskBirth, payload)
                if birth.desk != where.name:
                    raise Refused("desk: is not the one of the topic")
                self._on_desk(birth)
            elif where.name != self._device or channel not in self._handlers:
                raise Refused("topic is not one that this box is told on")
            else:
                self._handlers[channel](inbound.parse(TO_BOX[channel], payload))
        except Refused as refused:
            of = inbound.message_id(payload)
            log.warning("refused channel=%s of=%s reason=%r", channel, of, str(refused))
            self._on_refused(channel, of, str(refused))
