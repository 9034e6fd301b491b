"""The ledger's record of a lane itself: since when it has been running, and who has been writing for it.

A topic partition that has no entry when its lane begins for the first time was there before the link; one that comes
later was born after it, and is copied from its earliest record whatever `start:` says (design section 8).

Nobody writes for a lane before its producer id is in here, and where the records that it writes were written first
(rule A): so a link that copies on from this cluster can tell copies from originals (`provenance`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from replicator.ledger.codec import LedgerFormatError, Reader, put_string, put_varint

LANE_KEY = b"\x02"
MAX_PRODUCERS = 256  # a transactional id gets another producer id after 32,766 takeovers, or when it has expired
CLUSTER_ID_MAX_BYTES = 256

_NOT_BEGUN = -1


@dataclass(frozen=True, slots=True)
class LaneRecord:
    """`begun_ms` is when its first owner had written its first entries, None before; `producers` are all producer ids
    that have written for the lane, oldest first.

    `origins` says of which cluster (its id) the records are that a producer writes. Records of earlier versions don't:
    then they are of the link's source.
    """

    begun_ms: int | None = None
    producers: tuple[int, ...] = ()
    origins: Mapping[int, str] = field(default_factory=dict)

    def with_producers(self, *ids: int, origin: str = "") -> LaneRecord:
        """With these as well, which write what was first written in the cluster `origin`; itself if it has them."""
        new = tuple(producer_id for producer_id in dict.fromkeys(ids) if producer_id not in self.producers)
        untold = {producer_id: origin for producer_id in ids if origin and producer_id not in self.origins}
        if not new and not untold:
            return self
        kept = (*self.producers, *new)[-MAX_PRODUCERS:]
        known = {**self.origins, **untold}
        return replace(self, producers=kept, origins={n: known[n] for n in kept if n in known})

    def with_origin(self, origin: str) -> LaneRecord:
        """With this origin for the producers of which it isn't known; itself if all are."""
        untold = [producer_id for producer_id in self.producers if producer_id not in self.origins]
        return self.with_producers(*untold, origin=origin) if untold else self

    def producers_of(self, origin: str) -> tuple[int, ...]:
        """The producer ids that write what was first written there."""
        return tuple(producer_id for producer_id in self.producers if self.origins.get(producer_id) == origin)


def encode_lane(record: LaneRecord) -> bytes:
    """The value of a lane's record. As long as all its producers write for one origin, workers that know nothing of
    origins may have the lane as well: then its version is 1, else 2."""
    origins = list(dict.fromkeys(record.origins.values()))
    out = bytearray((2 if len(origins) > 1 else 1,))
    put_varint(out, _NOT_BEGUN if record.begun_ms is None else record.begun_ms)
    put_varint(out, len(record.producers))
    for producer_id in record.producers:
        put_varint(out, producer_id)
    if origins:
        put_varint(out, len(origins))
        for origin in origins:
            put_string(out, origin, CLUSTER_ID_MAX_BYTES)
        for producer_id in record.producers:
            known = record.origins.get(producer_id)
            put_varint(out, -1 if known is None else origins.index(known))
    return bytes(out)


def decode_lane(value: bytes) -> LaneRecord:
    """The record that a value holds. LedgerFormatError for a version that only a newer Replicator knows."""
    reader = Reader(value)
    if (version := reader.byte()) not in (1, 2):
        raise LedgerFormatError(f"lane record has version {version}, this Replicator knows 1 and 2; upgrade it")
    begun_ms = reader.varint()
    producers = tuple(reader.varint() for _ in range(reader.count(MAX_PRODUCERS))) if reader.remaining else ()
    origins: dict[int, str] = {}
    if reader.remaining:
        names = [reader.string(CLUSTER_ID_MAX_BYTES) for _ in range(reader.count(MAX_PRODUCERS))]
        for producer_id in producers:
            if (index := reader.varint()) >= len(names):
                raise LedgerFormatError(f"lane record names origin {index} of {len(names)}")
            if index >= 0:
                origins[producer_id] = names[index]
    return LaneRecord(None if begun_ms == _NOT_BEGUN else begun_ms, producers, origins)
