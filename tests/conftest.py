"""What all tests share: hypothesis' profiles and the list of allowed skips."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.skiplist import SkipList

# A slow machine is no failure, and CI finds the same examples each time.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rounds", type=int, default=3, help="how often a test that leaves something to chance tries it"
    )


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("rounds"))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(SkipList(Path(__file__).with_name("skips.toml")), "skiplist")
