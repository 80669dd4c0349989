"""What the documents say of the code is so."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest

from edge.callbox.indicator import FAULT, SIGNALS, TEST, Pattern

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def in_words(pattern: Pattern, *, lamp: bool) -> str:
    """A pattern as docs/technician.md writes it."""
    if not pattern.ms:
        return "silent"
    if len(pattern.ms) == 1 and pattern.repeat:
        return "steady"
    spans = list(pattern.ms)
    if not pattern.repeat and len(spans) % 2 == 0:
        spans.pop()  # what is off at the end of a pattern that is not repeated lasts
    off = " off"
    text = ", ".join(f"{ms}{off if n % 2 else ' on' if lamp else ''}" for n, ms in enumerate(spans))
    if lamp:
        return text if pattern.repeat else f"{text}, then dark"
    return f"{text}, again" if pattern.repeat else text


def test_the_technicians_table_of_the_lamp_is_the_one_the_box_shows() -> None:
    text = (ROOT / "docs/technician.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| [^|]+ \| ([^|]+) \|$", text.split("indicator.py;")[1], re.M)
    told = {state.strip("`"): (lamp, buzzer) for lamp, state, buzzer in rows if state not in ("state", "---")}
    shown = {
        state: (in_words(s.lamp, lamp=True), in_words(s.buzzer, lamp=False))
        for state, s in {**SIGNALS, "fault": FAULT, "test": TEST}.items()
    }
    assert told == shown


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (document.parent / target).exists(), target


def test_the_places_that_the_readme_names_are_there() -> None:
    text = (ROOT / "README.md").read_text().split("## Where things are")[1].split("##")[0]
    places = re.findall(r"`((?:edge|firmware_config|docs)/[^`]*)`", text)
    assert len(places) >= 8
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_the_readmes_picture_is_a_screenshot_of_the_desk_and_no_burden() -> None:
    data = (ROOT / "docs/desk/alert-en-desktop.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24])[0] == 1280
    assert len(data) < 300_000


def test_the_commands_of_the_readme_are_the_ones_there_are() -> None:
    told = subprocess.run([ROOT / "run", "help"], capture_output=True, text=True, check=True).stdout
    for verb in ("demo", "test", "edge"):
        assert f"./run {verb}" in told
        assert f"./run {verb}" in (ROOT / "README.md").read_text()
