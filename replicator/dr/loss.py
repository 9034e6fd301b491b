"""What is lost if the source is never seen again: what it had, when it was seen last, and the target hasn't."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from replicator.ledger.status import LinkStatus, PartitionStatus


@dataclass(frozen=True, slots=True)
class Loss:
    """Of one partition. `records` are counted in offsets: markers of transactions and gaps of compaction count too.
    `seconds`: how much younger the last record of the source was than the last that was copied, at most. None where
    nobody knows."""

    topic: str
    partition: int
    copied_to: int  # the source's offset, exclusive
    source_end: int
    records: int | None
    seconds: float | None


def estimate(status: LinkStatus, partitions: Iterable[PartitionStatus]) -> list[Loss]:
    """The losses of these partitions, by what the source says now, or by when workers saw it last."""
    return [_of(each, status.source_seen) for each in partitions]


def total(losses: Iterable[Loss]) -> tuple[int, int]:
    """All records together, and of how many partitions nobody knows."""
    known = [loss.records for loss in losses]
    return sum(records for records in known if records is not None), sum(records is None for records in known)


def _of(partition: PartitionStatus, source_seen: str | None) -> Loss:
    seconds: float | None = 0.0 if partition.lag == 0 else None
    if partition.lag and partition.lag_ms is not None:
        since_seen = 0.0
        if source_seen is not None:  # its age was counted up to now, and the source was there until then
            now = datetime.now(datetime.fromisoformat(source_seen).tzinfo)
            since_seen = (now - datetime.fromisoformat(source_seen)).total_seconds()
        seconds = max(0.0, partition.lag_ms / 1000 - since_seen)
    return Loss(
        partition.topic, partition.partition, partition.source_next, partition.source_end, partition.lag, seconds
    )
