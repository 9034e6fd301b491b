"""Orders over HTTP: what is meant, what is refused, and what becomes of an operation."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.http.conftest import Serving
from tests.http.world import World

PATH = "/v1/links/us-to-eu/stop"
MEANT = {"all": True, "confirm": "us-to-eu"}


async def post(client: aiohttp.ClientSession, url: str, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
    async with client.post(url, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def ended(client: aiohttp.ClientSession, url: str, operation: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            async with client.get(f"{url}/v1/operations/{operation}") as answer:
                found: dict[str, Any] = await answer.json()
            if found["state"] != "running":
                return found
            await asyncio.sleep(0.01)


async def test_given_a_dry_run_then_it_says_what_would_be_and_nothing_is_done(
    world: World, serving: Serving, client: aiohttp.ClientSession
) -> None:
    url = await serving()
    status, told = await post(client, url + PATH, {"all": True, "dry_run": True})
    assert status == 200
    said = "7 partitions will stop."
    assert told == {"link": "us-to-eu", "partitions": 7, "dry_run": True, "consequence": said}
    assert world.orders == []


async def test_given_no_confirmation_then_the_consequence_is_said_and_nothing_is_done(
    world: World, serving: Serving, client: aiohttp.ClientSession
) -> None:
    url = await serving()
    for confirm in ({}, {"confirm": "eu-to-ap"}, {"confirm": ""}):
        status, told = await post(client, url + PATH, {"all": True, **confirm})
        assert (status, told["exit_code"]) == (400, 2)
        assert told["error"] == "`confirm` must be the link's name, 'us-to-eu': 7 partitions will stop."
    assert world.orders == []


async def test_given_an_order_that_is_meant_then_it_runs_and_its_progress_and_result_are_told(
    world: World, serving: Serving, client: aiohttp.ClientSession
) -> None:
    url = await serving()
    status, told = await post(client, url + PATH, {**MEANT, "why": "a rehearsal"})
    assert status == 202
    found = await ended(client, url, told["operation"])
    assert (found["state"], found["exit_code"], found["error"]) == ("done", 0, None)
    assert found["result"] == {"link": "us-to-eu", "done": 7}
    assert found["lines"] == ["it has begun", "it has ended"]
    assert (found["by"], found["verb"], found["arguments"]["why"]) == ("api:local@127.0.0.1", "stop", "a rehearsal")
    assert world.orders[0][2].by == "api:local@127.0.0.1"
    async with client.get(f"{url}/v1/operations/{told['operation']}?after=1") as answer:
        assert (await answer.json())["lines"] == ["it has ended"]
    async with client.get(f"{url}/v1/operations") as answer:
        (row,) = (await answer.json())["operations"]
        assert (row["id"], row["state"]) == (told["operation"], "done")
        assert "lines" not in row


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({**MEANT, "tpoic": "x"}, 400, "tpoic"),
        ({"confirm": "us-to-eu"}, 400, "name the topics"),
        ({**MEANT, "topic": "x"}, 400, "name the topics"),
        ({"topic": "(", "confirm": "us-to-eu"}, 400, "isn't a regular expression"),
        ({**MEANT, "dry_run": "perhaps"}, 400, "dry_run"),
        ([], 400, "must be a JSON object"),
        ({"topic": "gone", "confirm": "us-to-eu"}, 503, "cluster us: no answer"),
        ({"topic": "promoted", "confirm": "us-to-eu"}, 409, "promoted: nothing was changed"),
    ],
)
async def test_given_an_order_that_makes_no_sense_or_cannot_be_then_it_is_refused_at_once(
    body: object, status: int, said: str, world: World, serving: Serving, client: aiohttp.ClientSession
) -> None:
    url = await serving()
    code, told = await post(client, url + PATH, body)
    assert (code, said in told["error"]) == (status, True), told
    assert world.orders == []


async def test_given_what_is_not_json_then_it_is_refused(serving: Serving, client: aiohttp.ClientSession) -> None:
    url = await serving()
    async with client.post(url + PATH, data=b"{", headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 400
    async with client.post(url + PATH, data=b"x" * 100_000, headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 413
    async with client.get(f"{url}/v1/links/us-to-ue/stop") as answer:
        assert answer.status == 405
    status, told = await post(client, f"{url}/v1/links/us-to-ue/stop", MEANT)
    assert status == 404
    assert "did you mean `us-to-eu`?" in told["error"]
    async with client.get(f"{url}/v1/operations/none") as answer:
        assert answer.status == 404


@pytest.mark.parametrize(
    ("topic", "state", "code", "said"),
    [("late", "refused", 4, "somebody else was first"), ("bug", "failed", 1, "a mistake in Replicator")],
)
async def test_given_an_operation_that_ends_badly_then_it_says_how(
    topic: str, state: str, code: int, said: str, serving: Serving, client: aiohttp.ClientSession
) -> None:
    url = await serving()
    _, told = await post(client, url + PATH, {"topic": topic, "confirm": "us-to-eu"})
    found = await ended(client, url, told["operation"])
    assert (found["state"], found["exit_code"], found["result"]) == (state, code, None)
    assert said in found["error"]


async def test_given_an_operation_that_runs_then_a_second_one_at_its_link_is_told_who_and_another_link_is_free(
    world: World, serving: Serving, client: aiohttp.ClientSession
) -> None:
    url = await serving()
    world.may_end.clear()
    _, first = await post(client, url + PATH, MEANT)
    status, told = await post(client, url + PATH, MEANT)
    assert status == 409
    assert "api:local@127.0.0.1 is at work on it: `stop` since " in told["error"]
    status, other = await post(client, f"{url}/v1/links/eu-to-ap/stop", {**MEANT, "confirm": "eu-to-ap"})
    assert status == 202
    world.may_end.set()
    for operation in (first, other):
        assert (await ended(client, url, operation["operation"]))["state"] == "done"
    status, _ = await post(client, url + PATH, MEANT)
    assert status == 202


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Host": "evil.example"}, 421),
        ({}, 202),
    ],
)
async def test_given_another_sites_page_then_it_can_give_no_order(
    headers: dict[str, str], status: int, world: World, serving: Serving, client: aiohttp.ClientSession
) -> None:
    url = await serving()
    code, _ = await post(client, url + PATH, MEANT, **headers)
    assert code == status
    assert len(world.orders) == (status == 202)


async def test_given_our_own_page_then_it_can(serving: Serving, client: aiohttp.ClientSession) -> None:
    url = await serving()
    status, _ = await post(client, url + PATH, MEANT, **{"Origin": url, "Sec-Fetch-Site": "same-origin"})
    assert status == 202
