"""ClusterClient: leaders, bootstrap, refreshing, failing brokers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from replicator.config.models import ClusterConfig
from replicator.errors import ConfigurationError, UnreachableError
from replicator.wire import cluster as module
from replicator.wire.cluster import ClusterClient
from replicator.wire.metadata import METADATA
from tests.support.eventually import until
from tests.wire.fakebroker import FakeBroker, Request

TOPIC = uuid.UUID(int=5)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REFRESH_PAUSE_S", 0.01)
    monkeypatch.setattr(module, "_CONNECT_PAUSE_S", 0.01)


class Pair:
    """Two brokers that say the same of the cluster, and a client of it."""

    def __init__(self) -> None:
        self.brokers = [FakeBroker(node_id=0), FakeBroker(node_id=1)]
        self.leaders = {0: (0, 5), 1: (1, 5)}  # partition -> leader, leader epoch
        self.topic_id = TOPIC
        self.error = 0
        self.asked: list[list[str] | None] = []

    async def start(self) -> None:
        for broker in self.brokers:
            await broker.__aenter__()
            broker.handlers[METADATA] = self.metadata

    def client(self, *, first: str = "") -> ClusterClient:
        servers = first + ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers)
        client = ClusterClient("us", ClusterConfig(bootstrap_servers=servers), "me")
        client.watch(["t"])
        return client

    def metadata(self, _: Request, __: object) -> dict[str, Any]:
        rows = [
            {"error_code": 0, "partition_index": n, "leader_id": leader, "leader_epoch": epoch, "replica_nodes": [],
             "isr_nodes": [], "offline_replicas": []} for n, (leader, epoch) in self.leaders.items()
        ]  # fmt: skip
        topic = {"error_code": self.error, "name": "t", "topic_id": self.topic_id, "is_internal": False,
                 "partitions": [] if self.error else rows}  # fmt: skip
        nodes = [{"node_id": b.node_id, "host": "127.0.0.1", "port": b.port, "rack": None} for b in self.brokers]
        return {"brokers": nodes, "cluster_id": "c", "controller_id": 0, "topics": [topic]}

    @property
    def count(self) -> int:
        return sum(broker.count(METADATA) for broker in self.brokers)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    await pair.start()
    yield pair
    for broker in pair.brokers:
        await broker.stop()


async def test_given_a_first_address_that_is_dead_then_the_next_is_used(pair: Pair) -> None:
    client = pair.client(first="127.0.0.1:1,")
    await client.refresh()
    assert client.cluster_id == "c"
    leader = client.leader("t", 1)
    assert leader is not None
    assert leader.leader == 1
    await client.close()


async def test_given_older_metadata_then_leaders_never_go_back(pair: Pair) -> None:
    client = pair.client()
    await client.refresh()
    pair.leaders = {0: (1, 4), 1: (0, 6)}
    await client.refresh()
    zero, one = client.leader("t", 0), client.leader("t", 1)
    assert zero is not None
    assert one is not None
    assert (zero.leader, zero.leader_epoch) == (0, 5)
    assert (one.leader, one.leader_epoch) == (0, 6)
    pair.topic_id, pair.leaders = uuid.UUID(int=6), {0: (1, 0)}
    await client.refresh()
    new = client.leader("t", 0)
    assert new is not None
    assert (new.leader, new.leader_epoch, client.topic_id_of("t")) == (1, 0, uuid.UUID(int=6))
    await client.close()


async def test_given_a_leader_that_nobody_is_or_that_is_not_known_then_there_is_none(pair: Pair) -> None:
    pair.leaders = {0: (-1, 5), 1: (99, 5)}
    client = pair.client()
    await client.refresh()
    assert client.leader("t", 0) is None
    assert client.leader("t", 1) is None
    assert client.leader("unknown", 0) is None
    await client.close()


async def test_given_many_who_ask_at_once_then_two_requests_serve_them_all(pair: Pair) -> None:
    client = pair.client()
    await client.refresh()
    before = pair.count
    heard: list[int] = []
    client.listeners.append(lambda: heard.append(1))
    for _ in range(20):
        client.refresh_soon()
    await asyncio.gather(*(client.refresh() for _ in range(20)))
    assert pair.count - before <= 2
    assert len(heard) <= 2
    await client.close()


async def test_given_a_topic_that_is_gone_then_its_error_shows_and_it_comes_back(pair: Pair) -> None:
    client = pair.client()
    await client.refresh()
    pair.error = 3
    await client.refresh()
    assert client.topics["t"].error == 3
    assert client.topic_id_of("t") is None
    pair.error = 0
    await client.refresh()
    assert client.topics["t"].error == 0
    client.unwatch(["t"])
    assert client.topic_id_of("t") is None
    await client.close()


async def test_given_a_broker_that_freezes_then_the_next_question_goes_to_another(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replicator.wire.metadata.QUESTION_TIMEOUT_S", 0.05)
    client = pair.client()
    await client.refresh()
    frozen = next(broker for broker in pair.brokers if broker.connections and broker.count(METADATA))
    (asked,) = {key[0] for key in client._connections}
    frozen = pair.brokers[asked]
    frozen.handlers[METADATA] = lambda *_: None
    with pytest.raises(UnreachableError, match="didn't answer"):
        await client.refresh()
    async with asyncio.timeout(5):
        await client.refresh()
    assert pair.brokers[1 - asked].count(METADATA) >= 1
    await client.close()


async def test_given_a_cluster_that_is_down_then_it_is_unreachable_and_back_when_it_is(pair: Pair) -> None:
    client = pair.client()
    await client.refresh()
    ports = [broker.port for broker in pair.brokers]
    for broker in pair.brokers:
        await broker.stop()
    with pytest.raises(UnreachableError, match="cluster us"):
        await client.refresh()
    client.refresh_soon()
    await asyncio.sleep(0.05)
    broker = pair.brokers[0]
    broker._server = await asyncio.start_server(broker._serve, "127.0.0.1", ports[0])
    await client.refresh()
    await client.close()


async def test_given_a_lost_connection_then_the_next_use_opens_another(pair: Pair) -> None:
    client = pair.client()
    await client.refresh()
    first = await client.connection(0, "fetch-0")
    assert await client.connection(0, "fetch-0") is first
    assert await client.connection(0, "produce-0") is not first
    first.close()
    again = await client.connection(0, "fetch-0")
    assert again is not first
    assert not again.is_closed
    await client.close()
    await until(lambda: again.is_closed, "closing")
    with pytest.raises(UnreachableError, match="client is closed"):
        await client.connection(0, "fetch-0")


async def test_given_a_waiter_that_gives_up_then_the_connection_still_opens_for_the_next(pair: Pair) -> None:
    client = pair.client()
    await client.refresh()
    waiter = asyncio.create_task(client.connection(1, "fetch-0"))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    connection = await client.connection(1, "fetch-0")
    assert pair.brokers[1].connections == 1
    assert not connection.is_closed
    await client.close()


async def test_given_a_broker_that_is_not_in_the_metadata_then_it_is_unreachable(pair: Pair) -> None:
    client = pair.client()
    await client.refresh()
    with pytest.raises(UnreachableError, match="broker 7 is not in the cluster's metadata"):
        await client.connection(7, "fetch-0")
    await client.close()


@pytest.mark.parametrize("servers", ["broker", "broker:port", ":9092"])
async def test_given_an_address_that_is_none_then_the_key_is_named(servers: str) -> None:
    with pytest.raises((ConfigurationError, ValueError), match=r"bootstrap_servers|HOST:PORT"):
        await ClusterClient("us", ClusterConfig(bootstrap_servers=servers), "me").refresh()


async def test_given_offsets_of_partitions_on_two_brokers_then_each_is_asked_for_its_own(pair: Pair) -> None:
    for broker in pair.brokers:
        row = {"partition_index": broker.node_id, "error_code": 0, "timestamp": -1, "offset": 10 + broker.node_id}
        answer = {"topics": [{"name": "t", "partitions": [row | {"leader_epoch": 1}]}]}
        broker.handlers[2] = lambda _, __, answer=answer: answer  # type: ignore[misc]
    client = pair.client()
    await client.refresh()
    found = await client.offsets([("t", 0, -1), ("t", 1, -1), ("t", 9, -1)], 1)
    assert {key: listed.offset for key, listed in found.items()} == {("t", 0): 10, ("t", 1): 11}
    await client.close()


async def test_given_the_same_answer_again_then_it_is_the_same_view_and_who_listens_is_told(pair: Pair) -> None:
    client = pair.client()
    first = await client.all_topics()
    heard: list[int] = []
    client.listeners.append(lambda: heard.append(1))
    assert await client.all_topics() is first
    assert heard == [1]
    pair.leaders[0] = (1, 6)
    changed = await client.all_topics()
    assert changed is not first
    leader = client.leader("t", 0)
    assert leader is not None
    assert (leader.leader, leader.leader_epoch) == (1, 6)
    await client.close()


async def test_given_an_old_answer_after_another_question_said_otherwise_then_it_counts_again(pair: Pair) -> None:
    client = pair.client()
    await client.all_topics()
    pair.error = 3
    await client.refresh()
    assert client.topics["t"].error == 3
    pair.error = 0
    await client.all_topics()  # byte for byte as the first time
    assert client.topics["t"].error == 0
    client.unwatch(["t"])
    await client.all_topics()
    assert client.topic_id_of("t") == TOPIC
    await client.close()


async def test_given_answers_that_cross_then_no_error_outlives_the_answer_that_says_it_is_over(pair: Pair) -> None:
    client = pair.client()
    good = await client.all_topics()
    pair.error = 3
    await client.refresh()
    pair.error = 0
    client._take(good, of_all=True)  # asked before, and found unchanged, when the other answer had come meanwhile
    assert client.topics["t"].error == 0
    assert client.leader("t", 0) is not None
    await client.close()
