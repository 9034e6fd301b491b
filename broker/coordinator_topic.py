"""`__consumer_offsets` and `__transaction_state` as real topics of the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.groups.internal_topic import Entry, Pair, partition_of
from broker.storage.batch import (
    HEADER_SIZE,
    TRANSACTIONAL,
    BatchHeader,
    InvalidBatch,
    encode_batch,
    read_marker,
    read_records,
)
from broker.storage.compression import decompress

if TYPE_CHECKING:
    from broker.cluster import Cluster
    from broker.node import Node
    from broker.topics import Partition


class CoordinatorTopic:
    """A coordinator's log (`CoordinatorLog`) in a topic that is made when it is first needed."""

    def __init__(self, cluster: Cluster, topic: str, partitions_setting: str, configs: Mapping[str, str]) -> None:
        self.topic = topic
        self._cluster = cluster
        self._partitions_setting = partitions_setting
        self._configs = dict(configs)

    def partition_for(self, key: str) -> int:
        """The partition that the key's records go to: Kafka's formula, over the partitions there are."""
        return partition_of(key, self._count())

    def partitions(self) -> Iterable[int]:
        """The partitions that exist already; none before the topic is made."""
        topic = self._cluster.topics.get(self.topic)
        return range(len(topic.partitions)) if topic is not None else range(0)

    def node_for(self, key: str) -> Node | None:
        """The node that coordinates this key, or None while its partition has no leader."""
        leader = self._partition(self.partition_for(key)).leader
        return None if leader == -1 else self._cluster.nodes[leader]

    def coordinator_of(self, key: str) -> int | None:
        """The id of the node that coordinates this key, or None while its partition has no leader."""
        node = self.node_for(key)
        return None if node is None else node.node_id

    def coordinator_epoch(self, partition: int) -> int:
        """The leader epoch of the partition, which is what markers carry as the coordinator's epoch."""
        return self._partition(partition).leader_epoch

    def append(self, partition: int, pairs: Sequence[Pair], *, producer: tuple[int, int] | None = None) -> int:
        """Write the pairs as one batch, inside the producer's transaction if given; returns the base offset.

        Raises KafkaError: NOT_COORDINATOR without a leader, COORDINATOR_NOT_AVAILABLE with too few in-sync replicas,
        INVALID_PRODUCER_EPOCH from a producer that has been fenced.
        """
        target = self._partition(partition)
        if target.leader == -1:
            raise KafkaError(ErrorCode.not_coordinator)
        minimum = target.topic.log_config.min_insync_replicas
        if len(target.isr) < min(minimum, len(target.replicas)):
            raise KafkaError(
                ErrorCode.coordinator_not_available, "too few replicas of the coordinator's log are in sync"
            )
        now_ms = self._cluster.clock.now_ms()
        try:
            if producer is None:
                return target.log.append_as_coordinator(encode_batch(pairs, now_ms))
            producer_id, epoch = producer
            entry = target.log.producer_states.entries.get(producer_id)
            if entry is not None and epoch < entry.epoch:
                raise KafkaError(ErrorCode.invalid_producer_epoch)
            batch = encode_batch(pairs, now_ms, attributes=TRANSACTIONAL, producer_id=producer_id, producer_epoch=epoch)
            return target.log.append_as_coordinator(batch)
        except KafkaError as error:
            if error.code is ErrorCode.kafka_storage_error:
                raise KafkaError(ErrorCode.not_coordinator, error.message or "") from error
            raise

    def replay(self, partition: int) -> Iterator[Entry]:
        """Everything the partition holds, in order."""
        for header, batch in self._partition(partition).log.batches():
            yield from _entries(header, batch)

    def _count(self) -> int:
        topic = self._cluster.topics.get(self.topic)
        if topic is None:
            count = self._cluster.config.get_int(self._partitions_setting)
            topic = self._cluster.create_internal_topic(self.topic, count, self._configs)
        return len(topic.partitions)

    def _partition(self, index: int) -> Partition:
        self._count()
        found = self._cluster.topics.partition(self.topic, index)
        assert found is not None
        return found


def _entries(header: BatchHeader, batch: memoryview) -> Iterator[Entry]:
    payload: bytes | memoryview = batch[HEADER_SIZE : header.size]
    if header.compression:
        payload = decompress(header.compression, payload)
    for record in read_records(payload, header.record_count):
        offset = header.base_offset + record.offset_delta
        if header.is_control:
            try:
                kind, _ = read_marker(record)
            except InvalidBatch:
                continue
            if kind in (0, 1):
                yield Entry(offset, producer_id=header.producer_id, ends_transaction=kind == 1)
            continue
        yield Entry(
            offset,
            None if record.key is None else bytes(record.key),
            None if record.value is None else bytes(record.value),
            header.producer_id,
            header.is_transactional,
        )
