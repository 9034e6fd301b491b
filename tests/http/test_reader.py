"""Views that are slow don't hold up the others."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from replicator.config.models import LinkConfig, Settings
from replicator.http.reader import Reader
from replicator.views.view import Query, View
from tests.http.world import SETTINGS

NAMES = [f"l{number}" for number in range(20)]


async def test_given_slow_views_of_many_links_when_another_view_is_asked_for_then_it_answers() -> None:
    may_end, begun = threading.Event(), threading.Semaphore(0)

    def wait(settings: Settings, link: LinkConfig, query: Query) -> dict[str, Any]:
        begun.release()
        assert may_end.wait(20)
        return {"link": link.name}

    links = {name: (SETTINGS, LinkConfig(name=name, source="us", target="eu")) for name in NAMES}
    reader = Reader(lambda: links)
    slow = View("slow", "Waits.", Query, wait, dict[str, Any], slow=True)
    quick = View("quick", "Doesn't.", Query, lambda _, link, __: {"link": link.name}, dict[str, Any])
    waiting = [asyncio.create_task(reader.read(slow, name)) for name in NAMES]
    try:
        assert await asyncio.to_thread(begun.acquire, timeout=10)
        answer = await asyncio.wait_for(reader.read(quick, NAMES[0]), 10)
        assert answer.value == {"link": NAMES[0]}
    finally:
        may_end.set()
        answers = await asyncio.gather(*waiting)
    assert [each.value["link"] for each in answers] == NAMES
