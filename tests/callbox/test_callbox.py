"""The callbox as a whole, on pins and a bus of the test's and a disk that can be cut."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from edge.callbox import callbox
from edge.callbox.callbox import UNSETTLED_CHUNK, Callbox
from edge.callbox.pins import OUTPUTS, TAMPER
from edge.clock import SystemClock
from edge.errors import DriverError
from edge.protocol.inner import Custody, Delivery, Done, Incident, Inputs, Order, PressTold, Unsettled
from edge.store import journal_writer
from edge.store.journal import SEGMENT, SLOTS_PER_SEGMENT, Journal, Kind, Record
from edge.store.lossy import LossyFiles
from tests.box import ListBus, config, turns, uid, until
from tests.store.memory import MemoryFiles

DISK, RUN = Path("/disk/journal"), Path("/run/journal")
MS = 1_000_000


class ShiftedClock(SystemClock):
    """The machine's clocks, and the test's moves of them."""

    def __init__(self) -> None:
        super().__init__()
        self.mono_shift_ns = self.utc_shift_ns = 0

    def mono_ns(self) -> int:
        return super().mono_ns() + self.mono_shift_ns

    def utc_ns(self) -> int:
        return super().utc_ns() + self.utc_shift_ns


class FakePins:
    """Lines that the test closes and opens."""

    def __init__(self, clock: ShiftedClock) -> None:
        self.clock = clock
        self.levels: dict[str, bool | None] = {
            "police": False,
            "women": False,
            "medical": False,
            TAMPER: True,
        }
        self.outputs: dict[str, bool] = dict.fromkeys(OUTPUTS, False)
        self.broken: set[str] = set()
        self.on_edge: Callable[[str, bool, int], None] | None = None
        self.closed = False

    def start(self, on_edge: Callable[[str, bool, int], None]) -> None:
        if "start" in self.broken:
            raise DriverError("GPIO busy:\n\x1b[31mpid 7\x1b[0m")
        self.on_edge = on_edge

    def read(self, line: str) -> bool | None:
        if line in self.broken:
            raise ZeroDivisionError("a fault of ours")
        return self.levels[line]

    def write(self, output: str, level: bool) -> None:
        if output in self.broken:
            raise ZeroDivisionError("a fault of ours")
        self.outputs[output] = level

    async def close(self) -> None:
        self.closed = True

    def set(self, line: str, level: bool, *, ago_ms: float = 0, edge: bool = True) -> None:
        self.levels[line] = level
        if edge and self.on_edge is not None:
            self.on_edge(line, level, self.clock.mono_ns() - round(ago_ms * MS))


class Box:
    """One box: its processes come and go, its disk, memory and lines stay."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ShiftedClock()
        self.pins = FakePins(self.clock)
        self.disk, self.memory = MemoryFiles(), MemoryFiles()
        self.files = LossyFiles(under=self.disk)
        self.bus = ListBus()
        self.stop = asyncio.Event()
        self.callbox: Callbox | None = None

    async def start(self, *, wait: bool = True, **sections: Any) -> Box:
        self.bus, self.stop = ListBus(), asyncio.Event()
        sections.setdefault("button", {})["reread_ms"] = 10
        made: Any = config(self.folder, **sections)
        bus: Any = self.bus
        self.callbox = Callbox(
            made,
            self.clock,
            bus,
            self.pins,
            Journal(DISK, self.files, 2),
            Journal(RUN, self.memory, 1),
            self.stop,
        )
        self.callbox.start()
        if wait:
            await until(lambda: self.bus.of(Incident), "the first word of the incident")
            await until(lambda: "unknown" not in self.inputs().buttons.values(), "known buttons")
        return self

    async def end(self) -> None:
        if self.callbox is not None:
            self.files.stall_s = 0
            await self.callbox.close()
            self.callbox = None

    async def crash(self, *, power_cut: bool = False) -> None:
        if power_cut:
            self.files.cut()
            self.memory = MemoryFiles()
        await self.end()
        self.files = LossyFiles(under=self.disk)

    async def press(self, line: str = "police", hold_ms: float = 20) -> PressTold:
        """A short press, as late as the loop may be; returns what is told of it."""
        count = len(self.presses())
        self.clock.mono_shift_ns += 100 * MS  # it was open for long enough before
        self.pins.set(line, True, ago_ms=hold_ms)
        self.pins.set(line, False)
        await until(lambda: len(self.presses()) > count, "the press")
        await until(lambda: self.incident().presses[-1:] == (self.presses()[-1],), "its incident")
        await until(lambda: self.inputs().buttons[line] == "released", "the release")
        return self.bus.of(PressTold)[-1]

    def presses(self) -> list[str]:
        """By id, in order."""
        return list(dict.fromkeys(told.press.press_id for told in self.bus.of(PressTold)))

    def incident(self) -> Incident:
        return self.bus.of(Incident)[-1]

    def inputs(self) -> Inputs:
        return self.bus.of(Inputs)[-1]

    def records(self) -> list[Record]:
        return Journal(DISK, self.disk, 2).open()

    def deliver(self, incident_id: str, progress: str, **more: Any) -> None:
        words = [{"incident_id": incident_id, "progress": progress, **more}]
        self.bus.hear(Delivery.model_validate({"link": True, "incidents": words}))

    def order(self, name: str, number: int = 900, process: str = "callbox", **args: str) -> Done | None:
        before = len(self.bus.of(Done))
        self.bus.hear(
            Order.model_validate(
                {"id": uid(number), "process": process, "name": name, "by": "Ravi", "args": args}
            )
        )
        answers = self.bus.of(Done)[before:]
        return answers[0] if answers else None

    def settle(self) -> None:
        self.bus.hear(Custody(held=tuple(self.presses()[-64:])))


