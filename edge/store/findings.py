"""What a check of the stores finds, and where a repair keeps what it takes away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from edge.store.files import sync_folder

ASIDE = "aside"
"""Folder beside a store; nothing in it is ever deleted by a program of ours."""


@dataclass(frozen=True, slots=True)
class Finding:
    store: str
    severity: Literal["info", "fault", "unreadable"]
    code: str
    """A word for programs: ``slot``, ``size``, ``row`` ..."""
    text: str
    repaired: bool = False


@dataclass
class Report:
    """What the checkers have found so far; each may look at what an earlier one saw."""

    repair: bool
    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    presses: dict[str, int] = field(default_factory=dict)
    """Press id -> sequence number in the journal."""
    handed_over: set[str] | None = None
    """Ids that the outbox holds or knows as received; None when it could not be read."""

    def info(self, store: str, code: str, text: str) -> None:
        self.findings.append(Finding(store, "info", code, text))

    def fault(self, store: str, code: str, text: str, *, repaired: bool = False) -> None:
        self.findings.append(Finding(store, "fault", code, text, repaired))

    def unreadable(self, store: str, text: str) -> None:
        self.findings.append(Finding(store, "unreadable", "unreadable", text))

    @property
    def status(self) -> int:
        """The exit status: 0 nothing is wrong any more, 1 faults are left, 2 something cannot be read."""
        if any(f.severity == "unreadable" for f in self.findings):
            return 2
        return int(any(f.severity == "fault" and not f.repaired for f in self.findings))

    def plain(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "counts": self.counts,
            "findings": [asdict(f) for f in self.findings],
        }


class Checker(Protocol):
    """Looks at one store below a box's data folder; with `report.repair` it mends what it can."""

    def __call__(self, data: Path, report: Report, *, live: bool) -> None: ...


def keep_aside(store: Path, name: str, content: bytes) -> Path:
    """Puts evidence on stable storage under a name that is not taken; returns where it is.

    Raises:
        OSError: it cannot be written; then what it shows must stay where it is.
    """
    folder = store / ASIDE
    folder.mkdir(mode=0o750, exist_ok=True)
    for path in _names(folder, name):
        try:
            with open(path, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            continue
        sync_folder(folder)
        sync_folder(store)
        return path
    raise AssertionError("names do not end")


def move_aside(path: Path) -> Path:
    """Renames a file into the folder of evidence; raises OSError."""
    folder = path.parent / ASIDE
    folder.mkdir(mode=0o750, exist_ok=True)
    target = next(p for p in _names(folder, path.name) if not p.exists())
    os.rename(path, target)
    sync_folder(folder)
    sync_folder(path.parent)
    return target


def _names(folder: Path, name: str) -> Iterator[Path]:
    number = 1
    while True:
        yield folder / (name if number == 1 else f"{name}.{number}")
        number += 1
