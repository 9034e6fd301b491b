"""What the records of a tail, and of the source behind a ledger entry, hold: for when counting doesn't suffice.

Only fingerprints are kept, 16 bytes a record, within the limits below; beyond them the answer is that it can't be told.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import overload
from uuid import UUID

from replicator.flow.backpressure import ByteBudget, Lease
from replicator.flow.ports import Origins
from replicator.flow.stage import Stage
from replicator.ledger.align import FINGERPRINT_BYTES, Alignment, AmbiguousError, fingerprint
from replicator.ledger.entry import Entry
from replicator.ledger.tail import Copied, Tail
from replicator.ledger.walk import runs_of
from replicator.wire import batch as v2
from replicator.wire import records
from replicator.wire.fetch import FetchedPartition

MAX_RECORDS = 2_000_000  # 110 MB while they are compared
ALIGN_RECORDS = 500_000  # where records are gone, finding which takes more memory for each
MAX_BYTES = 256 << 20  # of a partition, read and hashed on each side: entries are written much more often
SETTLE_S = 0.5  # before the leader of a log that seems to end is asked


class Fingerprints(Sequence[bytes]):
    """Fingerprints of records, in little memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    def append(self, fingerprint: bytes) -> None:
        """One more at the end."""
        self.data += fingerprint

    def __len__(self) -> int:
        return len(self.data) // FINGERPRINT_BYTES

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return bytes(self.data[FINGERPRINT_BYTES * index : FINGERPRINT_BYTES * (index + 1)])


class _Limited:
    """Counts what was read."""

    def __init__(self, records: int) -> None:
        self._bytes = 0
        self._most = records

    def count(self, size: int, held: int) -> None:
        """AmbiguousError beyond the limits."""
        self._bytes += size
        if self._bytes > MAX_BYTES or held > self._most:
            raise AmbiguousError(
                f"more than {self._most} records or {MAX_BYTES >> 20} MiB would have to be compared by content"
            )


class TargetContent(_Limited):
    """The copied records that a tail still has. A `fetching.Reading`, read_uncommitted."""

    def __init__(
        self, entry: Entry, start: int, tail: Tail, copied: Copied, producers: frozenset[int], *, to_align: bool
    ) -> None:
        super().__init__(ALIGN_RECORDS if to_align else MAX_RECORDS)
        self.topic, self.partition, self.topic_id = entry.target_topic, entry.partition, entry.target_topic_id
        self.position = start
        self.indexes = array("q")  # of each record, counted from the entry on
        self.offsets = array("q")
        self.contents = Fingerprints()
        self.complete = copied.complete  # whether all copied records are among these
        self._end = tail.next_offset
        self._producers = producers
        self._places = list(reversed(copied.places))

    @property
    def done(self) -> bool:
        return self.position >= self._end

    def take(self, fetched: FetchedPartition) -> None:
        view, position = fetched.records, 0
        while not self.done and (frame := v2.frame_at(view, position)) is not None:
            data = view[position : position + frame[0]]
            position += frame[0]
            header = v2.read_header(data, 0)
            end = header.base_offset + header.last_offset_delta + 1
            if end > self.position:
                self._take_batch(data, header)
                self.position = end
        self.count(position, len(self.contents))

    def _take_batch(self, data: memoryview, header: v2.BatchHeader) -> None:
        if header.attributes & (v2.CONTROL | v2.TRANSACTIONAL) or header.producer_id not in self._producers:
            return
        if header.attributes & v2.LOG_APPEND_TIME:
            raise AmbiguousError("the target gives records times of its own (message.timestamp.type=LogAppendTime)")
        for record in records.decode(data, header):
            while self._places and record.offset >= self._places[-1].target + self._places[-1].length:
                self._places.pop()
            if self._places and record.offset >= max(self._places[-1].target, self.position):
                place = self._places[-1]
                self.indexes.append(place.first + record.offset - place.target)
                self.offsets.append(record.offset)
                self.contents.append(fingerprint(record))

    def out_of_range(self, start: int, end: int) -> None:
        if end < self._end:
            raise AmbiguousError(f"the target's log was cut meanwhile: it has offsets {start} to {end} now")
        if self.position < start:
            self.position, self.complete = start, False

    def idle(self, fetched: FetchedPartition, seconds: float) -> bool:
        return False


