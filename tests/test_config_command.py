"""`edge config`: what a technician reads."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from edge import toml
from edge.cli import main
from edge.config import Config, parse
from edge.config_command import show
from tests.test_config import GOOD, TEXT


def test_the_defaults_can_be_pasted_and_are_the_defaults() -> None:
    text = show(Config())
    assert parse(text.encode(), "shown") == Config()


def test_a_configuration_that_is_shown_and_read_again_is_the_same() -> None:
    found = parse(TEXT.encode(), "edge.toml")
    assert parse(show(found).encode(), "shown") == found


def test_what_must_be_given_can_be_filled_in_where_it_stands() -> None:
    """A technician takes the # away and writes the value."""
    lines = show(Config()).splitlines()
    begin, end = lines.index("#[box]"), lines.index("[paths]")
    given = {"city": "karnal", "device": "box-1", "name": "Gate", "lat": 29.0, "lon": 76.0}
    filled = []
    for line in lines[begin:end]:
        name = line[1:].removesuffix(" =")
        if line.endswith(" =") and name in given:
            line = f"#{name} = {toml.value(given[name])}"
        filled.append(line[1:] if line.startswith("#") and not line.startswith("# ") else line)
    box = parse("\n".join(filled).encode(), "filled").need_box()
    assert (box.device, box.place.lat, box.services["women"]) == ("box-1", 29.0, "181")


def test_every_key_is_shown_with_its_meaning_and_range(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--defaults"]) == 0
    text = capsys.readouterr().out
    assert (
        "# How long a press waits for the disk before it goes out without it (I1).\n"
        "# number, 20 to 2000; default 200\n"
        "stall_ms = 200\n"
    ) in text
    assert '# one of "gpio", "sim"; default "gpio"\n' in text
    assert "#[button.contacts.NAME]\n" in text
    for name, part in Config().model_dump(exclude_none=True).items():
        for key in part:
            assert f"\n{key} = " in text or f"\n#{key} = " in text or f"{name}.{key}" in text, key
    assert "pydantic" not in text.lower()


def test_a_good_file_is_told_in_one_line_with_notes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(TEXT)
    assert main(["config", "check", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        f"{file}: ok: box box-1 of karnal (callbox), buttons: police, broker broker.invalid:8883"
    )
    assert all(line.startswith(f"{file}: note: uplink.") for line in lines[1:])
    assert len(lines) == 4, "ca, cert and key are not on this machine"


def test_a_bad_file_is_told_fault_by_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "edge.toml"
    file.write_text("[uplink]\nport = 0\nhots = 'x'\n")
    assert main(["config", "check", str(file)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        f"{file}:2: uplink.port = 0: Input should be greater than or equal to 1",
        f"{file}:3: uplink.hots is not a known key: did you mean host?",
    ]


def test_a_file_of_a_desk_is_summed_up_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {name: str(tmp_path / name) for name in ("data", "ca", "cert", "key", "token_file")}
    file = tmp_path / "desk.toml"
    file.write_text(toml.dumps({"desk": {"id": "desk-1", "city": "karnal", **names}}))
    assert main(["config", "check", str(file)]) == 0
    assert "ok: desk desk-1 of karnal, broker 127.0.0.1:8883, http 127.0.0.1:8080" in capsys.readouterr().out


def test_show_of_a_file_is_toml_with_the_files_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(TEXT)
    assert main(["config", "show", "--config", str(file)]) == 0
    table = tomllib.loads(capsys.readouterr().out)
    assert table["box"]["services"] == GOOD["box"]["services"]
    assert table["uplink"]["retry_max_s"] == 2.5
