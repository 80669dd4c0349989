"""The command `edge`: what it says when something is wrong, and what it imports."""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from edge import __version__, cli
from edge.cli import COMMANDS, main
from edge.errors import StoreError

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_subcommand_is_there_and_tells_its_arguments(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: edge {command}" in capsys.readouterr().out


def test_help_lists_every_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out
    assert all(f"\n    {command} " in listed for command in COMMANDS)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"edge {__version__}\n"


@pytest.mark.parametrize("words", [[], ["nonsense"], ["run"], ["run", "toaster"]])
def test_wrong_words_end_with_the_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: edge" in capsys.readouterr().err


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A subcommand `x` whose main the test writes."""
    module = ModuleType("edge.x")
    module.add_arguments = lambda parser: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "edge.x", module)
    monkeypatch.setitem(cli.COMMANDS, "x", ("edge.x", "for a test"))
    return module


def raising(error: BaseException) -> object:
    def main(_args: argparse.Namespace) -> int:
        raise error

    return main


def test_an_error_of_ours_is_one_line_and_status_1(
    part: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    part.main = raising(StoreError("the disk is full: make room"))  # type: ignore[attr-defined]
    assert main(["x"]) == 1
    assert capsys.readouterr().err == "edge x: the disk is full: make room\n"


def test_ctrl_c_is_no_error_with_a_trace(part: ModuleType) -> None:
    part.main = raising(KeyboardInterrupt())  # type: ignore[attr-defined]
    assert main(["x"]) == 130


def test_a_missing_package_is_told_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(_name: str) -> ModuleType:
        raise ModuleNotFoundError("No module named 'fastapi'", name="fastapi")

    monkeypatch.setattr(cli, "import_module", absent)
    assert main(["desk"]) == 1
    assert "edge desk: the Python package fastapi is not installed" in capsys.readouterr().err


def test_a_missing_module_of_ours_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.COMMANDS, "x", ("edge.nowhere", ""))
    with pytest.raises(ModuleNotFoundError):
        main(["x"])


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m edge config show --defaults | head -1; exit ${{PIPESTATUS[0]}}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("# Configuration")


def test_a_subcommand_imports_only_what_it_needs() -> None:
    """A button is armed in a moment: `edge run` must not read the desk's or the demo's modules."""
    heavy = ["fastapi", "paho", "cryptography", "edge.desk", "edge.sim", "sounddevice", "numpy"]
    code = (
        "import sys; from edge.cli import main\n"
        "try: main(['run', 'callbox', '--config', '/nonexistent'])\n"
        "finally: print([m for m in sys.argv[1:] if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
    assert "edge run: /nonexistent: cannot be read: No such file or directory" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_the_table_names_modules_with_both_functions(command: str) -> None:
    module = import_module(COMMANDS[command][0])
    assert callable(module.add_arguments)
    assert callable(module.main)
