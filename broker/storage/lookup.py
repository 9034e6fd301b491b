"""Finding records by time."""

from __future__ import annotations

from broker.storage import compression
from broker.storage.batch import read_header, read_records
from broker.storage.log import PartitionLog


def offset_for_timestamp(log: PartitionLog, timestamp: int) -> tuple[int, int] | None:
    """(timestamp, offset) of the first record at or after a point in time, or None.

    First in offset order, as in Kafka: records needn't be in time order.
    """
    for segment in log.segments:
        if segment.max_timestamp < timestamp:
            continue
        for index in range(len(segment)):
            if segment.max_timestamps[index] < timestamp or segment.last_offsets[index] < log.log_start_offset:
                continue
            found = _first_record(segment.batch(index), timestamp, log.log_start_offset)
            if found is not None:
                return found
    return None


def offset_of_max_timestamp(log: PartitionLog) -> tuple[int, int] | None:
    """(timestamp, offset) of the record with the largest timestamp, the first of them, or None for an empty log."""
    best: tuple[int, int, int] | None = None
    for number, segment in enumerate(log.segments):
        for index in range(len(segment)):
            if best is None or segment.max_timestamps[index] > best[0]:
                best = segment.max_timestamps[index], number, index
    if best is None:
        return None
    return _first_record(log.segments[best[1]].batch(best[2]), best[0], 0)


def _first_record(data: memoryview, timestamp: int, start: int) -> tuple[int, int] | None:
    header = read_header(data)
    if not header.record_count:
        return None
    if header.is_log_append_time:
        offset = max(header.base_offset, start)
        return (header.max_timestamp, offset) if header.max_timestamp >= timestamp else None
    payload = compression.records_of(data, header)
    for record in read_records(payload, header.record_count):
        offset = header.base_offset + record.offset_delta
        moment = header.base_timestamp + record.timestamp_delta
        if moment >= timestamp and offset >= start:
            return moment, offset
    return None
