"""Record batches of format v2: the header, the checksum, walking the records, and building small ones.

A batch is `HEADER` (61 bytes, big endian) and then its records, compressed or not. The checksum covers everything
from the attributes on, so that a broker may set base offset and leader epoch without touching it.
Copied from nobody: the format is described in Kafka's documentation, section "Message Format".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from fastcrc import crc32

HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_SIZE = HEADER.size
CRC_FROM = 21  # the attributes' position
LOG_OVERHEAD = 12  # base offset and length, which the length doesn't count

COMPRESSION_MASK = 0x07
LOG_APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20
DELETE_HORIZON = 0x40

NO_PRODUCER_ID = -1
NO_SEQUENCE = -1

_BASE = struct.Struct(">qii")
_CONTROL_KEY = struct.Struct(">hh")
_END_TXN_MARKER = struct.Struct(">hi")

Buffer = bytes | bytearray | memoryview


class InvalidBatch(ValueError):
    """The bytes aren't a record batch, or its records contradict its header."""


class BatchHeader(NamedTuple):
    """The fields of a batch header, in wire order."""

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

    @property
    def size(self) -> int:
        """Bytes of the whole batch."""
        return self.length + LOG_OVERHEAD

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def last_sequence(self) -> int:
        """The sequence number of the last record; sequences wrap at 2^31."""
        if self.base_sequence == NO_SEQUENCE:
            return NO_SEQUENCE
        return (self.base_sequence + self.last_offset_delta) & 0x7FFFFFFF

    @property
    def compression(self) -> int:
        return self.attributes & COMPRESSION_MASK

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & TRANSACTIONAL)

    @property
    def is_control(self) -> bool:
        return bool(self.attributes & CONTROL)

    @property
    def is_log_append_time(self) -> bool:
        return bool(self.attributes & LOG_APPEND_TIME)

    @property
    def delete_horizon_ms(self) -> int | None:
        """When tombstones and markers of this batch may go; the cleaner keeps it in the base timestamp (KIP-534)."""
        return self.base_timestamp if self.attributes & DELETE_HORIZON else None


class Record(NamedTuple):
    """One record; `start` and `end` are its place in the decompressed payload, length prefix included."""

    start: int
    end: int
    offset_delta: int
    timestamp_delta: int
    key: memoryview | None
    value: memoryview | None
    key_at: int
    """Where the key's length stands; `headers_at` likewise for the count of headers."""
    headers_at: int


def read_header(data: Buffer, position: int = 0) -> BatchHeader:
    """Decode the header at `position`. Raises InvalidBatch when there are fewer than 61 bytes."""
    if len(data) - position < HEADER_SIZE:
        raise InvalidBatch(f"{len(data) - position} bytes are less than a batch header")
    return BatchHeader._make(HEADER.unpack_from(data, position))


def checksum(batch: Buffer) -> int:
    """CRC-32C over everything that the batch's checksum covers."""
    return int(crc32.iscsi(memoryview(batch)[CRC_FROM:]))


def placement(base_offset: int, length: int, leader_epoch: int) -> bytes:
    """The first 16 bytes of a stored batch: the part that a broker sets without touching the checksum."""
    return _BASE.pack(base_offset, length, leader_epoch)


def with_header(batch: Buffer, **changes: int) -> bytearray:
    """A copy of the batch with header fields changed and the checksum made right."""
    out = bytearray(batch)
    HEADER.pack_into(out, 0, *read_header(batch)._replace(**changes))
    struct.pack_into(">I", out, 17, checksum(out))
    return out


def read_varint(data: Buffer, position: int) -> tuple[int, int]:
    """A zigzag varint of at most ten bytes and the position behind it."""
    value = shift = 0
    try:
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1), position
            shift += 7
            if shift > 63:
                raise InvalidBatch("varint is longer than ten bytes")
    except IndexError:
        raise InvalidBatch("batch ends inside a varint") from None


