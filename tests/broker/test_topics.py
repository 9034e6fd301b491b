"""Topics and cluster administration: create, grow, delete, list offsets, delete records, describe."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from broker.config import BrokerConfig, log_config
from broker.config_defs import InvalidConfig
from tests.broker.batches import NOW
from tests.broker.batches import batch as stored_batch
from tests.broker.calls import Caller, client_of, running

FOREVER = {"message.timestamp.before.max.ms": "9" * 18, "message.timestamp.after.max.ms": "9" * 18}


async def create(client: Caller, name: str, partitions: int = 1, factor: int = 1, **more: Any) -> Any:
    validate_only = more.pop("validate_only", False)
    configs = [{"name": key, "value": value} for key, value in more.pop("configs", {}).items()]
    rows = [{"partition_index": index, "broker_ids": ids} for index, ids in more.pop("assignments", {}).items()]
    topic = {
        "name": name,
        "num_partitions": partitions,
        "replication_factor": factor,
        "configs": configs,
        "assignments": rows,
    }
    answer = await client.call("create_topics", 7, topics=[topic], timeout=1000, validate_only=validate_only)
    return answer.topics[0]


WRONG: list[tuple[dict[str, Any], ErrorCode]] = [
    ({"name": "old"}, ErrorCode.topic_already_exists),
    ({"name": ""}, ErrorCode.invalid_topic_exception),
    ({"name": ".."}, ErrorCode.invalid_topic_exception),
    ({"name": "a" * 250}, ErrorCode.invalid_topic_exception),
    ({"name": "a b"}, ErrorCode.invalid_topic_exception),
    ({"name": "with_dot"}, ErrorCode.invalid_topic_exception),
    ({"name": "t", "partitions": 0}, ErrorCode.invalid_partitions),
    ({"name": "t", "factor": 0}, ErrorCode.invalid_replication_factor),
    ({"name": "t", "factor": 5}, ErrorCode.invalid_replication_factor),
    ({"name": "t", "configs": {"nope": "1"}}, ErrorCode.invalid_config),
    ({"name": "t", "configs": {"retention.ms": "soon"}}, ErrorCode.invalid_config),
    ({"name": "t", "configs": {"retention.ms": None}}, ErrorCode.invalid_config),
    ({"name": "t", "configs": {"segment.bytes": "100"}}, ErrorCode.invalid_config),
    ({"name": "t", "configs": {"cleanup.policy": "keep"}}, ErrorCode.invalid_config),
    ({"name": "t", "configs": {"min.cleanable.dirty.ratio": "2"}}, ErrorCode.invalid_config),
    ({"name": "t", "partitions": 2, "factor": -1, "assignments": {0: [0]}}, ErrorCode.invalid_request),
    ({"name": "t", "partitions": -1, "factor": -1, "assignments": {0: [7]}}, ErrorCode.invalid_replica_assignment),
    ({"name": "t", "partitions": -1, "factor": -1, "assignments": {1: [0]}}, ErrorCode.invalid_replica_assignment),
]


async def test_given_wrong_wishes_when_creating_then_kafkas_codes() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create_topic("old")
        cluster.create_topic("with.dot")
        found = [(asked, (await create(client, **asked)).error_code) for asked, _ in WRONG]
        assert found == WRONG
        assert len(cluster.topics) == 2


async def test_given_defaults_when_creating_then_they_are_told_and_validate_only_makes_nothing() -> None:
    async with running(nodes=3, config={"num.partitions": "4", "default.replication.factor": "2"}) as cluster:
        async with client_of(cluster) as client:
            tried = await create(client, "t", -1, -1, validate_only=True)
            assert (tried.error_code, tried.num_partitions, "t" in cluster.topics) == (ErrorCode.none, 4, False)
            made = await create(client, "t", -1, -1, configs={"retention.ms": "5000"})
            assert (made.num_partitions, made.replication_factor) == (4, 2)
            told = {row.name: (row.value, row.config_source) for row in made.configs}
            assert told["retention.ms"] == ("5000", 1)
            assert told["max.message.bytes"] == ("1048588", 5)
            topic = cluster.topics.get("t")
            assert topic is not None
            assert sorted({partition.leader for partition in topic.partitions}) == [0, 1, 2]


def test_given_older_spellings_when_configured_then_topics_fall_back_to_the_finest_unit() -> None:
    given = {"log.retention.hours": "2", "log.retention.minutes": "3", "log.roll.hours": "1"}
    resolved = log_config(BrokerConfig(given), {"segment.bytes": "2000000"})
    assert (resolved.retention_ms, resolved.segment_ms, resolved.segment_bytes) == (180_000, 3_600_000, 2_000_000)
    assert log_config(BrokerConfig({"log.retention.hours": "-1"}), {}).retention_ms == -1
    with pytest.raises(InvalidConfig, match="nope"):
        BrokerConfig({"nope": "1"})


@pytest.mark.parametrize("version", [0, 1, 4, 8, 9, 10, 13])
async def test_given_any_version_when_metadata_is_asked_then_topics_and_brokers(version: int) -> None:
    async with running(nodes=2) as cluster, client_of(cluster) as client:
        topic = cluster.create_topic("t", 3, 2)
        if version == 0:
            asked: Any = ()
        else:
            asked = [{"name": "t"}]
        answer = await client.call("metadata", version, topics=asked)
        assert [broker.port for broker in answer.brokers] == [
            node.ports["PLAINTEXT"] for node in cluster.nodes.values()
        ]
        [told] = answer.topics
        assert (told.name, len(told.partitions)) == ("t", 3)
        assert sorted(told.partitions[0].isr_nodes) == [0, 1]
        if version >= 10:
            assert told.topic_id == topic.topic_id


async def test_given_missing_topics_when_metadata_is_asked_then_made_only_if_allowed() -> None:
    async with running() as cluster, client_of(cluster) as client:
        for name, allowed, code in (
            ("a", False, ErrorCode.unknown_topic_or_partition),
            ("a b", True, ErrorCode.invalid_topic_exception),
            ("a", True, ErrorCode.unknown_topic_or_partition),
            ("a", False, ErrorCode.none),
        ):
            answer = await client.call("metadata", 12, topics=[{"name": name}], allow_auto_topic_creation=allowed)
            assert answer.topics[0].error_code is code
        answer = await client.call("metadata", 12, topics=[{"topic_id": uuid.UUID(int=7), "name": None}])
        assert answer.topics[0].error_code is ErrorCode.unknown_topic_id


async def test_given_a_topic_when_grown_then_only_upwards() -> None:
    async with running() as cluster, client_of(cluster) as client:
        topic = cluster.create_topic("t", 2)
        for name, count, code in (
            ("t", 2, ErrorCode.invalid_partitions),
            ("t", 1, ErrorCode.invalid_partitions),
            ("nope", 3, ErrorCode.unknown_topic_or_partition),
            ("t", 3, ErrorCode.none),
        ):
            row = {"name": name, "count": count, "assignments": None}
            answer = await client.call("create_partitions", 3, topics=[row], timeout=1000)
            assert answer.results[0].error_code is code
        assert len(topic.partitions) == 3


async def test_given_topics_when_deleted_by_name_or_id_then_gone_and_a_new_one_has_another_id() -> None:
    async with running() as cluster, client_of(cluster) as client:
        first = cluster.create_topic("t")
        cluster.log("t", 0).append_as_client(stored_batch())
        answer = await client.call("delete_topics", 6, topics=[{"name": None, "topic_id": first.topic_id}], timeout=100)
        assert (answer.responses[0].error_code, answer.responses[0].name) == (ErrorCode.none, "t")
        second = cluster.create_topic("t")
        assert second.topic_id != first.topic_id
        assert cluster.log("t", 0).log_end_offset == 0
        answer = await client.call("delete_topics", 5, topic_names=["t", "nope"], timeout=100)
        assert [row.error_code for row in answer.responses] == [ErrorCode.none, ErrorCode.unknown_topic_or_partition]
        answer = await client.call("delete_topics", 6, topics=[{"name": None, "topic_id": None}], timeout=100)
        assert answer.responses[0].error_code is ErrorCode.invalid_request


@pytest.mark.parametrize("version", range(1, 11))
async def test_given_times_when_offsets_are_listed_then_as_kafka_does(version: int) -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create_topic("t", configs=FOREVER)
        log = cluster.log("t", 0)
        for second in (1, 5, 3):
            log.append_as_client(stored_batch([(b"a", b"1"), (b"b", b"2")], timestamp=NOW + second))
        log.delete_records_to(1)

        async def at(timestamp: int, partition: int = 0) -> tuple[ErrorCode, int, int]:
            row = {"partition_index": partition, "timestamp": timestamp}
            answer = await client.call(
                "list_offsets", version, replica_id=-1, topics=[{"name": "t", "partitions": [row]}]
            )
            found = answer.topics[0].partitions[0]
            return found.error_code, found.timestamp, found.offset

        assert await at(-1) == (ErrorCode.none, -1, 6)
        assert await at(-2) == (ErrorCode.none, -1, 1)
        assert await at(NOW) == (ErrorCode.none, NOW + 1, 1)
        assert await at(NOW + 2) == (ErrorCode.none, NOW + 5, 2)
        assert await at(NOW + 6) == (ErrorCode.none, -1, -1)
        assert (await at(-1, partition=4))[0] is ErrorCode.unknown_topic_or_partition
        if version >= 7:
            assert await at(-3) == (ErrorCode.none, NOW + 5, 2)


async def test_given_an_open_transaction_when_the_end_is_listed_then_committed_readers_get_the_stable_one() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create_topic("t", configs=FOREVER)
        log = cluster.log("t", 0)
        log.append_as_client(stored_batch())
        log.append_as_client(stored_batch(producer_id=5, epoch=0, sequence=0, transactional=True))
        row = {"name": "t", "partitions": [{"partition_index": 0, "timestamp": -1}]}
        ends = []
        for isolation in (0, 1):
            answer = await client.call("list_offsets", 7, replica_id=-1, isolation_level=isolation, topics=[row])
            ends.append(answer.topics[0].partitions[0].offset)
        assert ends == [2, 1]


async def test_given_records_when_deleted_then_the_start_moves_and_nonsense_is_refused() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create_topic("t", configs=FOREVER)
        cluster.create_topic("c", configs={"cleanup.policy": "compact"})
        cluster.log("t", 0).append_as_client(stored_batch([(b"k", b"v")] * 5))

        async def delete(offset: int, topic: str = "t", partition: int = 0) -> tuple[ErrorCode, int]:
            rows = [{"name": topic, "partitions": [{"partition_index": partition, "offset": offset}]}]
            answer = await client.call("delete_records", 2, topics=rows, timeout=100)
            found = answer.topics[0].partitions[0]
            return found.error_code, found.low_watermark

        assert await delete(3) == (ErrorCode.none, 3)
        assert await delete(2) == (ErrorCode.none, 3)
        assert await delete(9) == (ErrorCode.offset_out_of_range, -1)
        assert await delete(1, partition=7) == (ErrorCode.unknown_topic_or_partition, -1)
        assert await delete(0, topic="c") == (ErrorCode.policy_violation, -1)
        assert await delete(-1) == (ErrorCode.none, 5)
        assert (await client.fetched("t", 2)).error_code is ErrorCode.offset_out_of_range


async def test_given_many_partitions_when_described_then_page_by_page() -> None:
    async with running() as cluster, client_of(cluster) as client:
        for name in ("a", "b"):
            cluster.create_topic(name, 3)
        seen = []
        cursor: Any = None
        while True:
            answer = await client.call(
                "describe_topic_partitions", 0, topics=(), response_partition_limit=2, cursor=cursor
            )
            seen += [(topic.name, row.partition_index) for topic in answer.topics for row in topic.partitions]
            if answer.next_cursor is None:
                break
            cursor = {
                "topic_name": answer.next_cursor.topic_name,
                "partition_index": answer.next_cursor.partition_index,
            }
        assert seen == [(name, index) for name in "ab" for index in range(3)]


async def test_given_a_cluster_when_described_then_its_brokers() -> None:
    async with running(nodes=2) as cluster, client_of(cluster) as client:
        await cluster.stop_node(1)
        answer = await client.call("describe_cluster", 2, endpoint_type=1, include_fenced_brokers=True)
        assert answer.cluster_id == cluster.cluster_id
        assert [(row.broker_id, row.is_fenced) for row in answer.brokers] == [(0, False), (1, True)]
        answer = await client.call("describe_cluster", 2, endpoint_type=2)
        assert answer.error_code is ErrorCode.mismatched_endpoint_type
