"""Fetch: versions, limits, waiting, sessions, epochs."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from broker.cluster import Cluster
from tests.broker.batches import batch as stored_batch
from tests.broker.calls import Caller, client_of, read_batches, running


def fill(cluster: Cluster, topic: str = "t", partitions: int = 1, batches: int = 3) -> Any:
    made = cluster.create_topic(topic, partitions, configs={"message.timestamp.after.max.ms": "9223372036854775807"})
    for _ in range(batches):
        cluster.log(topic, 0).append_as_client(stored_batch([(b"k", b"v"), (b"k", b"w")]))
    return made


@pytest.mark.parametrize("version", range(4, 18))
async def test_given_any_version_when_fetched_then_all_batches_come_back(version: int) -> None:
    async with running() as cluster, client_of(cluster) as client:
        topic = fill(cluster)
        row = await client.fetched(topic.topic_id if version >= 13 else "t", 0, version=version)
        assert (row.error_code, row.high_watermark, row.last_stable_offset) == (ErrorCode.none, 6, 6)
        assert [(b.base_offset, b.last_offset) for b in read_batches(row.records)] == [(0, 1), (2, 3), (4, 5)]


async def test_given_limits_when_fetched_then_whole_batches_and_at_least_one() -> None:
    async with running() as cluster, client_of(cluster) as client:
        fill(cluster)
        assert len(read_batches((await client.fetched("t", 0, max_bytes=1)).records)) == 1
        assert len(read_batches((await client.fetched("t", 3)).records)) == 2
        assert (await client.fetched("t", 6)).records == b""


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"offset": 7}, ErrorCode.offset_out_of_range),
        ({"offset": -1}, ErrorCode.offset_out_of_range),
        ({"offset": 0, "partition": 5}, ErrorCode.unknown_topic_or_partition),
        ({"offset": 0, "topic": "nope"}, ErrorCode.unknown_topic_or_partition),
        ({"offset": 0, "topic": uuid.UUID(int=5), "version": 13}, ErrorCode.unknown_topic_id),
        ({"offset": 0, "current_leader_epoch": 9}, ErrorCode.unknown_leader_epoch),
        ({"offset": 2, "last_fetched_epoch": 3}, ErrorCode.offset_out_of_range),
    ],
)
async def test_given_wrong_questions_when_fetched_then_kafkas_code(asked: dict[str, Any], code: ErrorCode) -> None:
    async with running() as cluster, client_of(cluster) as client:
        fill(cluster)
        assert (await client.fetched(**({"topic": "t"} | asked))).error_code is code


async def test_given_a_waiting_fetch_when_something_is_appended_then_it_answers_at_once() -> None:
    async with running() as cluster, client_of(cluster) as client:
        fill(cluster)
        waiting = asyncio.create_task(client.fetched("t", 6, max_wait=4000))
        await _until(lambda: bool(cluster.log("t", 0)._waiters))
        cluster.log("t", 0).append_as_client(stored_batch())
        row = await asyncio.wait_for(waiting, 2)
        assert [b.base_offset for b in read_batches(row.records)] == [6]
        loop = asyncio.get_running_loop()
        start = loop.time()
        await client.fetch("t", 7, max_wait=100)
        assert loop.time() - start >= 0.1


async def test_given_a_waiting_fetch_when_too_little_comes_then_it_waits_for_enough() -> None:
    async with running() as cluster, client_of(cluster) as client:
        fill(cluster)
        log = cluster.log("t", 0)
        size = len(stored_batch())
        waiting = asyncio.create_task(client.fetched("t", 6, max_wait=4000, min_bytes=3 * size))
        for _ in range(3):
            await _until(lambda: bool(log._waiters))
            assert not waiting.done()
            log.append_as_client(stored_batch())
        assert len(read_batches((await asyncio.wait_for(waiting, 2)).records)) == 3


async def test_given_a_waiting_fetch_when_the_leader_moves_then_it_answers_at_once() -> None:
    async with running(nodes=2) as cluster, client_of(cluster, 0) as client:
        cluster.create_topic("t", assignments={0: [0, 1]})
        waiting = asyncio.create_task(client.fetched("t", 0, max_wait=4000))
        await _until(lambda: bool(cluster.log("t", 0)._waiters))
        await cluster.move_leader("t", 0, 1)
        assert (await asyncio.wait_for(waiting, 2)).error_code is ErrorCode.not_leader_or_follower


async def test_given_a_waiting_fetch_when_the_topic_is_deleted_then_it_answers_an_error() -> None:
    async with running() as cluster, client_of(cluster) as client:
        topic = fill(cluster)
        waiting = asyncio.create_task(client.fetched(topic.topic_id, 6, version=13, max_wait=4000))
        await _until(lambda: bool(cluster.log("t", 0)._waiters))
        cluster.delete_topic(topic)
        assert (await asyncio.wait_for(waiting, 2)).error_code is ErrorCode.unknown_topic_id


async def test_given_an_epoch_change_when_fetched_then_fenced_or_diverging() -> None:
    async with running(nodes=2) as cluster:
        cluster.create_topic("t", assignments={0: [0, 1]}, configs={"message.timestamp.after.max.ms": "9" * 18})
        log = cluster.log("t", 0)
        for _ in range(3):
            log.append_as_client(stored_batch())
        await cluster.elect_unclean("t", 0, truncate_to=2)
        log.append_as_client(stored_batch())
        async with client_of(cluster, 1) as client:
            assert (await client.fetched("t", 0, current_leader_epoch=0)).error_code is ErrorCode.fenced_leader_epoch
            row = await client.fetched("t", 3, last_fetched_epoch=0, current_leader_epoch=1)
            assert (row.diverging_epoch.epoch, row.diverging_epoch.end_offset) == (0, 2)
            answer = await client.call(
                "offset_for_leader_epoch",
                4,
                replica_id=-1,
                topics=[{"topic": "t", "partitions": [{"partition": 0, "current_leader_epoch": 1, "leader_epoch": 0}]}],
            )
            found = answer.topics[0].partitions[0]
            assert (found.error_code, found.leader_epoch, found.end_offset) == (ErrorCode.none, 0, 2)
        async with client_of(cluster, 0) as client:
            topic = cluster.topics.get("t")
            assert topic is not None
            answer = await client.fetch(topic.topic_id, 0, version=16)
            row = answer.responses[0].partitions[0]
            assert row.error_code is ErrorCode.not_leader_or_follower
            assert (row.current_leader.leader_id, row.current_leader.leader_epoch) == (1, 1)
            assert [e.node_id for e in answer.node_endpoints] == [1]


def partitions_of(answer: Any) -> list[tuple[int, ErrorCode, int]]:
    return [
        (row.partition_index, row.error_code, len(read_batches(row.records)))
        for topic in answer.responses
        for row in topic.partitions
    ]


def asked(topic: str, *partitions: tuple[int, int]) -> list[dict[str, Any]]:
    rows = [{"partition": index, "fetch_offset": at, "partition_max_bytes": 1 << 20} for index, at in partitions]
    return [{"topic": topic, "partitions": rows}]


async def in_session(client: Caller, session_id: int, epoch: int, **more: Any) -> Any:
    return await client.fetch("t", 0, session_id=session_id, session_epoch=epoch, **({"topics": []} | more))


async def test_given_a_session_when_nothing_changes_then_only_changes_are_told() -> None:
    async with running() as cluster, client_of(cluster) as client:
        fill(cluster, partitions=3, batches=1)
        first = await in_session(client, 0, 0, topics=asked("t", (0, 0), (1, 0), (2, 0)))
        session_id = first.session_id
        assert session_id
        assert len(partitions_of(first)) == 3
        assert partitions_of(await in_session(client, session_id, 1)) == [(0, ErrorCode.none, 1)]
        assert partitions_of(await in_session(client, session_id, 2, topics=asked("t", (0, 2)))) == []
        cluster.log("t", 1).append_as_client(stored_batch())
        assert partitions_of(await in_session(client, session_id, 3)) == [(1, ErrorCode.none, 1)]
        forgotten = [{"topic": "t", "partitions": [1]}]
        assert partitions_of(await in_session(client, session_id, 4, forgotten_topics_data=forgotten)) == []
        bad = await in_session(client, session_id, 5, topics=asked("nope", (0, 0)))
        assert partitions_of(bad) == [(0, ErrorCode.unknown_topic_or_partition, 0)]


async def test_given_a_session_when_id_or_epoch_are_wrong_then_kafkas_codes() -> None:
    async with running() as cluster, client_of(cluster) as client:
        topic = fill(cluster, batches=1)
        session_id = (await in_session(client, 0, 0, topics=asked("t", (0, 0)))).session_id
        wrong = await in_session(client, session_id, 2)
        assert wrong.error_code is ErrorCode.invalid_fetch_session_epoch
        assert (await in_session(client, session_id + 1, 1)).error_code is ErrorCode.fetch_session_id_not_found
        mixed = await client.fetch(topic.topic_id, 0, version=13, session_id=session_id, session_epoch=1, topics=[])
        assert mixed.error_code is ErrorCode.fetch_session_topic_id_error
        closed = await in_session(client, session_id, -1, topics=asked("t", (0, 0)))
        assert (closed.error_code, closed.session_id) == (ErrorCode.none, 0)
        assert (await in_session(client, session_id, 1)).error_code is ErrorCode.fetch_session_id_not_found


async def test_given_more_sessions_than_slots_when_created_then_the_least_used_goes() -> None:
    async with running(config={"max.incremental.fetch.session.cache.slots": "2"}) as cluster:
        fill(cluster)
        async with client_of(cluster) as client:
            ids = [(await in_session(client, 0, 0, topics=asked("t", (0, 0)))).session_id for _ in range(3)]
            assert (await in_session(client, ids[0], 1)).error_code is ErrorCode.fetch_session_id_not_found
            assert (await in_session(client, ids[2], 1)).error_code is ErrorCode.none


async def _until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - anything may make it true
            await asyncio.sleep(0.005)
