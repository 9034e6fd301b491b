"""Reads a lane's partition of the map topic over the data plane's own connections, chunk by chunk, keeping nothing."""

from __future__ import annotations

from collections.abc import Callable

from replicator.errors import UnreachableError
from replicator.ledger.fetching import read_all
from replicator.ledger.following import KeyedReading
from replicator.ledger.map_chunks import decode_chunk_key
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_COMMITTED
from replicator.wire.kafka_errors import NONE
from replicator.wire.list_offsets import EARLIEST, LATEST

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

    def take_record(record_key: bytes, value: bytes | None) -> None:
        if (chunk := decode_chunk_key(record_key)) is not None:
            take((chunk[0], chunk[1]), chunk[2], value)

    reading = KeyedReading(*place, start, end, take_record)
    failed = await read_all(target, [reading], isolation=READ_COMMITTED, slot=_SLOT)
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
