"""Records of a batch, decoded and encoded again: for the few batches that can't pass through as they are.

aiokafka's Cython codec does the varints; compression is ours (bounded, explicit levels), and so is the header.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatch

from replicator.errors import ProtocolError
from replicator.wire import batch as v2
from replicator.wire import plain_records
from replicator.wire.compression import compress, decompress

MAX_BATCH_BYTES = 1 << 30
_SIGN, _WRAP = 1 << 63, 1 << 64


class Record(NamedTuple):
    """One record. `timestamp` in ms since the epoch, -1 for none."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def decode(view: memoryview, header: v2.BatchHeader) -> Iterator[Record]:
    """The records of one v2 batch in order. Under LogAppendTime, all carry the batch's max timestamp.

    ProtocolError if the batch can't be decompressed or its records don't add up.
    """
    codec = header.attributes & v2.CODEC_MASK
    plain = bytearray(view[: v2.HEADER_BYTES])
    if codec:
        plain += decompress(codec, view[v2.HEADER_BYTES :])
        v2.INT32.pack_into(plain, 8, len(plain) - 12)
        v2.INT16.pack_into(plain, 21, header.attributes & ~v2.CODEC_MASK)
    else:
        plain += view[v2.HEADER_BYTES :]
    append_time = header.max_timestamp if header.attributes & v2.LOG_APPEND_TIME else None
    read = 0
    try:
        for r in DefaultRecordBatch(bytes(plain)):
            yield Record(
                r.offset, append_time if append_time is not None else r.timestamp, r.key, r.value, tuple(r.headers)
            )
            read += 1
    except UnicodeDecodeError:
        rest = islice(plain_records.read(memoryview(plain)[v2.HEADER_BYTES :], header.record_count), read, None)
        for offset_delta, timestamp_delta, key, value, headers in rest:
            timestamp = _as_long(header.base_timestamp + timestamp_delta) if append_time is None else append_time
            yield Record(header.base_offset + offset_delta, timestamp, key, value, headers)
    except Exception as error:
        raise ProtocolError(f"records of the batch at offset {header.base_offset} don't decode: {error}") from error


def _as_long(value: int) -> int:
    """Wrapped around as Java's long is."""
    return (value + _SIGN) % _WRAP - _SIGN


def decode_legacy(view: memoryview, magic: int) -> Iterator[Record]:
    """The records of one old-format message (v0, v1), with what a compressed one wraps. v0 has no timestamps: -1.

    ProtocolError if it doesn't decode, or inflates to more than a batch may.
    """
    try:
        codec, append_time, outer = _legacy_message(view, magic)
        if not codec:
            yield outer
            return
        inner = memoryview(decompress(codec, memoryview(outer.value or b"")))
        wrapped = []
        position = 0
        while position < len(inner):
            frame = v2.frame_at(inner, position)
            if frame is None or frame[1] != magic:
                raise ProtocolError("what an old-format message wraps is cut off")
            nested, _, record = _legacy_message(inner[position : position + frame[0]], magic)
            if nested:
                raise ProtocolError("old-format messages are wrapped twice")
            wrapped.append(record)
            position += frame[0]
        # v1 counts inside the wrapper from 0, and the wrapper has the offset of the last (compaction may leave holes).
        shift = outer.offset - wrapped[-1].offset if wrapped and magic else 0
        for record in wrapped:
            timestamp = outer.timestamp if append_time else record.timestamp
            yield record._replace(offset=record.offset + shift, timestamp=timestamp)
    except ProtocolError:
        raise
    except Exception as error:
        raise ProtocolError(f"old-format message doesn't decode: {error}") from error


def _legacy_message(view: memoryview, magic: int) -> tuple[int, bool, Record]:
    """Codec, whether its time is LogAppendTime, and the message itself, not decompressed."""
    plain = bytearray(view)
    attributes = plain[v2.LEGACY_HEADER_BYTES]
    message = LegacyRecordBatch(bytes(plain), magic)
    if not message.validate_crc():
        raise ProtocolError("CRC of an old-format message doesn't match its content")
    if attributes & v2.CODEC_MASK:  # so that the codec takes the value as it is: inflating is ours, with bounds
        plain[v2.LEGACY_HEADER_BYTES] = attributes & ~v2.CODEC_MASK
        message = LegacyRecordBatch(bytes(plain), magic)
    (r,) = message
    record = Record(r.offset, -1 if r.timestamp is None else r.timestamp, r.key, r.value, ())
    return attributes & v2.CODEC_MASK, bool(magic and attributes & v2.LOG_APPEND_TIME), record


def encode(records: Sequence[Record], codec: int) -> tuple[bytearray, int]:
    """One v2 batch of these records (offsets 0..n-1, no producer, CreateTime) and its record count.

    The CRC is left to `batch.stamp`. Timestamps go in counted from the first one, which becomes the base afterwards:
    the builder takes -1 for "not set yet" and would give such a record its successor's time.
    """
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=MAX_BATCH_BYTES,
    )  # fmt: skip
    count = 0
    base = latest = -1
    plain = False
    for r in records:
        timestamp = r.timestamp
        if not count:
            base = latest = timestamp
        elif timestamp > latest:
            latest = timestamp
        delta = (timestamp - base + _SIGN) % _WRAP - _SIGN  # as `_as_long`, without a call for each record
        try:
            if builder.append(count, delta, r.key, r.value, list(r.headers)) is None:
                raise ProtocolError(f"batch would be larger than {MAX_BATCH_BYTES} bytes")
        except UnicodeEncodeError:
            plain = True
            builder.append(count, delta, None, None, [])
        count += 1
    built = bytearray(builder.build())
    if plain:
        fields = [(n, _as_long(r.timestamp - base), r.key, r.value, tuple(r.headers)) for n, r in enumerate(records)]
        built[v2.HEADER_BYTES :] = plain_records.written(fields)
        v2.INT32.pack_into(built, 8, len(built) - 12)
    v2.INT64.pack_into(built, 27, base)
    v2.INT64.pack_into(built, 35, latest)
    if codec:
        built[v2.HEADER_BYTES :] = compress(codec, bytes(built[v2.HEADER_BYTES :]))
        v2.INT16.pack_into(built, 21, codec)
        v2.INT32.pack_into(built, 8, len(built) - 12)
    return built, count
