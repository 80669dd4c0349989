"""A shift at the operators' page, from signing in to the end of a case, with colleagues and without."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from playwright.async_api import Page, expect

from tests.desk.test_page import CHROMIUM, Shift, browser, shift
from tests.desk.wire import alert, birth, health, uid

__all__ = ["browser", "shift"]
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here"),
    pytest.mark.asyncio(loop_scope="module"),
]

LOUD = """async () => {
  // The page's own, which is one under its full name.
  const { loudness } = await import(new URL("ring.js", document.querySelector("script").src));
  for (let n = 0; n < 400; n++) {
    if (loudness() > 0.05) return true;
    await new Promise((done) => setTimeout(done, 10));
  }
  return false;
}"""
STEADY_S = 0.7
"""A list that has just changed is not clicked (see `bell.js`); a person looks longer than that."""
CLICK = "document.querySelector('.alert [data-do=seen]')?.click()"


async def test_a_whole_shift_from_the_ring_to_the_closed_case(shift: Shift) -> None:
    page, desk = shift.page, shift.desk
    desk.service.take(alert(1), "alert")
    await shift.sounds("help")
    assert await page.evaluate(LOUD)
    await expect(page.locator(".alert .waits .left")).to_contain_text("left")
    await expect(page.locator(".alert .waits .then")).to_contain_text("Police control room, supervisors")
    await page.keyboard.press("a")
    await shift.sounds("")
    await expect(page.locator("#detail h2")).to_be_focused()
    assert page.url.endswith(f"#/incident/{uid(1)}")

    await page.keyboard.press("n")
    await page.keyboard.type("Caller: two men follow her")
    await page.click("[data-form=note] button")
    await expect(page.locator(".timeline q")).to_have_text("Caller: two men follow her")
    await expect(page.locator("[data-form=note] textarea")).to_have_value("")

    await expect(page.locator(".call a.tel")).to_have_attribute("href", "tel:112")
    assert await page.locator(".call .tel").count() == 2  # the other number cannot be dialled: no link
    await page.click("[data-do=dispatch][data-contact=pcr]")
    await expect(page.locator(".steps .now")).to_have_text("help is coming")
    assert desk.core.book.get(uid(1)).state == "coming"

    await page.click("[data-do=closing]")
    await page.keyboard.press("Escape")
    await expect(page.locator("[data-do=close]")).to_have_count(0)
    await page.click("[data-do=closing]")
    await page.click("[data-do=close][data-as=real]")
    await expect(page.locator(".steps .now")).to_have_text("closed: Real")
    await expect(page.locator(".timeline strong")).to_have_text(
        ["Button pressed", "Acknowledged", "Note", "Help sent", "Closed"]
    )
    await page.click("[data-do=reopen]")
    await shift.sounds("help")


async def test_of_two_operators_who_press_together_one_wins_and_both_see_it(
    shift: Shift, rounds: int
) -> None:
    other = await shift.colleague("Vikram")
    first: Counter[str] = Counter()
    for number in range(1, rounds + 1):
        shift.desk.service.take(alert(number, device=f"box-{number}"), "alert")
        for page in (shift.page, other):
            await expect(page.locator(".alert")).to_have_count(1)
        await asyncio.sleep(STEADY_S)
        clicks = [page.evaluate(CLICK) for page in (shift.page, other)]
        random.shuffle(clicks)
        await asyncio.gather(*clicks)
        for page in (shift.page, other):
            await expect(page.locator(".alert")).to_have_count(0)
            await expect(page.locator("#list .row.seen")).to_have_count(number)
        winner = shift.desk.core.book.get(uid(number)).by
        first[winner] += 1
        loser = other if winner == "Asha" else shift.page
        await expect(loser.locator("#list .row.seen .sub").last).to_contain_text(winner)
        seen = [act for act in shift.desk.acts_of(uid(number)) if act == "seen"]
        assert seen == ["seen"], "one winner"
    print(f"\n{rounds} races: {dict(first)}")
    await other.close()


async def test_an_alert_rings_at_the_second_group_only_when_its_time_has_come(shift: Shift) -> None:
    second = await shift.colleague("Vikram", group=1)
    await expect(second.locator("#top .duty")).to_have_text("2 on duty")
    shift.desk.service.take(alert(1), "alert")
    await shift.sounds("help")
    await expect(second.locator("#alerts .elsewhere li")).to_contain_text("rings at: Control room")
    await shift.sounds("", second)
    shift.pass_s(10)
    await expect(second.locator("#alerts .elsewhere .since")).to_contain_text("waiting 1")
    await shift.sounds("", second)
    shift.pass_s(6)
    await shift.sounds("help", second)
    await expect(second.locator(".alert .escalated")).to_contain_text("Police control room, supervisors")
    await expect(second.locator(".alert .waits .left")).to_contain_text("over")
    await second.close()


async def test_an_incident_whose_operator_has_gone_rings_again(shift: Shift) -> None:
    other = await shift.colleague("Vikram")
    shift.desk.service.take(alert(1), "alert")
    await other.click(".alert [data-do=seen]")
    await expect(shift.page.locator("#list .row.seen .sub")).to_contain_text("Vikram")
    await other.close()
    await expect(shift.page.locator("#top .duty")).to_have_text("1 on duty")
    shift.pass_s(0)
    shift.pass_s(59)
    await shift.sounds("")
    shift.pass_s(2)
    await shift.sounds("help")
    await shift.page.click("#list a.row")
    await expect(shift.page.locator(".timeline strong").last).to_have_text("Operator gone: rings again")


async def test_a_test_is_never_in_front_and_a_moved_list_is_not_clicked(shift: Shift) -> None:
    page, desk = shift.page, shift.desk
    desk.service.take(alert(1, device="box-1"), "alert")
    desk.service.take(alert(2, device="box-2"), "alert")
    await expect(page.locator(".alert")).to_have_count(2)
    # A colleague takes the first: the second moves up, under a finger that is already on its way.
    await page.evaluate(
        "new MutationObserver(() => document.querySelector('.alert [data-do=seen]')?.click())"
        ".observe(document.getElementById('alerts'), {childList: true})"
    )
    async with desk.program() as program:
        await program.post(f"/api/incidents/{uid(1)}/acts", json={"act": "seen"})
    await expect(page.locator("#toast")).to_have_text("The list has just moved. Look again, then press.")
    assert desk.core.book.get(uid(2)).state == "open"


async def test_incidents_are_handed_over_and_put_together(shift: Shift) -> None:
    page, desk = shift.page, shift.desk
    desk.person("Vikram")
    desk.service.take(alert(1, device="box-1", name="Mall"), "alert")
    desk.service.take(alert(2, device="box-2", name="Station"), "alert")
    await expect(page.locator(".alert")).to_have_count(2)
    await page.click(".alert.first [data-do=seen]")
    await page.select_option("[data-form=assign] select", "vikram")
    await page.click("[data-form=assign] button")
    await expect(page.locator(".who-has")).to_contain_text("Vikram")
    await page.click("[data-form=group] button")
    await expect(page.locator(".case .row .name")).to_have_text("Station")
    assert desk.core.book.get(uid(2)).case_id == desk.core.book.get(uid(1)).case_id == uid(1)
    await page.click("[data-do=ungroup]")
    await expect(page.locator(".case .row")).to_have_count(0)


async def test_a_reload_comes_back_to_the_same_view_and_a_half_written_note_survives_news(
    shift: Shift,
) -> None:
    page, desk = shift.page, shift.desk
    desk.service.take(alert(1), "alert")
    await page.click(".alert [data-do=seen]")
    await page.fill("textarea", "half a ")
    desk.service.take(alert(2, device="box-2"), "alert")
    await expect(page.locator(".alert")).to_have_count(1)
    await expect(page.locator("textarea")).to_have_value("half a ")
    await page.keyboard.press("a")
    await expect(page.locator("textarea")).to_have_value("half a a")
    assert desk.core.book.get(uid(2)).state == "open"
    await page.click("#top [data-tab=boxes]")
    await page.go_back()
    await expect(page.locator("textarea")).to_have_value("half a a")
    await page.goto(f"{shift.url}#/boxes?view=unproven")
    await page.reload()
    await expect(page.locator("[data-view=unproven]")).to_have_attribute("aria-pressed", "true")


async def test_an_alarm_sounds_softly_until_somebody_has_seen_it(shift: Shift) -> None:
    page, desk = shift.page, shift.desk
    desk.service.take(birth(7, session=1), "birth")
    desk.service.take(health(tamper="open"), "health")
    desk.service.tick()
    await expect(page.locator("#alarms .alarm strong")).to_have_text("Lid open")
    await shift.sounds("alarm")
    desk.service.take(alert(1, device="box-2"), "alert")
    await shift.sounds("help")
    await page.click("[data-do=see-alarm]")
    await expect(page.locator("#alarms .by")).to_have_text("Asha takes care of it")
    await page.click(".alert [data-do=seen]")
    await shift.sounds("")


async def test_the_map_is_moved_by_keys_and_leads_to_a_box(shift: Shift) -> None:
    page, desk = shift.page, shift.desk
    desk.service.take(birth(7, session=1), "birth")
    await page.goto(f"{shift.url}#/map")
    mark = page.locator(".mark")
    await expect(mark).to_have_attribute("aria-label", "Bus stand: in order")
    before = await mark.locator("use").get_attribute("x")
    await page.focus("svg[data-map]")
    await page.keyboard.press("ArrowLeft")
    assert await mark.locator("use").get_attribute("x") != before
    await page.keyboard.press("0")
    await mark.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#page-view h1")).to_have_text("Bus stand")
    await page.keyboard.press("Escape")
    await expect(page.locator("table th a.open")).to_have_text("Bus stand")


async def test_tiles_lie_below_the_map_where_the_desk_has_some_with_their_credit(shift: Shift) -> None:
    page, desk = shift.page, shift.desk
    desk.service.take(birth(7, session=1), "birth")
    desk.door.info.tiles, desk.door.info.tiles_credit = "/tiles/{z}/{x}/{y}.png", "© Survey of India"
    await page.goto(f"{shift.url}#/map?box=box-1")
    await page.reload()
    await expect(page.locator(".credit")).to_have_text("© Survey of India")
    tiles = await page.eval_on_selector_all(".tiles image", "all => all.map(i => i.getAttribute('href'))")
    # The box stands at 23.8388 N 78.7378 E, hence in this tile of zoom 16 (OpenStreetMap's tile names).
    assert "/tiles/16/47101/28297.png" in tiles


async def test_a_course_shows_a_gap_where_nothing_was_heard(shift: Shift) -> None:
    told = await shift.page.evaluate(
        "import('/page/0/plot.js')"
        ".then((m) => m.runs([[0, 1], [300, 2], [1200, 3], [1500, null], [1800, 4]], 300))"
    )
    assert told == [[[0, 1], [300, 2]], [[1200, 3]], [[1800, 4]]]


async def test_history_is_searched_and_its_address_brings_the_same_back(shift: Shift) -> None:
    page, desk = shift.page, shift.desk
    desk.service.take(alert(1, name="Mall", device="box-1"), "alert")
    desk.service.take(alert(2, name="Station", device="box-2", test=True), "alert")
    await page.goto(f"{shift.url}#/history")
    await expect(page.locator("[data-key=found] tbody tr")).to_have_count(2)
    await page.fill("[data-form=history] [name=text]", "station")
    await page.click("[data-form=history] button.strong")
    await expect(page.locator("[data-key=found] a.open")).to_have_text(["Station"])
    await page.reload()
    await expect(page.locator("[data-form=history] [name=text]")).to_have_value("station")
    await expect(page.locator("[data-key=found] a.open")).to_have_text(["Station"])
    href = await page.get_attribute(".exports a >> nth=0", "href")
    assert href == "/api/export/incidents.csv?text=station"
    await page.click("[data-do=clear]")
    await expect(page.locator("[data-key=found] tbody tr")).to_have_count(2)
    await expect(page.locator("[data-form=history] [name=text]")).to_have_value("")


async def test_a_supervisor_invites_and_the_link_brings_the_person_in(shift: Shift) -> None:
    page = shift.page
    await page.goto(f"{shift.url}#/people")
    await page.click("[data-form=invite] button")
    link = await page.input_value("#made")
    guest: Page = await shift.browser.new_page()
    await guest.goto(link)
    await guest.fill("input[name=name]", "मीना")
    await guest.fill("input[name=login]", "meena")
    await guest.fill("input[name=password]", "three words more")
    await guest.click("button.primary")
    await expect(guest.locator("#top .duty")).to_have_text("2 on duty")
    await page.reload()
    row = page.locator("tr[data-key=meena]")
    await row.locator("[name=role]").select_option("observer")
    await row.locator("[data-do=person-save]").click()
    await expect(page.locator("#toast")).to_have_text("Saved.")
    await expect(guest.locator(".fault")).to_contain_text("Nobody watches here")
    await page.fill("[name=label]", "ICCC")
    await page.click("[data-form=token] button")
    await expect(page.locator("#made")).to_be_visible()
    await page.click("[data-do=revoke]")
    await expect(page.locator("[data-key=tokens] tbody tr")).to_contain_text("revoked")
    await page.click("#top [data-tab=audit]")
    await expect(page.locator("tbody tr b").first).to_have_text("Token revoked")
    await guest.close()
