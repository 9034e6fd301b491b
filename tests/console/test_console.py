"""The console in a real Chromium, on a made-up service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.console.fake import Fake
from tests.console.world import demo_links


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake(demo_links()) as made:
        yield made


def test_given_three_links_when_the_console_opens_then_each_is_shown_with_its_state(page: Page, fake: Fake) -> None:
    page.goto(fake.url)
    expect(page.get_by_role("heading", level=3)).to_have_text(["us-to-eu", "eu-to-us", "ap-to-eu"])
    expect(page.locator(".card .badge")).to_have_text(["3 faulted", "Copying", "Source away"])
    expect(page.locator("#health")).to_have_text("Live")
