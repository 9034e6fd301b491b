"""Consumer groups' positions, set and read by an administrator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

Key = tuple[str, int]


class Administered(Protocol):
    """A cluster."""

    def admin(self) -> AdminClient: ...


def commit(cluster: Administered, group: str, positions: Mapping[Key, int]) -> None:
    """Set the positions of a group without members."""
    admin = cluster.admin()  # kept: what is asked of one that is gone is never answered
    at = [TopicPartition(topic, partition, offset) for (topic, partition), offset in positions.items()]
    admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, at)])[group].result(30)


def committed(cluster: Administered, group: str) -> dict[Key, int]:
    """The group's positions."""
    admin = cluster.admin()
    found = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(30)
    return {(at.topic, at.partition): at.offset for at in found.topic_partitions if at.offset >= 0}
