"""``hil_tests/run``: the tests on the bench, and what is counted and measured there."""

from __future__ import annotations

import sys

import pytest

from hil_tests import cuts
from hil_tests.bench import guest


def main(argv: list[str]) -> int:
    if argv[:1] == ["missing"]:
        print(guest.missing())
        return 0
    if reason := guest.missing():
        print(f"NOT RUN: {reason}", file=sys.stderr)
        return 2
    if argv[:1] == ["cuts"]:
        return cuts.main(argv[1:])
    return pytest.main(["-p", "no:xdist", *(argv or ["hil_tests"])])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
