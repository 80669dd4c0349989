"""The page's words in both languages, for eyes and ears; and words of strangers, which stay words."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from edge.desk.api.page import PAGES
from edge.desk.core import Dispatch, Group, Note, Seen
from edge.protocol.common import CivicAddress, Place
from tests.desk.conftest import Desk
from tests.desk.test_page import CHROMIUM, VIEWS, Shift, browser, shift
from tests.desk.wire import alert, birth, event, health, result, uid

__all__ = ["browser", "shift"]
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here"),
    pytest.mark.asyncio(loop_scope="module"),
]

AXE = (Path(str(files("axe_playwright_python"))) / "axe.min.js").read_text()
HINDI = "बस अड्डा"
TEXTS = """() => {
  const found = [document.title];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) found.push(walk.currentNode.data);
  for (const name of ["aria-label", "placeholder", "title", "data-label"])
    for (const node of document.querySelectorAll(`[${name}]`)) found.push(node.getAttribute(name));
  return found.map((text) => text.trim()).filter(Boolean);
}"""
OWN = re.compile(
    r"English|edge desk audit verify|GeoJSON|CSV|MB|GB|p50|p95|box-\d|pcr|callbox|uplink|left|asha|ravi|"
    r"Enter|Esc|a–z|[0-9a-f]{12,}|javascript:alert|J / ↓|K / ↑|incidents\.|boxes\."
)
"""What is the same in every language: names of data, units, keys."""


def place(text: str) -> Place:
    return Place(lat=29.69, lon=76.99, civic=CivicAddress(A3=text, RD=text, LOC=text, PC=text, A1=text))


async def fill(desk: Desk, text: str, number: int = 0) -> None:
    """Something on every view, all of it called `text`."""
    first = birth(900 + number, session=1).model_copy(
        update={"name": text, "version": text, "place": place(text)}
    )
    desk.service.take(first, "birth")
    machine = {"fault_x": text, "temp_c": 55.5, "disk_free_mb": 900, "mem_free_mb": text}
    desk.service.take(health(machine=machine, tamper="open", shed=("video",) if number else ()), "health")
    told = event(910 + number).model_copy(update={"text": text})
    desk.service.take(told, "event")
    for press in (1, 2):
        call = alert(number + press, name=text).model_copy(update={"place": place(text)})
        desk.service.take(call, "alert")
    desk.service.take(alert(number + 3, name=text, test=True, test_by=text, device="box-2"), "alert")
    actor = desk.core.people.get("asha").actor()
    for act in (
        Seen(uid(number + 1)),
        Note(uid(number + 1), text),
        Dispatch(uid(number + 1), "pcr"),
        Group(uid(number + 1), uid(number + 2)),
    ):
        await desk.service.act(actor, act)
    async with desk.program() as program:
        given = await program.post("/api/boxes/box-1/commands", json={"name": "ping"})
    answered = result(given.json()["command_id"], "failed").model_copy(update={"reason": text})
    desk.service.take(answered, "result")
    desk.service.tick()


async def opened(page: Page, shift: Shift, name: str) -> None:
    await page.goto(f"{shift.url}#/{name}")
    await expect(page.locator(VIEWS[name])).to_be_visible()


async def test_every_word_is_there_in_both_languages(shift: Shift) -> None:
    words: Any = await shift.page.evaluate("import('/page/0/words.js').then((m) => m.WORDS)")
    assert words["en"].keys() == words["hi"].keys()
    holes = re.compile(r"\{\w+\}")
    for key, english in words["en"].items():
        assert sorted(set(holes.findall(english))) == sorted(set(holes.findall(words["hi"][key]))), key
        assert english.strip(), key
        assert words["hi"][key].strip(), key
    source = "\n".join(file.read_text() for file in PAGES.glob("*.js"))
    plain = {key for pair in re.findall(r"\bt\(\"(\w+)\"|\bfacts?\(\"(\w+)\"", source) for key in pair if key}
    assert plain <= words["en"].keys()
    for family in set(re.findall(r"\bt\(`(\w+_)\$\{", source)):
        assert any(key.startswith(family) for key in words["en"]), family


async def test_no_english_word_is_left_in_the_hindi_page(shift: Shift) -> None:
    page, desk = shift.page, shift.desk
    await fill(desk, HINDI)
    await page.click("#top [data-do=language]")
    left: dict[str, list[str]] = {}
    for name in VIEWS:
        await opened(page, shift, name)
        if name.startswith("incident/"):
            await page.click("[data-do=closing]")
        if name == "map":
            await page.click("#top [data-do=help]")
        texts = [OWN.sub("", text) for text in await page.evaluate(TEXTS)]
        words = [text for text in texts if re.search(r"[A-Za-z]{2,}", text)]
        known = (
            "Asha",
            "Ravi",
            "Police control room",
            "No number",
            "Operator",
            "Karnal",
            "administrator",
            "Sagar",
            "Control room",
        )
        left[name] = [w for w in words if not any(name in w for name in known)]
    assert {name: words for name, words in left.items() if words} == {}


async def test_no_view_has_a_serious_fault_for_people_who_cannot_see_or_point(shift: Shift) -> None:
    page = shift.page
    await fill(shift.desk, "Bus stand")
    faults = []
    for language in ("en", "hi"):
        await expect(page.locator("html")).to_have_attribute("lang", language)
        for name in VIEWS:
            await opened(page, shift, name)
            faults += [(language, name, *found) for found in await judged(page)]
        await page.keyboard.press("?")
        await expect(page.locator(".shortcuts")).to_be_visible()
        faults += [(language, "keys", *found) for found in await judged(page)]
        await page.keyboard.press("Escape")
        await page.click("#top [data-do=language]")
    await page.click("[data-do=sign-out]")
    await page.wait_for_selector(".login")
    faults += [("en", "door", *found) for found in await judged(page)]
    assert faults == []


async def judged(page: Page) -> list[tuple[str, str]]:
    if not await page.evaluate("typeof axe !== 'undefined'"):
        await page.evaluate(f"{AXE}\n;0")
    told: Any = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        (fault["id"], node["html"][:200])
        for fault in told["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"][:3]
    ]


async def test_whatever_a_box_or_a_person_writes_stays_text(shift: Shift) -> None:
    page, desk = shift.page, shift.desk
    hostile = "<img src=x onerror=\"document.title='owned'\"><b>"
    await fill(desk, hostile, 10)
    desk.person(hostile[:60])
    await expect(page.locator(".alert .name").first).to_have_text(hostile)
    for name in [*VIEWS, f"incident/{uid(11)}"]:
        shown = name.replace(uid(1), uid(11))
        await page.goto(f"{shift.url}#/{shown}")
        await expect(page.locator(VIEWS.get(name, VIEWS[f"incident/{uid(1)}"]))).to_be_visible()
        assert await page.locator("#page img, #page script, [onerror]").count() == 0
        assert "owned" not in await page.title() or hostile in await page.title()
    await page.goto(f"{shift.url}#/box/{hostile}")
    await expect(page.locator("#page-view")).to_contain_text("There is no such thing here.")
    odd = await page.eval_on_selector_all("a", "all => all.map(a => a.href)")
    assert [link for link in odd if not re.match(r"https?://127|tel:[0-9+*#]+$", link)] == []
