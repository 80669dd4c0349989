"""What a desk has on disk, read beside it: a harness counts presses here and believes nobody's word."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


class Record:
    """The database of a desk, by its data folder; opened read-only for each question."""

    def __init__(self, data: Path) -> None:
        self._database = data / "desk.sqlite3"

    def presses(self) -> list[tuple[str, str]]:
        """(press id, incident id) of every press, in the order they were stored."""
        return [(str(p), str(i)) for p, i in self._ask("SELECT press_id, incident_id FROM presses")]

    def events(self) -> list[str]:
        """Every event as the desk keeps it (JSON), in the order of arrival."""
        return [str(e) for (e,) in self._ask("SELECT event FROM events ORDER BY rowid")]

    def open_incidents(self) -> list[str]:
        """Ids of the incidents that are not closed."""
        return [str(i) for (i,) in self._ask("SELECT incident_id FROM incidents WHERE state != 'closed'")]

    def _ask(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=5)) as db:
            return list(db.execute(query))
