"""`python -m tests.console.screenshots DIR [NAME…]`: the pictures of the console in the documents."""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Page

from tests.console.browser import browser
from tests.console.fake import Fake
from tests.console.world import clock, demo_links

_WIDE = {"width": 1280, "height": 800}
_PHONE = {"width": 390, "height": 844}
_CHARTS = ("overview", "link", "dark", "mobile")


def main(folder: Path, only: list[str]) -> None:
    """Writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    with Fake(demo_links()) as fake, browser() as chromium:
        fake.events_s, clock.speed = 0.05, 30.0  # lines fill quickly

        def take(name: str, address: str, size: dict[str, int] = _WIDE, scheme: str = "light") -> Page | None:
            if only and name not in only:
                return None
            context = chromium.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            page = context.new_page()
            page.goto(f"{fake.url}/#/{address}")
            page.wait_for_function("document.getElementById('health').textContent === 'Live'")
            page.wait_for_timeout(8000 if name in _CHARTS else 2500)
            if name == "failover":
                page.get_by_label("Type the link's name").fill("ap-to-eu")
                page.evaluate("scrollTo(0, 0)")
            page.screenshot(path=folder / f"console-{name}.png")
            context.close()
            return page

        take("overview", "")
        take("link", "links/us-to-eu")
        take("topics", "links/us-to-eu/topics")
        take("topic", "links/us-to-eu/topics/payments")
        take("partition", "links/us-to-eu/topics/payments/3")
        take("groups", "links/us-to-eu/groups")
        take("differences", "links/us-to-eu/differences")
        take("workers", "links/us-to-eu/workers")
        take("faults", "links/us-to-eu/faults")
        take("audit", "links/us-to-eu/audit")
        take("failover", "links/ap-to-eu/failover", {"width": 1280, "height": 1060})
        take("dark", "links/us-to-eu", scheme="dark")
        take("mobile", "links/us-to-eu", _PHONE)
        take("mobile-overview", "", _PHONE)
        take("mobile-topics", "links/us-to-eu/topics", _PHONE)
        take("mobile-audit", "links/us-to-eu/audit", _PHONE)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
