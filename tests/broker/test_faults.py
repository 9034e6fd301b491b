"""Fault hooks: fail, delay, drop, drop the answer; by API, topic, node, client and count."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from broker.faults import Action, Faults
from tests.broker.calls import batch, client_of, running
from tests.support.rawclient import Closed


async def test_given_a_topics_produce_fault_when_produced_then_only_that_topic_fails_so_often() -> None:
    async with running() as cluster, client_of(cluster) as client:
        for name in ("a", "b"):
            cluster.create_topic(name)
        fault = cluster.faults.fail("Produce", ErrorCode.not_leader_or_follower, topic="a", times=2)
        assert (await client.produce("b", batch([b"x"]))).error_code is ErrorCode.none
        for _ in range(2):
            assert (await client.produce("a", batch([b"x"]))).error_code is ErrorCode.not_leader_or_follower
        assert (await client.produce("a", batch([b"x"]))).base_offset == 0
        assert fault.hits == 2
        assert cluster.faults.active == ()


async def test_given_a_fetch_fault_when_fetched_then_the_partition_carries_it() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create_topic("t")
        fault = cluster.faults.fail("Fetch", ErrorCode.kafka_storage_error, times=None)
        assert (await client.fetched("t", 0)).error_code is ErrorCode.kafka_storage_error
        fault.remove()
        fault.remove()
        assert (await client.fetched("t", 0)).error_code is ErrorCode.none


async def test_given_drops_when_asked_then_the_connection_closes_before_or_after_the_deed() -> None:
    async with running() as cluster:
        cluster.create_topic("t")
        cluster.faults.drop("Produce")
        cluster.faults.drop_response("Produce", topic="t")
        for expected_end in (0, 1):
            async with client_of(cluster) as client:
                with pytest.raises(Closed):
                    await client.produce("t", batch([b"x"]))
            assert cluster.log("t", 0).log_end_offset == expected_end


async def test_given_a_delay_when_asked_then_it_is_done_later() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.faults.delay("Metadata", 0.1, client_id="raw")
        loop = asyncio.get_running_loop()
        start = loop.time()
        await client.call("metadata", 12, topics=None)
        assert loop.time() - start >= 0.1


@pytest.mark.parametrize(
    ("api", "version", "values"),
    [
        ("metadata", 12, {"topics": [{"name": "t"}]}),
        ("create_topics", 7, {"topics": [{"name": "n", "num_partitions": 1, "replication_factor": 1}], "timeout": 9}),
        ("delete_topics", 6, {"topics": [{"name": "t", "topic_id": None}], "timeout": 9}),
        ("create_partitions", 3, {"topics": [{"name": "t", "count": 5, "assignments": None}], "timeout": 9}),
        ("delete_records", 2, {"topics": [{"name": "t", "partitions": [{"partition_index": 0, "offset": 0}]}]}),
        (
            "list_offsets",
            7,
            {"replica_id": -1, "topics": [{"name": "t", "partitions": [{"partition_index": 0, "timestamp": -1}]}]},
        ),
        (
            "offset_for_leader_epoch",
            4,
            {
                "replica_id": -1,
                "topics": [{"topic": "t", "partitions": [{"partition": 0, "leader_epoch": 0}]}],
            },
        ),
        ("describe_cluster", 1, {"endpoint_type": 1}),
        ("init_producer_id", 4, {"transactional_id": None, "producer_id": -1, "producer_epoch": -1}),
        ("find_coordinator", 4, {"key_type": 0, "coordinator_keys": ["g"]}),
    ],
)
async def test_given_a_failing_api_when_called_then_every_error_field_carries_the_code(
    api: str, version: int, values: dict[str, Any]
) -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create_topic("t", 2)
        cluster.faults.fail("*", ErrorCode.request_timed_out)
        answer = await client.call(api, version, **values)
        assert set(_codes(answer)) == {ErrorCode.request_timed_out}
        assert set(_codes(await client.call(api, version, **values))) == {ErrorCode.none}


def _codes(entity: Any) -> list[ErrorCode]:
    if isinstance(entity, tuple):
        return [code for item in entity for code in _codes(item)]
    slots = getattr(type(entity), "__slots__", ())
    found = [entity.error_code] if "error_code" in slots else []
    return found + [code for name in slots if name != "error_code" for code in _codes(getattr(entity, name))]


def test_given_rules_when_struck_then_api_node_client_and_topic_must_match() -> None:
    faults = Faults()
    rule = faults.fail("Fetch", ErrorCode.none, node=1, client_id="c", topic="t", times=1)
    for action, api, node, client_id, topics in (
        (Action.DROP, "Fetch", 1, "c", ("t",)),
        (Action.FAIL, "Produce", 1, "c", ("t",)),
        (Action.FAIL, "Fetch", 0, "c", ("t",)),
        (Action.FAIL, "Fetch", 1, "d", ("t",)),
        (Action.FAIL, "Fetch", 1, "c", ("u",)),
    ):
        assert faults.strike(action, api, node=node, client_id=client_id, topics=topics) is None
    assert faults.strike(Action.FAIL, "Fetch", node=1, client_id="c", topics=("u", "t")) is rule
    assert faults.strike(Action.FAIL, "Fetch", node=1, client_id="c", topics=("t",)) is None
