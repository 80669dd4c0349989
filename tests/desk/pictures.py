"""``python -m tests.desk.pictures docs/desk``: every view of the desk, both languages, both sizes, as PNG.

Not a test: it makes the pictures of the operator's guide, of a city's desk with some weeks behind it.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from playwright.async_api import async_playwright, expect

from edge.clock import SystemClock
from edge.desk.core import Dispatch, Note, Seen
from edge.desk.views import ContactView
from edge.sim.bench_year import CONTACTS, Year, month_of
from edge.sim.city import Box, City
from tests.desk.test_page import CHROMIUM, FLAGS, INFO, PATTERNS, Shift, at_the_desk
from tests.desk.wire import alert, health, uid

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
BOXES, INCIDENTS = 60, 2500
NOTES = ("Two men on a motorcycle follow her since the lake.", "वह पूछताछ खिड़की के पास खड़ी है")


async def main(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        database, city = Path(folder, "desk.sqlite3"), City(1, BOXES)
        Year(database, city, SystemClock().utc_ns()).make(INCIDENTS)
        contacts = [ContactView(**asdict(contact)) for contact in CONTACTS]
        info = INFO.model_copy(update={"city": "sagar", "contacts": contacts})
        async with async_playwright() as driver:
            browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            async with at_the_desk(Path(folder), browser, info) as shift:
                await weather(shift, city)
                await shoot(shift, city, target)
            await browser.close()


async def weather(shift: Shift, city: City) -> None:
    """Most boxes are well; one junction is dark, some boxes complain; one call is in hand."""
    desk = shift.desk
    for incident in desk.core.book.listed():
        if incident.state != "closed":
            await act(shift, Seen(incident.incident_id))
    shift.pass_s(120)
    dark = city.boxes[9].junction
    for number, box in enumerate(box for box in city.boxes if box.comes and box.junction != dark):
        machine = {"temp_c": 86.0 if number == 7 else 52.0, "disk_free_mb": 9000, "mem_free_mb": 210}
        buttons = dict.fromkeys(box.contacts, "stuck" if number == 20 else "released")
        lid = "open" if number == 13 else "closed"
        desk.service.take(health(box.device, machine=machine, buttons=buttons, tamper=lid), "health")
    desk.service.tick()
    call(shift, 1, city.boxes[1], "women")
    call(shift, 2, city.boxes[1], "women", incident=1)
    for action in (Seen(uid(1)), Note(uid(1), NOTES[0]), Note(uid(1), NOTES[1]), Dispatch(uid(1), "police")):
        await act(shift, action)


def call(
    shift: Shift, number: int, box: Box, service: str, incident: int | None = None, **more: object
) -> None:
    told = alert(
        number, incident, box.device, name=box.name, service=service, routing=box.services[service], **more
    )
    shift.desk.service.take(told.model_copy(update={"place": box.place}), "alert")


async def act(shift: Shift, action: Seen | Note | Dispatch) -> None:
    await shift.desk.service.act(shift.desk.core.people.get("asha").actor(), action)


async def shoot(shift: Shift, city: City, target: Path) -> None:
    page, numbers = shift.page, itertools.count(10)
    known = {"incident": uid(1), "box": city.boxes[1].device, "month": await month_of(page)}
    views: dict[str, tuple[str, str]] = {}
    for name, wanted in PATTERNS.items():
        views.setdefault(re.split("[/?]", name)[0], (name.format(**known), wanted))
    for language, (size, (width, height)) in itertools.product(("en", "hi"), SIZES.items()):
        await page.set_viewport_size({"width": width, "height": height})
        if await page.locator("html").get_attribute("lang") != language:
            await page.click("#top [data-do=language]")
        for name, (path, wanted) in views.items():
            await page.goto(f"{shift.url}#/{path}")
            await expect(page.locator(wanted)).to_be_visible()
            await page.screenshot(path=target / f"{name}-{language}-{size}.png")
        await page.goto(f"{shift.url}#/incidents")
        ring = [next(numbers) for _ in range(3)]
        call(shift, ring[0], city.boxes[11], "police")
        call(shift, ring[1], city.boxes[3], "women", silent=True)
        call(shift, ring[2], city.boxes[25], "police", test=True, test_by="R. Ahirwar")
        await expect(page.locator(".alert")).to_have_count(3)
        await page.screenshot(path=target / f"alert-{language}-{size}.png")
        for number in ring:
            await act(shift, Seen(uid(number)))
        await expect(page.locator(".alert")).to_have_count(0)
    await page.click("[data-do=sign-out]")
    await page.wait_for_selector(".login")
    for language, (size, (width, height)) in itertools.product(("hi", "en"), SIZES.items()):
        await page.set_viewport_size({"width": width, "height": height})
        if await page.locator("html").get_attribute("lang") != language:
            await page.click("[data-do=language]")
        await page.screenshot(path=target / f"door-{language}-{size}.png")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(folder))
