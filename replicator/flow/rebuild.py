"""Batches that can't pass through as they are: decoded, and encoded again as ours."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from replicator.errors import ProtocolError
from replicator.flow.batch import Batch
from replicator.wire import records
from replicator.wire.batch import CODEC_MASK, BatchHeader, read_header
from replicator.wire.records import Record

_LEGACY_MERGE_RECORDS = 10_000
_LEGACY_MERGE_BYTES = 512 << 10


class Rebuild(StrEnum):
    """Why a batch was rebuilt."""

    HOLES = "holes"  # compaction left gaps; the broker insists on lastOffsetDelta + 1 == record count
    APPEND_TIME = "append_time"  # the times of LogAppendTime are kept as CreateTime
    PARTIAL = "partial"  # the first records were copied before
    SPLIT = "split"  # larger than the target takes
    COMPRESSION = "compression"  # the link asks for another codec
    LEGACY = "legacy"  # formats v0 and v1
    COALESCED = "coalesced"  # many small ones in one


def rebuild(view: memoryview, header: BatchHeader, *, start: int, codec: int, why: Rebuild) -> Batch | None:
    """The records of a v2 batch from offset `start` on, as one batch; None if there are none.

    ProtocolError if the batch doesn't decode.
    """
    kept = [record for record in records.decode(view, header) if record.offset >= start]
    if not kept:
        return None
    return _batch(kept, codec, header.base_offset + header.last_offset_delta + 1, header.leader_epoch, why)


def merge(run: Sequence[tuple[memoryview, BatchHeader]], codec: int) -> Batch:
    """The records of consecutive v2 batches as one batch. ProtocolError, with its offset, if one doesn't decode."""
    kept = [record for view, header in run for record in records.decode(view, header)]
    last = run[-1][1]
    return _batch(kept, codec, last.base_offset + last.last_offset_delta + 1, last.leader_epoch, Rebuild.COALESCED)


def rebuild_legacy(messages: Sequence[Record], codec: int) -> list[Batch]:
    """Old-format messages as v2 batches of a sensible size."""
    batches: list[Batch] = []
    group: list[Record] = []
    size = 0
    for message in messages:
        group.append(message)
        size += len(message.key or b"") + len(message.value or b"")
        if len(group) >= _LEGACY_MERGE_RECORDS or size >= _LEGACY_MERGE_BYTES:
            batches.append(_batch(group, codec, group[-1].offset + 1, -1, Rebuild.LEGACY))
            group, size = [], 0
    if group:
        batches.append(_batch(group, codec, group[-1].offset + 1, -1, Rebuild.LEGACY))
    return batches


def split(batch: Batch) -> list[Batch]:
    """A batch as two of about the same number of records; itself alone if it holds only one.

    Sequences run through: together the halves take those that the whole would have taken. The halves take over what
    the whole holds of the memory budget. ProtocolError if it doesn't decode.
    """
    if batch.record_count < 2:
        return [batch]
    header = read_header(batch.data, 0)
    offsets = batch.offsets or range(batch.source_base, batch.source_base + batch.record_count)
    decoded = list(records.decode(batch.data, header))
    if len(decoded) != len(offsets):
        raise ProtocolError(f"batch of {len(offsets)} offsets holds {len(decoded)} records")
    everything = [record._replace(offset=offset) for record, offset in zip(decoded, offsets, strict=True)]
    codec = header.attributes & CODEC_MASK
    middle = len(everything) // 2
    halves = [
        _batch(everything[:middle], codec, everything[middle].offset, batch.source_epoch, Rebuild.SPLIT),
        _batch(everything[middle:], codec, batch.source_next, batch.source_epoch, Rebuild.SPLIT),
    ]
    for half in halves:
        half.origin = batch.origin
    if batch.lease is not None:
        for half in halves:
            half.lease = batch.lease.another(len(half.data), parked=batch.lease.parked)
    return halves


def _batch(kept: list[Record], codec: int, source_next: int, source_epoch: int, why: Rebuild) -> Batch:
    data, count = records.encode(kept, codec)
    contiguous = kept[-1].offset - kept[0].offset + 1 == count
    return Batch(
        memoryview(data),
        count,
        kept[0].offset,
        source_next,
        max(record.timestamp for record in kept),
        why,
        offsets=None if contiguous else [record.offset for record in kept],
        source_epoch=source_epoch,
    )
