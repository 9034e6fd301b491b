"""One Chromium for all tests of the console; without one they are skipped, but never under CI=true."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.console.browser import browser, chromium


@pytest.fixture(scope="package")
def chrome() -> Iterator[Browser]:
    """The browser."""
    if chromium() is None and os.environ.get("CI") != "true":
        pytest.skip("no Chromium on this machine (Debian's package `chromium`); CI has it")
    with browser() as made:
        yield made


@pytest.fixture
def page(chrome: Browser) -> Iterator[Page]:
    """A fresh page of a fresh context: 1280 wide, light, without motion. Errors in the page's scripts fail the test."""
    context = chrome.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light", reduced_motion="reduce")
    context.set_default_timeout(5000)
    made = context.new_page()
    errors: list[str] = []
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.on("console", lambda message: "Content Security Policy" in message.text and errors.append(message.text))
    yield made
    context.close()
    assert not errors
