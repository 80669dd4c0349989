"""Logging: one line per fact, key=value, to the journal where there is one, else to standard error."""

from __future__ import annotations

import logging
import os
from pathlib import Path

JOURNAL_SOCKET = Path("/run/systemd/journal/socket")
STDERR = 2
LEVELS = ("debug", "info", "warning", "error")


def set_up(process: str, level: str = "info") -> None:
    """Sends this process's log to journald (with a PRIORITY per record) or to standard error."""
    root = logging.getLogger()
    root.handlers.clear()
    root.addHandler(_handler(process))
    set_level(level)


def set_level(level: str) -> None:
    """Raises ValueError for a level that is none of `LEVELS`."""
    if level not in LEVELS:
        raise ValueError(f"log level {level[:20]!r} is none of {', '.join(LEVELS)}")
    logging.getLogger().setLevel(level.upper())


class _OneLine(logging.Formatter):
    """A message is one line, whatever stood in a value; only our own trace of an error follows below it."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        text = super().formatMessage(record)
        if text.isprintable():
            return text
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _to_journald() -> bool:
    """Whether standard error is journald's, as systemd says to its units (systemd.exec(5), JOURNAL_STREAM).

    A process that somebody else started, in a terminal or with its log in a file, is read there.
    """
    try:
        stream = os.fstat(STDERR)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"


def _handler(process: str) -> logging.Handler:
    # JournalHandler throws records away without a word where journald is absent, so look first.
    if JOURNAL_SOCKET.exists() and _to_journald():
        try:
            from systemd.journal import JournalHandler
        except ImportError:
            pass
        else:
            handler: logging.Handler = JournalHandler(SYSLOG_IDENTIFIER=f"edge-{process}")
            handler.setFormatter(_OneLine("%(message)s"))
            return handler
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine(f"%(asctime)s {process} %(levelname)s %(name)s %(message)s"))
    return handler
