"""Nodes that stop, freeze and come back; elections; restarts from disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from kio.schema.errors import ErrorCode

from broker.clock import ManualClock
from broker.errors import KafkaError
from broker.storage.files import FaultyFiles, MemoryFiles
from tests.broker.batches import NOW, contents
from tests.broker.batches import batch as stored_batch
from tests.broker.calls import batch, client_of, read_batches, running
from tests.support.rawclient import Closed


async def test_given_a_leader_when_its_node_stops_then_another_in_sync_replica_leads_with_the_next_epoch() -> None:
    async with running(nodes=3) as cluster:
        cluster.create_topic("t", assignments={0: [0, 1, 2]})
        partition = cluster.topics.partition("t", 0)
        assert partition is not None
        async with client_of(cluster, 0) as client:
            await client.produce("t", batch([b"a"]))
            await cluster.stop_node(0)
            with pytest.raises(Closed):
                await client.produce("t", batch([b"b"]))
        assert (partition.leader, partition.leader_epoch, partition.isr) == (1, 1, (1, 2))
        async with client_of(cluster, 1) as client:
            assert (await client.produce("t", batch([b"b"]))).base_offset == 1
            answer = await client.call("metadata", 12, topics=[{"name": "t"}])
            assert [row.node_id for row in answer.brokers] == [1, 2]
            assert answer.topics[0].partitions[0].offline_replicas == (0,)
        await cluster.start_node(0)
        assert (partition.leader, partition.isr) == (1, (0, 1, 2))
        assert partition.log.epoch_end_offset(0) == (0, 1)


async def test_given_the_last_in_sync_replica_when_it_stops_then_there_is_no_leader_until_it_is_back() -> None:
    async with running(nodes=2) as cluster:
        cluster.create_topic("t", assignments={0: [0, 1]})
        partition = cluster.topics.partition("t", 0)
        assert partition is not None
        await cluster.stop_node(0)
        await cluster.stop_node(1)
        assert (partition.leader, partition.isr) == (-1, (1,))
        await cluster.start_node(0)  # wasn't in sync
        assert partition.leader == -1
        async with client_of(cluster, 0) as client:
            answer = await client.call("metadata", 12, topics=[{"name": "t"}])
            assert answer.topics[0].partitions[0].error_code is ErrorCode.leader_not_available
            assert (await client.produce("t", batch([b"a"]))).error_code is ErrorCode.not_leader_or_follower
        await cluster.start_node(1)
        assert (partition.leader, partition.isr) == (1, (0, 1))


async def test_given_a_single_node_when_restarted_then_only_each_producers_last_batch_is_a_duplicate() -> None:
    async with running() as cluster:
        cluster.create_topic("t")
        sent = [batch([b"x"], producer_id=4, epoch=0, sequence=number) for number in range(3)]
        async with client_of(cluster) as client:
            for one in sent:
                await client.produce("t", one)
        await cluster.stop_node(0)
        await cluster.start_node(0)
        async with client_of(cluster) as client:
            assert (await client.produce("t", sent[2])).base_offset == 2
            assert (await client.produce("t", sent[1])).error_code is ErrorCode.out_of_order_sequence_number


async def test_given_a_frozen_node_when_asked_then_silence_until_it_thaws() -> None:
    async with running(nodes=2) as cluster:
        cluster.create_topic("t", assignments={0: [0]})
        async with client_of(cluster, 0) as client:
            await client.produce("t", batch([b"a"]))
            await cluster.freeze_node(0)
            waiting = asyncio.create_task(client.produce("t", batch([b"b"])))
            done, _ = await asyncio.wait([waiting], timeout=0.1)
            assert not done
            async with client_of(cluster, 0):
                pass  # connections are still accepted
            await cluster.thaw_node(0)
            assert (await asyncio.wait_for(waiting, 5)).base_offset == 1


async def test_given_a_node_frozen_for_long_when_its_session_ends_then_its_partitions_move() -> None:
    clock = ManualClock()
    async with running(nodes=2, clock=clock) as cluster:
        cluster.create_topic("t", assignments={0: [0, 1]})
        partition = cluster.topics.partition("t", 0)
        assert partition is not None
        await cluster.freeze_node(0)
        clock.advance(8)
        cluster.tick()
        assert partition.leader == 0
        clock.advance(2)
        cluster.tick()
        assert (partition.leader, partition.isr) == (1, (1,))
        await cluster.thaw_node(0)
        assert (partition.leader, partition.isr) == (1, (0, 1))


async def test_given_a_frozen_node_when_stopped_and_started_then_it_stays_alive() -> None:
    clock = ManualClock()
    async with running(nodes=2, clock=clock) as cluster:
        await cluster.freeze_node(0)
        await cluster.stop_node(0)
        await cluster.start_node(0)
        clock.advance(60)
        cluster.tick()
        assert [node.node_id for node in cluster.live_nodes] == [0, 1]


async def test_given_an_unclean_election_when_truncated_then_records_are_gone_and_readers_can_tell() -> None:
    async with running(nodes=2) as cluster:
        cluster.create_topic("t", assignments={0: [0, 1]})
        async with client_of(cluster, 0) as client:
            for number in range(4):
                await client.produce("t", batch([b"%d" % number]))
        await cluster.elect_unclean("t", 0, truncate_to=2)
        partition = cluster.topics.partition("t", 0)
        assert partition is not None
        assert (partition.leader, partition.leader_epoch, partition.log.log_end_offset) == (1, 1, 2)
        with pytest.raises(KeyError):
            await cluster.elect_unclean("t", 5, truncate_to=0)
        await cluster.stop_node(0)
        await cluster.stop_node(1)
        with pytest.raises(KafkaError):
            await cluster.elect_unclean("t", 0, truncate_to=0)


async def test_given_a_clean_election_when_moved_then_nothing_is_lost() -> None:
    async with running(nodes=2) as cluster:
        cluster.create_topic("t", assignments={0: [0, 1]})
        await cluster.move_leader("t", 0, 1)
        partition = cluster.topics.partition("t", 0)
        assert partition is not None
        assert (partition.leader, partition.leader_epoch) == (1, 1)
        await cluster.stop_node(0)
        with pytest.raises(ValueError, match="in-sync"):
            await cluster.move_leader("t", 0, 0)


async def test_given_a_disk_that_fails_when_the_node_is_restarted_then_only_the_torn_batch_is_gone() -> None:
    files = FaultyFiles(MemoryFiles())
    async with running(files=files) as cluster:
        cluster.create_topic("t")
        async with client_of(cluster) as client:
            assert (await client.produce("t", batch([b"a"]))).base_offset == 0
            files.fail_appends, files.keep_bytes = 1, 30
            for _ in range(2):
                assert (await client.produce("t", batch([b"b"]))).error_code is ErrorCode.kafka_storage_error
        await cluster.stop_node(0)
        await cluster.start_node(0)
        async with client_of(cluster) as client:
            assert (await client.produce("t", batch([b"c"]))).base_offset == 1
            read = read_batches((await client.fetched("t", 0)).records)
            assert [item.records[0][2] for item in read] == [b"a", b"c"]


async def test_given_data_on_disk_when_restarted_then_ids_settings_epochs_and_records_are_there(tmp_path: Path) -> None:
    async with running(nodes=2, data_dir=tmp_path) as cluster:
        topic = cluster.create_topic("t", 2, 2, {"retention.ms": "-1", "message.timestamp.after.max.ms": "9" * 18})
        for number in range(3):
            cluster.log("t", 1).append_as_client(stored_batch([(b"k", b"%d" % number)]))
        await cluster.stop_node(0)
        await cluster.start_node(0)
        cluster.log("t", 1).delete_records_to(1)
        epochs = [partition.leader_epoch for partition in topic.partitions]
        with pytest.raises(BlockingIOError):
            async with running(data_dir=tmp_path):
                pass
    async with running(nodes=2, data_dir=tmp_path) as again:
        found = again.topics.get("t")
        assert found is not None
        assert again.cluster_id == cluster.cluster_id
        assert (found.topic_id, found.configs) == (topic.topic_id, topic.configs)
        assert all(new.leader_epoch > old for new, old in zip(found.partitions, epochs, strict=True))
        assert contents(again.log("t", 1)) == [(1, b"k", b"1"), (2, b"k", b"2")]


async def test_given_idle_producers_when_the_clock_passes_their_expiry_then_they_are_forgotten() -> None:
    clock = ManualClock(NOW)
    config = {"producer.id.expiration.ms": "5000", "producer.id.expiration.check.interval.ms": "1000"}
    async with running(config=config, clock=clock) as cluster:
        cluster.create_topic("t")
        cluster.tick()
        cluster.log("t", 0).append_as_client(stored_batch(producer_id=5, epoch=0, sequence=0))
        for _ in range(5):
            assert 5 in cluster.log("t", 0).producer_states.entries
            clock.advance(1)
            cluster.tick()
        assert cluster.log("t", 0).producer_states.entries == {}


async def test_given_retention_and_compaction_when_time_passes_then_the_cluster_runs_both() -> None:
    clock = ManualClock(NOW)
    async with running(clock=clock) as cluster:
        cluster.create_topic("old", configs={"retention.ms": "1000"})
        cluster.create_topic("keys", configs={"cleanup.policy": "compact", "segment.ms": "1"})
        cluster.tick()
        cluster.log("old", 0).append_as_client(stored_batch())
        for number in range(3):
            data = stored_batch([(b"k", b"%d" % number)], timestamp=NOW + 10 * number)
            cluster.log("keys", 0).append_as_client(data)
        clock.advance(400)
        cluster.tick()
        assert cluster.log("old", 0).log_start_offset == 1
        async with asyncio.timeout(5):
            while len(contents(cluster.log("keys", 0))) > 2:  # noqa: ASYNC110 - the cleaner works in steps
                await asyncio.sleep(0.005)
        assert contents(cluster.log("keys", 0)) == [(1, b"k", b"1"), (2, b"k", b"2")]
