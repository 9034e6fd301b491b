"""aiokafka, unmodified, against the bundled broker: older versions of the protocol than librdkafka's."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from broker.cluster import Cluster

CONFIG = {"group.initial.rebalance.delay.ms": "0"}


async def test_given_aiokafka_when_producing_then_a_group_of_two_reads_everything_once() -> None:
    async with Cluster(nodes=2, config=CONFIG) as cluster:
        await make_topic(cluster, "t", 4)
        async with AIOKafkaProducer(
            bootstrap_servers=cluster.bootstrap, enable_idempotence=True, compression_type="lz4", linger_ms=5
        ) as producer:
            await asyncio.gather(*[producer.send_and_wait("t", b"%d" % n, key=b"%d" % n) for n in range(200)])
        consumers = [
            AIOKafkaConsumer(
                "t",
                bootstrap_servers=cluster.bootstrap,
                group_id="g",
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                metadata_max_age_ms=1000,
            )
            for _ in range(2)
        ]
        seen: set[bytes] = set()
        async with asyncio.timeout(30):
            await asyncio.gather(*[consumer.start() for consumer in consumers])
            while len(seen) < 200 or not all(consumer.assignment() for consumer in consumers):
                for consumer in consumers:
                    for messages in (await consumer.getmany(timeout_ms=100)).values():
                        seen.update(message.value for message in messages)
            for consumer in consumers:
                await consumer.commit()
        assert seen == {b"%d" % n for n in range(200)}
        assert {len(consumer.assignment()) for consumer in consumers} == {2}
        positions = cluster.coordinators.groups.offsets.positions("g")
        assert sum(position.offset for position in positions.values()) == 200
        for consumer in consumers:
            await consumer.stop()
        assert cluster.internal_errors == 0


async def test_given_aiokafka_when_using_transactions_then_only_committed_ones_are_read() -> None:
    async with Cluster(config=CONFIG) as cluster:
        await make_topic(cluster, "t", 1)
        async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, transactional_id="a") as producer:
            for number in range(4):
                await producer.begin_transaction()
                await producer.send("t", b"%d" % number)
                await producer.send_offsets_to_transaction({TopicPartition("t", 0): number}, "offsets")
                await (producer.abort_transaction() if number % 2 else producer.commit_transaction())
        consumer = AIOKafkaConsumer(
            "t", bootstrap_servers=cluster.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
        )
        await consumer.start()
        async with asyncio.timeout(10):
            read = [(await consumer.getone()).value for _ in range(2)]
        await consumer.stop()
        assert read == [b"0", b"2"]
        assert cluster.coordinators.groups.offsets.positions("offsets")["t", 0].offset == 2
        assert cluster.internal_errors == 0


async def make_topic(cluster: Cluster, name: str, partitions: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, partitions, 1)])
    await admin.close()