def varint(value: int) -> bytes:
    """`value` as a zigzag varint."""
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_records(payload: Buffer, count: int) -> Iterator[Record]:
    """Walk `count` records of a decompressed payload.

    Raises InvalidBatch when they don't fill the payload exactly or a length points outside its record.
    """
    view = memoryview(payload)
    end_of_payload = len(view)
    position = 0
    for _ in range(count):
        start = position
        size, position = read_varint(view, position)
        end = position + size
        if size < 5 or end > end_of_payload:
            raise InvalidBatch("record runs past the end of its batch")
        timestamp_delta, position = read_varint(view, position + 1)
        offset_delta, position = read_varint(view, position)
        key_at = position
        key, position = _read_field(view, position, end)
        value, position = _read_field(view, position, end)
        yield Record(start, end, offset_delta, timestamp_delta, key, value, key_at, position)
        position = end
    if position != end_of_payload:
        raise InvalidBatch("bytes are left over behind the last record")


def _read_field(view: memoryview, position: int, end: int) -> tuple[memoryview | None, int]:
    length, position = read_varint(view, position)
    if length < 0:
        return None, position
    if position + length > end:
        raise InvalidBatch("key or value runs past the end of its record")
    return view[position : position + length], position + length


def encode_record(
    offset_delta: int,
    timestamp_delta: int,
    key: Buffer | None,
    value: Buffer | None,
    headers: Sequence[tuple[str, bytes | None]] = (),
) -> bytes:
    """One record with its length prefix."""
    body = bytearray(b"\x00")
    body += varint(timestamp_delta)
    body += varint(offset_delta)
    for item in (key, value):
        if item is None:
            body += varint(-1)
        else:
            body += varint(len(item))
            body += item
    body += varint(len(headers))
    for name, content in headers:
        encoded = name.encode()
        body += varint(len(encoded)) + encoded
        body += varint(-1) if content is None else varint(len(content)) + content
    return varint(len(body)) + bytes(body)


def encode_batch(
    records: Iterable[tuple[Buffer | None, Buffer | None]],
    timestamp_ms: int,
    *,
    attributes: int = 0,
    producer_id: int = NO_PRODUCER_ID,
    producer_epoch: int = -1,
    base_sequence: int = NO_SEQUENCE,
) -> bytes:
    """An uncompressed batch of `(key, value)` pairs, all of one timestamp, with base offset 0."""
    body = bytearray()
    count = 0
    for key, value in records:
        body += encode_record(count, 0, key, value)
        count += 1
    return seal(
        body,
        BatchHeader(
            0,
            0,
            -1,
            2,
            0,
            attributes,
            count - 1,
            timestamp_ms,
            timestamp_ms,
            producer_id,
            producer_epoch,
            base_sequence,
            count,
        ),
    )


def seal(payload: Buffer, header: BatchHeader) -> bytes:
    """A batch of this header and (already compressed) payload, with length and checksum made right."""
    header = header._replace(length=HEADER_SIZE - LOG_OVERHEAD + len(payload))
    out = bytearray(HEADER.pack(*header)) + payload
    struct.pack_into(">I", out, 17, checksum(out))
    return bytes(out)


def end_transaction_marker(
    producer_id: int, producer_epoch: int, commit: bool, coordinator_epoch: int, timestamp_ms: int
) -> bytes:
    """The control batch that ends a transaction in a partition."""
    record = (_CONTROL_KEY.pack(0, 1 if commit else 0), _END_TXN_MARKER.pack(0, coordinator_epoch))
    return encode_batch(
        [record],
        timestamp_ms,
        attributes=TRANSACTIONAL | CONTROL,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
    )


def read_marker(record: Record) -> tuple[int, int]:
    """(type, coordinator epoch) of a control record: type 0 aborts, 1 commits, others are not transactions'."""
    if record.key is None or record.value is None or len(record.key) < 4 or len(record.value) < 6:
        raise InvalidBatch("control record without key or value")
    _, kind = _CONTROL_KEY.unpack_from(record.key)
    _, coordinator_epoch = _END_TXN_MARKER.unpack_from(record.value)
    return kind, coordinator_epoch


def make_header(**values: Any) -> BatchHeader:
    """A header of an empty plain batch with some fields set."""
    return BatchHeader(0, 0, -1, 2, 0, 0, 0, -1, -1, NO_PRODUCER_ID, -1, NO_SEQUENCE, 0)._replace(**values)
