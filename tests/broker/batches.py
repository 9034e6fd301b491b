"""Record batches for the broker's tests."""

from __future__ import annotations

from collections.abc import Sequence

from broker.storage import compression
from broker.storage.batch import NO_SEQUENCE, TRANSACTIONAL, encode_record, make_header, read_header, read_records, seal
from broker.storage.log import PartitionLog

NOW = 1_700_000_000_000

Pair = tuple[bytes | None, bytes | None]


def batch(
    records: Sequence[Pair] = ((b"k", b"v"),),
    *,
    timestamp: int = NOW,
    codec: int = 0,
    producer_id: int = -1,
    epoch: int = -1,
    sequence: int = NO_SEQUENCE,
    transactional: bool = False,
    **changes: int,
) -> bytes:
    """A valid batch of `(key, value)` pairs; `changes` set header fields to what they shouldn't be."""
    payload = b"".join(encode_record(index, 0, key, value) for index, (key, value) in enumerate(records))
    header = make_header(
        attributes=codec | (TRANSACTIONAL if transactional else 0),
        last_offset_delta=len(records) - 1,
        base_timestamp=timestamp,
        max_timestamp=timestamp,
        producer_id=producer_id,
        producer_epoch=epoch,
        base_sequence=sequence,
        record_count=len(records),
    )
    return seal(compression.compress(codec, payload), header._replace(**changes))


def contents(log: PartitionLog) -> list[tuple[int, bytes | None, bytes | None]]:
    """(offset, key, value) of every data record in the log."""
    out = []
    for header, data in log.batches(log.log_start_offset):
        if header.is_control or not header.record_count:
            continue
        for record in read_records(compression.records_of(data, header), header.record_count):
            key = None if record.key is None else bytes(record.key)
            value = None if record.value is None else bytes(record.value)
            out.append((header.base_offset + record.offset_delta, key, value))
    return out


def headers(log: PartitionLog) -> list[tuple[int, int, int]]:
    """(base offset, last offset, record count) of every batch in the log."""
    return [(h.base_offset, h.last_offset, h.record_count) for h, _ in log.batches(log.log_start_offset)]


__all__ = ["NOW", "batch", "contents", "headers", "read_header"]
