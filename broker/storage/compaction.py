"""Log compaction: keep the last record of every key (`cleanup.policy=compact`), as Kafka's LogCleaner does.

- Only whole inactive segments below the last stable offset are cleaned, never the active one.
- Batches keep base offset, last offset and sequence; records leave holes. A batch that loses all its records goes,
  unless its producer's sequence ends with it: then an empty one stays.
- Tombstones get a delete horizon when first seen, transaction markers when their transaction's batches are gone; they
  go once it has passed (KIP-534).
- Records of aborted transactions go.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING

from broker.storage import compression
from broker.storage.batch import (
    DELETE_HORIZON,
    HEADER_SIZE,
    BatchHeader,
    Record,
    read_marker,
    read_records,
    seal,
    varint,
)
from broker.storage.producers import AbortedTransaction
from broker.storage.segment import Segment

if TYPE_CHECKING:
    from broker.storage.log import PartitionLog

NO_HORIZON = -1


def needs_cleaning(log: PartitionLog) -> bool:
    """Whether enough of the log is dirty, or something has been dirty for too long."""
    config = log.config
    if not config.compacted or log.offline is not None:
        return False
    end = _cleanable_end(log)
    dirty = sum(
        segment.size for segment in log.segments if segment.next_offset > log.dirty_offset and segment.base_offset < end
    )
    if not dirty:
        return False
    clean = sum(segment.size for segment in log.segments if segment.next_offset <= log.dirty_offset)
    if dirty / (clean + dirty) > config.min_cleanable_dirty_ratio:
        return True
    oldest = min(
        s.max_timestamp for s in log.segments if s.next_offset > log.dirty_offset and s.base_offset < end and len(s)
    )
    return log.clock.now_ms() - oldest > config.max_compaction_lag_ms


def clean(log: PartitionLog) -> bool:
    """Clean it now, whatever the dirty ratio; False when there is nothing that may be cleaned."""
    did_something = False
    for did_something in cleaning(log):  # noqa: B007 - the last value counts
        pass
    return did_something


def cleaning(log: PartitionLog) -> Iterator[bool]:
    """The work of `clean` in small steps, so that a caller may serve others in between.

    Gives up when the log is cut or deleted meanwhile.
    """
    end = _cleanable_end(log)
    generation = log.generation
    segments = [segment for segment in log.segments if segment.base_offset < end]
    if not any(segment.next_offset > log.dirty_offset and len(segment) for segment in segments):
        yield False
        return
    latest: dict[bytes, int] = {}
    aborted = _Aborted(log)
    for segment in segments:
        if segment.next_offset <= log.dirty_offset:
            continue
        for header, data in segment.batches():
            if header not in aborted:
                _note_keys(header, data, latest)
            yield False
            if log.generation != generation:
                return
    cleaner = _Cleaner(log, latest, aborted)
    for segment in segments:
        kept: list[bytes | memoryview] = []
        for header, data in segment.batches():
            kept.extend(cleaner.retained(header, data))
            yield False
            if log.generation != generation:
                return
        _swap(log, segment, kept)
    log.dirty_offset = end
    yield True


def _cleanable_end(log: PartitionLog) -> int:
    """The base offset of the first segment that mustn't be cleaned."""
    lag = log.config.min_compaction_lag_ms
    now_ms = log.clock.now_ms()
    for segment in log.segments[:-1]:
        if segment.next_offset > log.last_stable_offset or (lag > 0 and segment.max_timestamp > now_ms - lag):
            return segment.base_offset
    return log.segments[-1].base_offset


def _note_keys(header: BatchHeader, data: memoryview, latest: dict[bytes, int]) -> None:
    if header.is_control or not header.record_count:
        return
    for record in read_records(compression.records_of(data, header), header.record_count):
        if record.key is not None:
            latest[bytes(record.key)] = header.base_offset + record.offset_delta


class _Aborted:
    """Which batches belong to aborted transactions."""

    def __init__(self, log: PartitionLog) -> None:
        self._ranges: dict[int, list[AbortedTransaction]] = {}
        for item in log.producer_states.aborted:
            self._ranges.setdefault(item.producer_id, []).append(item)

    def __contains__(self, header: BatchHeader) -> bool:
        if not header.is_transactional:
            return False
        ranges = self._ranges.get(header.producer_id, [])
        index = bisect_left(ranges, header.base_offset, key=lambda item: item.last_offset)
        return index < len(ranges) and ranges[index].first_offset <= header.base_offset


