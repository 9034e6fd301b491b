"""librdkafka (confluent-kafka), unmodified, against the bundled broker."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from tests.support.bundled import BundledCluster
from tests.support.waiting import wait_for

MEMBER = """
import sys
from confluent_kafka import Consumer
consumer = Consumer({"bootstrap.servers": sys.argv[1], "group.id": sys.argv[2], "session.timeout.ms": 2000,
                     "heartbeat.interval.ms": 500, "partition.assignment.strategy": "cooperative-sticky"})
consumer.subscribe([sys.argv[3]], on_assign=lambda _, partitions: print(len(partitions), flush=True))
while True:
    consumer.poll(0.2)
"""


@pytest.fixture(scope="module")
def bundled() -> Iterator[BundledCluster]:
    with BundledCluster(nodes=2, properties={"group.min.session.timeout.ms": "1000"}) as cluster:
        yield cluster


@pytest.fixture
def admin(bundled: BundledCluster) -> AdminClient:
    return AdminClient(bundled.client_config)


def make_topic(admin: AdminClient, name: str, partitions: int = 1, **config: str) -> str:
    settings = {key.replace("_", "."): value for key, value in config.items()}
    for future in admin.create_topics([NewTopic(name, partitions, 2, config=settings)]).values():
        future.result(10)
    return name


def consumer_of(bundled: BundledCluster, group: str, **config: object) -> Consumer:
    base = {"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    base |= {"session.timeout.ms": 2000, "heartbeat.interval.ms": 500}
    return Consumer({**bundled.client_config, **base, **config})


def read(consumer: Consumer, count: int) -> list[bytes | None]:
    """The values of the next `count` records."""
    values: list[bytes | None] = []

    def enough() -> bool:
        for message in consumer.consume(100, 0.2):
            assert message.error() is None, message.error()
            values.append(message.value())
        return len(values) >= count

    wait_for(enough, within=15, what=f"{count} records", every=0)
    return values


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_given_a_codec_when_producing_idempotently_then_every_record_is_read_back(
    bundled: BundledCluster, admin: AdminClient, codec: str
) -> None:
    topic = make_topic(admin, f"codec-{codec}")
    producer = Producer(
        {**bundled.client_config, "compression.type": codec, "enable.idempotence": True, "linger.ms": 5}
    )
    for number in range(500):
        producer.produce(topic, b"value %d" % number, key=b"k", headers=[("h", b"x")], partition=0)
    assert producer.flush(15) == 0
    consumer = consumer_of(bundled, "none", **{"check.crcs": True})
    consumer.assign([TopicPartition(topic, 0, 0)])
    assert read(consumer, 500) == [b"value %d" % number for number in range(500)]
    consumer.close()


def test_given_two_cooperative_members_when_one_is_killed_then_the_other_takes_over(
    bundled: BundledCluster, admin: AdminClient
) -> None:
    topic = make_topic(admin, "shared", 4)
    survivor = consumer_of(bundled, "pair", **{"partition.assignment.strategy": "cooperative-sticky"})
    survivor.subscribe([topic])

    def owned() -> int:
        survivor.poll(0.1)
        return len(survivor.assignment())

    wait_for(lambda: owned() == 4, within=15, what="all partitions for the first member", every=0)
    other = subprocess.Popen(
        [sys.executable, "-c", MEMBER, bundled.bootstrap, "pair", topic], stdout=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: owned() == 2, within=15, what="half of the partitions given away", every=0)
        described = admin.describe_consumer_groups(["pair"])["pair"].result(10)
        assert len(described.members) == 2
        other.send_signal(signal.SIGKILL)
        wait_for(lambda: owned() == 4, within=15, what="the dead member's partitions", every=0)
    finally:
        other.kill()
        other.communicate(timeout=5)
    survivor.close()


def test_given_a_coordinator_that_stops_when_the_other_node_takes_over_then_group_and_positions_live_on(
    bundled: BundledCluster, admin: AdminClient
) -> None:
    topic = make_topic(admin, "moving", 2)
    producer = Producer(bundled.client_config)
    producer.produce(topic, b"1", partition=0)
    assert producer.flush(10) == 0
    consumer = consumer_of(bundled, "mover")
    consumer.subscribe([topic])
    assert read(consumer, 1) == [b"1"]
    consumer.commit(asynchronous=False)
    coordinator = admin.describe_consumer_groups(["mover"])["mover"].result(10).coordinator.id
    bundled.kill_node(coordinator)
    try:
        producer.produce(topic, b"2", partition=0)
        assert producer.flush(20) == 0
        assert read(consumer, 1) == [b"2"]
        wait_for(lambda: committed(consumer), within=15, what="a commit at the new coordinator")
        assert consumer.committed([TopicPartition(topic, 0)], timeout=10)[0].offset == 2
    finally:
        bundled.start_node(coordinator)
    consumer.close()


def committed(consumer: Consumer) -> bool:
    try:
        consumer.commit(asynchronous=False)
    except KafkaException:
        consumer.poll(0.2)
        return False
    return True


def test_given_transactions_when_committed_and_aborted_then_readers_and_offsets_follow(
    bundled: BundledCluster, admin: AdminClient
) -> None:
    source, target = make_topic(admin, "txn-in"), make_topic(admin, "txn-out")
    plain = Producer(bundled.client_config)
    for number in range(10):
        plain.produce(source, b"%d" % number, partition=0)
    assert plain.flush(10) == 0
    consumer = consumer_of(bundled, "txn-group")
    consumer.subscribe([source])
    producer = Producer({**bundled.client_config, "transactional.id": "copier"})
    producer.init_transactions(20)
    for round_number in range(4):
        values = read(consumer, 10 if round_number == 0 else 0) or [b"x"]
        producer.begin_transaction()
        for value in values:
            producer.produce(target, value, partition=0)
        positions = consumer.position(consumer.assignment())
        producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), 20)
        if round_number % 2:
            producer.abort_transaction(20)
        else:
            producer.commit_transaction(20)
    committed_at = consumer.committed([TopicPartition(source, 0)], timeout=10)[0].offset
    assert committed_at == 10
    reader = consumer_of(bundled, "none")
    reader.assign([TopicPartition(target, 0, 0)])
    assert read(reader, 11) == [b"%d" % number for number in range(10)] + [b"x"]
    fenced = Producer({**bundled.client_config, "transactional.id": "copier"})
    fenced.init_transactions(20)
    producer.begin_transaction()
    producer.produce(target, b"late", partition=0)
    with pytest.raises(KafkaException) as error:
        producer.commit_transaction(20)
    assert error.value.args[0].fatal()
    consumer.close()
    reader.close()


def test_given_the_admin_client_when_it_asks_for_everything_then_it_is_answered(
    bundled: BundledCluster, admin: AdminClient
) -> None:
    topic = make_topic(admin, "administered", 1, retention_ms="600000")
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(10)
    resource = ConfigResource(
        ConfigResource.Type.TOPIC,
        topic,
        incremental_configs=[ConfigEntry("segment.ms", "60000", incremental_operation=AlterConfigOpType.SET)],
    )
    admin.incremental_alter_configs([resource])[resource].result(10)
    found = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)])
    described = next(iter(found.values())).result(10)
    assert (described["segment.ms"].value, described["retention.ms"].value) == ("60000", "600000")
    assert described["retention.ms"].source == 1
    producer = Producer(bundled.client_config)
    for number in range(6):
        producer.produce(topic, b"x", partition=number % 3)
    assert producer.flush(10) == 0
    partition = TopicPartition(topic, 1)
    assert admin.list_offsets({partition: OffsetSpec.latest()})[partition].result(10).offset == 2
    deleted = admin.delete_records([TopicPartition(topic, 1, 1)])
    assert next(iter(deleted.values())).result(10).low_watermark == 1
    asked = ConsumerGroupTopicPartitions("admin-group", [TopicPartition(topic, 0, 2)])
    admin.alter_consumer_group_offsets([asked])["admin-group"].result(10)
    listed = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions("admin-group")])
    assert [each.offset for each in listed["admin-group"].result(10).topic_partitions] == [2]
    assert "admin-group" in {each.group_id for each in admin.list_consumer_groups().result(10).valid}
    admin.delete_consumer_groups(["admin-group"])["admin-group"].result(10)
    cluster = admin.describe_cluster().result(10)
    assert [node.id for node in cluster.nodes] == [0, 1]
    admin.delete_topics([topic])[topic].result(10)
    assert topic not in admin.list_topics(timeout=10).topics
