"""What recovery reads of a partition (`fetching.read_all`): the tail on the target, then the walk on the source."""

from __future__ import annotations

from replicator.flow.ports import Origins
from replicator.ledger.content import SETTLE_S
from replicator.ledger.entry import Entry
from replicator.ledger.tail import Tail
from replicator.ledger.walk import Walk
from replicator.states import PartitionFault, Reason
from replicator.wire import batch as v2
from replicator.wire.fetch import FetchedPartition


class TailReading:
    """Reads one tail up to the owner's marker. A `fetching.Reading`, read_uncommitted."""

    def __init__(self, entry: Entry, tail: Tail, where: str) -> None:
        self.topic, self.partition, self.topic_id = entry.target_topic, entry.partition, entry.target_topic_id
        self.tail = tail
        self._entry = entry
        self._where = where

    @property
    def position(self) -> int:
        return self.tail.position

    @property
    def done(self) -> bool:
        return self.tail.done

    def take(self, fetched: FetchedPartition) -> None:
        view, position = fetched.records, 0
        while (frame := v2.frame_at(view, position)) is not None:
            size, magic = frame
            if magic < 2 or size < v2.HEADER_BYTES:
                raise PartitionFault(
                    Reason.UNSUPPORTED_FORMAT,
                    f"{self._where} has a batch of {size} bytes with magic {magic} behind offset {self.position}.",
                )
            self.tail.take(v2.read_header(view, position))
            position += size
        self.tail.ends_at(fetched.high_watermark)

    def out_of_range(self, start: int, end: int) -> None:
        if end < self.tail.start:
            raise PartitionFault(
                Reason.TARGET_TRUNCATED,
                f"{self._where} was written up to offset {self._entry.target_next}, and ends at {end} now.",
                offset=self._entry.source_next,
            )
        if self.position < start:
            self.tail.begin_at(start)

    def idle(self, fetched: FetchedPartition, seconds: float) -> bool:
        return fetched.high_watermark < self.tail.start and seconds >= SETTLE_S


class WalkReading:
    """Reads the source until the walk has counted enough, or the log ends. A `fetching.Reading`, read_committed."""

    def __init__(
        self, entry: Entry, count: int, *, from_log_start: bool = False, origins: Origins | None = None
    ) -> None:
        self.topic, self.partition, self.topic_id = entry.topic, entry.partition, entry.source_topic_id
        self.walk = Walk(entry.source_next, count, origins)
        self._origins = origins
        self.short = False  # the log ends before so many records
        self._count = count
        self._from_log_start = from_log_start  # where the log begins behind the entry

    @property
    def position(self) -> int:
        return self.walk.position

    @property
    def done(self) -> bool:
        return self.walk.done or self.short

    def take(self, fetched: FetchedPartition) -> None:
        self.walk.take(fetched)

    def out_of_range(self, start: int, end: int) -> None:
        if self.position >= end:
            self.short = True
        elif self.position < start and self._from_log_start:
            self.walk = Walk(start, self._count, self._origins)
        elif self.position < start:
            self.walk.hole = self.position

    def idle(self, fetched: FetchedPartition, seconds: float) -> bool:
        return self.position >= fetched.high_watermark and seconds >= SETTLE_S
