"""The same programs, with librdkafka and aiokafka, against both brokers: what they see must not differ."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.kafka.scene import Scene, unique
from tests.support.waiting import wait_for


def read(bootstrap: str, topic: str, isolation: str, count: int) -> list[tuple[int, bytes | None]]:
    """(offset, value) of the next `count` records, and a moment's wait for one too many."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": unique("g"),
            "isolation.level": isolation,
            "check.crcs": True,
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[tuple[int, bytes | None]] = []
    ended = False

    def done() -> bool:
        nonlocal ended
        for message in consumer.consume(100, 0.1):
            if message.error() is None:
                found.append((message.offset(), message.value()))
            else:
                ended = True
        return ended and len(found) >= count

    wait_for(done, within=15, what=f"{count} records and the end", every=0)
    consumer.close()
    return found


def test_given_a_transactional_librdkafka_producer_when_it_commits_and_aborts_then_readers_see_the_same(
    scene: Scene,
) -> None:
    topic = scene.topic()
    producer = Producer({"bootstrap.servers": scene.bootstrap, "transactional.id": unique("x"), "linger.ms": 0})
    producer.init_transactions(30)
    for number in range(4):
        producer.begin_transaction()
        producer.produce(topic, b"%d" % number, partition=0)
        producer.flush(10)
        if number % 2:
            producer.abort_transaction(10)
        else:
            producer.commit_transaction(10)
    scene.until_end(topic, 8)
    assert read(scene.bootstrap, topic, "read_committed", 2) == [(0, b"0"), (4, b"2")]
    assert read(scene.bootstrap, topic, "read_uncommitted", 4) == [(0, b"0"), (2, b"1"), (4, b"2"), (6, b"3")]


async def test_given_an_idempotent_aiokafka_producer_when_it_sends_then_its_group_reads_everything(
    scene: Scene,
) -> None:
    topic = scene.topic()
    async with AIOKafkaProducer(
        bootstrap_servers=scene.bootstrap, enable_idempotence=True, compression_type="gzip"
    ) as producer:
        for number in range(20):
            await producer.send_and_wait(topic, b"%d" % number, headers=[("h", b"v")])
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=scene.bootstrap, group_id=unique("g"), auto_offset_reset="earliest"
    )
    async with consumer:
        records = [await consumer.getone() for _ in range(20)]
    assert [record.value for record in records] == [b"%d" % number for number in range(20)]
    assert [record.offset for record in records] == list(range(20))
    assert all(record.headers == (("h", b"v"),) for record in records)
