"""The ledger's record of a lane itself: since when it has been running.

A topic partition that has no entry when its lane begins for the first time was there before the link; one that comes
later was born after it, and is copied from its earliest record whatever `start:` says (design section 8).
"""

from __future__ import annotations

from replicator.ledger.codec import LedgerFormatError, Reader, put_varint

LANE_KEY = b"\x02"
_VERSION = 1


def encode_lane(since_ms: int) -> bytes:
    """The value of a lane's record; `since_ms` is when its first owner had written its first entries."""
    out = bytearray((_VERSION,))
    put_varint(out, since_ms)
    return bytes(out)


def decode_lane(value: bytes) -> int:
    """`since_ms` of a lane's record. LedgerFormatError for a version that only a newer Replicator knows."""
    reader = Reader(value)
    if (version := reader.byte()) != _VERSION:
        raise LedgerFormatError(f"lane record has version {version}, this Replicator knows {_VERSION}; upgrade it")
    return reader.varint()
