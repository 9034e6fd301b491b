"""Consumer groups' positions, set and read by an administrator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.support.waiting import wait_for

Key = tuple[str, int]


class Administered(Protocol):
    """A cluster."""

    def admin(self) -> AdminClient: ...


def commit(cluster: Administered, group: str, positions: Mapping[Key, int]) -> None:
    """Set the positions of a group without members; returns when they are set."""
    admin = cluster.admin()  # kept: what is asked of one that is gone is never answered
    at = [TopicPartition(topic, partition, offset) for (topic, partition), offset in positions.items()]

    def done() -> bool:  # a fresh cluster has no coordinator yet: that is an error of each partition
        answer = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, at)])[group].result(30)
        refused = [str(place.error) for place in answer.topic_partitions if place.error]
        assert not refused, refused[0]
        return True

    wait_for(done, within=30, every=0.2, what=f"group {group} has its positions")


def committed(cluster: Administered, group: str) -> dict[Key, int]:
    """The group's positions."""
    admin = cluster.admin()
    found = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(30)
    return {(at.topic, at.partition): at.offset for at in found.topic_partitions if at.offset >= 0}
