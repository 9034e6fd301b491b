"""Whose clock is wrong. Kafka tells no time, so it is read off what is there anyway, and nothing is written for it.

Target: a transaction's marker carries the broker's time, the ledger's record before it, of the same producer, that of
the worker who wrote it, at most a commit's length earlier. Source: no record is newer than its writer's clock, or,
under LogAppendTime, than the broker's; one from the future shows that this clock is ahead of ours. One that is behind
doesn't show.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from uuid import UUID

from replicator.ledger.fetching import Reading, read_all
from replicator.ledger.lanes import ledger_topic
from replicator.wire import batch as v2
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_UNCOMMITTED, FetchedPartition
from replicator.wire.list_offsets import LATEST, LIST_OFFSETS
from replicator.wire.primitives import NO_TOPIC_ID

COMMIT_MS = 2_500  # from writing an entry to the marker, at most, as a rule
_LANES = 8
_TAIL = 300  # offsets of a lane
_NEWEST = -3  # ListOffsets 7: the record of the greatest timestamp (KIP-734)
_NEWEST_VERSION = 7
_PARTITIONS = 200
_SLOT = "clocks"


@dataclass(frozen=True, slots=True)
class Skew:
    """How far a cluster's clock is ahead of the worker's: between these, in milliseconds; seen at `at_ms`."""

    least_ms: int
    most_ms: int
    at_ms: int

    @property
    def surely_ms(self) -> int:
        """How far off it is at least: positive if ahead, negative if behind, 0 if nothing says that it is off."""
        return self.least_ms if self.least_ms > 0 else min(0, self.most_ms)


async def target_clock(target: ClusterClient, link: str) -> Skew | None:
    """That of the target, by what the link's ledger says; None if that says nothing. ReplicatorError if it can't be
    read."""
    topic = ledger_topic(link)
    view = await target.all_topics()
    if topic not in view.topics:
        return None
    target.watch((topic,))
    lanes = sorted(view.topics[topic].partitions)[:_LANES]
    ends = await target.offsets([(topic, lane, LATEST) for lane in lanes], READ_UNCOMMITTED)
    tails = [_Tail(topic, lane, at.offset) for (_, lane), at in ends.items() if at.offset > 0]
    every: Collection[Reading] = tails
    await read_all(target, every, isolation=READ_UNCOMMITTED, slot=_SLOT, patience_s=5.0)
    seen = sorted(pair for tail in tails for pair in tail.pairs)[-20:]
    if not seen:
        return None
    most = min(marker - record for marker, record in seen)
    return Skew(most - COMMIT_MS, most, seen[-1][0])


async def newest_record(
    source: ClusterClient, topics: Collection[str], now_ms: Callable[[], int] = lambda: int(time.time() * 1000)
) -> int | None:
    """By how many milliseconds the newest record of these topics is ahead of our clock, negative if it is older; None
    if there is none, or brokers can't say (before Kafka 3.0)."""
    if not (await source.any_connection()).supports(LIST_OFFSETS, _NEWEST_VERSION):
        return None
    view = await source.all_topics()
    places = [(t, p, _NEWEST) for t in sorted(topics) if t in view.topics for p in view.topics[t].partitions]
    found = await source.offsets(places[:_PARTITIONS], READ_UNCOMMITTED)
    times = [at.timestamp for at in found.values() if not at.error and at.timestamp >= 0]
    return max(times) - now_ms() if times else None


class _Tail:
    """Reads the end of one lane for markers. A `fetching.Reading`."""

    def __init__(self, topic: str, lane: int, end: int) -> None:
        self.topic, self.partition = topic, lane
        self.topic_id: UUID = NO_TOPIC_ID
        self.position = max(0, end - _TAIL)
        self.pairs: list[tuple[int, int]] = []  # the marker's time, and that of the record before it
        self._end = end
        self._records: dict[int, int] = {}

    @property
    def done(self) -> bool:
        return self.position >= self._end

    def take(self, fetched: FetchedPartition) -> None:
        view, at = fetched.records, 0
        while not self.done and (frame := v2.frame_at(view, at)) is not None:
            header = v2.read_header(view, at)
            if header.attributes & v2.CONTROL:
                written = self._records.pop(header.producer_id, None)
                if written is not None:
                    self.pairs.append((header.max_timestamp, written))
            elif header.attributes & v2.TRANSACTIONAL:
                self._records[header.producer_id] = header.max_timestamp
            self.position = header.base_offset + header.last_offset_delta + 1
            at += frame[0]

    def out_of_range(self, start: int, end: int) -> None:
        self.position = start if self.position < start else self._end

    def idle(self, fetched: FetchedPartition, seconds: float) -> bool:
        return seconds > 1.0
