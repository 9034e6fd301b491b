"""Consumer groups of KIP-848 with librdkafka, its AdminClient and Kafka's console consumer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    ConsumerGroupType,
    KafkaException,
    TopicPartition,
)
from confluent_kafka import KafkaError as RdKafkaError
from confluent_kafka.admin import AdminClient

from tests.kafka.consumer_member import with_short_session
from tests.kafka.scene import Scene, unique
from tests.support.javatools import run_tool
from tests.support.rawclient import batch
from tests.support.waiting import wait_for

PARTITIONS = 6

A_CONSUMER = """
import sys
from confluent_kafka import Consumer
consumer = Consumer({"bootstrap.servers": sys.argv[1], "group.id": sys.argv[2], "group.protocol": "consumer"})
consumer.subscribe([sys.argv[3]])
while True:
    consumer.poll(0.1)
    print(len(consumer.assignment()), flush=True)
"""


class Crowd:
    """Consumers of one group, polled together."""

    def __init__(self, scene: Scene, topic: str) -> None:
        self.scene = scene
        self.topic = topic
        self.group = unique("g")
        self.consumers: list[Consumer] = []
        self.read: list[bytes] = []

    def join(self, **settings: Any) -> Consumer:
        consumer = Consumer(
            {
                "bootstrap.servers": self.scene.bootstrap,
                "group.id": self.group,
                "group.protocol": "consumer",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                **settings,
            }
        )
        consumer.subscribe([self.topic])
        self.consumers.append(consumer)
        return consumer

    def poll(self) -> None:
        for consumer in self.consumers:
            for message in consumer.consume(100, 0.02):
                assert message.error() is None, message.error()
                self.read.append(message.value() or b"")

    def shares(self) -> list[int]:
        """How many partitions each has, if together they have all of them once."""
        self.poll()
        parts = [[row.partition for row in consumer.assignment()] for consumer in self.consumers]
        assert sorted(index for part in parts for index in part) == list(range(PARTITIONS)), parts
        return [len(part) for part in parts]

    def until(self, *shares: int, within: float = 15) -> None:
        wait_for(lambda: self.shares() == list(shares), within=within, what=f"{shares} partitions", every=0)


@pytest.fixture
def crowd(scene: Scene) -> Iterator[Crowd]:
    """Nobody yet, on a topic of six partitions."""
    made = Crowd(scene, scene.topic(PARTITIONS))
    yield made
    for consumer in made.consumers:
        consumer.close()


@pytest.mark.slow
def test_given_one_two_three_consumers_when_they_come_and_go_then_each_partition_has_one_reader(crowd: Crowd) -> None:
    expected = [b"%d" % number for number in range(PARTITIONS)]
    for number, value in enumerate(expected):
        crowd.scene.produce(crowd.topic, batch([value]), partition=number)
    crowd.join()
    crowd.until(6)
    crowd.join()
    crowd.until(3, 3)
    crowd.join()
    crowd.until(2, 2, 2)
    wait_for(lambda: crowd.poll() or set(crowd.read) == set(expected), within=10, what="every record", every=0)
    crowd.consumers[0].commit(asynchronous=False)
    crowd.consumers.pop(0).close()
    crowd.until(3, 3)


@pytest.mark.slow
def test_given_a_consumer_that_is_killed_when_its_session_ends_then_the_other_reads_on(crowd: Crowd) -> None:
    with_short_session(crowd.scene, crowd.group)
    crowd.join()
    crowd.until(6)
    command = [sys.executable, "-c", A_CONSUMER, crowd.scene.bootstrap, crowd.group, crowd.topic]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as other:
        try:
            wait_for(lambda: crowd.poll() or len(crowd.consumers[0].assignment()) == 3, within=15, what="a share")
            assert other.stdout is not None
            while other.stdout.readline().strip() != b"3":
                crowd.poll()
        finally:
            other.kill()
    crowd.until(6, within=20)


@pytest.fixture
def admin(scene: Scene) -> AdminClient:
    """An AdminClient on the scene's broker."""
    return AdminClient({"bootstrap.servers": scene.bootstrap, "log_level": 0})