@pytest_asyncio.fixture
async def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Box]:
    monkeypatch.setattr(callbox, "REPEAT_S", 0.03)
    monkeypatch.setattr(journal_writer, "RETRY_S", 0.03)
    made = Box(tmp_path)
    yield made
    await made.end()


# -- a press --------------------


async def test_I1_a_press_lights_the_lamp_is_written_and_then_told(box: Box) -> None:
    await box.start()
    told = await box.press()
    assert told.durable
    assert told.press.button == told.press.service == "police"
    assert told.press.incident_id == told.press.press_id
    assert not told.press.test
    assert told.edge_ns <= told.confirmed_ns <= told.stored_ns
    (record,) = [r for r in box.records() if r.kind is Kind.PRESS]
    assert PressTold.model_validate_json(record.payload).press == told.press
    assert box.pins.outputs == {"lamp": True, "buzzer": True, "beacon": True}
    first = next(i for i in box.bus.of(Incident) if i.incident_id)
    assert (first.citizen, first.incident_id, first.service) == ("pressed", told.press.press_id, "police")


async def test_I1_nothing_is_told_of_a_press_before_a_store_has_it(box: Box) -> None:
    await box.start(journal={"stall_ms": 100})
    box.files.stall_s = 600
    box.pins.set("police", True, ago_ms=20)
    await until(lambda: box.pins.outputs["lamp"], "the lamp, which waits for no disk")
    assert box.bus.of(PressTold) == []
    await until(lambda: box.bus.of(PressTold))
    assert not box.bus.of(PressTold)[0].durable
    box.files.stall_s = 0
    await until(lambda: len(box.bus.of(PressTold)) == 2)
    assert box.bus.of(PressTold)[1].durable
    assert len(box.presses()) == 1


async def test_I2_a_press_is_told_again_and_again_until_the_uplink_has_it(box: Box) -> None:
    await box.start()
    told = await box.press()
    box.deliver(told.press.incident_id, "seen")
    box.bus.said.clear()
    await until(lambda: len(box.bus.of(Unsettled)) >= 3)
    assert box.bus.of(Unsettled)[-1].presses == (told,)
    box.bus.hear(Custody(held=(told.press.press_id,)))
    box.bus.said.clear()
    await until(lambda: len(box.bus.of(Incident)) >= 3)
    assert box.bus.of(Unsettled) == []


async def test_I3_until_a_person_has_acknowledged_the_uplink_is_reminded_of_the_presses(box: Box) -> None:
    """It may have been restarted: then it must go on reminding the desk."""
    await box.start()
    told = await box.press()
    box.settle()
    box.deliver(told.press.incident_id, "received")
    box.bus.said.clear()
    await until(lambda: box.bus.of(Unsettled))
    assert box.bus.of(Unsettled)[-1].presses[0].press == told.press
    box.deliver(told.press.incident_id, "coming")
    box.bus.said.clear()
    await until(lambda: len(box.bus.of(Incident)) >= 3)
    assert box.bus.of(Unsettled) == []


