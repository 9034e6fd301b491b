"""The console of a worker that runs, between bundled clusters: what it shows is so, and what is ordered is done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.pairs import LONG_KAFKA
from tests.e2e.rig import Pair, Rig, records
from tests.support.bundled import BundledCluster
from tests.support.replicator import Worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module", params=["bundled", LONG_KAFKA])
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, Worker]]:
    with contextlib.ExitStack() as stack:
        if request.param == "kafka":
            pair: Pair = (request.getfixturevalue("kafka_source"), request.getfixturevalue("kafka_target"))
        else:
            pair = (
                stack.enter_context(BundledCluster(name="source")),
                stack.enter_context(BundledCluster(name="target")),
            )
        rig = Rig(pair, tmp_path_factory.mktemp("live"), "console")
        worker = stack.enter_context(rig.worker())
        worker.wait_ready()
        rig.installation.wait_until_copied(2)
        yield rig, worker


def test_given_a_worker_when_its_console_is_used_then_it_shows_what_is_so_and_orders_are_carried_out(
    live: tuple[Rig, Worker], page: Page
) -> None:
    rig, worker = live
    main = page.locator("main")
    page.context.set_default_timeout(15_000)
    expect.set_options(timeout=15_000)
    page.goto(f"http://{worker.address}/#/")
    expect(page.locator("#health")).to_have_text("Live")
    expect(page.locator(".card .badge")).to_have_text("Copying")
    page.get_by_role("link", name=rig.name).click()
    expect(main).to_contain_text("Ready")
    for tab, text in (
        ("Topics", rig.good),
        ("Groups", "No group has a position"),
        ("Differences", "Nothing differs that Replicator would change."),
        ("Workers", "1 worker"),
        ("Faults", "Nothing is faulted"),
        ("Audit", "Nobody has done anything yet."),
    ):
        page.get_by_role("link", name=tab, exact=True).click()
        expect(main).to_contain_text(text)
    rig.write(rig.good, records(5, start=20))
    page.goto(f"http://{worker.address}/#/links/{rig.name}/topics/{rig.good}/0")
    expect(main).to_contain_text("Copied to (source's offset)25")
    expect(page.get_by_text("Lane", exact=True)).to_be_visible()
    page.get_by_label("Offset on the source").fill("7")
    page.get_by_role("button", name="Translate").click()
    expect(page.get_by_role("status").filter(has_text="exactly")).to_contain_text(f"is us.{rig.good} 0 at 7, exactly")

    page.get_by_role("button", name="More…").click()
    more = page.get_by_role("dialog", name="More orders")
    expect(more).not_to_contain_text("Asking…")
    expect(more.locator(".bad")).to_have_count(0)
    more.get_by_role("button", name="Close").click()

    page.get_by_role("link", name="Failover…").click()
    expect(page.locator(".total")).to_contain_text("0 records lost")
    page.get_by_label("Type the link's name").fill(rig.name)
    page.get_by_role("button", name=f"Fail over {rig.name}").click()
    expect(page.locator(".operation .heading")).to_contain_text("Done")
    expect(page.get_by_role("log")).to_contain_text("2 of 2 partitions have stopped")
    expect(page.locator(".link-head .badge")).to_have_text("Failed over")
    page.get_by_role("link", name="Audit", exact=True).click()
    expect(main).to_contain_text("2 of 2 partitions; 0 records lost")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("Its copy on eu is used on its own")
    assert {row["state"] for row in rig.installation.status().values()} == {"FAILED_OVER"}
