"""Where the source's partitions ended when a lane's owner last saw them: what a failover would lose, once it is gone.

One record for each lane, in its ledger partition, of those partitions alone that weren't copied to their ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from replicator.ledger.codec import LedgerFormatError, Reader, put_string, put_varint
from replicator.ledger.entry import TOPIC_MAX_BYTES

SIGHTING_KEY = b"\x05"
PARTITIONS_MAX = 10_000  # further ones are left out
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Sighting:
    """`at_ms` is when the source was last heard of; `ends` are the last stable offsets of partitions that lag."""

    at_ms: int
    ends: Mapping[tuple[str, int], int] = field(default_factory=dict)


def encode_sighting(sighting: Sighting) -> bytes:
    """The value of the record."""
    out = bytearray((_VERSION,))
    put_varint(out, sighting.at_ms)
    ends = sorted(sighting.ends.items())[:PARTITIONS_MAX]
    put_varint(out, len(ends))
    for (topic, partition), end in ends:
        put_string(out, topic, TOPIC_MAX_BYTES)
        put_varint(out, partition)
        put_varint(out, end)
    return bytes(out)


def decode_sighting(value: bytes) -> Sighting:
    """The sighting; LedgerFormatError for damaged bytes and for a version that only a newer Replicator knows."""
    reader = Reader(value)
    if (version := reader.byte()) != _VERSION:
        raise LedgerFormatError(f"a lane's sighting is of version {version}, which this Replicator doesn't know")
    at_ms = reader.varint()
    ends: dict[tuple[str, int], int] = {}
    for _ in range(reader.count(PARTITIONS_MAX)):
        at = reader.string(TOPIC_MAX_BYTES), reader.varint()
        ends[at] = reader.varint()
    return Sighting(at_ms, ends)
