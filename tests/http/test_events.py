"""Server-Sent Events: one reader for all who listen, none for nobody, and no memory for those who don't read."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import aiohttp
import pytest

from replicator.errors import UnreachableError
from replicator.http import api, watch
from tests.http.conftest import Serving
from tests.http.world import World


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second is long in a test."""
    monkeypatch.setattr(watch, "EVERY_S", 0.02)


async def events(response: aiohttp.ClientResponse, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            line = (await response.content.readline()).decode()
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))
    return found


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # what it looks at has no event
            await asyncio.sleep(0.01)


async def test_given_listeners_then_all_get_events_from_one_reader_and_nobody_reads_for_nobody(
    world: World, serving: Serving, client: aiohttp.ClientSession
) -> None:
    url = await serving()
    assert world.looked == {}
    responses = [await client.get(f"{url}/v1/events") for _ in range(5)]
    world.next = 30
    for response in responses:
        (first, *_) = await events(response, 3)
        assert [link["name"] for link in first["links"]] == ["us-to-eu", "eu-to-ap"]
        assert first["links"][0]["states"] == {"COPYING": 1}
        assert first["links"][0]["worst"] == {"topic": "orders", "partition": 0, "lag": 3, "lag_ms": 9}
    assert world.looked["us-to-eu"] <= 2, "a look is shared by all, for a second"
    for response in responses:
        response.close()
    await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name() in ("events", "watch us-to-eu")])


async def test_given_a_link_whose_target_is_gone_then_the_event_says_so_and_others_are_told(
    world: World, serving: Serving, client: aiohttp.ClientSession
) -> None:
    url = await serving()
    world.error = UnreachableError("cluster eu: no answer")
    async with client.get(f"{url}/v1/events") as response:
        (found,) = await events(response, 1)
    assert [link["error"] for link in found["links"]] == ["cluster eu: no answer"] * 2
    async with client.get(f"{url}/v1/links") as response:
        assert response.status == 200


async def test_given_more_listeners_than_there_may_be_then_the_next_is_told(
    serving: Serving, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MOST", 2)
    url = await serving()
    responses = [await client.get(f"{url}/v1/events") for _ in range(2)]
    async with client.get(f"{url}/v1/events") as refused:
        assert refused.status == 503
        assert "listen already" in (await refused.json())["error"]
    responses.pop().close()
    await until_free(client, url)


async def test_given_a_listener_that_does_not_read_then_it_is_dropped(
    serving: Serving, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MOST", 1)
    monkeypatch.setattr(api, "PATIENCE_S", 0.3)
    large = b'{"at":1,"links":"%s"}' % (b"x" * 1_000_000)
    monkeypatch.setattr(watch.Links, "event_data", staticmethod(lambda links: large))
    url = await serving()
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as silent:
        silent.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await asyncio.to_thread(silent.recv, 12)) == b"HTTP/1.1 200"
        await until_free(client, url)


async def until_free(client: aiohttp.ClientSession, url: str) -> None:
    """Until somebody can listen."""
    async with asyncio.timeout(10):
        while True:
            async with client.get(f"{url}/v1/events") as response:
                if response.status == 200:
                    return
            await asyncio.sleep(0.01)
