"""Over the source from a position on, past so many records that are copied: where the copying has got to.

In a log that hasn't been compacted, stored batches follow one another without a gap (those of aborted transactions and
markers included), and each has as many records as offsets. Then counting is exact. Where something is missing, it may
be a record that was copied: the walk stops there and says so (`hole`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from replicator.flow.backpressure import ByteBudget, Lease
from replicator.flow.batch import Batch
from replicator.flow.ports import Origins
from replicator.flow.stage import Stage
from replicator.states import PartitionFault, Reason
from replicator.wire import batch as v2
from replicator.wire.fetch import FetchedPartition
from replicator.wire.records import decode_legacy

MAX_RUNS = 500_000  # 60 MB: one for each transaction of the source that was copied since the entry


class SourceRun(NamedTuple):
    """Copied records `first` to `first + length`, counted from the start of the walk, come from `source` and behind."""

    first: int
    source: int
    length: int


class Walk:
    """Walks one partition. Give it what was fetched (read_committed) from `position` on, when the origins of what is
    in it are known. What `origins` doesn't let pass wasn't copied, and isn't counted."""

    def __init__(self, start: int, count: int, origins: Origins | None = None) -> None:
        self.position = start
        self.found = 0
        self.runs: list[SourceRun] = []
        self.epochs: list[tuple[int, int]] = []  # (offset, leader epoch) of the first record of each stretch of them
        self.hole: int | None = None  # the first offset of which nobody knows whether a record was there
        self._count = count
        self._stage = Stage("source", origins)

    @property
    def done(self) -> bool:
        """Whether there is nothing more to walk over."""
        return self.found == self._count or self.hole is not None

    @property
    def leader_epoch(self) -> int:
        """That of the last record it has passed, -1 if unknown."""
        return self.epochs[-1][1] if self.epochs else -1

    def take(self, fetched: FetchedPartition) -> None:
        """The next part of the log. PartitionFault for what can't be read before the walk's end."""
        staged = self._stage.stage(fetched, self.position, Lease(ByteBudget(1 << 40), 0))
        hole = _first_hole(fetched.records, self.position, staged.next_offset, staged.batches, self._stage)
        for batch in staged.batches:
            for source, length in runs_of(batch):
                if hole is not None and source + length > hole:
                    length = max(0, hole - source)
                length = min(length, self._count - self.found)
                if length:
                    self._add(source, length, batch.source_epoch)
                if self.found == self._count:
                    return
        if hole is not None:
            self.hole = hole
        elif staged.fault is not None:
            raise staged.fault
        else:
            self.position = staged.next_offset

    def _add(self, source: int, length: int, epoch: int) -> None:
        last = self.runs[-1] if self.runs else None
        if last is not None and last.source + last.length == source:
            self.runs[-1] = last._replace(length=last.length + length)
        elif len(self.runs) == MAX_RUNS:
            raise PartitionFault(
                Reason.RECOVERY_AMBIGUOUS,
                f"What was copied since the ledger's last entry is in more than {MAX_RUNS} pieces, up to source offset "
                f"{source}.",
                offset=source,
            )
        else:
            self.runs.append(SourceRun(self.found, source, length))
        if not self.epochs or self.epochs[-1][1] != epoch:
            self.epochs.append((source, epoch))
        self.found += length
        self.position = source + length


def runs_of(batch: Batch) -> Iterator[tuple[int, int]]:
    """The source offsets of a staged batch's records: (first, how many) of each stretch without a gap."""
    if batch.offsets is None:
        yield batch.source_base, batch.record_count
        return
    first = before = batch.offsets[0]
    for offset in batch.offsets[1:]:
        if offset != before + 1:
            yield first, before - first + 1
            first = offset
        before = offset
    yield first, before - first + 1


def _first_hole(view: memoryview, start: int, end_offset: int, staged: list[Batch], stage: Stage) -> int | None:
    """The first offset of [start, end_offset) that no stored batch in `view` accounts for."""
    expected = start
    position = 0
    while expected < end_offset and (frame := v2.frame_at(view, position)) is not None:
        size, magic = frame
        data = view[position : position + size]
        position += size
        if magic < 2:
            offsets = [message.offset for message in decode_legacy(data, magic)]
            base, end, count, control = offsets[0], offsets[-1] + 1, len(offsets), False
        else:
            header = v2.read_header(data, 0)
            base, end, count = (
                header.base_offset,
                header.base_offset + header.last_offset_delta + 1,
                header.record_count,
            )
            control = bool(header.attributes & v2.CONTROL) or stage.drops(header)
        if end <= expected:
            continue
        if base > expected:
            return expected
        if count < end - base and not control:
            for source, length in (run for batch in staged for run in runs_of(batch)):
                if source <= expected < source + length:
                    expected = min(source + length, end)
            if expected < end:
                return expected
        expected = end
    return None
