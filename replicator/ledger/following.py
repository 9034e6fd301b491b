"""Reads an internal topic as it grows, over the data plane's own connections: each time from where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from replicator.errors import ReplicatorError
from replicator.flow.backpressure import ByteBudget, Lease
from replicator.flow.stage import Stage
from replicator.ledger.fetching import read_all
from replicator.wire import batch as v2
from replicator.wire import records
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_COMMITTED, FetchedPartition
from replicator.wire.kafka_errors import NONE
from replicator.wire.list_offsets import EARLIEST, LATEST
from replicator.wire.primitives import NO_TOPIC_ID

Take = Callable[[int, bytes, bytes | None], None]  # partition, key, value

_NO_LIMIT = ByteBudget(1 << 40)
PATIENCE_S = 10.0


class TopicFollower:
    """Gives each committed record that has a key once, in order within its partition. One call at a time."""

    def __init__(self, cluster: ClusterClient, topic: str, slot: str) -> None:
        self._cluster = cluster
        self._topic = topic
        self._slot = slot
        self._positions: dict[int, int] = {}
        self._starts: dict[int, int] = {}

    @property
    def partitions(self) -> int:
        """How many the topic has, as far as is known; 0 if it isn't there."""
        metadata = self._cluster.topics.get(self._topic)
        return len(metadata.partitions) if metadata is not None and self._cluster.topic_id_of(self._topic) else 0

    def forget(self, partition: int) -> None:
        """Read this partition from its start again."""
        self._positions.pop(partition, None)

    async def read(self, partitions: Collection[int], take: Take) -> dict[int, ReplicatorError]:
        """Give `take` what these partitions have up to their ends as they are now; those that can't be read, and why.

        What `take` raises, as ReplicatorError, ends the partition's reading, which begins there next time.
        """
        self._cluster.watch([self._topic])
        if any(self._cluster.leader(self._topic, partition) is None for partition in partitions):
            await self._cluster.refresh()
        new = [partition for partition in partitions if partition not in self._positions]
        starts = await self._bounds(new, EARLIEST)
        ends = await self._bounds(partitions, LATEST)
        failed = {
            partition: ReplicatorError(f"cluster {self._cluster.alias}: {self._topic}-{partition} has no leader")
            for partition in partitions
            if partition not in ends or (partition in new and partition not in starts)
        }
        self._positions.update(starts)
        readings = [
            KeyedReading(self._topic, partition, self._positions[partition], ends[partition], partial(take, partition))
            for partition in partitions
            if partition not in failed and self._positions[partition] < ends[partition]
        ]
        if readings:
            found = await read_all(
                self._cluster, readings, isolation=READ_COMMITTED, slot=self._slot, patience_s=PATIENCE_S
            )
            failed.update((partition, error) for (_, partition), error in found.items())
            self._positions.update((reading.partition, reading.position) for reading in readings)
        return failed

    async def _bounds(self, partitions: Collection[int], where: int) -> dict[int, int]:
        wanted = [(self._topic, partition, where) for partition in partitions]
        listed = await self._cluster.offsets(wanted, READ_COMMITTED) if wanted else {}
        return {partition: found.offset for (_, partition), found in listed.items() if found.error == NONE}


class KeyedReading:
    """Gives `into` each record with a key from `start` up to `end`. A `fetching.Reading`."""

    def __init__(
        self, topic: str, partition: int, start: int, end: int, into: Callable[[bytes, bytes | None], None]
    ) -> None:
        self.topic, self.partition, self.topic_id = topic, partition, NO_TOPIC_ID
        self.position = start
        self._end = end
        self._into = into
        self._stage = Stage("source")

    @property
    def done(self) -> bool:
        return self.position >= self._end

    def take(self, fetched: FetchedPartition) -> None:
        staged = self._stage.stage(fetched, self.position, Lease(_NO_LIMIT, 0))
        if staged.fault is not None:
            raise staged.fault
        for batch in staged.batches:
            for record in records.decode(batch.data, v2.read_header(batch.data, 0)):
                if record.key:
                    self._into(record.key, record.value)
        self.position = staged.next_offset

    def out_of_range(self, start: int, end: int) -> None:
        self.position = start if self.position < start else self._end

    def idle(self, fetched: FetchedPartition, seconds: float) -> None: ...
