"""Produce: what Kafka 4.1 refuses, with which code, and what it accepts. The cases were compared with the real one."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from tests.broker.calls import batch, client_of, read_batches, running
from tests.support.rawclient import CONTROL, LOG_APPEND_TIME, TRANSACTIONAL, record

TWO = [b"a", b"b"]
REFUSED: dict[str, tuple[bytes, ErrorCode]] = {
    "base offset": (batch(TWO, base_offset=5), ErrorCode.invalid_record),
    "checksum": (batch(TWO, crc=1), ErrorCode.corrupt_message),
    "count too large": (batch(TWO, count=3), ErrorCode.invalid_record),
    "count zero": (batch(TWO, count=0), ErrorCode.invalid_record),
    "count negative": (batch(TWO, count=-1), ErrorCode.invalid_record),
    "hole in the offsets": (batch(TWO, last_offset_delta=5), ErrorCode.invalid_record),
    "negative offset delta": (batch(TWO, last_offset_delta=-2), ErrorCode.invalid_record),
    "fewer records than said": (batch(TWO, last_offset_delta=5, count=6), ErrorCode.invalid_record),
    "more records than said": (batch(TWO, last_offset_delta=0, count=1), ErrorCode.invalid_record),
    "two batches": (batch(TWO) + batch(TWO), ErrorCode.invalid_record),
    "nothing": (b"", ErrorCode.invalid_record),
    "cut short": (batch(TWO)[:70], ErrorCode.invalid_record),
    "format 1": (batch(TWO, magic=1), ErrorCode.invalid_record),
    "format 3": (batch(TWO, magic=3), ErrorCode.corrupt_message),
    "control": (batch(TWO, attributes=CONTROL), ErrorCode.invalid_record),
    "unknown codec": (batch(TWO, attributes=5), ErrorCode.unknown_server_error),
    "broken gzip": (batch(TWO, attributes=1), ErrorCode.unknown_server_error),
    "broken snappy": (batch(TWO, attributes=2), ErrorCode.unknown_server_error),
    "broken lz4": (batch(TWO, attributes=3), ErrorCode.unknown_server_error),
    "broken zstd": (batch(TWO, attributes=4), ErrorCode.unknown_server_error),
    "transactional bit": (batch(TWO, attributes=TRANSACTIONAL), ErrorCode.transactional_id_authorization_failed),
    "producer without sequence": (batch(TWO, producer_id=5, epoch=0), ErrorCode.invalid_record),
    "future": (batch(TWO, timestamp=round(time.time() * 1000) + 7_200_000), ErrorCode.invalid_timestamp),
    "record length": (batch([b"a"], payload=b"\x10\x00"), ErrorCode.invalid_record),
    "bytes behind the records": (batch([b"a"], payload=record(0, b"a") + b"xx"), ErrorCode.invalid_record),
    "too large": (batch([b"a" * 1_100_000]), ErrorCode.message_too_large),
}


async def test_given_broken_batches_when_produced_then_each_is_refused_with_kafkas_code() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create_topic("t", 1)
        found = {name: (await client.produce("t", records)).error_code for name, (records, _) in REFUSED.items()}
        assert found == {name: code for name, (_, code) in REFUSED.items()}
        assert cluster.log("t", 0).log_end_offset == 0


@pytest.mark.parametrize(
    "records",
    [
        batch(TWO),
        batch(TWO) + b"\x00" * 5,
        batch(TWO, attributes=LOG_APPEND_TIME),
        batch(TWO, timestamp=-1),
        batch(TWO, timestamp=0),
        batch(TWO, producer_id=5, epoch=0, sequence=77),
    ],
    ids=["plain", "torn second batch", "append-time flag", "no timestamp", "epoch", "any first sequence"],
)
async def test_given_odd_but_legal_batches_when_produced_then_accepted(records: bytes) -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create_topic("t", 1)
        answer = await client.produce("t", records)
        assert (answer.error_code, answer.base_offset, answer.log_start_offset) == (ErrorCode.none, 0, 0)
        [stored] = read_batches((await client.fetched("t", 0)).records)
        assert (stored.count, stored.attributes) == (2, 0)


@pytest.mark.parametrize("version", range(3, 14))
async def test_given_any_version_when_produced_then_appended(version: int) -> None:
    async with running() as cluster, client_of(cluster) as client:
        topic = cluster.create_topic("t", 1)
        asked: Any = topic.topic_id if version >= 13 else "t"
        answer = await client.produce(asked, batch(TWO), version=version)
        assert (answer.error_code, answer.base_offset) == (ErrorCode.none, 0)
        if version >= 13:
            assert (await client.produce(uuid.uuid4(), batch(TWO), version=13)).error_code is ErrorCode.unknown_topic_id
        else:
            answer = await client.produce("nope", batch(TWO), version=version)
            assert answer.error_code is ErrorCode.unknown_topic_or_partition


async def test_given_a_compacted_topic_when_keys_are_missing_then_the_records_are_named() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create_topic("t", 1, configs={"cleanup.policy": "compact"})
        answer = await client.produce("t", batch([b"no", (b"key", b"yes"), b"no"]))
        assert answer.error_code is ErrorCode.invalid_record
        assert [error.batch_index for error in answer.record_errors] == [0, 2]
        assert "2 record errors in total" in answer.error_message


async def test_given_append_time_when_produced_then_the_broker_stamps_and_refuses_a_flagged_batch() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create_topic("t", 1, configs={"message.timestamp.type": "LogAppendTime"})
        answer = await client.produce("t", batch(TWO, timestamp=1000))
        assert answer.log_append_time is not None
        [stored] = read_batches((await client.fetched("t", 0)).records)
        assert stored.attributes == LOG_APPEND_TIME
        assert stored.max_timestamp == round(answer.log_append_time.timestamp() * 1000)
        answer = await client.produce("t", batch(TWO, attributes=LOG_APPEND_TIME))
        assert (answer.error_code, len(answer.record_errors)) == (ErrorCode.invalid_timestamp, 2)


async def test_given_a_topics_own_codec_when_produced_then_recompressed() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create_topic("packed", 1, configs={"compression.type": "zstd"})
        cluster.create_topic("plain", 1, configs={"compression.type": "uncompressed"})
        await client.produce("packed", batch([b"a" * 1000]))
        records = (await client.fetched("packed", 0)).records
        assert len(records) < 200
        [stored] = read_batches(records)
        assert stored.attributes == 4
        moved = batch([b"x"])  # base offset and epoch are the broker's, the rest is what was stored
        await client.produce("plain", moved)
        plain = (await client.fetched("plain", 0)).records
        assert plain[16:] == moved[16:]


async def test_given_too_few_in_sync_replicas_when_acks_all_then_refused_and_acks_one_accepted() -> None:
    async with running(nodes=2) as cluster, client_of(cluster) as client:
        cluster.create_topic("t", 1, 2, {"min.insync.replicas": "2"}, assignments=None)
        leader = cluster.topics.partition("t", 0)
        assert leader is not None
        await cluster.move_leader("t", 0, 0)
        await cluster.stop_node(1)
        assert (await client.produce("t", batch(TWO))).error_code is ErrorCode.not_enough_replicas
        assert (await client.produce("t", batch(TWO), acks=1)).base_offset == 0
        assert (await client.fetched("t", 0)).high_watermark == 0
        await cluster.start_node(1)
        assert (await client.fetched("t", 0)).high_watermark == 2


async def test_given_acks_zero_when_it_fails_then_the_connection_closes_and_else_there_is_no_answer() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create_topic("t", 1)
        row = [{"name": "t", "partition_data": [{"index": 0, "records": batch(TWO)}]}]
        await client.send("produce", 9, acks=0, timeout=100, transactional_id=None, topic_data=row)
        answer = await client.produce("t", batch(TWO))  # the next answer is the next request's
        assert answer.base_offset == 2
        bad = [{"name": "nope", "partition_data": [{"index": 0, "records": batch(TWO)}]}]
        await client.send("produce", 9, acks=0, timeout=100, transactional_id=None, topic_data=bad)
        with pytest.raises(Exception, match="closed"):
            await client.receive("produce", 9)


async def test_given_another_node_when_produced_there_then_it_names_the_leader() -> None:
    async with running(nodes=2) as cluster, client_of(cluster, 0) as client:
        cluster.create_topic("t", assignments={0: [1]})
        answer = await client.call(
            "produce",
            10,
            acks=-1,
            timeout=100,
            transactional_id=None,
            topic_data=[{"name": "t", "partition_data": [{"index": 0, "records": batch(TWO)}]}],
        )
        row = answer.responses[0].partition_responses[0]
        assert row.error_code is ErrorCode.not_leader_or_follower
        assert (row.current_leader.leader_id, row.current_leader.leader_epoch) == (1, 0)
        assert [(e.node_id, e.port) for e in answer.node_endpoints] == [(1, cluster.nodes[1].ports["PLAINTEXT"])]


async def test_given_a_duplicate_when_produced_again_then_success_with_the_first_offset() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create_topic("t", 1)
        one = batch(TWO, producer_id=9, epoch=0, sequence=0)
        assert (await client.produce("t", one)).base_offset == 0
        await client.produce("t", batch(TWO, producer_id=9, epoch=0, sequence=2))
        again = await client.produce("t", one)
        assert (again.error_code, again.base_offset) == (ErrorCode.none, 0)
        assert cluster.log("t", 0).log_end_offset == 4
