"""The operators' page in real Chromium, without the flag that lets pages play sound unasked."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, Page, async_playwright, expect

from edge.clock import Reading, SystemClock
from edge.desk.book import Contact, Rules
from edge.desk.main import Http, listen
from edge.desk.people import Role
from edge.desk.sessions import digest
from edge.desk.views import ContactView, DeskInfo
from edge.sim.bench_year import VIEWS as PATTERNS
from edge.sim.broker import free_port
from tests.desk.conftest import PASSWORD, Desk, build
from tests.desk.wire import alert, health, uid

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

CONTACTS = (
    Contact("pcr", "Police control room", "112", "police"),
    Contact("odd", "No number", "javascript:alert(1)", "women"),
)
GROUPS = ["Control room", "Police control room"]
INFO = DeskInfo(
    city="karnal",
    groups=GROUPS,
    answer_s=15,
    contacts=[ContactView(key=c.key, name=c.name, number=c.number, service=c.service) for c in CONTACTS],
    tiles="",
    tiles_credit="",
)
VIEWS = {
    name.format(incident=uid(1), box="box-1", month="2026-01-01"): wanted for name, wanted in PATTERNS.items()
}
# A busy machine is no failure.
expect.set_options(timeout=20_000)


class Ahead(SystemClock):
    """The machine's clock, put forward as far as a test wants."""

    by_ns = 0

    def mono_ns(self) -> int:
        return super().mono_ns() + self.by_ns

    def utc_ns(self) -> int:
        return super().utc_ns() + self.by_ns

    def read(self) -> Reading:
        return replace(super().read(), utc_ns=self.utc_ns(), mono_ns=self.mono_ns())


@dataclass
class Shift:
    """A desk on a port, and an operator in front of it."""

    desk: Desk
    page: Page
    url: str
    browser: Browser
    ticks: asyncio.Task[None]
    clock: Ahead

    async def sounds(self, kinds: str, page: Page | None = None) -> None:
        """The page's sound is running and plays these kinds, in the alphabet's order."""
        root = (page or self.page).locator("html")
        await expect(root).to_have_attribute("data-sound", "on")
        await expect(root).to_have_attribute("data-ringing", kinds)

    def pass_s(self, seconds: float) -> None:
        """So much time passes at the desk at once."""
        self.clock.by_ns += round(seconds * 1e9)
        self.desk.service.tick()

    async def colleague(self, name: str, role: Role = "operator", group: int = 0) -> Page:
        """Another person at a page of his own."""
        page = await self.browser.new_page(viewport={"width": 1440, "height": 900})
        await join(page, self.url, self.desk, name, role, group)
        return page


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as driver:
        started = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        await started.close()


@pytest_asyncio.fixture(loop_scope="module")
async def shift(tmp_path: Path, browser: Browser) -> AsyncIterator[Shift]:
    async with at_the_desk(tmp_path, browser, INFO) as made:
        yield made


