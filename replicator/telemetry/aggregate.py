"""Counts of many partitions as a few lines: sums by topic, and the partitions that somebody should look at."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest

from replicator.states import State
from replicator.telemetry.counters import PartitionCounters

WHOLE_TOPIC = -1
_STUCK = frozenset({State.FAULTED, State.PENDING})


def by_topic(partitions: Iterable[PartitionCounters]) -> list[PartitionCounters]:
    """One for each topic, with `partition` WHOLE_TOPIC: sums, but of times the largest; no positions and no state.

    Sums go back when partitions leave this worker, as each partition's own counts end then.
    """
    topics: dict[tuple[str, str], PartitionCounters] = {}
    for part in partitions:
        whole = topics.setdefault((part.link, part.topic), PartitionCounters(part.link, part.topic, WHOLE_TOPIC))
        whole.records += part.records
        whole.bytes += part.bytes
        whole.read_bytes += part.read_bytes
        whole.retries += part.retries
        whole.looped_records += part.looped_records
        whole.looped_bytes += part.looped_bytes
        whole.batches_passed += part.batches_passed
        for mine, theirs in (
            (whole.batches_rebuilt, part.batches_rebuilt),
            (whole.batches_dropped, part.batches_dropped),
        ):
            for reason, count in list(theirs.items()):
                mine[reason] = mine.get(reason, 0) + count
        if part.latency_ms >= 0:
            whole.latency_ms = max(whole.latency_ms, part.latency_ms)
            whole.latency_at_ms = max(whole.latency_at_ms, part.latency_at_ms)
        if part.lag_is_known:
            whole.source_end = 0  # known
            whole.lag_records += part.lag_records
            whole.lag_ms = max(whole.lag_ms, part.lag_ms)
            whole.unread_records += part.unread_records
            whole.unread_ms = max(whole.unread_ms, part.unread_ms)
    return list(topics.values())


def worst(partitions: Iterable[PartitionCounters], count: int) -> list[PartitionCounters]:
    """The `count` partitions that are most behind, those that should be copied and aren't before all others."""
    return nlargest(count, partitions, key=lambda part: (part.state in _STUCK, part.lag_ms, part.lag_records))
