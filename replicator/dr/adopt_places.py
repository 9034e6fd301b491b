"""Where on the source the copying of a partition had got to, found by what the newest records of its copy hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from replicator.dr.adopt_content import CopyTail, FirstRecord, SourceScan
from replicator.errors import UnreachableError
from replicator.ledger.align import Aligned, Alignment, AmbiguousError, fingerprint
from replicator.ledger.fetching import Reading, read_all
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_COMMITTED
from replicator.wire.kafka_errors import NONE
from replicator.wire.list_offsets import EARLIEST, LATEST
from replicator.wire.primitives import NO_TOPIC_ID

TAIL_OFFSETS = (1_000, 20_000, 200_000)  # of the copy's end, one after the other until the place is found
LOOK_AHEAD = 2_000
_REPEAT_OFFSETS = 2_000  # of a copy, from the time of a record on, in which that record is looked for
_SLOT = "adopt"


@dataclass(frozen=True, slots=True)
class Copy:
    """A source partition and what its copy is called. `end`: of the copy, to which nobody writes."""

    topic: str
    partition: int
    target_topic: str
    end: int

    def __str__(self) -> str:
        return f"{self.target_topic}-{self.partition}"


@dataclass(frozen=True, slots=True)
class Place:
    """Copying goes on at `source_next`. `runs`: (source, target, length) of the newest records, as far as is sure."""

    source_next: int
    record_timestamp_ms: int
    runs: list[tuple[int, int, int]] = field(default_factory=list)


class Places:
    """Finds places; writes nothing. Both clusters' metadata must be known."""

    def __init__(self, source: ClusterClient, target: ClusterClient, tail_offsets: Sequence[int] = TAIL_OFFSETS):
        self._source = source
        self._target = target
        self._tail_offsets = tail_offsets

    async def find(self, copy: Copy) -> Place:
        """The place of one; AmbiguousError or PartitionFault where it can't be told, other errors: not now."""
        start = await self._offset(self._source, copy.topic, copy.partition, EARLIEST)
        end = await self._offset(self._source, copy.topic, copy.partition, LATEST)
        if start >= end:
            return Place(end, -1)  # nothing is left that could be copied twice, or left out
        first = await self._offset(self._target, copy.target_topic, copy.partition, EARLIEST)
        sizes = [size for size in self._tail_offsets if copy.end - size > first]
        if len(sizes) < len(self._tail_offsets):
            sizes.append(copy.end - first)
        why = AmbiguousError("it holds no committed record any more")
        for size in sizes:
            tail = CopyTail(copy.target_topic, copy.partition, max(first, copy.end - size), copy.end)
            await self._read(self._target, tail)
            if not tail.contents:
                continue
            try:
                place = await self._compare(copy, tail, start, end)
                if not await self._is_there_already(copy, tail, place, end):
                    return place
                why = AmbiguousError(f"the record at source offset {place.source_next} or behind is in it already")
            except AmbiguousError as error:
                why = error
        raise why

    async def _compare(self, copy: Copy, tail: CopyTail, start: int, end: int) -> Place:
        """AmbiguousError unless the tail has exactly one place on the source."""
        contents = tail.contents[tail.dense_from :]
        alignment = Alignment(contents, from_entry=False, look_ahead=LOOK_AHEAD)
        begin = await self._begin(copy, tail, start)
        await self._scan(copy, begin, end, alignment)
        try:
            return _place(tail, tail.dense_from, alignment.result())
        except AmbiguousError as error:
            why = error
        try:
            return _place(tail, tail.dense_from, alignment.result_if_repeated())
        except AmbiguousError:
            if not tail.dense_from:
                raise why from None
        alignment = Alignment(tail.contents, complete=False, from_entry=False, look_ahead=LOOK_AHEAD)
        await self._scan(copy, begin, end, alignment)
        return _place(tail, 0, alignment.result())

    async def _begin(self, copy: Copy, tail: CopyTail, start: int) -> int:
        """A source offset that none of the tail's records is before: that of the first one as young as the oldest."""
        if tail.oldest_ms is None:
            return start
        found = await self._offset(self._source, copy.topic, copy.partition, tail.oldest_ms)
        return max(start, found)

    async def _scan(self, copy: Copy, begin: int, end: int, into: Alignment) -> None:
        await self._read(
            self._source, SourceScan(copy.topic, copy.partition, self._id_of(copy.topic), begin, end, into)
        )

    async def _is_there_already(self, copy: Copy, tail: CopyTail, place: Place, end: int) -> bool:
        """Whether the record that would be copied next is found on the copy before `tail`: copying went back there."""
        following = FirstRecord(copy.topic, copy.partition, self._id_of(copy.topic), place.source_next, end)
        await self._read(self._source, following)
        if following.found is None or following.found.timestamp < 0:
            return False
        since = await self._offset(self._target, copy.target_topic, copy.partition, following.found.timestamp)
        if not 0 <= since < tail.start:
            return False
        before = CopyTail(copy.target_topic, copy.partition, since, min(since + _REPEAT_OFFSETS, tail.start))
        await self._read(self._target, before)
        return fingerprint(following.found) in before.contents

    async def _read(self, cluster: ClusterClient, reading: Reading) -> None:
        failed = await read_all(cluster, [reading], isolation=READ_COMMITTED, slot=_SLOT)
        for error in failed.values():
            raise error

    async def _offset(
        self, cluster: ClusterClient, topic: str, partition: int, where: int, isolation: int = READ_COMMITTED
    ) -> int:
        listed = (await cluster.offsets([(topic, partition, where)], isolation)).get((topic, partition))
        if listed is None or listed.error != NONE:
            raise UnreachableError(f"cluster {cluster.alias}: {topic}-{partition} can't be asked for its offsets now")
        return listed.offset

    def _id_of(self, topic: str) -> UUID:
        return self._source.topic_id_of(topic) or NO_TOPIC_ID


def _place(tail: CopyTail, first: int, aligned: Aligned) -> Place:
    if aligned.next_offset is None:
        raise AmbiguousError("none of the copied records is on the source")
    pairs = [(offset, tail.offsets[first + index]) for index, offset in aligned.matched]
    return Place(aligned.next_offset, tail.last_ms, _runs(pairs))


def _runs(pairs: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Runs of (source, target) offsets that follow one another on both sides."""
    runs: list[tuple[int, int, int]] = []
    for source, target in pairs:
        if runs and runs[-1][0] + runs[-1][2] == source and runs[-1][1] + runs[-1][2] == target:
            runs[-1] = (*runs[-1][:2], runs[-1][2] + 1)
        else:
            runs.append((source, target, 1))
    return runs