async def test_I2_of_many_presses_the_newest_is_always_told_and_custody_brings_the_others(box: Box) -> None:
    await box.start()
    for _ in range(2 * UNSETTLED_CHUNK + 5):
        await box.press()
    every = box.presses()
    box.bus.said.clear()
    await until(lambda: box.bus.of(Unsettled))
    assert box.bus.of(Unsettled)[-1].presses[-1].press.press_id == every[-1]
    heard: set[str] = set()

    def take() -> bool:
        for unsettled in box.bus.of(Unsettled):
            assert len(unsettled.presses) <= 32
            heard.update(told.press.press_id for told in unsettled.presses)
        box.bus.said.clear()
        if heard:
            for at in range(0, len(every), 64):
                box.bus.hear(Custody(held=tuple(i for i in every[at : at + 64] if i in heard)))
        return heard == set(every)

    await until(take, "all presses")


async def test_later_presses_join_the_incident_and_another_service_too(box: Box) -> None:
    await box.start()
    first = await box.press()
    later = await box.press("medical")
    assert later.press.incident_id == first.press.press_id
    assert (later.press.service, later.press.routing) == ("medical", "108")


@pytest.mark.parametrize("jump_s", [-86400, 86400])
async def test_I9_a_clock_that_jumps_a_day_changes_neither_order_nor_incident(box: Box, jump_s: int) -> None:
    await box.start()
    first = await box.press()
    box.clock.utc_shift_ns = jump_s * 1_000_000_000
    second = await box.press()
    assert second.press.incident_id == first.press.incident_id
    assert second.press.at.seq > first.press.at.seq
    assert second.press.at.mono_ns > first.press.at.mono_ns
    await box.crash()
    await box.start()
    third = await box.press()
    assert third.press.at.seq > second.press.at.seq
    assert third.press.incident_id == first.press.incident_id


async def test_numbers_of_a_fresh_box_begin_at_one_and_a_press_of_nobody_takes_none(box: Box) -> None:
    await box.start()
    assert (await box.press()).press.at.seq == 1


# -- the line --------------------


async def test_spikes_that_wait_in_a_late_loop_are_no_press_whatever_the_line_is_by_now(box: Box) -> None:
    """Each waiting edge was once followed by a look at the line, by then closed by a later spike."""
    await box.start(button={"reread_ms": 1000})
    box.pins.levels["police"] = True
    assert box.pins.on_edge is not None
    now = box.clock.mono_ns()
    for ago_ms in range(60, 0, -4):
        box.pins.on_edge("police", True, now - ago_ms * MS)
        box.pins.on_edge("police", False, now - ago_ms * MS + 2 * MS)
    box.pins.levels["police"] = False
    await turns(20)
    box.pins.set("medical", True, ago_ms=20)
    box.pins.set("medical", False)
    await until(lambda: box.presses())
    assert [told.press.button for told in box.bus.of(PressTold)] == ["medical"]


async def test_a_burst_of_spikes_with_the_line_closed_at_the_look_is_no_press(box: Box) -> None:
    await box.start(button={"reread_ms": 1000})
    assert box.pins.on_edge is not None
    now = box.clock.mono_ns()
    box.pins.on_edge("police", True, now - 9 * MS)
    box.pins.levels["police"] = True  # by the spike that comes next in the queue
    box.pins.on_edge("police", False, now - 7 * MS)
    box.pins.on_edge("police", True, now - 1 * MS)
    await turns(3)
    box.pins.set("police", False)
    await turns(3)
    assert box.records() == []
    assert box.presses() == []


async def test_a_contact_without_any_edge_is_found_by_reading_the_line(box: Box) -> None:
    await box.start()
    box.pins.set("police", True, edge=False)
    await until(lambda: box.presses())


async def test_I2_a_contact_held_at_start_is_a_press(box: Box) -> None:
    box.pins.levels["police"] = True
    await box.start()
    await until(lambda: box.presses())
    assert box.bus.of(PressTold)[0].press.held_at_start


