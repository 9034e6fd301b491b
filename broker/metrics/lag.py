"""How far consumer groups are behind, in records and in time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from broker.cluster import Cluster
    from broker.topics import Partition


class GroupLag(NamedTuple):
    """Of one group in one partition. `seconds` is the age of the first record that it hasn't read, 0 without one."""

    group: str
    topic: str
    partition: int
    records: int
    seconds: float


def group_lags(cluster: Cluster) -> Iterator[GroupLag]:
    """Of every group, wherever it has a position."""
    now_ms = cluster.clock.now_ms()
    coordinator = cluster.coordinators.groups
    for group_id in sorted(coordinator.groups):
        for (topic, index), committed in sorted(coordinator.offsets.positions(group_id).items()):
            partition = cluster.topics.partition(topic, index)
            if partition is None:
                continue
            log = partition.log
            records = max(0, log.high_watermark - max(committed.offset, log.log_start_offset))
            yield GroupLag(group_id, topic, index, records, _age_s(partition, committed.offset, now_ms, records))


def _age_s(partition: Partition, offset: int, now_ms: int, records: int) -> float:
    if not records:
        return 0.0
    for header, _ in partition.log.batches(offset):
        return max(0, now_ms - header.max_timestamp) / 1000 if header.max_timestamp >= 0 else 0.0
    return 0.0
