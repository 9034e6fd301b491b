"""Reads a lane's partition of the map topic over the data plane's own connections, chunk by chunk, keeping nothing."""

from __future__ import annotations

from collections.abc import Callable

from replicator.errors import UnreachableError
from replicator.flow.backpressure import ByteBudget, Lease
from replicator.flow.stage import Stage
from replicator.ledger.fetching import read_all
from replicator.ledger.map_chunks import decode_chunk_key
from replicator.wire import batch as v2
from replicator.wire import records
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_COMMITTED, FetchedPartition
from replicator.wire.kafka_errors import NONE
from replicator.wire.list_offsets import EARLIEST, LATEST
from replicator.wire.primitives import NO_TOPIC_ID

Key = tuple[str, int]
Take = Callable[[Key, int, bytes | None], None]  # source partition, number of the chunk, value

_SLOT = "map"


async def scan_chunks(target: ClusterClient, topic: str, lane: int, take: Take) -> None:
    """Give `take` all chunks up to the end as it is now, in log order. UnreachableError if that can't be done now."""
    place = topic, lane
    bounds = [(await target.offsets([(*place, where)], READ_COMMITTED)).get(place) for where in (EARLIEST, LATEST)]
    if any(bound is None or bound.error != NONE for bound in bounds):
        raise UnreachableError(f"cluster {target.alias}: {topic}-{lane} has no leader")
    start, end = (bound.offset for bound in bounds if bound is not None)
    failed = await read_all(target, [_Chunks(*place, start, end, take)], isolation=READ_COMMITTED, slot=_SLOT)
    for error in failed.values():
        raise error


async def load_chunks(
    target: ClusterClient, topic: str, lane: int, key: Key, wanted: Callable[[int], bool]
) -> dict[int, bytes]:
    """The chunks of one source partition whose numbers are wanted."""
    values: dict[int, bytes] = {}

    def take(at: Key, number: int, value: bytes | None) -> None:
        if at == key and wanted(number):
            values.pop(number, None)
            if value is not None:
                values[number] = value

    await scan_chunks(target, topic, lane, take)
    return values


class _Chunks:
    """A `fetching.Reading`."""

    def __init__(self, topic: str, partition: int, start: int, end: int, into: Take) -> None:
        self.topic, self.partition, self.topic_id = topic, partition, NO_TOPIC_ID
        self.position = start
        self._end = end
        self._into = into
        self._stage = Stage("source")

    @property
    def done(self) -> bool:
        return self.position >= self._end

    def take(self, fetched: FetchedPartition) -> None:
        staged = self._stage.stage(fetched, self.position, Lease(ByteBudget(1 << 40), 0))
        if staged.fault is not None:
            raise staged.fault
        for batch in staged.batches:
            for record in records.decode(batch.data, v2.read_header(batch.data, 0)):
                chunk = decode_chunk_key(record.key) if record.key else None
                if chunk is not None:
                    self._into((chunk[0], chunk[1]), chunk[2], record.value)
        self.position = staged.next_offset

    def out_of_range(self, start: int, end: int) -> None:
        self.position = start if self.position < start else self._end

    def idle(self, fetched: FetchedPartition, seconds: float) -> None: ...
