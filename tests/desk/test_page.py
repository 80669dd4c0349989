"""The operators' page in real Chromium, without the flag that lets pages play sound unasked."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, Page, async_playwright, expect

from edge.desk.api import PAGES
from edge.desk.main import Http, listen
from edge.sim.broker import free_port
from tests.desk.conftest import TOKEN, Desk, build
from tests.desk.wire import alert, birth, health, uid

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here"),
    pytest.mark.asyncio(loop_scope="module"),
]


@dataclass
class Shift:
    """A desk on a port, and an operator in front of it."""

    desk: Desk
    page: Page
    url: str
    browser: Browser
    ticks: asyncio.Task[None]

    async def sounds(self, kinds: str) -> None:
        """The page's sound is running and plays these kinds, in the alphabet's order."""
        root = self.page.locator("html")
        await expect(root).to_have_attribute("data-sound", "on")
        await expect(root).to_have_attribute("data-ringing", kinds)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as driver:
        started = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        await started.close()


@pytest_asyncio.fixture(loop_scope="module")
async def shift(tmp_path: Path, browser: Browser) -> AsyncIterator[Shift]:
    desk, port = build(tmp_path), free_port()
    http = Http(uvicorn.Config(desk.app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    loop = asyncio.get_running_loop()
    ticks = loop.create_task(desk.service.run())
    tasks = [loop.create_task(desk.keeper.run()), loop.create_task(http.serve([listen("127.0.0.1", port)]))]
    page = await browser.new_page(viewport={"width": 1440, "height": 900})
    url = f"http://127.0.0.1:{port}/"
    await sign_in(page, url)
    yield Shift(desk, page, url, browser, ticks)
    await page.close()
    desk.service.close()
    http.should_exit = True
    await tasks[1]
    for task in (ticks, *tasks):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def sign_in(page: Page, url: str, name: str = "Asha") -> None:
    await page.goto(f"{url}#token={TOKEN}")
    await page.fill("input[name=name]", name)
    await page.click("button.primary")
    await page.wait_for_selector("#list .quiet, #alerts .alert")


async def test_an_alert_rings_and_goes_its_whole_way(shift: Shift) -> None:
    page, desk = shift.page, shift.desk
    assert TOKEN not in page.url
    await shift.sounds("")
    assert desk.hub.staffed == 1
    await page.evaluate(
        "document.addEventListener('desk:alert', (e) => (window.handled ??= []).push(e.detail.press_id))"
    )
    desk.service.take(alert(1), "alert")
    await expect(page.locator(".alert.help .kind")).to_have_text("CALL FOR HELP")
    await shift.sounds("help")
    assert await page.evaluate("window.handled") == [uid(1)]
    assert await page.title() == "(1) CALL FOR HELP · Bus stand, gate 2"
    await page.click(".alert [data-do=seen]")
    await expect(page.locator(".alert")).to_have_count(0)
    await shift.sounds("")
    await page.click("#detail [data-do=coming]")
    await page.click("#detail [data-do=closing]")
    await page.click("#detail [data-do=close][data-as=prank]")
    await expect(page.locator("#detail .timeline strong")).to_have_text(
        ["Button pressed", "Acknowledged", "Help is coming", "Closed"]
    )
    assert desk.core.book.get(uid(1)).disposition == "prank"
    desk.service.take(alert(2, 1), "alert")
    await shift.sounds("help")
    await expect(page.locator("#detail .timeline strong").last).to_have_text("Pressed again: reopened")


async def test_I10_duress_and_test_differ_from_a_call_in_word_shape_and_sound(shift: Shift) -> None:
    page, desk = shift.page, shift.desk
    desk.service.take(alert(1, test=True, test_by="Ravi", device="box-1"), "alert")
    desk.service.take(alert(2, silent=True, device="box-2"), "alert")
    desk.service.take(alert(3, device="box-3"), "alert")
    await shift.sounds("duress help test")
    await expect(page.locator(".alert .kind")).to_have_text(["SILENT CALL", "CALL FOR HELP", "TEST"])
    shapes = await page.eval_on_selector_all(
        ".alert .mark use", "all => all.map(u => u.getAttribute('href'))"
    )
    assert len(set(shapes)) == 3
    await expect(page.locator(".alert.test .question p")).to_have_text(
        "Ravi says this is a test. Ask Ravi before you believe it."
    )
    await page.click(".alert.test [data-do=test-no]")
    await expect(page.locator(".alert.test")).to_have_count(0)
    await expect(page.locator(".alert.help")).to_have_count(2)
    assert desk.core.book.get(uid(1)).question == "denied"


async def test_the_page_alarms_by_itself_when_the_desk_falls_silent(shift: Shift) -> None:
    shift.ticks.cancel()
    await expect(shift.page.locator(".bar.gone")).to_be_visible(timeout=9_000)
    await shift.sounds("desk")
    assert "No word from the desk" in await shift.page.title()
    await expect(shift.page.locator("#top .light.good")).to_have_count(0)
    shift.desk.service.tick()
    await expect(shift.page.locator(".bar.gone")).to_have_count(0)


async def test_a_fault_of_broker_or_store_is_a_red_bar_with_sound(shift: Shift) -> None:
    shift.desk.service.link_changed(False, "connection refused")
    await expect(shift.page.locator(".bar.broker")).to_contain_text("connection refused")
    await shift.sounds("desk")
    await shift.page.click("[data-do=hush]")
    await shift.sounds("")
    shift.desk.service.take(alert(1), "alert")
    await shift.sounds("help")
    shift.desk.service.link_changed(True)
    shift.desk.keeper.fault = "disk is full"
    shift.desk.service.tick()
    await expect(shift.page.locator(".bar.store")).to_contain_text("disk is full")
    await expect(shift.page.locator("html")).to_have_attribute("data-ringing", "desk help")


async def test_a_page_loaded_anew_says_that_it_is_mute_until_a_person_clicks(shift: Shift) -> None:
    shift.desk.service.take(alert(1), "alert")
    await shift.page.reload()
    await expect(shift.page.locator(".bar.shift")).to_contain_text("the sound is off")
    await expect(shift.page.locator("html")).to_have_attribute("data-sound", "off")
    await shift.page.click("[data-do=shift]")
    await shift.sounds("help")
    await expect(shift.page.locator(".bar.shift")).to_have_count(0)


async def test_of_two_operators_the_second_is_told_who_was_first(shift: Shift) -> None:
    other = await shift.browser.new_page()
    await sign_in(other, shift.url, "Vikram")
    shift.desk.service.take(alert(1), "alert")
    await expect(other.locator(".alert")).to_have_count(1)
    await shift.page.click(".alert [data-do=seen]")
    await expect(other.locator(".alert")).to_have_count(0)
    await expect(other.locator("#list .row.seen .sub")).to_contain_text("Asha")
    path = f"/api/incidents/{uid(1)}/acts"
    status = await other.evaluate(
        "async (path) => (await fetch(path, {method: 'POST', headers: {'Content-Type': 'application/json'},"
        " body: JSON.stringify({act: 'seen'})})).status",
        path,
    )
    assert status == 409
    await other.close()


async def test_a_storm_of_alerts_shows_the_oldest_and_counts_the_rest(shift: Shift) -> None:
    page = shift.page
    await page.evaluate(
        "document.addEventListener('desk:alert', () => {"
        " document.body.dataset.heard = Number(document.body.dataset.heard ?? 0) + 1 })"
    )
    for number in range(1, 61):
        shift.desk.service.take(alert(number, device=f"box-{number}"), "alert")
    await expect(page.locator("#alerts .more-ring")).to_have_text("54 more are ringing, younger than these")
    ids = await page.eval_on_selector_all(".alert", "all => all.map(a => a.dataset.key)")
    assert ids == [uid(n) for n in range(1, 7)]
    # Not wait_for_function: it asks again by eval, which the page's Content-Security-Policy forbids.
    await expect(page.locator("body")).to_have_attribute("data-heard", "60")


async def test_whatever_a_box_calls_itself_stays_text(shift: Shift) -> None:
    page, desk = shift.page, shift.desk
    hostile = "<img src=x onerror=\"document.title='owned'\"><b>"
    evil = birth(1, session=1).model_copy(update={"name": hostile, "version": hostile})
    desk.service.take(evil, "birth")
    sick = health(machine={"fault_x": hostile, "temp_c": hostile}, shed=())
    desk.service.take(sick, "health")
    desk.service.take(alert(1, name=hostile, test=True, test_by=hostile), "alert")
    await expect(page.locator(".alert .name")).to_have_text(hostile)
    await page.click("#boxes .row")
    await page.click(".alert [data-do=seen]")
    await expect(page.locator("#detail h2")).to_have_text(hostile)
    assert await page.locator("img, #page b:not(.count):not(.tag)").count() == 0
    assert await page.title() != "owned"


async def test_hindi_and_english_switch_at_once_and_stay(shift: Shift) -> None:
    page = shift.page
    shift.desk.service.take(alert(1, silent=True), "alert")
    await expect(page.locator(".alert .kind")).to_have_text("SILENT CALL")
    await page.click("#top [data-do=language]")
    await expect(page.locator(".alert .kind")).to_have_text("मौन पुकार")
    await expect(page.locator("html")).to_have_attribute("lang", "hi")
    await page.reload()
    await expect(page.locator(".alert .kind")).to_have_text("मौन पुकार")


async def test_on_a_phone_nothing_is_wider_than_the_screen_and_buttons_fit_a_thumb(shift: Shift) -> None:
    page, desk = shift.page, shift.desk
    await page.set_viewport_size({"width": 390, "height": 844})
    desk.service.take(health(), "health")
    desk.service.take(alert(1, test=True, test_by="Ravi", name="W" * 120), "alert")
    desk.service.take(alert(2, silent=True, device="box-2"), "alert")
    await expect(page.locator(".alert")).to_have_count(2)
    for step in (None, "[data-do=tab][data-tab=boxes]", "#boxes .row", "[data-do=language]"):
        if step:
            await page.locator(step).first.click()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        small = await page.eval_on_selector_all(
            "button", "all => all.filter(b => b.offsetParent && b.offsetHeight < 44).map(b => b.innerText)"
        )
        assert small == []


async def test_every_word_is_there_in_both_languages(shift: Shift) -> None:
    words: Any = await shift.page.evaluate("import('/words.js').then((m) => m.WORDS)")
    assert words["en"].keys() == words["hi"].keys()
    holes = re.compile(r"\{\w+\}")
    for key, english in words["en"].items():
        assert sorted(set(holes.findall(english))) == sorted(set(holes.findall(words["hi"][key]))), key
    used = {
        key
        for file in PAGES.glob("*.js")
        for key in re.findall(r"\bt\(\"(\w+)\"|fact\(\"(\w+)\"|facts\(\"(\w+)\"", file.read_text())
        for key in key
        if key
    }
    assert used <= words["en"].keys()
