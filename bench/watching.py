"""How far a copy has come, asked of the target cluster alone."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tests.support.kafka import KafkaCluster

_FRESH_AFTER = 10
_TAIL = 500  # more than the markers that can follow a partition's last record


class Watcher:
    """Watches one remote topic of `partitions` partitions; it may not exist yet."""

    def __init__(self, cluster: KafkaCluster, topic: str, partitions: int) -> None:
        self._topic = topic
        self._partitions = [TopicPartition(topic, partition) for partition in range(partitions)]
        self._cluster = cluster
        self._admin: AdminClient = cluster.admin()
        self._refusals = 0
        self._exists = False
        settings = {"group.id": "bench", "enable.auto.commit": False, "enable.partition.eof": True}
        self._consumer = Consumer(cluster.client_config | settings | {"isolation.level": "read_committed"})

    def close(self) -> None:
        """Let go of the connections."""
        self._consumer.close()

    def ends(self, *, committed: bool) -> list[int]:
        """Each partition's end: the last stable offset if `committed`, else the high watermark; empty: no topic yet."""
        if not self._exists:
            known = self._admin.list_topics(timeout=10).topics.get(self._topic)
            self._exists = known is not None and len(known.partitions) == len(self._partitions)
            if not self._exists:
                return []
        isolation = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        asked = {partition: OffsetSpec.latest() for partition in self._partitions}
        try:
            answers = self._admin.list_offsets(asked, isolation_level=isolation, request_timeout=10)
            return [answers[partition].result().offset for partition in self._partitions]
        except KafkaException:  # just created: no leader yet; whoever waits has a deadline
            self._refusals += 1
            if self._refusals % _FRESH_AFTER == 0:  # librdkafka may keep what it knows of the leaders, wrong for ever
                self._admin = self._cluster.admin()
            return []

    def last_values(self, ends: Sequence[int]) -> list[bytes | None]:
        """The value of each partition's last record before `ends` that readers of committed records see."""
        last: list[bytes | None] = [None] * len(ends)
        starts = [TopicPartition(self._topic, p, max(0, end - _TAIL)) for p, end in enumerate(ends)]
        self._consumer.assign(starts)
        open_ones = {p for p, end in enumerate(ends) if end > 0}
        while open_ones:
            message = self._consumer.poll(10)
            if message is None:
                break
            error = message.error()
            if error is None:
                last[message.partition()] = message.value()
            elif error.code() == KafkaError._PARTITION_EOF:
                open_ones.discard(message.partition())
        self._consumer.unassign()
        return last
