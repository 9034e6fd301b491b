"""The HTTP side: what each path answers, who may ask, and what is refused."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from replicator.config.models import ClusterConfig, LinkConfig, Settings
from replicator.errors import ConfigurationError, UnreachableError
from replicator.http.aggregate import AggregateService
from replicator.http.once import OneAtATime
from replicator.http.server import serve, urls
from replicator.http.service import Face, Service
from replicator.ledger.status import LinkStatus
from replicator.telemetry.counters import PartitionCounters, WorkerCounters
from replicator.views.view import Query, View
from tests.support.certificates import CertificateAuthority

SETTINGS = Settings(
    clusters={alias: ClusterConfig(bootstrap_servers="127.0.0.1:1") for alias in ("us", "eu")},
    links=(LinkConfig(name="l", source="us", target="eu"),),
)


class Fake:
    def __init__(self, name: str = "a", *, ready: bool = True, offset: int = 5) -> None:
        self.is_ready = ready
        self.name = name
        self.offset = offset
        self.broken = False

    def ready(self) -> tuple[bool, list[str]]:
        return self.is_ready, [] if self.is_ready else ["lane 3 is recovering"]

    def counters(self) -> WorkerCounters:
        part = PartitionCounters(link="l", topic="orders", partition=0, state="COPYING", records=self.offset)
        return WorkerCounters(partitions={("l", "orders", 0): part})

    def links(self) -> dict[str, tuple[Settings, LinkConfig]]:
        return {"l": (SETTINGS, SETTINGS.links[0])}

    def read(self, settings: Settings, link: LinkConfig, query: object) -> dict[str, object]:
        if self.broken:
            raise UnreachableError("cluster eu: no answer from b2:9092")
        rows = [
            {"topic": "orders", "partition": 0, "state": "COPYING", "source_next": self.offset, "lag": 3, "lag_ms": 9},
            {"topic": self.name, "partition": 1, "state": "PENDING", "source_next": -1, "lag": None, "lag_ms": None},
        ]
        names = {"name": link.name, "source": link.source, "target": link.target, "source_error": None}
        return {**names, "workers": [self.name], "partitions": rows}

    @property
    def views(self) -> dict[str, View[Any]]:
        return {"": View("", "Status.", Query, self.read, LinkStatus)}


Started = Callable[..., Awaitable[str]]


@pytest.fixture
async def start() -> AsyncIterator[Started]:
    runners: list[web.AppRunner] = []

    async def started(service: Service | Face, address: str = "127.0.0.1:0", token: str | None = None) -> str:
        views = service.views if isinstance(service, Fake) else Fake("parent").views
        runner = await serve(service, address, token, views=views)
        runners.append(runner)
        return urls(runner)[0]

    yield started
    await asyncio.gather(*(runner.cleanup() for runner in runners))


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_given_a_worker_then_each_path_answers(start: Started, client: aiohttp.ClientSession) -> None:
    url = await start(Fake())
    async with client.get(f"{url}/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert 'replicator_records_total{link="l",partition="0",topic="orders"} 5.0' in await answer.text()
    async with client.get(f"{url}/v1/status") as answer:
        assert (await answer.json())["links"][0]["name"] == "l"
    async with client.get(f"{url}/healthz") as answer:
        assert answer.status == 200
    async with client.get(f"{url}/readyz") as answer:
        assert (answer.status, await answer.json()) == (200, {"ready": True, "reasons": []})


async def test_given_a_worker_that_recovers_then_readyz_is_503_with_reasons(
    start: Started, client: aiohttp.ClientSession
) -> None:
    url = await start(Fake(ready=False))
    async with client.get(f"{url}/readyz") as answer:
        assert (answer.status, await answer.json()) == (503, {"ready": False, "reasons": ["lane 3 is recovering"]})


async def test_given_a_browser_then_the_page_needs_nothing_from_elsewhere(
    start: Started, client: aiohttp.ClientSession
) -> None:
    url = await start(Fake())
    for path, kind in (("/", "html"), ("/js/main.js", "javascript"), ("/css/base.css", "css"), ("/icon.svg", "svg")):
        async with client.get(url + path) as answer:
            assert answer.status == 200
            assert kind in answer.headers["Content-Type"]
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
            text = (await answer.text()).replace("http://www.w3.org/2000/svg", "")
            assert "http://" not in text
            assert "https://" not in text
            assert "//cdn" not in text


async def test_given_a_token_then_data_needs_it_and_probes_do_not(
    start: Started, client: aiohttp.ClientSession
) -> None:
    url = await start(Fake(ready=False), token="hush")
    for path in ("/metrics", "/v1/status"):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic hush"}):
            async with client.get(url + path, headers=headers) as answer:
                assert answer.status == 401
        async with client.get(url + path, headers={"Authorization": "bearer hush"}) as answer:
            assert answer.status == 200
    async with client.get(f"{url}/healthz") as answer:
        assert answer.status == 200
    async with client.get(f"{url}/readyz") as answer:
        assert (answer.status, await answer.json()) == (503, {"ready": False})


async def test_given_no_token_then_a_foreign_name_is_refused(start: Started, client: aiohttp.ClientSession) -> None:
    url = await start(Fake())
    async with client.get(f"{url}/v1/status", headers={"Host": "evil.example:80"}) as answer:
        assert answer.status == 421
    async with client.get(f"{url}/v1/status", headers={"Host": "localhost:80"}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "example.com:0"])
async def test_given_an_open_address_without_a_token_then_it_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"set service\.token"):
        await serve(Fake(), address)


async def test_given_a_taken_address_then_the_error_names_it(start: Started) -> None:
    url = await start(Fake())
    with pytest.raises(ConfigurationError, match=r"service\.http 127\.0\.0\.1:\d+: can't listen there"):
        await serve(Fake(), url.removeprefix("http://"))


async def test_given_a_certificate_then_it_is_https(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    server = authority.issue("server")
    runner = await serve(Fake(), "127.0.0.1:0", "hush", cert_file=str(server.certificate), key_file=str(server.key))
    try:
        url = urls(runner)[0]
        assert url.startswith("https://")
        trust = ssl.create_default_context(cafile=str(authority.certificate))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            async with session.get(f"{url}/metrics", headers={"Authorization": "Bearer hush"}) as answer:
                assert answer.status == 200
    finally:
        await runner.cleanup()


async def test_given_a_certificate_that_is_none_then_the_error_names_it(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("nothing")
    with pytest.raises(ConfigurationError, match=r"service\.cert_file .*c\.pem: can't be used"):
        await serve(Fake(), "127.0.0.1:0", cert_file=str(tmp_path / "c.pem"))


async def test_given_an_unreachable_cluster_then_status_is_503_with_the_reason(
    start: Started, client: aiohttp.ClientSession
) -> None:
    fake = Fake()
    fake.broken = True
    url = await start(fake)
    async with client.get(f"{url}/v1/status") as answer:
        assert (answer.status, await answer.json()) == (
            503,
            {"error": "cluster eu: no answer from b2:9092", "exit_code": 3},
        )


async def test_given_paths_and_methods_that_do_not_exist_then_the_answer_is_json(
    start: Started, client: aiohttp.ClientSession
) -> None:
    url = await start(Fake())
    async with client.get(f"{url}/nothing") as answer:
        assert (answer.status, await answer.json()) == (404, {"error": "Not Found", "exit_code": 0})
    async with client.post(f"{url}/v1/status", data=b"x" * 100_000) as answer:
        assert answer.status == 405


async def test_given_children_on_sockets_then_the_parent_answers_for_all(
    start: Started, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    children = {name: str(tmp_path / name) for name in ("w0", "w1")}
    await start(Fake("a", offset=5), f"unix:{children['w0']}")
    second = Fake("b", offset=9, ready=False)
    await start(second, f"unix:{children['w1']}")
    restarts = {"w0": 0, "w1": 0}
    url = await start(AggregateService(children, restarts, second.links))
    restarts["w1"] += 1
    async with client.get(f"{url}/metrics") as answer:
        text = await answer.text()
        assert 'replicator_worker_restarts_total{worker="w1"} 1.0' in text
        assert 'replicator_records_total{worker="w1",link="l",partition="0",topic="orders"} 9.0' in text
        assert 'replicator_worker_up{worker="w0"} 1.0' in text
    async with client.get(f"{url}/readyz") as answer:
        assert (answer.status, await answer.json())[1]["reasons"] == ["w1: lane 3 is recovering"]
    second.is_ready = True
    async with client.get(f"{url}/readyz") as answer:
        assert answer.status == 200
    async with client.get(f"{url}/v1/status") as answer:
        (link,) = (await answer.json())["links"]
        assert link["workers"] == ["parent"]
    async with client.get(f"{url}/v1/counts") as answer:
        assert await answer.json() == {"l": {"records": 14, "bytes": 0}}
    children["w2"] = str(tmp_path / "nobody")
    async with client.get(f"{url}/readyz") as answer:
        assert (answer.status, (await answer.json())["reasons"]) == (503, ["w2: doesn't answer"])


async def test_given_a_socket_left_by_a_killed_process_then_it_is_replaced(start: Started, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    assert await start(Fake(), f"unix:{path}") == f"unix:{path}"


async def test_given_many_who_ask_for_status_then_the_clusters_are_read_once_a_second() -> None:
    now, asked = [0.0], [0]

    async def ask() -> dict[str, object]:
        asked[0] += 1
        await asyncio.sleep(0)
        return {"links": []}

    cached = OneAtATime(ask, lambda: now[0])
    await asyncio.gather(*(cached() for _ in range(20)))
    assert asked == [1]
    now[0] = 1.0
    await cached()
    assert asked == [2]
