"""``edge bench year``: a desk with a year behind it, and how long each of its pages takes to open.

The year is made by the desk's own core and written by its own store, on a clock that is told the time: calls,
acknowledgements, notes, dispatches and dispositions at a simulated city's boxes, several incidents at a time.
Each box has its course too: every five minutes of the last eight days, every hour before. Then the desk
starts on it, and real Chromium opens every view from nothing, as after a click on a link in a message. Judged
is the slowest opening. The floor is an empty page of the same desk in the same browser.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import math
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from edge import __version__
from edge.bench import Report, Spread, need_real_disk, progress
from edge.clock import ManualClock, SystemClock
from edge.desk.book import Contact, Rules
from edge.desk.core import Action, Close, Coming, Core, Dispatch, Note, Seen
from edge.desk.people import Role
from edge.desk.records import Outcome, Row
from edge.desk.roster import SLOT_S
from edge.desk.service import box_row
from edge.desk.store import Store
from edge.errors import Conflict
from edge.ids import uuid7
from edge.protocol.common import Disposition, Press, Stamp
from edge.protocol.wire import Alert, Birth, Health, ProcessHealth
from edge.sim.bench_press import page_at
from edge.sim.city import Box, City
from edge.sim.stack import Stack

if TYPE_CHECKING:
    from playwright.async_api import Page

DAY_S = 86_400
YEAR_S = 365 * DAY_S
FINE_S = 8 * DAY_S
PEOPLE = 40
BATCH = 20_000
OPEN_LIMIT_MS = 1000.0
CONTACTS = (
    Contact("police", "Police control room", "112", "police"),
    Contact("women", "Women's helpline", "181", "women"),
    Contact("medical", "Ambulance", "108", "medical"),
)
DISPOSITIONS: tuple[Disposition, ...] = ("real", "real", "prank", "false")
VIEWS = {
    "incidents": "#list .group h2 >> nth=0",
    "incident/{incident}": "#detail .timeline li >> nth=0",
    "boxes": "#page-view tbody tr >> nth=0",
    "map": ".map .marks .mark >> nth=0",
    "box/{box}": "#page-view .plot >> nth=0",
    "history?since={month}": "#page-view .answer-times",
    "history": "#page-view tbody tr >> nth=0",
    "people": "#page-view tbody tr >> nth=0",
    "audit": "#page-view tbody tr >> nth=0",
}
"""Every view of the desk's page, and what is there when it is whole."""


async def month_of(page: Page) -> str:
    """The day that the page's own link to the history begins with."""
    return (await page.get_attribute("#top [data-tab=history]", "href") or "").rpartition("=")[2]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--incidents", type=int, default=200_000)
    parser.add_argument("--boxes", type=int, default=600)
    parser.add_argument("-n", type=int, default=30, help="how often each view is opened")
    parser.add_argument("--dir", type=Path, help="a folder on a disk; default: a new one under /var/tmp")


def run(args: argparse.Namespace) -> Report:
    folder = args.dir or Path(tempfile.mkdtemp(prefix="edge-", dir="/var/tmp"))
    try:
        need_real_disk(folder)
        return asyncio.run(_measure(folder, args))
    finally:
        if args.dir is None:
            shutil.rmtree(folder, ignore_errors=True)


async def _measure(folder: Path, args: argparse.Namespace) -> Report:
    report = Report("year", args.n)
    clock = SystemClock()
    database = folder / "desk" / "desk.sqlite3"
    began_ns = clock.mono_ns()
    year = Year(database, City(1, args.boxes), clock.utc_ns())
    last = year.make(args.incidents)
    made_ns = clock.mono_ns()
    progress("the desk starts")
    async with Stack(folder, roles=()) as stack:
        started_ns = clock.mono_ns()
        async with page_at(stack, "supervisor") as page:
            month, box = await month_of(page), year.boxes[0].device
            names = {name: name.format(incident=last, box=box, month=month) for name in VIEWS}

            async def opened_ms(url: str, wanted: str) -> float:
                await page.goto("about:blank")
                at_ns = clock.mono_ns()
                await page.goto(url)
                await page.wait_for_selector(wanted)
                return (clock.mono_ns() - at_ns) / 1e6

            empty = [await opened_ms(f"{stack.desk_url}/page/0/pulse.js", "body") for _ in range(args.n)]
            report.floors["empty_page"] = Spread.of(empty, "ms")
            everything: list[float] = []
            for name, wanted in VIEWS.items():
                url = f"{stack.desk_url}/#/{names[name]}"
                spent = [await opened_ms(url, wanted) for _ in range(args.n)]
                everything += spent
                report.metrics[f"open {name}"] = Spread.of(spent, "ms")
                if max(spent) > OPEN_LIMIT_MS:
                    report.missed.append(f"{name} takes more than {OPEN_LIMIT_MS:g} ms to open")
            report.metrics["open"] = Spread.of(everything, "ms")
    report.ratios["open_vs_empty_page"] = round(
        report.metrics["open"].p50 / report.floors["empty_page"].p50, 3
    )
    report.counts = {
        "incidents": args.incidents,
        "boxes": args.boxes,
        "rows": year.rows,
        "database_mb": round(database.stat().st_size / 1e6, 1),
        "making_s": round((made_ns - began_ns) / 1e9, 1),
        "desk_start_s": round((started_ns - made_ns) / 1e9, 1),
    }
    return report


