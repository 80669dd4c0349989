"""What every bench shares: one form, honest percentiles, and no figures from a disk that does not sync."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import bench, cli
from edge.bench import Report, Spread, need_real_disk, need_syncing_disk
from edge.errors import SetupFailed


def test_the_json_has_exactly_the_form_that_was_agreed() -> None:
    report = Report("press", 3, failed=["a press was lost"], missed=["too slow"])
    report.metrics["edge_to_lamp"] = Spread.of([1.0, 2.0, 3.0], "ms")
    report.floors["fdatasync"] = Spread.of([0.5], "ms")
    report.ratios["confirmed_to_durable_vs_fdatasync"] = 1.25
    report.counts["lost"] = 1
    found = json.loads(json.dumps(report.as_json()))
    assert list(found) == ["bench", "n", "machine", "metrics", "floors", "ratios", "counts"]
    assert found["metrics"] == {"edge_to_lamp": {"unit": "ms", "p50": 2, "p95": 3, "p99": 3, "max": 3}}
    assert set(found["floors"]["fdatasync"]) == {"unit", "p50", "p95", "p99", "max"}
    assert (found["bench"], found["n"], found["counts"]) == ("press", 3, {"lost": 1})
    assert isinstance(found["machine"], str)


def test_percentiles_are_values_that_were_measured_by_the_nearest_rank() -> None:
    spread = Spread.of(range(100, 0, -1), "ms")
    assert (spread.p50, spread.p95, spread.p99, spread.max) == (50, 95, 99, 100)
    one = Spread.of([7.0], "ms")
    assert (one.p50, one.p95, one.p99, one.max) == (7, 7, 7, 7)
    with pytest.raises(ValueError, match="no values"):
        Spread.of([], "ms")


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=300))
def test_no_percentile_is_below_the_share_it_names(values: list[int]) -> None:
    spread = Spread.of(values, "ms")
    for share, found in ((0.5, spread.p50), (0.95, spread.p95), (0.99, spread.p99)):
        assert sum(v <= found for v in values) >= share * len(values)
        assert sum(v < found for v in values) < share * len(values)
    assert spread.p50 <= spread.p95 <= spread.p99 <= spread.max == max(values)


def test_a_folder_in_memory_is_refused_and_one_on_a_disk_is_not(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"disk / ext4 rw 0 0\ntmpfs {tmp_path}/a tmpfs rw 0 0\ndisk {tmp_path}/a/deep xfs rw 0 0\n"
        f"tmpfs {tmp_path}/over tmpfs rw 0 0\ndisk {tmp_path}/over ext4 rw 0 0\n"
    )
    with pytest.raises(SetupFailed, match="which is memory: give --dir a folder on a disk"):
        need_real_disk(tmp_path / "a" / "x", mounts)
    need_real_disk(tmp_path / "a" / "deep" / "x", mounts)
    need_real_disk(tmp_path / "b", mounts)
    need_real_disk(tmp_path / "over", mounts)  # the later mount hides the earlier


def test_a_disk_that_answers_too_soon_to_have_synced_is_refused() -> None:
    with pytest.raises(SetupFailed, match="does not sync"):
        need_syncing_disk(bench.SLOW_ENOUGH_US - 0.1)
    need_syncing_disk(bench.SLOW_ENOUGH_US)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Report:
    """A bench that brings this report, whatever is asked of it."""
    report = Report("start", 1)
    module = SimpleNamespace(add_arguments=lambda parser: None, run=lambda args: report)
    monkeypatch.setattr(bench, "import_module", lambda _name: module)
    return report


@pytest.mark.parametrize(
    ("words", "failed", "missed", "status"),
    [
        (["start"], [], [], 0),
        (["start"], ["lost"], [], 1),
        (["start"], [], ["slow"], 1),
        (["start", "--short"], [], ["slow"], 0),
        (["--short", "start"], [], ["slow"], 0),
        (["start", "--short"], ["lost"], [], 1),
    ],
)
def test_a_fact_always_fails_and_a_target_only_in_the_long_run(
    made: Report,
    words: list[str],
    failed: list[str],
    missed: list[str],
    status: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made.failed, made.missed = failed, missed
    assert cli.main(["bench", *words]) == status
    told = capsys.readouterr()
    assert told.err.split() == [word for f in failed for word in ("FAILED:", f)] + [
        word for m in missed for word in ("missed:", m)
    ]


def test_json_goes_to_the_terminal_and_to_a_file_wherever_the_options_stand(
    made: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.counts["lost"] = 0
    assert cli.main(["bench", "--json", "start", "--out", str(tmp_path / "a.json")]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads((tmp_path / "a.json").read_text()) == made.as_json()
    assert cli.main(["bench", "start", "--short"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_the_table_has_every_number() -> None:
    report = Report("press", 1, ratios={"slower": 1.5}, counts={"lost": 0})
    report.metrics["edge_to_lamp"] = Spread.of([1.25], "ms")
    report.floors["fdatasync"] = Spread.of([0.75], "ms")
    table = report.as_table()
    for word in ("edge_to_lamp", "1.250", "floor fdatasync", "0.750", "ratio slower", "1.500", "count lost"):
        assert word in table


def test_every_bench_that_is_named_is_there() -> None:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    for name in bench.BENCHES:
        assert parser.parse_args([name]).bench == name
