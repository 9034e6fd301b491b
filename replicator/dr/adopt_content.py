"""What adopting reads: the newest records of a copy, and the source's records from where those could come from.

Both are `ledger.fetching.Reading`s, read_committed, and keep fingerprints only.
"""

from __future__ import annotations

from bisect import bisect_left
from uuid import UUID

from replicator.flow.backpressure import ByteBudget, Lease
from replicator.flow.stage import Stage
from replicator.ledger.align import Alignment, AmbiguousError, fingerprint
from replicator.ledger.walk import runs_of
from replicator.wire import batch as v2
from replicator.wire import records
from replicator.wire.fetch import FetchedPartition
from replicator.wire.primitives import NO_TOPIC_ID

MAX_SOURCE_BYTES = 1 << 30  # read of one source partition to find the place: a few seconds


class CopyTail:
    """The committed records of a copy from `position` up to `end`."""

    def __init__(self, topic: str, partition: int, start: int, end: int) -> None:
        self.topic, self.partition, self.topic_id = topic, partition, NO_TOPIC_ID
        self.start = self.position = start
        self.contents: list[bytes] = []
        self.offsets: list[int] = []
        self.oldest_ms: int | None = None  # None also while a record has no time
        self.last_ms = -1
        self.dense_from = 0  # index of the first record behind the last place where something is gone
        self._end = end
        self._timeless = False
        self._stage = Stage("source")

    @property
    def done(self) -> bool:
        return self.position >= self._end

    def take(self, fetched: FetchedPartition) -> None:
        before = self.position
        staged = self._stage.stage(fetched, before, Lease(ByteBudget(1 << 40), 0))
        if staged.fault is not None:
            raise staged.fault
        for batch in staged.batches:
            offsets = (at for first, length in runs_of(batch) for at in range(first, first + length))
            decoded = records.decode(batch.data, v2.read_header(batch.data, 0))
            for offset, record in zip(offsets, decoded, strict=True):
                if offset >= self._end:
                    break
                self.contents.append(fingerprint(record))
                self.offsets.append(offset)
                self._note_time(record.timestamp)
        self.position = staged.next_offset
        self.dense_from = max(self.dense_from, bisect_left(self.offsets, _last_hole_end(fetched.records, before)))

    def _note_time(self, timestamp_ms: int) -> None:
        self.last_ms = timestamp_ms
        if timestamp_ms < 0:
            self._timeless = True
        if self._timeless:
            self.oldest_ms = None
        else:
            self.oldest_ms = timestamp_ms if self.oldest_ms is None else min(self.oldest_ms, timestamp_ms)

    def out_of_range(self, start: int, end: int) -> None:
        self.position = start if self.position < start else self._end

    def idle(self, fetched: FetchedPartition, seconds: float) -> None: ...


class SourceScan:
    """Gives an alignment the committed records of the source from `start` up to `end`, as far as it wants them."""

    def __init__(self, topic: str, partition: int, topic_id: UUID, start: int, end: int, into: Alignment) -> None:
        self.topic, self.partition, self.topic_id = topic, partition, topic_id
        self.position = start
        self._end = end
        self._into = into
        self._enough = False
        self._bytes = 0
        self._stage = Stage("source")

    @property
    def done(self) -> bool:
        return self._enough or self.position >= self._end

    def take(self, fetched: FetchedPartition) -> None:
        staged = self._stage.stage(fetched, self.position, Lease(ByteBudget(1 << 40), 0))
        if staged.fault is not None and not staged.batches:
            raise staged.fault
        self._bytes += len(fetched.records)
        if self._bytes > MAX_SOURCE_BYTES:
            raise AmbiguousError(f"the place isn't within {MAX_SOURCE_BYTES >> 30} GiB of the source")
        for batch in staged.batches:
            offsets = (at for first, length in runs_of(batch) for at in range(first, first + length))
            decoded = records.decode(batch.data, v2.read_header(batch.data, 0))
            for offset, record in zip(offsets, decoded, strict=True):
                if offset < self._end and self._into.take(offset, fingerprint(record)):
                    self._enough = True
                    return
        self.position = staged.next_offset

    def out_of_range(self, start: int, end: int) -> None:
        self.position = start if self.position < start else self._end

    def idle(self, fetched: FetchedPartition, seconds: float) -> None: ...


def _last_hole_end(view: memoryview, start: int) -> int:
    """The offset behind the last place where something is missing from the log; 0 if nothing is."""
    expected, hole_end, position = start, 0, 0
    while (frame := v2.frame_at(view, position)) is not None:
        size, magic = frame
        if magic < 2:
            return 1 << 62  # old formats: nobody knows
        header = v2.read_header(view, position)
        end = header.base_offset + header.last_offset_delta + 1
        if end > expected:
            if header.record_count <= header.last_offset_delta:
                hole_end = end  # inside, anywhere
            elif header.base_offset > expected:
                hole_end = header.base_offset
            expected = end
        position += size
    return hole_end


class FirstRecord:
    """The first committed record of the source from `position` on; none when it ends at `end`."""

    def __init__(self, topic: str, partition: int, topic_id: UUID, start: int, end: int) -> None:
        self.topic, self.partition, self.topic_id = topic, partition, topic_id
        self.position = start
        self.found: records.Record | None = None
        self._end = end
        self._stage = Stage("source")

    @property
    def done(self) -> bool:
        return self.found is not None or self.position >= self._end

    def take(self, fetched: FetchedPartition) -> None:
        staged = self._stage.stage(fetched, self.position, Lease(ByteBudget(1 << 40), 0))
        for batch in staged.batches:
            first = next(records.decode(batch.data, v2.read_header(batch.data, 0)), None)
            if first is not None:
                self.found = first._replace(offset=batch.source_base)
                return
        if staged.fault is not None:
            raise staged.fault
        self.position = staged.next_offset

    def out_of_range(self, start: int, end: int) -> None:
        self.position = start if self.position < start else self._end

    def idle(self, fetched: FetchedPartition, seconds: float) -> None: ...