class SourceContent(_Limited):
    """The source's first `wanted` eligible records from a position on; with an alignment, and as many as that wants.

    A `fetching.Reading`, read_committed.
    """

    def __init__(
        self,
        topic: str,
        partition: int,
        topic_id: UUID,
        start: int,
        wanted: int,
        into: Alignment | None = None,
        origins: Origins | None = None,
    ) -> None:
        super().__init__(MAX_RECORDS if into is None else ALIGN_RECORDS)
        self.topic, self.partition, self.topic_id = topic, partition, topic_id
        self.position = start
        self.offsets = array("q")  # of the first `wanted`
        self.contents = Fingerprints()
        self.epochs: list[tuple[int, int]] = []  # (offset, leader epoch) where it changes
        self.end: int | None = None  # of the log, if it was reached
        self.log_start = 0
        self._wanted = wanted
        self._enough = wanted == 0
        self._into = into
        self._taken = 0
        self._stage = Stage("source", origins)

    @property
    def done(self) -> bool:
        return self._enough or self.end is not None

    @property
    def newest_epoch(self) -> int:
        """The newest leader epoch that was seen, -1 for none."""
        return max((epoch for _, epoch in self.epochs), default=-1)

    def epoch_before(self, offset: int, otherwise: int) -> int:
        """The leader epoch of the last record before this offset."""
        return next((epoch for first, epoch in reversed(self.epochs) if first < offset), otherwise)

    def take(self, fetched: FetchedPartition) -> None:
        self.log_start = max(self.log_start, fetched.log_start_offset)
        staged = self._stage.stage(fetched, self.position, Lease(ByteBudget(1 << 40), 0))
        if staged.fault is not None:
            raise staged.fault
        eligible: list[tuple[int, bytes]] = []  # of this part of the log
        for batch in staged.batches:
            offsets = [offset for first, length in runs_of(batch) for offset in range(first, first + length)]
            decoded = records.decode(batch.data, v2.read_header(batch.data, 0))
            eligible += ((offset, fingerprint(record)) for offset, record in zip(offsets, decoded, strict=True))
            if not self.epochs or self.epochs[-1][1] != batch.source_epoch:
                self.epochs.append((batch.source_base, batch.source_epoch))
        for offset, content in eligible[: max(0, self._wanted - len(self.offsets))]:
            self.offsets.append(offset)
            self.contents.append(content)
        self._taken += len(eligible)
        self.count(len(fetched.records), self._taken)
        if self._into is None:
            self._enough = len(self.offsets) == self._wanted
        else:
            others = _not_eligible(fetched.records, self.position, {offset for offset, _ in eligible})
            self._feed(self._into, eligible, others)
        self.position = staged.next_offset

    def _feed(self, into: Alignment, eligible: list[tuple[int, bytes]], others: list[int]) -> None:
        together: list[tuple[int, bytes | None]] = [*eligible, *((offset, None) for offset in others)]
        together.sort(key=lambda item: item[0])
        for offset, content in together:
            self._enough = into.take(offset, content) or self._enough

    def out_of_range(self, start: int, end: int) -> None:
        if self.position < start:
            self.position = self.log_start = start
        elif self.position >= end:
            self.end = end

    def idle(self, fetched: FetchedPartition, seconds: float) -> bool:
        return self.position >= fetched.high_watermark and seconds >= SETTLE_S


def _not_eligible(view: memoryview, start: int, eligible: set[int]) -> list[int]:
    """The offsets of what is stored and not copied: markers, and records of aborted transactions."""
    found: list[int] = []
    position = 0
    while (frame := v2.frame_at(view, position)) is not None:
        size, magic = frame
        if magic >= 2:
            header = v2.read_header(view, position)
            if header.record_count == header.last_offset_delta + 1:
                offsets = range(header.base_offset, header.base_offset + header.record_count)
                if header.base_offset not in eligible and offsets[-1] not in eligible:
                    found += (offset for offset in offsets if offset >= start)
        position += size
    return found
