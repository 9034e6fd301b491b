"""An idempotent librdkafka producer against a cluster that is broken at random: nothing lost, doubled or reordered."""

from __future__ import annotations

import asyncio
import random
import threading
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from kio.schema.errors import ErrorCode

from broker.cluster import Cluster
from tests.broker.calls import running

PARTITIONS = 3
TRANSIENT = [
    ErrorCode.not_leader_or_follower,
    ErrorCode.not_enough_replicas,
    ErrorCode.request_timed_out,
    ErrorCode.leader_not_available,
]


class Writer(threading.Thread):
    """Numbers the records of each partition and notes what was acknowledged, until told to stop."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(daemon=True)
        self.stopping = threading.Event()
        self.acknowledged: dict[int, list[int]] = {index: [] for index in range(PARTITIONS)}
        self.failed: list[str] = []
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                # With more in flight librdkafka (2.16) answers a gap in one partition by a new epoch for all of them,
                # and sends again what another partition already has: a duplicate that no broker can see.
                "max.in.flight.requests.per.connection": 1,
                "linger.ms": 1,
                "retry.backoff.ms": 20,
                "retry.backoff.max.ms": 50,
                "reconnect.backoff.ms": 10,
                "reconnect.backoff.max.ms": 50,
                "socket.timeout.ms": 1000,
                "topic.metadata.refresh.fast.interval.ms": 20,
                "log_level": 0,
            }
        )

    def run(self) -> None:
        number = 0
        while not self.stopping.is_set():
            for partition in range(PARTITIONS):
                self._send(partition, number)
            number += 1
            self._producer.poll(0.002)
        self._producer.flush(20)

    def _send(self, partition: int, number: int) -> None:
        def done(error: object, _: object) -> None:
            if error is None:
                self.acknowledged[partition].append(number)
            else:
                self.failed.append(str(error))

        self._producer.produce("t", b"%d" % number, partition=partition, on_delivery=done)


def read_all(bootstrap: str) -> dict[int, list[int]]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "check", "enable.partition.eof": True})
    consumer.assign([TopicPartition("t", index, 0) for index in range(PARTITIONS)])
    found: dict[int, list[int]] = {index: [] for index in range(PARTITIONS)}
    ended: set[int] = set()
    while len(ended) < PARTITIONS:
        message = consumer.poll(10)
        assert message is not None, "the reader waits for ever"
        if message.error():
            ended.add(message.partition())
        else:
            found[message.partition()].append(int(message.value()))
    consumer.close()
    return found


async def disturb(cluster: Cluster, rng: random.Random) -> None:
    """Break something, and mend it."""
    node_id = rng.randrange(3)
    where = {"node": node_id, "times": rng.randint(1, 3)}
    match rng.randrange(6):
        case 0:
            await cluster.stop_node(node_id)
            await asyncio.sleep(rng.uniform(0, 0.1))
            await cluster.start_node(node_id)
        case 1:
            await cluster.freeze_node(node_id)
            await asyncio.sleep(rng.uniform(0, 0.1))
            await cluster.thaw_node(node_id)
        case 2:
            cluster.faults.fail("Produce", rng.choice(TRANSIENT), **where)
        case 3:
            cluster.faults.drop_response("Produce", **where)
        case 4:
            cluster.faults.drop("*", **where)
        case 5:
            partition = rng.randrange(PARTITIONS)
            await cluster.move_leader("t", partition, node_id)
    await asyncio.sleep(rng.uniform(0, 0.1))


@pytest.mark.parametrize("seed", [1, 2])
async def test_given_random_disturbances_when_written_idempotently_then_each_record_once_in_order(
    seed: int, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    async with running(nodes=3, data_dir=tmp_path if seed % 2 else None) as cluster:
        cluster.create_topic("t", PARTITIONS, 3)
        writer = Writer(cluster.bootstrap)
        writer.start()
        for _ in range(20):
            await disturb(cluster, rng)
        cluster.faults.clear()
        writer.stopping.set()
        await asyncio.to_thread(writer.join, 30)
        assert writer.failed == []
        found = await asyncio.to_thread(read_all, cluster.bootstrap)
        assert found == writer.acknowledged
        assert all(numbers == list(range(len(numbers))) for numbers in found.values())
        assert min(len(numbers) for numbers in found.values()) > 20
