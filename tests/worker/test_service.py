"""One worker process: what ends it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from replicator.config.load import load
from replicator.errors import ReplicatorError, UnreachableError
from replicator.worker import service
from replicator.worker.link import LinkWorker
from tests.support.ports import free_ports


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    us, eu, http = free_ports(3)
    file = tmp_path / "replicator.yaml"
    file.write_text(
        f"""
clusters:
  us: {{bootstrap_servers: "127.0.0.1:{us}"}}
  eu: {{bootstrap_servers: "127.0.0.1:{eu}"}}
links: [{{name: us-to-eu, source: us, target: eu}}]
service: {{http: "127.0.0.1:{http}"}}
"""
    )
    return file


async def run(file: Path, stop: asyncio.Event) -> None:
    settings = load(file)
    async with asyncio.timeout(20):
        await service.run_worker(settings, settings.links, http=settings.service.http, stop=stop)


async def test_given_clusters_that_stay_away_then_the_worker_ends_and_names_address_and_remedy(
    configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replicator.worker.patience.START_LIMIT_S", 0.5)
    with pytest.raises(
        UnreachableError, match=r"cluster us: can't connect to 127\.0\.0\.1:\d+ .*check bootstrap_servers"
    ):
        await run(configuration, asyncio.Event())


async def test_given_a_stop_while_clusters_are_away_then_the_worker_ends_quietly(configuration: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.2, stop.set)
    await run(configuration, stop)


async def test_given_a_membership_that_ends_with_an_error_then_so_does_the_worker(
    configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.1, ended.set_exception, ReplicatorError("the group is closed to us"))

    async def started(self: LinkWorker) -> None:
        """Nothing to connect to."""

    monkeypatch.setattr(LinkWorker, "start", started)
    monkeypatch.setattr(LinkWorker, "ended", property(lambda self: ended))
    with pytest.raises(ReplicatorError, match="the group is closed to us"):
        await run(configuration, asyncio.Event())