async def test_I2_a_contact_held_over_a_restart_is_not_a_second_press(box: Box) -> None:
    await box.start()
    box.pins.set("police", True, ago_ms=20)
    await until(lambda: box.presses())
    await box.crash()
    await box.start()
    await until(lambda: box.inputs().buttons["police"] == "held")
    await until(lambda: len(box.bus.of(Unsettled)) > 2)
    assert len(box.bus.of(Unsettled)[-1].presses) == 1
    assert box.presses() == []
    box.pins.set("police", False)
    await until(lambda: box.inputs().buttons["police"] == "released")
    assert (await box.press()).press.held_at_start is False


async def test_I2_a_release_the_disk_did_not_have_yet_hides_no_new_press_after_a_crash(box: Box) -> None:
    await box.start()
    first = await box.press()
    # The disk hangs before it has the release; the process dies, and the next contact is closed by then.
    await box.crash()
    ring = Journal(DISK, box.disk, 2)
    kept = [record for record in ring.open() if record.kind is Kind.PRESS]
    for name in box.disk.names(DISK):
        box.disk.create(DISK / name, SEGMENT)
    ring.open()
    for record in kept:
        ring.append(record.kind, record.seq, record.payload)
    ring.close()
    box.pins.levels["police"] = True
    await box.start()
    await until(lambda: box.presses())
    assert box.presses() != [first.press.press_id]
    assert box.bus.of(PressTold)[0].press.incident_id == first.press.incident_id


async def test_I2_a_press_that_outlived_its_release_in_the_ring_hides_no_new_press(box: Box) -> None:
    await box.start(journal={"segments": 2})
    old = await box.press()
    await box.end()
    # The old press was pinned while the ring went round, and its release was written over.
    ring = Journal(DISK, box.disk, 2)
    kept = [record for record in ring.open() if record.kind is Kind.PRESS]
    for path in [*box.disk.names(DISK)]:
        box.disk.create(DISK / path, SEGMENT)
    ring.open()
    for record in kept:
        ring.append(record.kind, record.seq, record.payload)
    for seq in range(100, 100 + SLOTS_PER_SEGMENT):
        ring.append(Kind.CLOSE, seq, b'{"incident_id": "an older one"}')
    ring.close()
    box.pins.levels["police"] = True
    await box.start(journal={"segments": 2})
    await until(lambda: box.presses())
    assert box.presses() != [old.press.press_id]
    assert box.bus.of(PressTold)[0].press.held_at_start


async def test_edges_do_not_wait_for_a_journal_that_hangs(box: Box) -> None:
    hang = asyncio.Event()

    class Hanging(LossyFiles):
        def names(self, folder: Path) -> list[str]:
            while not hang.is_set():
                pass
            return super().names(folder)

    box.files = Hanging(under=box.disk)
    await box.start(wait=False, journal={"stall_ms": 50})
    box.pins.set("police", True, ago_ms=20)
    await until(lambda: box.presses())
    assert not box.bus.of(PressTold)[0].durable
    hang.set()
    await until(lambda: box.bus.of(PressTold)[-1].durable)
    assert len(box.presses()) == 1


async def test_a_stuck_button_is_told_and_the_others_go_on(box: Box) -> None:
    await box.start()
    box.pins.set("police", True)
    await until(lambda: box.presses())
    box.clock.mono_shift_ns += 61_000 * MS
    await until(lambda: box.inputs().buttons["police"] == "stuck")
    assert (await box.press("medical")).press.button == "medical"


async def test_the_lid_is_told_when_it_opens_and_is_no_press(box: Box) -> None:
    await box.start()
    await until(lambda: box.inputs().tamper == "closed")
    box.pins.set(TAMPER, False)
    await until(lambda: box.inputs().tamper == "open")
    box.pins.set(TAMPER, True)
    await until(lambda: box.inputs().tamper == "closed")
    assert box.presses() == []


# -- dark --------------------


async def test_a_silent_press_moves_no_output(box: Box) -> None:
    await box.start()
    box.clock.mono_shift_ns += 1000 * MS
    box.callbox._signals._drive()  # type: ignore[union-attr]
    before = dict(box.pins.outputs)
    seen: list[tuple[str, bool]] = []
    write = box.pins.write
    box.pins.write = lambda output, level: (seen.append((output, level)), write(output, level))[1]  # type: ignore[method-assign, func-returns-value]
    told = await box.press("women")
    assert told.press.silent
    assert box.pins.outputs == before
    assert seen == []
    assert box.incident().dark


