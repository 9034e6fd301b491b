"""The console in a real Chromium, on a made-up service."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from replicator.http.page_files import page_files
from replicator.states import State
from tests.console.browser import AXE
from tests.console.fake import Fake
from tests.console.world import HOSTILE, LinkWorld, demo_links
from tests.support.waiting import wait_for

LINK = "links/us-to-eu"
VIEWS = {  # with what is to be seen there
    "": "us-to-eu",
    "operations": "No order was given",
    LINK: "Not ready: 4 obstacles",
    f"{LINK}/topics": "customers.profile",
    f"{LINK}/topics/payments": "fraud-check",
    f"{LINK}/topics/payments/3": "replicator resume",
    f"{LINK}/groups": "fraud-check",
    f"{LINK}/differences": "retention.ms",
    f"{LINK}/workers": "us-to-eu-worker-2",
    f"{LINK}/faults": "RECORD_TOO_LARGE",
    f"{LINK}/audit": "ben@ops-2",
    f"{LINK}/failover": "records lost, as far as is known",
}


def test_given_the_page_then_the_browser_is_told_of_all_modules_at_once_and_each_file_is_one_that_is_used() -> None:
    files = page_files()
    named = set(re.findall(r'(?:href|src)="([^"#]+\.(?:js|css|svg))"', files["/"].text))
    assert named == {path[1:] for path in files if path not in ("/", "/vendor/uplot/uPlot.esm.js")}


def test_given_each_state_then_the_console_has_a_word_and_a_drawing_for_it() -> None:
    words, drawings = (page_files()[f"/js/{name}.js"].text for name in ("states", "icons"))
    for state in State:
        assert re.search(rf"^  {state}: {{ word: ", words, re.M), state
        assert re.search(rf"^  {state.lower()}: \"M", drawings, re.M), state


@pytest.fixture(scope="module")
def shared() -> Iterator[Fake]:
    """For tests that change nothing."""
    with Fake(demo_links()) as made:
        yield made


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake(demo_links()) as made:
        made.events_s = 0.1
        yield made


def at(page: Page, fake: Fake, view: str = "") -> None:
    """Goes there, and waits for what is to be seen."""
    page.goto(f"{fake.url}/#/{view}")
    expect(page.locator("#health")).to_have_text("Live")
    if view in VIEWS:
        expect(page.locator("main")).to_contain_text(VIEWS[view])


def test_given_three_links_when_the_console_opens_then_each_is_shown_with_its_state(page: Page, shared: Fake) -> None:
    at(page, shared)
    expect(page.get_by_role("heading", level=2)).to_have_text(["us-to-eu", "eu-to-us", "ap-to-eu"])
    expect(page.locator(".card .badge")).to_have_text(["3 faulted", "Copying", "Source away"])
    expect(page).to_have_title("(3 faulted) Replicator")


def test_given_a_link_when_its_tabs_are_walked_then_back_and_deep_links_work(page: Page, shared: Fake) -> None:
    at(page, shared)
    page.get_by_role("link", name="us-to-eu").click()
    page.get_by_role("link", name="Topics", exact=True).click()
    page.get_by_role("link", name="payments").click()
    page.get_by_role("link", name="3", exact=True).click()
    expect(page.get_by_role("heading", level=2)).to_have_text("payments / 3")
    expect(page.locator(".command code")).to_have_text(
        "replicator resume --accept-gap --link us-to-eu --topic payments"
    )
    assert page.url.endswith(f"#/{LINK}/topics/payments/3")
    page.go_back()
    expect(page.get_by_role("table", name="Partitions").locator("tbody tr:not(.space)")).to_have_count(6)
    page.go_back()
    expect(page.get_by_role("link", name="Topics", exact=True)).to_have_attribute("aria-current", "page")
    page.reload()
    expect(page.get_by_role("link", name="clicks")).to_be_visible()


def test_given_each_view_when_it_is_narrow_then_the_page_never_scrolls_sideways(page: Page, shared: Fake) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    for view in VIEWS:
        at(page, shared, view)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, f"#/{view}: {wide}"


def test_given_each_view_when_it_is_checked_for_accessibility_then_nothing_is_found(page: Page, shared: Fake) -> None:
    at(page, shared)
    page.evaluate(AXE.read_text())  # not a script of the page: its policy needs no exception
    for view in VIEWS:
        at(page, shared, view)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((done) => done.violations)")
        page.emulate_media(color_scheme="dark")
        found += page.evaluate("axe.run(document, {runOnly: ['color-contrast']}).then((done) => done.violations)")
        page.emulate_media(color_scheme="light")
        told = [
            f"{each['id']}: {node['html'][:200]} {node['failureSummary']}" for each in found for node in each["nodes"]
        ]
        assert not told, f"#/{view}:\n" + "\n".join(told)
    page.goto(f"{shared.url}/#/{LINK}")
    page.get_by_role("button", name="Promote…").click()
    expect(page.get_by_role("dialog")).to_contain_text("48 partitions")
    assert page.evaluate("axe.run(document).then((done) => done.violations.map((each) => each.id))") == []


def test_given_a_keyboard_alone_when_the_failover_wizard_is_run_then_it_ends_with_the_result(
    page: Page, fake: Fake
) -> None:
    at(page, fake, "links/ap-to-eu")
    tab_to(page, "Failover…")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2)).to_be_visible()
    expect(page.locator(".total")).to_contain_text("records lost, as far as is known")
    tab_to(page, "Type the link's name, ap-to-eu, to go on")
    page.keyboard.type("ap-to-e")
    go = page.get_by_role("button", name="Fail over ap-to-eu")
    expect(go).to_be_disabled()
    page.keyboard.type("u")
    expect(go).to_be_enabled()
    tab_to(page, "Fail over ap-to-eu")
    page.keyboard.press("Enter")
    expect(page.get_by_role("log").get_by_role("listitem")).to_have_count(4)
    expect(page.locator(".operation .heading")).to_contain_text("Done")
    expect(page.locator(".operation")).to_contain_text("24 positions of 4 groups brought up to the end")
    page.evaluate(AXE.read_text())
    assert page.evaluate("axe.run(document).then((done) => done.violations.map((each) => each.id))") == []
    assert fake.orders == [{"verb": "failover", "all": True, "topic": None, "why": "", "confirm": "ap-to-eu"}]


def tab_to(page: Page, label: str) -> None:
    """Presses Tab until what is called so has the focus, which must be visible wherever it goes."""
    for _ in range(60):
        page.keyboard.press("Tab")
        found: dict[str, str] = page.evaluate(
            """() => { const it = document.activeElement;
                return {name: (it.labels?.[0]?.textContent ?? it.textContent).trim(),
                        outline: getComputedStyle(it).outlineStyle}; }"""
        )
        assert found["outline"] != "none", found
        if found["name"] == label:
            return
    pytest.fail(f"never came to {label!r}")


def test_given_a_dialog_when_it_is_used_then_it_says_the_consequence_and_keeps_the_focus(
    page: Page, fake: Fake
) -> None:
    at(page, fake, LINK)
    page.get_by_role("button", name="Promote…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("48 partitions: promote.")
    go = dialog.get_by_role("button", name="Promote us-to-eu")
    expect(go).to_be_disabled()
    for _ in range(15):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert page.evaluate("document.activeElement.textContent") == "Promote…"
    page.get_by_role("button", name="Pause").click()
    dialog.get_by_label("whose whole name matches").check()
    dialog.get_by_label("Regular expression").fill("orders|pay.*")
    dialog.get_by_label("Why").fill("network work")
    expect(dialog.get_by_role("button", name="Pause us-to-eu")).to_be_enabled()
    dialog.get_by_role("button", name="Pause us-to-eu").click()
    expect(page.locator(".operation")).to_contain_text("orders|pay.*")
    last = fake.orders[-1]
    assert last == {
        "verb": "pause",
        "all": False,
        "topic": "orders|pay.*",
        "why": "network work",
        "confirm": "us-to-eu",
    }


def test_given_a_verb_that_the_console_does_not_know_then_it_is_offered_as_the_service_describes_it(
    page: Page, fake: Fake
) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    at(page, fake, LINK)
    page.get_by_role("button", name="More…").click()
    expect(page.get_by_role("dialog").get_by_role("listitem")).to_have_text(
        ["Verify…Compare both sides.", "Drill…Move a canary."]
    )
    page.get_by_role("button", name="Verify…").click()
    page.get_by_label("Bytes per second").fill("7")
    page.get_by_label("Type the link's name").fill("us-to-eu")
    expect(page.get_by_role("dialog")).to_contain_text("48 partitions: verify.")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Verify us-to-eu").click()
    expect(page.locator(".operation .heading")).to_contain_text("Done")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the status as it was").click()
    assert json.loads(download.value.path().read_text())["link"] == "us-to-eu"
    assert fake.orders[-1] == {
        "verb": "verify",
        "all": True,
        "topic": None,
        "speed": 7,
        "why": "",
        "confirm": "us-to-eu",
    }


def test_given_a_verb_for_the_whole_link_then_no_topics_can_be_chosen(page: Page, fake: Fake) -> None:
    at(page, fake, LINK)
    page.get_by_role("button", name="More…").click()
    page.get_by_role("button", name="Drill…").click()
    expect(page.get_by_role("dialog")).to_contain_text("48 partitions: drill.")
    expect(page.get_by_role("dialog").get_by_role("radio")).to_have_count(0)
    page.get_by_label("Type the link's name").fill("us-to-eu")
    page.get_by_role("button", name="Drill us-to-eu").click()
    expect(page.locator(".operation .heading")).to_contain_text("Done")
    assert fake.orders[-1] == {"verb": "drill", "why": "", "confirm": "us-to-eu"}


def test_given_hostile_names_when_they_are_shown_then_they_are_text_and_nothing_else(page: Page) -> None:
    hostile = LinkWorld("us-to-eu", topics=HOSTILE, partitions=2, groups=HOSTILE, audit=[])
    hostile.faulted = {(HOSTILE[1], 0): ("RECORD_REFUSED", HOSTILE[0], f"Run `replicator verify` {HOSTILE[0]}")}
    others = [LinkWorld(name, topics=HOSTILE[:2], partitions=1) for name in HOSTILE[:5]]
    page.set_viewport_size({"width": 360, "height": 740})
    with Fake([hostile, *others]) as fake:
        for view in ("", LINK, f"{LINK}/topics", f"{LINK}/groups", f"{LINK}/faults", f"{LINK}/failover"):
            page.goto(f"{fake.url}/#/{view}")
            expect(page.locator("main")).to_contain_text(HOSTILE[1])
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, view
        at(page, fake)
        for other in others:
            page.get_by_role("link", name=other.name, exact=True).click()
            expect(page.get_by_role("heading", level=1)).to_have_text(other.name)
            expect(page.locator(".link-head .badge")).to_have_text("Copying")
            page.go_back()
        page.goto(f"{fake.url}/#/{LINK}/topics")
        page.get_by_role("link", name=HOSTILE[1], exact=True).click()
        expect(page.get_by_role("heading", level=2)).to_have_text(HOSTILE[1])
        page.get_by_role("link", name="0", exact=True).click()
        words = shlex.split(page.locator(".command code").inner_text())
        assert words[:5] == ["replicator", "verify", "--link", "us-to-eu", "--topic"]
        assert re.fullmatch(words[5], HOSTILE[1])
        assert page.locator("main img, main script, main iframe").count() == 0
        assert page.evaluate("window.stolen") is None


def test_given_a_thousand_topics_when_they_are_scrolled_sorted_and_filtered_then_few_rows_live(page: Page) -> None:
    rows = page.locator("tbody tr:not(.space)")
    with Fake([LinkWorld("big", topics=[f"t-{n:04d}" for n in range(1000)], partitions=2)]) as fake:
        at(page, fake, "links/big/topics")
        expect(page.locator("main")).to_contain_text("1,000 topics")
        page.get_by_role("button", name="Topic").click()
        expect(rows.first).to_contain_text("t-0000")
        expect(page.get_by_role("columnheader", name="Topic")).to_have_attribute("aria-sort", "ascending")
        expect(page.get_by_role("table")).to_have_attribute("aria-rowcount", "1001")
        page.get_by_role("region", name="Topics").focus()
        page.keyboard.press("End")
        expect(page.get_by_role("link", name="t-0999")).to_be_visible()
        assert rows.count() < 80
        page.get_by_role("link", name="t-0999").focus()
        for _ in range(60):  # far beyond the rows that were there
            page.keyboard.press("Shift+Tab")
        assert page.evaluate("document.activeElement.textContent") == "t-0939"
        page.get_by_label("Filter by topic").fill("t-07 copying")
        expect(page.locator("main")).to_contain_text("100 of 1,000 topics")
        assert page.url.endswith("topics?q=t-07+copying")
        page.reload()
        expect(page.locator("main")).to_contain_text("100 of 1,000 topics")


def test_given_a_connection_that_breaks_then_it_says_since_when_and_comes_back(page: Page, fake: Fake) -> None:
    at(page, fake)
    fake.up = False
    expect(page.locator("#health")).to_contain_text("Disconnected since")
    expect(page.get_by_role("alert").filter(has_text="What is shown is as of")).to_be_visible()
    assert page.evaluate("document.body.classList.contains('stale')")
    fake.up = True
    page.get_by_role("button", name="Try now").click()
    expect(page.locator("#health")).to_have_text("Live")
    expect(page.locator(".lost")).to_be_hidden()
    expect(page.locator("#said")).to_contain_text("Connected again")


def test_given_a_page_that_nobody_sees_for_a_while_then_it_lets_its_connection_go_until_it_is_seen(
    page: Page, fake: Fake
) -> None:
    page.clock.install()
    at(page, fake)
    seen = "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
    seen += "document.dispatchEvent(new Event('visibilitychange')); }"
    heard = """async () => { const {hear, live} = await import('/js/live.js');
        const before = live.at;
        await new Promise((done) => hear((now) => now.at > before && done())); }"""
    page.evaluate(seen, True)
    for _ in range(4):  # in steps: a connection that is silent for longer counts as broken
        page.clock.fast_forward(4_500)
        page.evaluate(heard)
    assert fake.listeners == 1
    page.clock.fast_forward(3_000)
    wait_for(lambda: fake.listeners == 0, within=5, what="the page lets go")
    expect(page.locator(".lost")).to_be_hidden()
    page.evaluate(seen, False)
    wait_for(lambda: fake.listeners == 1, within=5, what="the page listens again")
    expect(page.locator("#health")).to_have_text("Live")


def test_given_a_service_with_tokens_then_it_asks_until_one_is_right_and_keeps_it_in_the_tab(page: Page) -> None:
    with Fake(demo_links(), token="hush", role="view") as fake:
        page.goto(f"{fake.url}/#/{LINK}")
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Token", exact=True).fill("wrong")
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("That token isn't right")
        dialog.get_by_label("Token", exact=True).fill("hush")
        page.keyboard.press("Enter")
        expect(page.locator("#health")).to_have_text("Live")
        expect(page.get_by_role("group", name="Orders")).to_have_text("ci may only look")
        page.reload()
        expect(page.locator("#health")).to_have_text("Live")
        assert page.evaluate("[Object.values(sessionStorage), Object.keys(localStorage), document.cookie]") == [
            ["hush"],
            [],
            "",
        ]


def test_given_a_link_that_does_not_exist_then_the_nearest_is_named(page: Page, shared: Fake) -> None:
    at(page, shared, "links/us-to-au")
    expect(page.locator(".tab-panel")).to_contain_text("there is no link 'us-to-au'; did you mean")


def test_given_a_state_that_changes_then_it_is_announced_once(page: Page, fake: Fake) -> None:
    at(page, fake)
    fake.links["eu-to-us"].held = "PAUSED"
    expect(page.locator("#said")).to_have_text("Link eu-to-us: Paused")


def test_given_the_switch_then_colours_change_and_stay(chrome: Browser, page: Page, shared: Fake) -> None:
    at(page, shared)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Colours: auto").click()
    page.get_by_role("button", name="Colours: light").click()
    assert page.evaluate(ground) != light
    page.reload()
    expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()
    assert page.evaluate(ground) != light
