"""The 61-byte header of a v2 record batch: read, checked and re-stamped in place, without decoding records.

Source: `org.apache.kafka.common.record.DefaultRecordBatch` (KIP-98). Layout, big-endian:

    0 base offset i64 · 8 length i32 (of what follows) · 12 partition leader epoch i32 · 16 magic i8
    17 CRC32C u32 (of 21 to the end) · 21 attributes i16 · 23 last offset delta i32 · 27 base timestamp i64
    35 max timestamp i64 · 43 producer id i64 · 51 producer epoch i16 · 53 base sequence i32 · 57 record count i32
    61 records
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

try:
    from fastcrc import crc32

    crc32c_of: Callable[[bytes | memoryview], int] = crc32.iscsi
except ImportError:  # no wheel for this platform: half as fast, equally right
    from crc32c import crc32c

    crc32c_of = crc32c

HEADER_BYTES = 61
LEGACY_HEADER_BYTES = 17  # offset, size, CRC, magic: enough to tell old formats apart
CODEC_MASK = 0x07
LOG_APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20
DELETE_HORIZON = 0x40

_PREFIX = struct.Struct(">qiib")  # base offset, length, leader epoch, magic
HEADER = struct.Struct(">qiibIhiqqqhii")  # as `BatchHeader`
_PRODUCER = struct.Struct(">qhi")
UINT32 = struct.Struct(">I")
INT16 = struct.Struct(">h")
INT64 = struct.Struct(">q")
INT32 = struct.Struct(">i")


class BatchHeader(NamedTuple):
    """All fields of a v2 batch's header, as Kafka names them."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int


def read_header(records: memoryview, position: int) -> BatchHeader:
    """The header of the v2 batch that begins at `position`; at least `HEADER_BYTES` must follow."""
    return BatchHeader._make(HEADER.unpack_from(records, position))


def frame_at(records: memoryview, position: int) -> tuple[int, int] | None:
    """Size in bytes and magic of the batch or old-format message at `position`; None if it is cut off there.

    A fetch response may end inside a batch; that rest is fetched again.
    """
    left = len(records) - position
    if left < LEGACY_HEADER_BYTES:
        return None
    _, length, _, magic = _PREFIX.unpack_from(records, position)
    size = 12 + length
    if size > left or length < LEGACY_HEADER_BYTES - 12:
        return None
    return size, magic


def count_at(records: memoryview, position: int) -> int:
    """The record count of the v2 batch that begins at `position`; at least `HEADER_BYTES` must follow."""
    return int(INT32.unpack_from(records, position + 57)[0])


def producers_in(records: memoryview) -> Iterator[int]:
    """The producer ids of the whole v2 batches in `records` that hold records of idempotent producers."""
    position = 0
    while (frame := frame_at(records, position)) is not None:
        size, magic = frame
        if magic == 2 and size >= HEADER_BYTES:
            header = read_header(records, position)
            if header.producer_id >= 0 and not header.attributes & CONTROL:
                yield header.producer_id
        position += size


def assembled(header: BatchHeader, records: Iterable[bytes]) -> bytearray:
    """A batch of these encoded records. Its length is filled in; the CRC is left to `stamp`."""
    data = bytearray().join((bytes(HEADER_BYTES), *records))
    HEADER.pack_into(data, 0, *header)
    INT32.pack_into(data, 8, len(data) - 12)
    return data


def checksum(batch: memoryview) -> int:
    """CRC32C of a batch as it should stand in its header."""
    return crc32c_of(batch[21:])


def is_transactional(batch: memoryview) -> bool:
    """Whether the batch belongs to a transaction."""
    return bool(batch[22] & TRANSACTIONAL)


def stamp(batch: memoryview, *, producer_id: int, producer_epoch: int, base_sequence: int, transactional: bool) -> None:
    """Make a batch ours, in place: base offset 0, no leader epoch, our producer and sequence, a new CRC.

    The delete-horizon bit is cleared: a horizon is the source log's business (its base timestamp field stays, and the
    records' timestamps count from it, so they don't change).
    """
    INT64.pack_into(batch, 0, 0)
    INT32.pack_into(batch, 12, -1)
    attributes = batch[22] & ~(TRANSACTIONAL | DELETE_HORIZON)  # the upper byte has no meaning so far, and stays
    batch[22] = attributes | TRANSACTIONAL if transactional else attributes
    _PRODUCER.pack_into(batch, 43, producer_id, producer_epoch, base_sequence)
    UINT32.pack_into(batch, 17, crc32c_of(batch[21:]))
