"""The ledger's record of a lane itself: since when it has been running, and who has been writing for it.

A topic partition that has no entry when its lane begins for the first time was there before the link; one that comes
later was born after it, and is copied from its earliest record whatever `start:` says (design section 8).

Nobody writes for a lane before its producer id is in here (rule A): so a reverse link can tell copies from originals.
"""

from __future__ import annotations

from dataclasses import dataclass

from replicator.ledger.codec import LedgerFormatError, Reader, put_varint

LANE_KEY = b"\x02"
MAX_PRODUCERS = 256  # a transactional id gets another producer id after 32,766 takeovers, or when it has expired

_VERSION = 1
_NOT_BEGUN = -1


@dataclass(frozen=True, slots=True)
class LaneRecord:
    """`begun_ms` is when its first owner had written its first entries, None before; `producers` are all producer ids
    that have written for the lane, oldest first."""

    begun_ms: int | None = None
    producers: tuple[int, ...] = ()

    def with_producers(self, *ids: int) -> LaneRecord:
        """With these as well; itself if it has them."""
        new = tuple(producer_id for producer_id in dict.fromkeys(ids) if producer_id not in self.producers)
        return LaneRecord(self.begun_ms, (*self.producers, *new)[-MAX_PRODUCERS:]) if new else self


def encode_lane(record: LaneRecord) -> bytes:
    """The value of a lane's record."""
    out = bytearray((_VERSION,))
    put_varint(out, _NOT_BEGUN if record.begun_ms is None else record.begun_ms)
    put_varint(out, len(record.producers))
    for producer_id in record.producers:
        put_varint(out, producer_id)
    return bytes(out)


def decode_lane(value: bytes) -> LaneRecord:
    """The record that a value holds. LedgerFormatError for a version that only a newer Replicator knows."""
    reader = Reader(value)
    if (version := reader.byte()) != _VERSION:
        raise LedgerFormatError(f"lane record has version {version}, this Replicator knows {_VERSION}; upgrade it")
    begun_ms = reader.varint()
    producers = tuple(reader.varint() for _ in range(reader.count(MAX_PRODUCERS))) if reader.remaining else ()
    return LaneRecord(None if begun_ms == _NOT_BEGUN else begun_ms, producers)