@contextlib.asynccontextmanager
async def at_the_desk(folder: Path, browser: Browser, info: DeskInfo) -> AsyncIterator[Shift]:
    """A desk on the store in `folder`, and a supervisor who begins the shift."""
    contacts = tuple(Contact(**c.model_dump()) for c in info.contacts)
    desk, port = build(folder, rules=Rules(info.answer_s, len(info.groups), contacts)), free_port()
    desk.door = replace(desk.door, info=info.model_copy())
    desk.service._clock = clock = Ahead()
    http = Http(uvicorn.Config(desk.app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    loop = asyncio.get_running_loop()
    ticks = loop.create_task(desk.service.run())
    tasks = [loop.create_task(desk.keeper.run()), loop.create_task(http.serve([listen("127.0.0.1", port)]))]
    page = await browser.new_page(viewport={"width": 1440, "height": 900})
    url = f"http://127.0.0.1:{port}/"
    try:
        await join(page, url, desk, "Asha", "supervisor")
        yield Shift(desk, page, url, browser, ticks, clock)
    finally:
        await page.close()
        desk.service.close()
        http.should_exit = True
        await tasks[1]
        for task in (ticks, *tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def invite(desk: Desk, secret: str, role: Role = "operator", group: int = 0, login: str = "") -> None:
    now = SystemClock().read()
    desk.keeper.submit(desk.core.people.invite(digest(secret), role, group, login, "Ravi", now))


async def join(page: Page, url: str, desk: Desk, name: str, role: Role = "operator", group: int = 0) -> None:
    """By invitation, as everybody comes in the first time."""
    invite(desk, f"secret of {name}", role, group)
    await page.goto(f"{url}#invitation=secret%20of%20{name}")
    await enter(page, name=name, login=name.lower(), password=PASSWORD)
    await page.wait_for_selector("#list .quiet, #alerts .alert, #alerts .elsewhere, #list .group")


async def enter(page: Page, **fields: str) -> None:
    for name, value in fields.items():
        await page.fill(f"input[name={name}]", value)
    await page.click("button.primary")


async def test_an_invitation_leaves_the_address_at_once_and_works_once(shift: Shift) -> None:
    page = await shift.browser.new_page()
    invite(shift.desk, "used-once")
    await page.goto(f"{shift.url}#invitation=used-once")
    await expect(page.locator("[data-form=join]")).to_contain_text("Ravi invites you as: Operator")
    assert "used-once" not in page.url
    await enter(page, name="Vikram", login="vikram", password="vikram vikram")
    await expect(page.locator(".fault")).to_contain_text("at least 12 characters")
    await enter(page, password=PASSWORD)
    await shift.sounds("", page)
    await page.wait_for_selector("[data-do=end-shift]")  # it moves the button beside it
    await page.click("[data-do=sign-out]")
    await page.wait_for_selector(".login")
    await page.goto(f"{shift.url}#invitation=used-once")
    await expect(page.locator(".fault")).to_contain_text("was used")
    await page.close()


async def test_a_wrong_password_is_told_and_the_right_one_begins_the_shift(shift: Shift) -> None:
    page = await shift.browser.new_page()
    shift.desk.person("Vikram")
    await page.goto(shift.url)
    await enter(page, login="vikram", password="no")
    await expect(page.locator(".fault")).to_have_text("Name or password is not right.")
    await enter(page, password=PASSWORD)
    await shift.sounds("", page)
    await expect(page.locator("#top .duty")).to_have_text("2 on duty")
    await page.close()


async def test_a_new_password_is_chosen_under_the_old_name(shift: Shift) -> None:
    page = await shift.browser.new_page()
    invite(shift.desk, "renewal", login=shift.desk.person("Vikram"))
    await page.goto(f"{shift.url}#invitation=renewal")
    await expect(page.locator("input[name=login]")).to_have_value("vikram")
    assert await page.locator("input[name=login]").get_attribute("readonly") is not None
    await page.fill("input[name=password]", "four words apart now")
    await page.click("button.primary")
    await expect(page.locator("#top .name")).to_contain_text("Vikram")
    await page.close()


async def test_an_observer_sees_and_neither_rings_nor_acts(shift: Shift) -> None:
    page = await shift.colleague("Meena", "observer")
    shift.desk.service.take(alert(1), "alert")
    await expect(page.locator("#alerts .elsewhere li")).to_have_count(1)
    await expect(page.locator("html")).to_have_attribute("data-ringing", "")
    assert await page.locator("[data-do=seen], [data-do=shift], .bar.shift").count() == 0
    await page.click("#list a.row")
    await expect(page.locator("#detail h2")).to_have_text("Bus stand, gate 2")
    assert await page.locator("#detail .acts, #detail form").count() == 0
    await page.close()


async def test_an_alert_rings_and_goes_its_whole_way(shift: Shift) -> None:
    page, desk = shift.page, shift.desk
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
    other = await shift.colleague("Vikram")
    shift.desk.service.take(alert(1), "alert")
    await expect(other.locator(".alert")).to_have_count(1)
    await shift.page.click(".alert [data-do=seen]")
    await expect(other.locator(".alert")).to_have_count(0)
    await expect(other.locator("#list .row.seen .sub")).to_contain_text("Asha")
    await expect(other.locator("#toast")).to_have_text("Asha has taken it: Bus stand, gate 2")
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
    for language in ("en", "hi"):
        for name, heading in VIEWS.items():
            await page.goto(f"{shift.url}#/{name}")
            await expect(page.locator(heading)).to_be_visible()
            assert await page.evaluate("document.documentElement.scrollWidth") <= 390, (name, language)
            small = await page.eval_on_selector_all(
                "button, #top a",
                "all => all.filter(b => b.offsetParent && b.offsetHeight < 44).map(b => b.innerText)",
            )
            assert small == [], (name, language)
        await page.click("[data-do=language]")
