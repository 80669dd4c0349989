"""The plugin that fails a run for a skip nobody agreed to, tried on runs of its own, alone and with xdist."""

from __future__ import annotations

import pytest

CONFTEST = """
from pathlib import Path
from tests.skiplist import SkipList

def pytest_configure(config):
    config.pluginmanager.register(SkipList(Path(__file__).with_name("skips.toml")), "skiplist")
"""

TESTS = """
import pytest

def test_runs():
    pass

@pytest.mark.skip(reason="no GPIO here")
def test_marked():
    pass

def test_called():
    pytest.skip("no sound card here")

@pytest.mark.xfail(reason="known bug 7", strict=True)
def test_fails():
    assert False
"""

LISTED = """
[[skip]]
test = 'test_it\\.py::test_marked'
reason = "no GPIO here"
why = "a laptop has none"

[[skip]]
test = '.*::test_called'
reason = "no sound .*"
why = "a laptop may have none"

[[xfail]]
test = '.*::test_fails'
reason = "known bug 7"
why = "being worked on"
"""


@pytest.fixture(params=[(), ("-n2",)], ids=["alone", "xdist"])
def run_pytest(request, pytester):
    """Runs TESTS (or another file) against a list; returns pytester's result."""

    def run(skips: str, tests: str = TESTS, *args: str) -> pytest.RunResult:
        pytester.makeconftest(CONFTEST)
        pytester.makepyfile(test_it=tests)
        pytester.path.joinpath("skips.toml").write_text(skips)
        return pytester.runpytest_inprocess(
            "-p", "no:cacheprovider", "-p", "no:asyncio", *request.param, *args
        )

    return run


def test_listed_skips_are_printed_and_pass(run_pytest):
    result = run_pytest(LISTED)
    result.stdout.fnmatch_lines(
        ["SKIP test_it.py::test_called: no sound card here", "SKIP test_it.py::test_marked: no GPIO here"]
    )
    result.stdout.fnmatch_lines(["XFAIL test_it.py::test_fails: known bug 7"])
    result.stdout.no_fnmatch_line("*NOT ON THE LIST*")
    assert result.ret == pytest.ExitCode.OK


def test_an_unlisted_skip_fails_the_run(run_pytest):
    result = run_pytest(LISTED.replace("test_marked", "test_other"))
    result.stdout.fnmatch_lines(
        ["SKIP test_it.py::test_marked: no GPIO here -- NOT ON THE LIST (skips.toml)"]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, skipped=2, xfailed=1)


def test_another_reason_than_the_listed_one_fails_the_run(run_pytest):
    result = run_pytest(LISTED.replace("no GPIO here", "no GPIO"))  # a part of the reason is not the reason
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_an_unlisted_xfail_fails_the_run(run_pytest):
    result = run_pytest(LISTED.replace("bug 7", "bug 8"))
    result.stdout.fnmatch_lines(["XFAIL *::test_fails: known bug 7 -- NOT ON THE LIST*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_whole_file_that_skips_itself_fails_the_run(run_pytest):
    result = run_pytest("", "import pytest\nno = pytest.importorskip('no_such_module')\ndef test_a(): pass\n")
    result.stdout.fnmatch_lines(["SKIP test_it.py: could not import 'no_such_module'*NOT ON THE LIST*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_real_failure_keeps_its_own_exit_code(run_pytest):
    result = run_pytest(LISTED, TESTS + "\ndef test_breaks():\n    assert False\n")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, skipped=2, xfailed=1, failed=1)


def test_a_list_that_cannot_be_read_is_refused(pytester):
    pytester.makeconftest(CONFTEST)
    pytester.path.joinpath("skips.toml").write_text("[[skip]]\ntest = '.*'\n")
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*with test, reason and why*"])
