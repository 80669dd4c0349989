"""Broker and desk die, and the page is loaded anew, in the middle of calls: a real box, broker and desk."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from edge.sim.bench_press import page_at
from edge.sim.observer import Observer, at_least
from edge.sim.stack import Stack
from tests.desk.test_page import CHROMIUM

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
TROUBLES = ("broker", "desk", "page", "none")
MOMENTS = ("pressed", "seen")
LONG_S = 60.0


class Ledger:
    """Presses as the box made them, and as they stand in the desk's store."""

    def __init__(self, stack: Stack, observer: Observer) -> None:
        self._path = stack.folder / "desk" / "desk.sqlite3"
        self._observer = observer
        self._checked: set[str] = set()
        self.early: list[str] = []
        """Incidents whose citizen heard `received` before the desk's store had them."""
        observer.on_change(self._look)

    def rows(self, sql: str) -> list[tuple[str, int]]:
        with contextlib.closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as db:
            return db.execute(sql).fetchall()

    def _look(self) -> None:
        for incident_id, step in list(self._observer.progress):
            if step in ("received", "seen", "coming") and incident_id not in self._checked:
                self._checked.add(incident_id)
                stored = dict(self.rows("SELECT incident_id, count(*) FROM presses GROUP BY incident_id"))
                if not stored.get(incident_id):
                    self.early.append(incident_id)


async def test_I2_I3_nothing_is_lost_or_doubled_while_broker_desk_and_page_die(
    tmp_path: Path, rounds: int
) -> None:
    stack = Stack(tmp_path / "s")
    observer = Observer(stack)
    async with stack, page_at(stack) as page:
        observer.open()
        ledger = Ledger(stack, observer)
        await observer.until("the box reaches the broker", lambda: observer.link or None)
        plan = [(t, m) for t in TROUBLES for m in MOMENTS] * -(-rounds // 3)
        random.shuffle(plan)
        for trouble, moment in plan:
            await call(stack, observer, page, trouble, moment)
        stored = [press_id for press_id, _ in ledger.rows("SELECT press_id, 1 FROM presses")]
        told = ledger.rows("SELECT kind, count(*) FROM timeline WHERE box_stamp IS NOT NULL GROUP BY kind")
        assert sorted(stored) == sorted(observer.presses), "none lost, none that nobody made"
        assert len(stored) == len(plan)
        assert dict(told)["press"] == len(plan), "none doubled"
        assert ledger.early == [], "no receipt before the commit"
        await observer.close()


async def test_the_page_alarms_by_itself_while_the_desk_is_stopped(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "s", roles=())
    async with stack, page_at(stack) as page:
        stack.launcher.suspend("desk")
        try:
            await expect(page.locator(".bar.gone")).to_be_visible(timeout=LONG_S * 1000)
            await expect(page.locator("html")).to_have_attribute("data-ringing", "desk")
        finally:
            stack.launcher.resume("desk")
        await expect(page.locator(".bar.gone")).to_have_count(0, timeout=LONG_S * 1000)
        await expect(page.locator("html")).to_have_attribute("data-ringing", "")


async def call(stack: Stack, observer: Observer, page: Page, trouble: str, moment: str) -> None:
    """A press, its acknowledgement, its end; and at a moment of it the trouble."""
    known = set(observer.presses)
    pressing = asyncio.create_task(stack.stage.press("police", 0.15))
    if moment == "pressed":
        await asyncio.sleep(random.uniform(0, 0.5))
        await make(trouble, stack, page)
    await pressing
    press = await observer.until("the press", lambda: next(iter(observer.presses.keys() - known), None))
    incident_id = observer.presses[press].press.incident_id
    await expect(page.locator(".alert")).to_have_count(1, timeout=LONG_S * 1000)
    await page.keyboard.press("a")
    if moment == "seen":
        await asyncio.sleep(random.uniform(0, 0.3))
        await make(trouble, stack, page)
    await close(page, stack, observer, incident_id)


async def make(trouble: str, stack: Stack, page: Page) -> None:
    if trouble == "broker":
        await stack.broker.kill()
        await stack.broker.start()
    elif trouble == "desk":
        starts = stack.launcher.starts("desk")
        stack.launcher.kill("desk")
        await stack.launcher.next_life("desk", starts)
    elif trouble == "page":
        await page.reload()


async def close(page: Page, stack: Stack, observer: Observer, incident_id: str) -> None:
    """The operator acknowledges and closes, and does so again when the page says that it was not saved."""
    for _ in range(round(LONG_S)):
        if at_least(observer, incident_id, "closed") is not None:
            return
        await page.goto(f"{stack.desk_url}/#/incident/{incident_id}")
        with contextlib.suppress(AssertionError):
            if await page.locator(".alert").count():
                await page.keyboard.press("a")
            await expect(page.locator("[data-do=closing]")).to_be_visible(timeout=1000)
            await page.click("[data-do=closing]")
            await page.click("[data-do=close][data-as=real]")
        await asyncio.sleep(1)
    raise AssertionError(f"{incident_id} could not be closed")
