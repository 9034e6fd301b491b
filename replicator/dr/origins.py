"""What `verify` leaves out where names are kept in both directions: on the source what links brought there and this one
doesn't copy, on the target what this link didn't write.

Told by the producer ids in the batches' headers, as the link itself tells it; what the records hold is then compared by
an independent client. Memory: 16 bytes for each stretch that is left out.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from uuid import UUID

from replicator.config.models import LinkConfig, Settings
from replicator.dr.reader import Partition
from replicator.errors import ReplicatorError
from replicator.ledger.fetching import Reading, read_all
from replicator.ledger.lane_record import LANE_KEY, decode_lane
from replicator.ledger.lanes import ledger_topic
from replicator.ledger.log import LedgerLog
from replicator.ledger.provenance import Provenance
from replicator.wire import batch as v2
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_UNCOMMITTED, FetchedPartition
from replicator.wire.primitives import NO_TOPIC_ID

_SLOT = "verify"

Stretch = tuple[Partition, int, int]  # of a log: from one offset to another


class Skips:
    """Offsets to leave out: stretches, added in order."""

    def __init__(self) -> None:
        self._starts = array("q")
        self._ends = array("q")

    def add(self, start: int, end: int) -> None:
        """Everything from `start` to `end` (exclusive)."""
        if self._ends and self._ends[-1] == start:
            self._ends[-1] = end
        else:
            self._starts.append(start)
            self._ends.append(end)

    def __contains__(self, offset: object) -> bool:
        if not isinstance(offset, int):
            return False
        at = bisect_right(self._starts, offset) - 1
        return at >= 0 and offset < self._ends[at]


Found = dict[Partition, Skips]


def find_skips(
    settings: Settings, link: LinkConfig, source: Sequence[Stretch], target: Sequence[Stretch]
) -> tuple[Found, Found]:
    """What to leave out of these stretches of both sides. Blocking. ReplicatorError if one can't be read."""
    return asyncio.run(_find(settings, link, source, target))


async def _find(
    settings: Settings, link: LinkConfig, source: Sequence[Stretch], target: Sequence[Stretch]
) -> tuple[Found, Found]:
    client_id = f"replicator-{link.name}-verify"
    from_ = ClusterClient(link.source, settings.clusters[link.source], client_id)
    to = ClusterClient(link.target, settings.clusters[link.target], client_id)
    try:
        await from_.all_topics()
        await to.all_topics()
        expected = [other.name for other in settings.links_into(link.source)]
        origins = Provenance(from_, to, native_only=link.origins == "native", expected=expected)
        own = await _own_producers(link, to)

        def brought(producer_id: int) -> bool:
            origin = origins.of(producer_id)
            return origin is not None and not origins.passes(origin)

        here = await _read(from_, source, brought, origins)
        there = await _read(to, target, lambda producer_id: producer_id not in own, None)
        return here, there
    finally:
        await from_.close()
        await to.close()


async def _own_producers(link: LinkConfig, target: ClusterClient) -> set[int]:
    topic = target.topics.get(ledger_topic(link.name))
    own: set[int] = set()
    for lane in topic.partitions if topic is not None else ():
        log = LedgerLog(target, ledger_topic(link.name), lane, isolation=READ_UNCOMMITTED)
        for key, value in await log.read():
            if key == LANE_KEY and value is not None:
                own.update(decode_lane(value).producers)
    return own


async def _read(
    cluster: ClusterClient, stretches: Sequence[Stretch], skip: Callable[[int], bool], origins: Provenance | None
) -> Found:
    readings = [_Headers(*stretch, skip) for stretch in stretches if stretch[1] < stretch[2]]
    cluster.watch({reading.topic for reading in readings})
    all_: Collection[Reading] = readings
    failed = await read_all(
        cluster,
        all_,
        isolation=READ_UNCOMMITTED,
        slot=_SLOT,
        learn=origins.learn if origins is not None else None,
    )
    for error in failed.values():
        raise error
    return {(reading.topic, reading.partition): reading.skips for reading in readings}


class _Headers:
    """Reads the headers of one stretch. A `fetching.Reading`."""

    def __init__(self, place: Partition, start: int, end: int, skip: Callable[[int], bool]) -> None:
        self.topic, self.partition = place
        self.topic_id: UUID = NO_TOPIC_ID
        self.position = start
        self.skips = Skips()
        self._end = end
        self._skip = skip

    @property
    def done(self) -> bool:
        return self.position >= self._end

    def take(self, fetched: FetchedPartition) -> None:
        view, at = fetched.records, 0
        while not self.done and (frame := v2.frame_at(view, at)) is not None:
            size, magic = frame
            if magic < 2 or size < v2.HEADER_BYTES:
                raise ReplicatorError(
                    f"{self.topic}-{self.partition} has old-format messages at offset {self.position}: whose they are "
                    "can't be told"
                )
            header = v2.read_header(view, at)
            end = header.base_offset + header.last_offset_delta + 1
            if end > self.position:
                if self._skip(header.producer_id):
                    self.skips.add(header.base_offset, end)
                self.position = end
            at += size

    def out_of_range(self, start: int, end: int) -> None:
        self.position = start if self.position < start else self._end

    def idle(self, fetched: FetchedPartition, seconds: float) -> bool:
        return seconds > 1.0
