"""One line per fact."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge import log


@pytest.fixture(autouse=True)
def root() -> Iterator[logging.Logger]:
    """The root logger as it was before."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What goes to standard error after `set_up` on a machine without journald."""
    stream = io.StringIO()
    monkeypatch.setattr(log, "JOURNAL_SOCKET", Path("/nonexistent"))
    monkeypatch.setattr("sys.stderr", stream)
    log.set_up("callbox")
    return stream


def test_a_line_names_process_level_and_fact(said: io.StringIO) -> None:
    logging.getLogger("edge.x").warning("press accepted button=%s", "police")
    assert said.getvalue().endswith("callbox WARNING edge.x press accepted button=police\n")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=50))
def test_whatever_stands_in_a_value_a_fact_is_one_line(said: io.StringIO, text: str) -> None:
    said.seek(0)
    said.truncate()
    logging.getLogger("edge.x").warning("reason=%s", text)
    lines = said.getvalue().split("\n")
    assert len(lines) == 2
    assert lines[0].isprintable()


def test_hindi_is_left_as_it_is(said: io.StringIO) -> None:
    logging.getLogger("edge.x").warning("by=%s", "आशा")
    assert "by=आशा" in said.getvalue()


def test_the_trace_of_an_error_follows_its_line(said: io.StringIO) -> None:
    try:
        raise ValueError("x")
    except ValueError:
        logging.getLogger("edge.x").exception("it failed")
    lines = said.getvalue().splitlines()
    assert lines[0].endswith("ERROR edge.x it failed")
    assert lines[-1] == "ValueError: x"


@pytest.mark.parametrize("level", log.LEVELS)
def test_a_level_can_be_set(said: io.StringIO, root: logging.Logger, level: str) -> None:
    log.set_level(level)
    assert root.level == getattr(logging, level.upper())


@pytest.mark.parametrize("level", ["", "DEBUG", "critical", "notset", "x" * 1000, "\n"])
def test_another_level_is_refused_and_changes_nothing(
    said: io.StringIO, root: logging.Logger, level: str
) -> None:
    with pytest.raises(ValueError, match="is none of debug, info, warning, error") as refused:
        log.set_level(level)
    assert root.level == logging.INFO
    assert len(str(refused.value)) < 200
    assert str(refused.value).isprintable()


def test_set_up_twice_says_nothing_twice(said: io.StringIO, root: logging.Logger) -> None:
    for _ in range(2):
        log.set_up("callbox")
    assert len(root.handlers) == 1


class Journald(logging.Handler):
    """Stands for systemd's handler."""

    def __init__(self, **_fields: str) -> None:
        super().__init__()


@pytest.mark.parametrize(
    ("stream", "handler"),
    [("ours", Journald), ("another", logging.StreamHandler), ("", logging.StreamHandler)],
)
def test_journald_gets_the_log_only_of_a_process_whose_standard_error_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stream: str, handler: type, root: logging.Logger
) -> None:
    """Under the launcher on a machine with systemd the log files once stayed empty."""
    module = ModuleType("systemd.journal")
    module.JournalHandler = Journald  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "systemd.journal", module)
    with open(tmp_path / "stderr", "w") as file:
        monkeypatch.setattr(log, "JOURNAL_SOCKET", tmp_path)
        monkeypatch.setattr(log, "STDERR", file.fileno())
        found = os.fstat(file.fileno())
        value = {"ours": f"{found.st_dev}:{found.st_ino}", "another": "8:15"}.get(stream, "")
        monkeypatch.setenv("JOURNAL_STREAM", value)
        log.set_up("callbox")
    assert type(root.handlers[0]) is handler
