"""``hil_tests/run``: the tests on the bench, and what is counted and measured there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hil_tests import cuts, figures
from hil_tests.bench import guest

HERE = Path(__file__).parent
ONE_LOOP = [
    "-rs",
    "-o",
    "asyncio_default_fixture_loop_scope=session",
    "-o",
    "asyncio_default_test_loop_scope=session",
]
"""One box for all tests, so one loop for all as well."""


def main(argv: list[str]) -> int:
    if argv[:1] == ["missing"]:
        print(guest.missing() or guest.out_of_reach())
        return 0
    on_a_pi = any(word.split("=")[0] == "--pi" for word in argv)
    if not on_a_pi and (reason := guest.missing()):
        print(f"NOT RUN: {reason}", file=sys.stderr)
        return 2
    if argv[:1] == ["cuts"]:
        return cuts.main(argv[1:])
    if argv[:1] == ["figures"]:
        return figures.main(argv[1:])
    files = any(Path(word.split("::")[0]).resolve().is_relative_to(HERE) for word in argv)
    return pytest.main([*ONE_LOOP, *argv, *([] if files else [str(HERE)])])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
