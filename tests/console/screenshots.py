"""`python -m tests.console.screenshots DIR [NAME…]`: the pictures of the console in the documents."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page, ViewportSize

from tests.console.browser import browser
from tests.console.fake import Fake
from tests.console.world import clock, demo_links

_WIDE: ViewportSize = {"width": 1280, "height": 800}
_PHONE: ViewportSize = {"width": 390, "height": 844}
_CHARTS = ("overview", "link", "dark", "mobile")

Act = Callable[[Page], None]


def _nothing(_page: Page) -> None:
    pass


def main(folder: Path, only: list[str]) -> None:
    """Writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    with Fake(demo_links()) as fake, browser() as chromium:
        fake.events_s = 0.05

        def take(
            name: str, address: str, size: ViewportSize = _WIDE, *, dark: bool = False, act: Act = _nothing
        ) -> None:
            if only and name not in only:
                return
            scheme: Literal["dark", "light"] = "dark" if dark else "light"
            clock.speed = 30.0 if name in _CHARTS else 1.0  # lines fill quickly
            context = chromium.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
            page = context.new_page()
            page.goto(f"{fake.url}/#/{address}")
            page.wait_for_function("() => document.getElementById('health').textContent === 'Live'")
            page.wait_for_timeout(7000 if name in _CHARTS else 2500)
            act(page)
            page.wait_for_timeout(700)
            page.screenshot(path=folder / f"console-{name}.png")
            context.close()

        take("overview", "", {"width": 1280, "height": 560})
        take("link", "links/us-to-eu")
        take("dark", "links/us-to-eu", dark=True)
        take("topics", "links/us-to-eu/topics", {"width": 1280, "height": 560})
        take("topic", "links/us-to-eu/topics/payments")
        take("partition", "links/us-to-eu/topics/payments/3")
        take("groups", "links/us-to-eu/groups")
        take("differences", "links/us-to-eu/differences")
        take("workers", "links/us-to-eu/workers")
        take("faults", "links/us-to-eu/faults", {"width": 1280, "height": 620})
        take("audit", "links/us-to-eu/audit")
        take("promote", "links/us-to-eu", act=lambda page: page.get_by_role("button", name="Promote…").click())
        take("failover", "links/ap-to-eu/failover", {"width": 1280, "height": 1100}, act=_type_the_name)
        take("operation", "links/ap-to-eu/failover", act=_fail_over)
        take("mobile", "links/us-to-eu", _PHONE)
        take("mobile-overview", "", _PHONE)
        take("mobile-topics", "links/us-to-eu/topics", _PHONE)


def _type_the_name(page: Page) -> None:
    page.get_by_label("Type the link's name").fill("ap-to-eu")
    page.evaluate("scrollTo(0, 0)")


def _fail_over(page: Page) -> None:
    _type_the_name(page)
    page.get_by_role("button", name="Fail over ap-to-eu").click()
    page.wait_for_selector(".operation .good")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
