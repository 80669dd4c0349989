"""A pytest plugin: a skip is a test that was not run, so each is printed and must be on a checked-in list.

Without this a test that skips itself where it cannot run slowly becomes a test that never runs. The list
(tests/skips.toml) holds pairs of regular expressions, one for the test's id and one for the reason it gives;
both must match as a whole. Expected failures are held to the same rule. With pytest-xdist the workers'
reports come to the controlling process, and only that one judges.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

Kind = Literal["skip", "xfail"]


@dataclass(frozen=True)
class Entry:
    """One line of the list: which tests may be skipped (or fail) for which reason."""

    kind: Kind
    test: re.Pattern[str]
    reason: re.Pattern[str]

    def allows(self, outcome: Outcome) -> bool:
        return (
            self.kind == outcome.kind
            and self.test.fullmatch(outcome.test) is not None
            and self.reason.fullmatch(outcome.reason) is not None
        )


@dataclass(frozen=True, order=True)
class Outcome:
    """A test (or a whole file) that was skipped or failed as expected."""

    kind: Kind
    test: str
    reason: str


def read_list(path: Path) -> list[Entry]:
    """Reads the list; raises pytest.UsageError where it is not of the form {kind: [{test, reason, why}]}."""
    entries = []
    for kind, rows in tomllib.loads(path.read_text()).items():
        for row in rows:
            if kind not in ("skip", "xfail") or row.keys() != {"test", "reason", "why"}:
                raise pytest.UsageError(
                    f"{path}: [[skip]] or [[xfail]] with test, reason and why; found {row}"
                )
            entries.append(Entry(kind, re.compile(row["test"]), re.compile(row["reason"])))
    return entries


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The reason as its author wrote it."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)


class SkipList:
    """Registered by tests/conftest.py with the list's path."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries = read_list(path)
        self._seen: set[Outcome] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if hasattr(report, "wasxfail"):
            # pytest hands over "reason: …" for an imperative xfail and the bare reason for a marked one
            self._seen.add(Outcome("xfail", report.nodeid, report.wasxfail.removeprefix("reason: ")))
        elif report.skipped:
            self._seen.add(Outcome("skip", report.nodeid, skip_reason(report)))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._seen.add(Outcome("skip", report.nodeid, skip_reason(report)))

    def unlisted(self) -> list[Outcome]:
        return [seen for seen in sorted(self._seen) if not any(entry.allows(seen) for entry in self._entries)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput"):  # one of xdist's workers
            return
        if self.unlisted() and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        unlisted = set(self.unlisted())
        if not self._seen:
            return
        terminalreporter.section("not run, or expected to fail")
        for outcome in sorted(self._seen):
            mark = f" -- NOT ON THE LIST ({self._path.name})" if outcome in unlisted else ""
            terminalreporter.line(
                f"{outcome.kind.upper()} {outcome.test}: {outcome.reason}{mark}", red=outcome in unlisted
            )
        if unlisted:
            terminalreporter.line(
                f"the run fails: {len(unlisted)} not on the list; run them, or say why not there", red=True
            )
