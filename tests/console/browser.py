"""The system's Chromium, driven by Playwright: no browser is downloaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

AXE = Path(__file__).parent / "vendor" / "axe" / "axe.min.js"


def chromium() -> str | None:
    """Where it is; None if it isn't here."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """One of them, without a window."""
    program = chromium()
    assert program is not None
    options = ["--disable-dev-shm-usage", "--force-color-profile=srgb", "--font-render-hinting=none"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # Chromium refuses to run as root otherwise
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=program, args=options)
        try:
            yield made
        finally:
            made.close()
