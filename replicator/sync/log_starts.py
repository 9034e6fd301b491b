"""Where partitions begin, asked no more often than needed."""

from __future__ import annotations

from collections.abc import Callable, Collection

from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_UNCOMMITTED
from replicator.wire.kafka_errors import NONE
from replicator.wire.list_offsets import EARLIEST

Key = tuple[str, int]

FRESH_S = 30.0


class LogStarts:
    """Of one cluster's partitions."""

    def __init__(self, cluster: ClusterClient, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._starts: dict[Key, tuple[float, int]] = {}

    async def refresh(self, wanted: Collection[Key]) -> None:
        """Ask for those of which nothing is known, or nothing new. ReplicatorError if a broker doesn't answer."""
        old = self._clock() - FRESH_S
        asked = [at for at in wanted if at not in self._starts or self._starts[at][0] <= old]
        if not asked:
            return
        unknown = {topic for topic, partition in asked if self._cluster.leader(topic, partition) is None}
        if unknown:
            self._cluster.watch(unknown)
            await self._cluster.refresh()
        now = self._clock()
        listed = await self._cluster.offsets([(*at, EARLIEST) for at in asked], READ_UNCOMMITTED)
        for at, found in listed.items():
            if found.error == NONE:
                self._starts[at] = now, found.offset

    def get(self, at: Key) -> int:
        """The first offset of a partition, as far as is known; else 0."""
        return self._starts.get(at, (0.0, 0))[1]