class _Cleaner:
    """Decides, batch by batch in log order, what of it stays."""

    def __init__(self, log: PartitionLog, latest: dict[bytes, int], aborted: _Aborted) -> None:
        self._log = log
        self._latest = latest
        self._aborted = aborted
        self._now_ms = log.clock.now_ms()
        self._retention_ms = log.config.delete_retention_ms
        self._with_data: set[int] = set()  # producers whose current transaction had batches when this pass began

    def retained(self, header: BatchHeader, data: memoryview) -> list[bytes | memoryview]:
        """The batch as it stays: itself, a smaller one, or nothing."""
        if header.is_control:
            return self._marker(header, data)
        if header.is_transactional:
            self._with_data.add(header.producer_id)
        if header in self._aborted or not header.record_count:
            return self._emptied(header)
        payload = memoryview(compression.records_of(data, header))
        horizon = header.delete_horizon_ms
        expired = horizon is not None and horizon <= self._now_ms
        kept: list[Record] = []
        tombstones = False
        for record in read_records(payload, header.record_count):
            newest = None if record.key is None else self._latest.get(bytes(record.key), -1)
            if newest is None or newest > header.base_offset + record.offset_delta:
                continue
            if record.value is None:
                if expired:
                    continue
                tombstones = True
            kept.append(record)
        if not kept:
            return self._emptied(header)
        new_horizon = self._now_ms + self._retention_ms if tombstones and horizon is None else NO_HORIZON
        if len(kept) == header.record_count and new_horizon == NO_HORIZON:
            return [data]
        return [_rebuilt(header, payload, kept, new_horizon)]

    def _marker(self, header: BatchHeader, data: memoryview) -> list[bytes | memoryview]:
        if not header.record_count:
            return self._emptied(header)
        record = next(read_records(compression.records_of(data, header), header.record_count))
        kind, _ = read_marker(record)
        has_data = header.producer_id in self._with_data
        self._with_data.discard(header.producer_id)
        if kind not in (0, 1) or has_data:
            return [data]
        horizon = header.delete_horizon_ms
        if horizon is None:
            return [_with_horizon(header, data, self._now_ms + self._retention_ms)]
        return [data] if horizon > self._now_ms else self._emptied(header)

    def _emptied(self, header: BatchHeader) -> list[bytes | memoryview]:
        states = self._log.producer_states
        if header.producer_id < 0 or not states.is_last_batch(header.producer_id, header.last_offset):
            return []
        empty = header._replace(record_count=0, base_timestamp=-1, attributes=header.attributes & ~DELETE_HORIZON)
        return [seal(b"", empty)]


def _rebuilt(header: BatchHeader, payload: memoryview, kept: list[Record], horizon: int) -> bytes:
    """A batch of the kept records in the same place, with the same codec; `horizon` set unless NO_HORIZON."""
    body = bytearray()
    base = header.base_timestamp
    attributes = header.attributes
    if horizon != NO_HORIZON:
        attributes |= DELETE_HORIZON
    new_base = base if horizon == NO_HORIZON else horizon
    for record in kept:
        body += _shifted(payload, record, base - new_base)
    timestamps = [base + record.timestamp_delta for record in kept]
    packed = compression.compress(header.compression, bytes(body))
    largest = header.max_timestamp if header.is_log_append_time else max(timestamps)
    changed = header._replace(
        attributes=attributes, base_timestamp=new_base, max_timestamp=largest, record_count=len(kept)
    )
    return seal(packed, changed)


def _shifted(payload: memoryview, record: Record, shift: int) -> bytes:
    """The record's bytes with its timestamp delta moved by `shift`."""
    if not shift:
        return bytes(payload[record.start : record.end])
    rest = payload[record.key_at : record.end]
    middle = varint(record.timestamp_delta + shift) + varint(record.offset_delta)
    return varint(1 + len(middle) + len(rest)) + b"\x00" + middle + bytes(rest)


def _with_horizon(header: BatchHeader, data: memoryview, horizon: int) -> bytes:
    payload = data[HEADER_SIZE:]
    record = next(read_records(payload, 1))
    return _rebuilt(header, payload, [record], horizon)


def _swap(log: PartitionLog, segment: Segment, kept: list[bytes | memoryview]) -> None:
    """Put a file of the kept batches in the segment's place, in one step."""
    if len(kept) == len(segment) and all(isinstance(item, memoryview) for item in kept):
        return
    index = log.segments.index(segment)
    temporary = f"{segment.name}.cleaned"
    log.files.delete(temporary)
    file = log.files.open(temporary)
    for item in kept:
        file.append([item])
    file.sync()
    file.close()
    segment.close()
    log.files.replace(temporary, segment.name)
    fresh = Segment(log.files, log.directory, segment.base_offset)
    for _ in fresh.recover(check=False):
        pass
    fresh.created_ms = segment.created_ms
    if len(fresh) or index == 0:
        log.segments[index] = fresh
    else:
        fresh.delete()
        del log.segments[index]
