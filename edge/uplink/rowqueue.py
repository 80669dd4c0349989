"""The rows of the outbox that are not alerts: what to send next, and what to send again. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from edge.store.outbox import Row

WINDOW = 10
"""At most so many are with the broker unacknowledged, so that an alert never queues behind them."""
AGAIN_NS = 60_000_000_000
"""An event that the broker has and no desk has stored is sent again after this."""


@dataclass(slots=True)
class _State:
    row: Row
    in_flight: bool = False
    due_ns: int = 0


class RowQueue:
    """Events and results by id."""

    def __init__(self) -> None:
        self._rows: dict[str, _State] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: Row) -> None:
        self._rows[row.id] = _State(row)

    def remove(self, row_id: str) -> bool:
        return self._rows.pop(row_id, None) is not None

    def link_lost(self) -> None:
        for state in self._rows.values():
            state.in_flight, state.due_ns = False, 0

    def take(self, now_ns: int) -> list[Row]:
        """What to publish now, by priority and age; marked as in flight."""
        room = WINDOW - sum(s.in_flight for s in self._rows.values())
        ready = [s for s in self._rows.values() if not s.in_flight and s.due_ns <= now_ns]
        # Of one importance as they were added; ids begin with a time of day, which may be wrong (I9).
        ready.sort(key=lambda s: s.row.priority)
        taken = ready[: max(room, 0)]
        for state in taken:
            state.in_flight = True
        return [state.row for state in taken]

    def puback(self, row_id: str, now_ns: int) -> Row | None:
        """The broker has it (or refused it); returns the row so that the caller may be done with it."""
        state = self._rows.get(row_id)
        if state is None:
            return None
        state.in_flight, state.due_ns = False, now_ns + AGAIN_NS
        return state.row

    def expired(self, utc_ns: int) -> list[str]:
        """Rows whose time is over by UTC; ask only while the clock can be trusted. A row that was made while
        it could not is never too old."""
        return [
            s.row.id
            for s in self._rows.values()
            if s.row.ttl_s is not None
            and s.row.created_utc_ns > 0
            and utc_ns - s.row.created_utc_ns > s.row.ttl_s * 10**9
        ]