async def test_a_long_hold_darkens_and_it_stays_dark_over_a_power_cut(box: Box) -> None:
    await box.start()
    box.pins.set("police", True)
    await until(lambda: box.presses())
    assert not box.incident().dark
    box.clock.mono_shift_ns += 3100 * MS
    await until(lambda: box.incident().dark)
    await until(lambda: [r for r in box.records() if r.kind is Kind.DARK])
    await box.crash(power_cut=True)
    box.pins.levels["police"] = False
    await box.start()
    assert box.incident().incident_id is not None
    assert box.incident().dark


# -- what the citizen is told --------------------


async def test_I3_the_bus_hears_of_a_changed_state_when_the_lamp_shows_it(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The voice once learnt up to a second later than the lamp what came after `pressed`."""
    await box.start()
    monkeypatch.setattr(callbox, "REPEAT_S", 1000.0)
    await box.end()
    await box.start()
    told = await box.press()
    box.deliver(told.press.incident_id, "received")
    assert box.incident().citizen == "pressed"
    await until(lambda: box.incident().citizen == "received", "the state after `pressed`, without a repeat")


async def test_I3_each_step_is_told_at_once_and_the_end_too(box: Box) -> None:
    await box.start()
    incident_id = (await box.press()).press.incident_id
    box.settle()
    box.clock.mono_shift_ns += 1000 * MS
    for progress in ("sent", "received", "seen", "coming"):
        box.deliver(incident_id, progress)
        assert box.incident().citizen == progress
    box.deliver(incident_id, "closed", disposition="real")
    assert (box.incident().citizen, box.incident().incident_id) == ("closed", None)
    box.clock.mono_shift_ns += 7000 * MS
    await until(lambda: box.incident().citizen == "idle")
    await until(lambda: [r for r in box.records() if r.kind is Kind.CLOSE])


async def test_I2_an_open_incident_survives_a_power_cut_and_a_closed_one_stays_closed(box: Box) -> None:
    await box.start()
    told = await box.press()
    await box.crash(power_cut=True)
    await box.start()
    assert box.incident().incident_id == told.press.press_id
    await until(lambda: box.bus.of(Unsettled))
    assert box.bus.of(Unsettled)[-1].presses[0].press == told.press
    box.bus.hear(Custody(held=(told.press.press_id,)))
    box.deliver(told.press.incident_id, "closed")
    assert box.incident().incident_id is None
    await until(lambda: [r for r in box.records() if r.kind is Kind.CLOSE])
    await box.crash(power_cut=True)
    await box.start()
    assert box.incident().incident_id is None
    assert (await box.press()).press.incident_id != told.press.incident_id


async def test_I2_a_closed_that_crossed_a_press_does_not_end_the_incident_for_it(box: Box) -> None:
    await box.start()
    first = await box.press()
    box.settle()
    await box.press()
    box.deliver(first.press.incident_id, "closed")
    assert box.incident().incident_id == first.press.incident_id
    box.settle()
    box.deliver(first.press.incident_id, "closed")
    assert box.incident().incident_id is None


async def test_a_word_of_another_incident_is_passed_over(box: Box) -> None:
    await box.start()
    told = await box.press()
    box.settle()
    box.deliver(uid(5), "closed")
    box.deliver(uid(5), "coming")
    assert box.incident().incident_id == told.press.incident_id
    assert box.incident().citizen == "pressed"


# -- orders --------------------


async def test_I10_an_armed_test_is_labelled_and_an_order_is_carried_out_once(box: Box) -> None:
    await box.start()
    done = box.order("arm_test")
    assert done is not None
    assert done.ok
    told = await box.press()
    assert (told.press.test, told.press.test_by) == (True, "Ravi")
    assert box.incident().test
    box.clock.mono_shift_ns += 121_000 * MS
    assert box.order("arm_test") == done, "answered again"
    assert not (await box.press()).press.test, "and not armed again"


async def test_I10_an_ordered_press_is_a_test_and_is_made_once(box: Box) -> None:
    await box.start()
    for _ in range(3):
        done = box.order("press_test", button="medical")
        assert done is not None
        assert done.ok
    await until(lambda: box.presses())
    told = box.bus.of(PressTold)[0]
    assert (told.press.test, told.press.test_by, told.press.button) == (True, "Ravi", "medical")
    real = await box.press()
    assert not real.press.test
    assert len(box.presses()) == 2


async def test_I10_I12_neither_test_nor_restart_while_a_real_incident_is_open(box: Box) -> None:
    await box.start()
    await box.press()
    for number, name in enumerate(("press_test", "restart")):
        done = box.order(name, 900 + number, process="callbox")
        assert done is not None
        assert (done.ok, done.reason) == (False, "a real incident is open")
    assert not box.stop.is_set()


async def test_orders_that_cannot_be_carried_out_say_why(box: Box) -> None:
    await box.start()
    for number, (name, args, words) in enumerate(
        [
            ("press_test", {"button": "fire"}, "no button"),
            ("log_level", {"level": "loud"}, "none of"),
            ("ping", {}, "not for this process"),
        ]
    ):
        done = box.order(name, 900 + number, **args)
        assert done is not None
        assert not done.ok
        assert words in done.reason
    assert box.order("arm_test", 950, process="media") is None


async def test_a_restart_is_answered_before_it_happens(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.supervision.RESTART_AFTER_S", 0.01)
    await box.start()
    done = box.order("restart")
    assert done is not None
    assert done.ok
    await until(box.stop.is_set)


async def test_the_indicator_test_moves_the_outputs(box: Box) -> None:
    await box.start()
    done = box.order("indicator_test")
    assert done is not None
    assert done.ok
    assert box.pins.outputs == {"lamp": True, "buzzer": True, "beacon": True}


# -- faults --------------------


async def test_a_box_without_its_buttons_says_so(box: Box) -> None:
    """In one line, whatever the driver said: a text with a line break once ended the reading of the lines."""
    box.pins.broken.add("start")
    await box.start(wait=False)
    await until(lambda: box.bus.of(Inputs) and box.inputs().faults)
    assert box.inputs().faults == {"button": "GPIO busy:  [31mpid 7 [0m"}
    box.pins.broken.clear()
    await until(lambda: box.inputs().faults == {}, "the lines could be had after all")
    assert box.pins.on_edge is not None


async def test_a_full_disk_is_a_fault_that_is_told_and_goes(box: Box) -> None:
    await box.start()
    box.files.fail_write = errno.ENOSPC
    told = await box.press()
    assert not told.durable
    await until(lambda: "journal" in box.inputs().faults)
    box.files.fail_write = None
    await until(lambda: box.bus.of(PressTold)[-1].durable)
    await until(lambda: box.inputs().faults == {})


@pytest.mark.parametrize("what", ["lamp", "medical"])
async def test_I2_a_driver_that_raises_ends_neither_the_repeats_nor_the_reading_of_lines(
    box: Box, what: str
) -> None:
    await box.start()
    box.pins.broken.add(what)
    box.pins.set("police", True, ago_ms=20)
    await until(lambda: box.presses(), "the press")
    box.bus.said.clear()
    await until(lambda: len(box.bus.of(Unsettled)) >= 3, "its repeats")
    box.pins.broken.clear()
    box.pins.set("medical", True, edge=False)
    await until(lambda: any(t.press.button == "medical" for t in box.bus.of(PressTold)), "a line read again")


async def test_I2_a_record_that_is_not_understood_costs_no_other(box: Box) -> None:
    await box.start()
    told = await box.press()
    await box.end()
    book = Journal(DISK, box.disk, 2)
    book.open()
    for number, body in enumerate([b"{}", b"[]", b"5", b"no json", json.dumps({"button": 5}).encode()]):
        for kind in Kind:
            book.append(kind, 1000 + 10 * number + kind, body)
    book.close()
    await box.start()
    assert box.incident().incident_id == told.press.incident_id
    await until(lambda: box.bus.of(Unsettled))
    assert (await box.press()).press.incident_id == told.press.incident_id


async def test_what_is_kept_of_an_incident_of_many_presses_is_bounded(box: Box) -> None:
    await box.start()
    for _ in range(40):
        await box.press()
        box.settle()
    assert box.callbox is not None
    assert len(box.callbox._told) <= UNSETTLED_CHUNK
    assert len(box.callbox._unsettled) == 0
    assert len(box.incident().presses) == 40


async def test_close_switches_everything_off(box: Box) -> None:
    await box.start()
    await box.press()
    await box.end()
    assert box.pins.closed
    assert box.pins.outputs == {"lamp": False, "buzzer": False, "beacon": False}
