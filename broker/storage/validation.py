"""What Kafka checks of a produced batch before it is appended (ProduceRequest, LogValidator, UnifiedLog 4.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from kio.schema.errors import ErrorCode

from broker.errors import KafkaError, RecordError
from broker.storage import compression
from broker.storage.batch import (
    COMPRESSION_MASK,
    HEADER_SIZE,
    LOG_APPEND_TIME,
    LOG_OVERHEAD,
    BatchHeader,
    Buffer,
    InvalidBatch,
    checksum,
    read_header,
    read_records,
    read_varint,
    seal,
    with_header,
)

LONG_MAX = 2**63 - 1
MIN_LENGTH = 14  # that of the oldest format
_LENGTH = struct.Struct(">i")
INVALID_TIMESTAMPS = "One or more records have been rejected due to invalid timestamp"


@dataclass(frozen=True, slots=True)
class LogConfig:
    """The topic settings that a log acts upon; units are in the names, Kafka's meanings and defaults apply."""

    cleanup_policy: frozenset[str] = frozenset({"delete"})
    compression_type: str = "producer"
    gzip_level: int = -1
    zstd_level: int = 3
    max_message_bytes: int = 1_048_588
    timestamp_type: str = "CreateTime"
    timestamp_before_max_ms: int = LONG_MAX
    timestamp_after_max_ms: int = 3_600_000
    segment_bytes: int = 1_073_741_824
    segment_ms: int = 604_800_000
    retention_ms: int = 604_800_000
    retention_bytes: int = -1
    delete_retention_ms: int = 86_400_000
    min_compaction_lag_ms: int = 0
    max_compaction_lag_ms: int = LONG_MAX
    min_cleanable_dirty_ratio: float = 0.5
    min_insync_replicas: int = 1

    @property
    def compacted(self) -> bool:
        return "compact" in self.cleanup_policy


def single_batch(records: Buffer) -> BatchHeader:
    """The header of the one batch that a produce request may carry per partition.

    Bytes behind it that aren't a whole batch are ignored, as Kafka does: the caller keeps `header.size` bytes.
    Raises KafkaError INVALID_RECORD for no batch, two, or an old format, CORRUPT_MESSAGE for no batch at all.
    """
    size = _next_batch_size(records, 0)
    if size is None or _next_batch_size(records, size) is not None:
        raise KafkaError(
            ErrorCode.invalid_record, "Produce requests with version 3 or above must have exactly one record batch"
        )
    if records[16] != 2:
        raise KafkaError(
            ErrorCode.invalid_record,
            "Produce requests with version 3 or above are only allowed to contain record batches with magic version 2",
        )
    if size < HEADER_SIZE:
        raise KafkaError(ErrorCode.corrupt_message, f"a batch of {size} bytes is shorter than its header")
    return read_header(records)


def _next_batch_size(records: Buffer, position: int) -> int | None:
    """Bytes of the whole batch at `position`, or None when none is left (ByteBufferLogInputStream)."""
    left = len(records) - position
    if left < LOG_OVERHEAD:
        return None
    (length,) = _LENGTH.unpack_from(records, position + 8)
    if length < MIN_LENGTH:
        raise KafkaError(ErrorCode.corrupt_message, f"Record size {length} is less than the minimum record overhead")
    if left < LOG_OVERHEAD + 5:
        return None
    magic = records[position + 16]
    if magic > 2:
        raise KafkaError(ErrorCode.corrupt_message, f"Invalid magic found in record: {magic}")
    return LOG_OVERHEAD + length if LOG_OVERHEAD + length <= left else None


def check_client_batch(records: Buffer, header: BatchHeader, config: LogConfig, where: str) -> None:
    """Everything about the batch's header that Kafka refuses of a client, in Kafka's order."""
    if header.base_offset != 0:
        raise KafkaError(
            ErrorCode.invalid_record,
            f"The baseOffset of the record batch in the append to {where} should be 0, but it is {header.base_offset}",
        )
    if header.size > config.max_message_bytes:
        raise KafkaError(
            ErrorCode.message_too_large,
            f"The record batch size in the append to {where} is {header.size} bytes "
            f"which exceeds the maximum configured value of {config.max_message_bytes}.",
        )
    if checksum(records) != header.crc:
        raise KafkaError(
            ErrorCode.corrupt_message,
            f"Record is corrupt (stored crc = {header.crc}, computed crc = {checksum(records)}) "
            f"in topic partition {where}.",
        )
    if header.last_offset_delta < 0:
        raise KafkaError(
            ErrorCode.invalid_record, f"Batch has an invalid offset range: [{header.base_offset}, {header.last_offset}]"
        )
    if header.record_count <= 0:
        raise KafkaError(ErrorCode.invalid_record, f"Invalid reported count for record batch: {header.record_count}")
    if header.last_offset_delta + 1 != header.record_count:
        raise KafkaError(
            ErrorCode.invalid_record,
            f"Inconsistent batch offset range [{header.base_offset}, {header.last_offset}] "
            f"and count of records {header.record_count}",
        )
    if header.is_control:
        raise KafkaError(ErrorCode.invalid_record, "Clients are not allowed to write control records")
    if header.producer_id >= 0 and header.base_sequence < 0:
        raise KafkaError(
            ErrorCode.invalid_record,
            f"Invalid sequence number {header.base_sequence} in record batch with producerId {header.producer_id}",
        )