def refusal(call: Callable[[], object]) -> int:
    """The code that the call fails with."""
    with pytest.raises(KafkaException) as refused:
        call()
    return int(refused.value.args[0].code())


def test_given_a_group_when_an_administrator_looks_and_alters_then_only_an_empty_one_yields(
    crowd: Crowd, admin: AdminClient
) -> None:
    consumer = crowd.join(**{"client.id": "reader"})
    crowd.until(6)
    described = admin.describe_consumer_groups([crowd.group])[crowd.group].result(15)
    assert (described.state, described.type) == (ConsumerGroupState.STABLE, ConsumerGroupType.CONSUMER)
    assert described.partition_assignor == "uniform"
    (member,) = described.members
    assert (member.client_id, member.host) == ("reader", "/127.0.0.1")
    wanted = sorted((crowd.topic, number) for number in range(PARTITIONS))
    for assignment in (member.assignment, member.target_assignment):
        assert sorted((row.topic, row.partition) for row in assignment.topic_partitions) == wanted

    def listed(**filters: Any) -> list[tuple[ConsumerGroupState, ConsumerGroupType]]:
        found = admin.list_consumer_groups(**filters).result(15).valid
        return [(row.state, row.type) for row in found if row.group_id == crowd.group]

    assert listed() == [(ConsumerGroupState.STABLE, ConsumerGroupType.CONSUMER)]
    assert listed(types={ConsumerGroupType.CONSUMER}) == listed()
    assert listed(types={ConsumerGroupType.CLASSIC}) == []

    def alter(offset: int) -> None:
        positions = [TopicPartition(crowd.topic, 0, offset)]
        request = ConsumerGroupTopicPartitions(crowd.group, positions)
        (result,) = admin.alter_consumer_group_offsets([request]).values()
        (row,) = result.result(15).topic_partitions
        if row.error is not None:
            raise KafkaException(row.error)

    def position() -> int:
        request = ConsumerGroupTopicPartitions(crowd.group, [TopicPartition(crowd.topic, 0)])
        (result,) = admin.list_consumer_group_offsets([request]).values()
        return int(result.result(15).topic_partitions[0].offset)

    assert refusal(lambda: alter(4)) == RdKafkaError.UNKNOWN_MEMBER_ID
    assert refusal(lambda: admin.delete_consumer_groups([crowd.group])[crowd.group].result(15)) == (
        RdKafkaError.NON_EMPTY_GROUP
    )
    consumer.commit(offsets=[TopicPartition(crowd.topic, 0, 2)], asynchronous=False)
    assert position() == 2
    crowd.consumers.clear()
    consumer.close()
    alter(4)
    assert position() == 4
    described = admin.describe_consumer_groups([crowd.group])[crowd.group].result(15)
    assert (described.state, described.type) == (ConsumerGroupState.EMPTY, ConsumerGroupType.CONSUMER)
    admin.delete_consumer_groups([crowd.group])[crowd.group].result(15)
    assert listed() == []


@pytest.mark.kafka
def test_given_kafkas_console_consumer_when_it_uses_the_new_protocol_then_it_reads_and_commits(
    scene: Scene, admin: AdminClient
) -> None:
    topic, group = scene.topic(2), unique("g")
    for number in range(2):
        assert scene.produce(topic, batch([b"a", b"b", b"c"]), partition=number).error_code == 0
    how = ("--topic", topic, "--group", group, "--from-beginning", "--max-messages", "6", "--timeout-ms", "20000")
    protocol = ("--consumer-property", "group.protocol=consumer")
    read = run_tool(
        "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", scene.bootstrap, *how, *protocol
    )
    assert sorted(read.stdout.split()) == sorted("aabbcc")
    described = admin.describe_consumer_groups([group])[group].result(15)
    assert (described.state, described.type) == (ConsumerGroupState.EMPTY, ConsumerGroupType.CONSUMER)
    (result,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
    assert sorted((row.partition, row.offset) for row in result.result(15).topic_partitions) == [(0, 3), (1, 3)]
