"""`python -m tests.console.speed`: how fast the console is with 1,000 topics, by the browser's own measures."""

from __future__ import annotations

from dataclasses import dataclass

from playwright.sync_api import Browser

from tests.console.browser import browser
from tests.console.fake import Fake
from tests.console.world import LinkWorld

_SECONDS = 10.0
_ROWS = "() => document.querySelectorAll('tbody tr:not(.space)').length > 10"


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one view. `busy` is the part of one core that the page's main thread needs while it is live."""

    view: str
    first_paint_ms: float
    content_ms: float  # until what was asked for is shown
    busy: float
    heap_mb: float
    asked_per_s: float  # views of the link


def big_link(topics: int = 1000, partitions: int = 3) -> LinkWorld:
    """A link of many topics, all of which move."""
    names = [f"domain-{n % 17}.events-{n:04d}" for n in range(topics)]
    return LinkWorld("us-to-eu", topics=names, partitions=partitions)


def measure(chromium: Browser, fake: Fake, view: str, seconds: float = _SECONDS) -> Speed:
    """Opens the view in a fresh context, and watches it for so long."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(f"{fake.url}/#/{view}")
    shown = (
        _ROWS
        if "topics" in view or "groups" in view
        else "() => document.querySelector('.figure dd')?.textContent > ''"
    )
    page.wait_for_function(shown)
    content_ms = page.evaluate("performance.now()")
    paint_ms = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    page.wait_for_timeout(3000)
    session = context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def metrics() -> dict[str, float]:
        return {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}

    before, asked = metrics(), fake.asked
    page.wait_for_timeout(seconds * 1000)
    after, asked_per_s = metrics(), (fake.asked - asked) / seconds
    context.close()
    busy = (after["TaskDuration"] - before["TaskDuration"]) / seconds  # CPU time, whatever else the machine does
    return Speed(view or "overview", paint_ms, content_ms, busy, after["JSHeapUsedSize"] / 1e6, asked_per_s)


def main() -> None:
    """Prints a line for each view."""
    for topics, partitions in ((1000, 3), (1000, 10)):
        link = big_link(topics, partitions)
        with Fake([link]) as fake, browser() as chromium:
            print(f"{topics} topics x {partitions} partitions")
            for view in ("", "links/us-to-eu", "links/us-to-eu/topics", "links/us-to-eu/groups"):
                found = measure(chromium, fake, view)
                print(
                    f"  {found.view:24} first paint {found.first_paint_ms:4.0f} ms, shown {found.content_ms:4.0f} ms, "
                    f"main thread {found.busy:5.1%} of a core, heap {found.heap_mb:.0f} MB, "
                    f"{found.asked_per_s:.1f} views a second"
                )


if __name__ == "__main__":
    main()
