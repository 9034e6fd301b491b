"""Transactions in a whole cluster: markers, nodes that stop, restarts from disk."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from kio.schema.errors import ErrorCode

from broker.cluster import Cluster
from tests.broker.calls import Caller, client_of
from tests.support.rawclient import batch

SMALL = {"transaction.state.log.num.partitions": "2", "offsets.topic.num.partitions": "2"}


def id_coordinated_by(cluster: Cluster, node_id: int) -> str:
    """A transactional id whose coordinator is this node."""
    coordinator_of = cluster.coordinators.transactions_log.coordinator_of
    return next(name for name in "abcdefgh" if coordinator_of(name) == node_id)


async def init(client: Caller, name: str) -> Any:
    return await client.call(
        "init_producer_id", 4, transactional_id=name, transaction_timeout=60_000, producer_id=-1, producer_epoch=-1
    )


async def add(client: Caller, name: str, producer: Any, *partitions: int) -> int:
    answer = await client.call(
        "add_partitions_to_txn",
        3,
        v3_and_below_transactional_id=name,
        v3_and_below_producer_id=producer.producer_id,
        v3_and_below_producer_epoch=producer.producer_epoch,
        v3_and_below_topics=[{"name": "t", "partitions": partitions}],
    )
    return int(answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code)


async def end(client: Caller, name: str, producer: Any, *, commit: bool) -> int:
    answer = await client.call(
        "end_txn",
        3,
        transactional_id=name,
        producer_id=producer.producer_id,
        producer_epoch=producer.producer_epoch,
        committed=commit,
    )
    return int(answer.error_code)


async def until(condition: Any, within: float = 5.0) -> None:
    async with asyncio.timeout(within):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def test_given_a_partition_without_leader_when_a_transaction_ends_then_it_completes_once_there_is_one() -> None:
    async with Cluster(nodes=2, config=SMALL) as cluster:
        cluster.create_topic("t", assignments={0: [0], 1: [1]})
        name = id_coordinated_by(cluster, 0)
        async with client_of(cluster, 0) as client:
            producer = await init(client, name)
            assert await add(client, name, producer, 0, 1) == 0
            await cluster.stop_node(1)
            assert await end(client, name, producer, commit=True) == 0
            await until(lambda: cluster.log("t", 0).log_end_offset == 1)
            assert (await init(client, name)).error_code == ErrorCode.concurrent_transactions
            await cluster.start_node(1)
            await until(lambda: cluster.log("t", 1).log_end_offset == 1)
            await until(lambda: cluster.coordinators.transactions.transactions[name].state.text == "CompleteCommit")
            assert (await init(client, name)).producer_epoch == 1


async def test_given_markers_held_back_when_a_transaction_ends_then_it_is_answered_before_they_are_written() -> None:
    async with Cluster(config=SMALL) as cluster:
        cluster.create_topic("t", 1)
        held = cluster.faults.delay("WriteTxnMarkers", 0.3, topic="t")
        async with client_of(cluster) as client:
            producer = await init(client, "x")
            assert await add(client, "x", producer, 0) == 0
            assert await end(client, "x", producer, commit=True) == 0
            assert cluster.log("t", 0).log_end_offset == 0
            assert await add(client, "x", producer, 0) == ErrorCode.concurrent_transactions
            await until(lambda: cluster.log("t", 0).log_end_offset == 1)
        assert held.hits == 1


async def test_given_data_on_disk_when_the_cluster_restarts_then_groups_transactions_and_ids_go_on(
    tmp_path: Path,
) -> None:
    async with Cluster(config=SMALL, data_dir=tmp_path) as cluster:
        cluster.create_topic("t", 1)
        async with client_of(cluster) as client:
            producer = await init(client, "x")
            assert await add(client, "x", producer, 0) == 0
            data = batch([b"a"], producer_id=producer.producer_id, epoch=0, sequence=0, attributes=0x10)
            assert (await client.produce("t", data, transactional_id="x")).error_code == 0
            row = {"partition_index": 0, "committed_offset": 7, "committed_leader_epoch": -1, "committed_metadata": "m"}
            topics = [{"name": "t", "partitions": [row]}]
            fields = {"group_id": "g", "generation_id_or_member_epoch": -1, "topics": topics}
            assert (await client.call("offset_commit", 9, **fields)).topics[0].partitions[0].error_code == 0
        plain = cluster.coordinators.transactions.new_idempotent_producer()[0]
    async with Cluster(config=SMALL, data_dir=tmp_path) as cluster:
        assert cluster.coordinators.transactions.new_idempotent_producer()[0] > plain
        async with client_of(cluster) as client:
            asked = [{"group_id": "g", "member_epoch": -1, "topics": None}]
            found = (await client.call("offset_fetch", 9, groups=asked)).groups[0].topics[0].partitions[0]
            assert (found.committed_offset, found.metadata) == (7, "m")
            assert cluster.log("t", 0).last_stable_offset == 0
            assert await end(client, "x", producer, commit=True) == 0
            await until(lambda: cluster.log("t", 0).last_stable_offset == 2)
            assert (await init(client, "x")).producer_epoch == 1
        assert cluster.internal_errors == 0


async def test_given_faults_when_coordinator_apis_are_called_then_they_fail_as_asked() -> None:
    async with Cluster(config=SMALL) as cluster:
        cluster.create_topic("t", 1)
        async with client_of(cluster) as client:
            broken = [
                cluster.faults.fail(api, ErrorCode.not_coordinator)
                for api in ("InitProducerId", "AddPartitionsToTxn", "EndTxn", "JoinGroup", "OffsetCommit")
            ]
            assert (await init(client, "x")).error_code == ErrorCode.not_coordinator
            producer = await init(client, "x")
            assert await add(client, "x", producer, 0) == ErrorCode.not_coordinator
            assert await end(client, "x", producer, commit=True) == ErrorCode.not_coordinator
            joined = await client.call("join_group", 5, group_id="g", session_timeout=6000, protocol_type="c")
            assert joined.error_code == ErrorCode.not_coordinator
            row = {"partition_index": 0, "committed_offset": 7, "committed_leader_epoch": -1}
            topics = [{"name": "t", "partitions": [row]}]
            commit = await client.call(
                "offset_commit", 9, group_id="g", generation_id_or_member_epoch=-1, topics=topics
            )
            assert commit.topics[0].partitions[0].error_code == ErrorCode.not_coordinator
            assert [fault.hits for fault in broken] == [1] * 5
