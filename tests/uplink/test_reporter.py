"""What a box says of itself."""

from __future__ import annotations

from pathlib import Path

from edge.clock import ManualClock
from edge.protocol.inner import Inputs, Sound
from edge.protocol.wire import Birth, Health, OpenIncident, dump
from edge.uplink.reporter import Reporter
from edge.uplink.watch import Watch
from tests.box import DEVICE, config, uid


def reporter(folder: Path) -> Reporter:
    return Reporter(config(folder), ManualClock())


def health(made: Reporter, watch: Watch, text: str = "") -> Health:
    return made.health(
        watch,
        link={"connects": 3, "desk": True, "staffed": 2},
        incidents=(OpenIncident(id=uid(1), state="open"),),
        waiting=5,
        outbox_fault=text,
        sound=Sound(ready=False, fault=text),
        proof={"last_receipt": "2026-01-01T00:00:00.000Z"},
        shed={"event"},
    )


def test_birth_and_will_carry_the_number_of_their_session(tmp_path: Path) -> None:
    made = reporter(tmp_path)
    made.session = 7
    for online in (True, False):
        birth = made.birth(online=online)
        assert (birth.session, birth.online, birth.device) == (7, online, DEVICE)
        assert dump(Birth.model_validate_json(dump(birth))) == dump(birth)


def test_I9_every_message_has_a_clock_record_of_its_own(tmp_path: Path) -> None:
    made = reporter(tmp_path)
    stamps = [
        made.birth(online=True).at,
        made.result(None, "cmd", "done", "").at,
        health(made, Watch((), 0)).at,
    ]
    assert [s.seq for s in stamps if s] == [1, 2, 3]
    assert {s.boot_id for s in stamps if s} == {"0" * 32}


def test_a_heartbeat_is_at_most_one_kilobyte_and_bounded_when_everything_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    watch = Watch(("callbox", "media"), 0)
    usual = Inputs(buttons={"police": "released", "women": "held", "medical": "released"}, tamper="closed")
    watch.inputs(usual)
    assert len(dump(health(reporter(tmp_path), watch))) <= 1024
    worst = "\U0001d11e" * 200
    watch.inputs(usual.model_copy(update={"faults": {f"part-{n}": worst for n in range(8)}}))
    told = health(reporter(tmp_path), watch, worst)
    assert {name for name in told.machine if name.startswith("fault_")} == {
        "fault_part-0",
        "fault_part-1",
        "fault_part-2",
        "fault_outbox",
        "fault_sound",
    }
    assert len(dump(told)) <= 3 * 1024
    assert dump(Health.model_validate_json(dump(told))) == dump(told)


def test_the_machines_facts_are_those_of_whoever_reads_it(tmp_path: Path) -> None:
    asked: list[Path] = []

    def read(data: Path) -> dict[str, str | float | int | bool | None]:
        asked.append(data)
        return {"temp_c": 84.5}

    made = Reporter(config(tmp_path), ManualClock(), read)
    assert health(made, Watch((), 0)).machine == {"temp_c": 84.5}
    assert asked == [config(tmp_path).paths.data]


def test_a_result_says_why_in_no_more_than_it_may(tmp_path: Path) -> None:
    result = reporter(tmp_path).result(uid(1), "cmd", "refused", "x" * 1000)
    assert len(result.reason) == 200