def validated(
    records: Buffer, header: BatchHeader, config: LogConfig, now_ms: int, where: str
) -> tuple[Buffer, BatchHeader]:
    """The batch as it is to be stored (offset and leader epoch still to be set) and its header.

    Checks the records inside, restamps for LogAppendTime or CreateTime, and recompresses when the topic asks for a
    codec of its own. Raises KafkaError: INVALID_RECORD, INVALID_TIMESTAMP, CORRUPT_MESSAGE.
    """
    append_time = config.timestamp_type == "LogAppendTime"
    if append_time and header.is_log_append_time:
        reason = "Invalid timestamp type in message. Producer should not set timestamp type to LogAppendTime."
        raise KafkaError(
            ErrorCode.invalid_timestamp,
            INVALID_TIMESTAMPS,
            [RecordError(index, reason) for index in range(header.record_count)],
        )
    if not append_time:
        _check_timestamps(records, header, config, now_ms)
    payload = _check_records(records, header, config, where)
    target = header.compression
    if config.compression_type != "producer":
        target = compression.NAMES[config.compression_type]
    changes: dict[str, int] = {}
    attributes = header.attributes
    if append_time:
        attributes |= LOG_APPEND_TIME
        changes["max_timestamp"] = now_ms
    else:
        attributes &= ~LOG_APPEND_TIME
    if target != header.compression:
        attributes = (attributes & ~COMPRESSION_MASK) | target
        level = {compression.GZIP: config.gzip_level, compression.ZSTD: config.zstd_level}.get(target)
        header = header._replace(attributes=attributes, **changes)
        stored = seal(compression.compress(target, bytes(payload), level), header)
        return stored, read_header(stored)
    if attributes != header.attributes:
        changes["attributes"] = attributes
    if changes:
        changed = with_header(records, **changes)
        return changed, read_header(changed)
    return records, header


def _check_timestamps(records: Buffer, header: BatchHeader, config: LogConfig, now_ms: int) -> None:
    # The header's maximum speaks for all records; only when it or a lower bound is in doubt are they looked at.
    latest = now_ms + config.timestamp_after_max_ms
    earliest = now_ms - config.timestamp_before_max_ms
    if header.max_timestamp <= latest and config.timestamp_before_max_ms == LONG_MAX:
        return
    errors = []
    payload = _payload(records, header)
    try:
        for index, record in enumerate(read_records(payload, header.record_count)):
            timestamp = header.base_timestamp + record.timestamp_delta
            if timestamp != -1 and not earliest <= timestamp <= latest:
                errors.append(
                    RecordError(
                        index,
                        f"Timestamp {timestamp} of message with offset {index} is out of range. "
                        f"The timestamp should be within [{earliest}, {latest}]",
                    )
                )
    except InvalidBatch as error:
        raise KafkaError(ErrorCode.invalid_record, str(error)) from error
    if errors:
        raise KafkaError(
            ErrorCode.invalid_timestamp,
            INVALID_TIMESTAMPS,
            errors,
        )


def _payload(records: Buffer, header: BatchHeader) -> Buffer:
    try:
        return compression.records_of(records, header)
    except InvalidBatch as error:
        # Kafka lets the codec's exception through, which clients see as this
        raise KafkaError(ErrorCode.unknown_server_error, str(error)) from error


def _check_records(records: Buffer, header: BatchHeader, config: LogConfig, where: str) -> Buffer:
    """The uncompressed payload, after a walk over it; full decoding only where keys matter."""
    payload = _payload(records, header)
    try:
        if config.compacted:
            errors = [
                RecordError(index, f"Compacted topic cannot accept message without key in topic partition {where}")
                for index, record in enumerate(read_records(payload, header.record_count))
                if record.key is None
            ]
            if errors:
                raise KafkaError(ErrorCode.invalid_record, _rejected(errors), errors)
        else:
            _walk(payload, header.record_count)
    except InvalidBatch as error:
        raise KafkaError(ErrorCode.invalid_record, str(error)) from error
    return payload


def _rejected(errors: list[RecordError]) -> str:
    first = ", ".join(f"RecordError(batchIndex={e.batch_index}, message='{e.message}')" for e in errors[:3])
    return (
        f"One or more records have been rejected due to {len(errors)} record errors in total, "
        f"and only showing the first three errors at most: [{first}]"
    )


def _walk(payload: Buffer, count: int) -> None:
    """Check that `count` records fill the payload, looking at length prefixes only."""
    position, end = 0, len(payload)
    for _ in range(count):
        if position >= end:
            raise InvalidBatch("fewer records than the header says")
        byte = payload[position]
        if byte < 0x80:
            position += 1 + (byte >> 1)
            continue
        size, position = read_varint(payload, position)
        if size < 0:
            raise InvalidBatch("negative record length")
        position += size
    if position != end:
        raise InvalidBatch("records don't fill their batch")
