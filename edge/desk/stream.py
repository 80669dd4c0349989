"""The streams of changes to open pages: a whole picture first, then each change, and a tick every second."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from edge.desk.sessions import Session

MAX_WAITING = 2000
"""Changes a slow reader may lag behind; then its stream ends and it comes back for a new picture."""


class Stream:
    """One connected page."""

    def __init__(self, session: Session | None, whole: bool) -> None:
        self.session = session
        self.whole = whole
        """False: it gets what is left without personal data."""
        self._waiting: asyncio.Queue[str | None] = asyncio.Queue(MAX_WAITING)

    def put(self, frame: str) -> None:
        try:
            self._waiting.put_nowait(frame)
        except asyncio.QueueFull:
            self.end()

    def end(self) -> None:
        while self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait(None)

    async def frames(self) -> AsyncIterator[str]:
        while (frame := await self._waiting.get()) is not None:
            # What has gathered meanwhile goes in the same write.
            parts = [frame]
            while not self._waiting.empty():
                more = self._waiting.get_nowait()
                if more is None:
                    yield "".join(parts)
                    return
                parts.append(more)
            yield "".join(parts)


class Hub:
    """All connected pages."""

    def __init__(self) -> None:
        self._streams: set[Stream] = set()
        self._id = 0

    @property
    def connected(self) -> int:
        return len(self._streams)

    @property
    def staffed(self) -> int:
        """People on shift with a page open; one with two pages is one."""
        return len({session.login for session in self.sessions() if session.on_shift})

    def sessions(self) -> Iterator[Session]:
        """Of the connected pages; one with two pages comes twice."""
        return (s.session for s in self._streams if s.session is not None)

    def publish(self, kind: str, data: Any, redact: Callable[[Any], Any] = lambda data: data) -> None:
        """To every page; `data` is plain JSON, `redact` makes of it what those may see who only look."""
        self._id += 1
        if not self._streams:
            return
        frame = _frame(kind, _json(data), self._id)
        less = ""
        for stream in tuple(self._streams):
            if not stream.whole:
                less = less or _frame(kind, _json(redact(data)), self._id)
            stream.put(frame if stream.whole else less)

    async def follow(
        self, session: Session | None, whole: bool, picture: Callable[[], str]
    ) -> AsyncIterator[str]:
        """The frames of a new page, `picture` (JSON) first; nothing that changes after it is missed."""
        stream = Stream(session, whole)
        stream.put(_frame("snapshot", picture(), self._id))
        self._streams.add(stream)
        frames = stream.frames()
        try:
            async for text in frames:
                yield text
        finally:
            self._streams.discard(stream)
            with contextlib.suppress(RuntimeError):
                await frames.aclose()  # type: ignore[attr-defined]

    def end_session(self, session: Session) -> None:
        """Ends the streams of a session that is over."""
        for stream in tuple(self._streams):
            if stream.session is session:
                stream.end()

    def close(self) -> None:
        for stream in tuple(self._streams):
            stream.end()


def _frame(kind: str, data: str, number: int) -> str:
    return f"id: {number}\nevent: {kind}\ndata: {data}\n\n"


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False)