class Year:
    """Writes a year that ends at `until_utc_ns` into a new database."""

    def __init__(self, database: Path, city: City, until_utc_ns: int) -> None:
        self.boxes = [box for box in city.boxes if box.comes]
        self.rows = 0
        self._path = database
        self._until_ns = until_utc_ns
        self._clock = ManualClock(until_utc_ns - YEAR_S * 10**9)
        self._core = Core(90, Rules(groups=2, contacts=CONTACTS))
        self._store = Store(database)
        self._rng = random.Random(city.seed)
        self._waiting: list[Row] = []
        self._seq = 0
        self._later: list[tuple[int, int, Callable[[], None]]] = []
        """UTC ns, a number that keeps the order, what is done then."""

    def make(self, incidents: int) -> str:
        """Returns the id of an incident that is closed; the last few are still open."""
        self._people()
        for box in self.boxes:
            self._did(self._core.take(self._birth(box), self._clock.read()))
        mean_s = YEAR_S / incidents
        first = ""
        for number in range(incidents):
            # Evenly on the whole, by chance in each case.
            due_ns = self._until_ns - round((incidents - number - self._rng.random()) * mean_s * 1e9)
            self._until(due_ns)
            incident_id = self._call(self._rng.choice(self.boxes))
            first = first or incident_id
            if number % 1000 == 0:
                progress(f"incident {number}/{incidents}")
        self._until(self._until_ns)
        for box in self.boxes:
            self._did(self._core.take(self._health(box), self._clock.read()))
            self._waiting.append(box_row(self._core, box.device))
        self._commit()
        self._store.close()
        self._courses()
        return first

    def _people(self) -> None:
        for number in range(PEOPLE):
            login, now = f"operator-{number + 1}", self._clock.read()
            people = self._core.people
            role: Role = "supervisor" if number < 4 else "operator"
            self._did(people.invite(f"invitation {number}", role, number % 2, "", "desk", now))
            # No such password: nobody signs in as one of these.
            self._did(people.accept(f"invitation {number}", login, f"Operator {number + 1}", "none", now))

    def _call(self, box: Box) -> str:
        """A press, perhaps more of them, and what people did about it."""
        rng, incident_id = self._rng, uuid7(self._clock)
        button = rng.choice(list(box.contacts))
        times, test = rng.choices((1, 2, 4), (75, 20, 5))[0], rng.random() < 0.1
        self._did(self._core.take(self._alert(box, incident_id, button, test), self._clock.read()))
        at_s = 0.0
        for _ in range(times - 1):
            at_s += rng.uniform(1, 6)
            self._after(at_s, lambda: self._again(box, incident_id, button, test))
        answer_s = rng.lognormvariate(1.9, 0.6)
        service = box.contacts[button].service
        self._acts(answer_s, incident_id, Seen(incident_id))
        if rng.random() < 0.4:
            text = rng.choice(("A scuffle at the gate.", "कोई नहीं दिखा", "Caller is calm, waits at the box."))
            self._acts(answer_s + 30, incident_id, Note(incident_id, text))
        if not test and rng.random() < 0.5:
            self._acts(answer_s + 45, incident_id, Dispatch(incident_id, service))
        elif rng.random() < 0.5:
            self._acts(answer_s + 45, incident_id, Coming(incident_id))
        disposition: Disposition = "test" if test else rng.choice(DISPOSITIONS)
        self._acts(answer_s + rng.uniform(120, 2400), incident_id, Close(incident_id, disposition))
        return incident_id

    def _again(self, box: Box, incident_id: str, button: str, test: bool) -> None:
        if not self._core.book.is_archived(incident_id):
            self._did(self._core.take(self._alert(box, incident_id, button, test), self._clock.read()))

    def _acts(self, after_s: float, incident_id: str, action: Action) -> None:
        person = self._core.people.get(f"operator-{self._rng.randrange(PEOPLE) + 1}")

        def act() -> None:
            try:
                self._did(self._core.act(person.actor(), action, self._clock.read()))
            except Conflict:
                pass  # the dispatch was the `coming`, as it is with people

        self._after(after_s, act)

    def _alert(self, box: Box, incident_id: str, button: str, test: bool) -> Alert:
        press_id = uuid7(self._clock)
        contact = box.contacts[button]
        press = Press(
            press_id=press_id,
            incident_id=incident_id,
            button=button,
            service=contact.service,
            routing=box.services[contact.service],
            at=self._stamp(),
            silent=contact.silent,
            test=test,
        )
        return Alert(
            id=press_id,
            device=box.device,
            name=box.name,
            place=box.place,
            press=press,
            durable=True,
            attempt=1,
        )

    def _birth(self, box: Box) -> Birth:
        return Birth(
            id=uuid7(self._clock),
            device=box.device,
            online=True,
            session=1,
            name=box.name,
            place=box.place,
            services=dict(box.services),
            version=__version__,
        )

    def _health(self, box: Box) -> Health:
        return Health(
            id=uuid7(self._clock),
            device=box.device,
            session=1,
            at=self._stamp(),
            uptime_s=YEAR_S,
            processes={name: ProcessHealth(up=True) for name in ("callbox", "uplink", "media")},
            incidents=(),
            buttons=dict.fromkeys(box.contacts, "released"),
            waiting=0,
            machine={"temp_c": 51.5, "disk_free_mb": 9000, "mem_free_mb": 210},
        )

    def _stamp(self) -> Stamp:
        self._seq += 1
        return Stamp.of(self._clock.read(), self._seq)

    def _courses(self) -> None:
        """The boxes' courses, written past the store: five million rows, each of them only a point."""
        now_s = self._until_ns // 10**9
        fine_s = now_s - FINE_S
        with closing(sqlite3.connect(self._path)) as db, db:
            progress("hours of the boxes")
            hours = range((now_s - YEAR_S) // 3600 * 3600, fine_s, 3600)
            db.executemany("INSERT INTO health_hours VALUES (?, ?, 120, ?, ?, ?, 0)", self._points(hours))
            progress("the boxes' last days")
            slots = range(fine_s // SLOT_S * SLOT_S, now_s // SLOT_S * SLOT_S, SLOT_S)
            db.executemany("INSERT OR IGNORE INTO health VALUES (?, ?, 10, ?, ?, ?, 0)", self._points(slots))

    def _points(self, slots: range) -> Iterable[tuple[str, int, float, float, float]]:
        for box in self.boxes:
            for slot in slots:
                self.rows += 1
                # Hottest at 9 h UTC, which is the early afternoon of Sagar; a disk that fills and is cleaned.
                temp_c = 44 + 7 * math.cos((slot % DAY_S / 3600 - 9) / 24 * math.tau) + slot // SLOT_S % 5 / 5
                yield (
                    box.device,
                    slot,
                    round(temp_c, 1),
                    9000 - slot // 3600 % 240 * 10,
                    200 + slot // SLOT_S % 9,
                )

    # -- time, and what follows ----------------------------------------------------------------

    def _after(self, seconds: float, what: Callable[[], None]) -> None:
        self._seq += 1
        heapq.heappush(self._later, (self._clock.utc_ns() + round(seconds * 1e9), self._seq, what))

    def _until(self, utc_ns: int) -> None:
        while self._later and self._later[0][0] <= utc_ns:
            at_ns, _, what = heapq.heappop(self._later)
            self._clock.advance((at_ns - self._clock.utc_ns()) / 1e9)
            what()
        self._clock.advance((utc_ns - self._clock.utc_ns()) / 1e9)

    def _did(self, outcome: Outcome) -> None:
        self._waiting += outcome.rows
        if len(self._waiting) >= BATCH:
            self._commit()

    def _commit(self) -> None:
        self._store.commit(self._waiting)
        self.rows += len(self._waiting)
        self._waiting.clear()
