"""The console with 1,000 topics: shown at once, and cheap to keep open."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.console.fake import Fake
from tests.console.speed import big_link, measure


@pytest.mark.soak
def test_given_a_thousand_topics_when_they_are_shown_then_it_is_quick_and_updates_cost_little(chrome: Browser) -> None:
    with Fake([big_link()]) as fake:
        found = measure(chrome, fake, "links/us-to-eu/topics", seconds=4)
    assert found.first_paint_ms < 1000
    assert found.busy < 0.05
