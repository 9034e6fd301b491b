"""From the entries of a lane that was taken over to the entries that its new owner goes on from (design section 6).

Given: the new owner has fenced the ledger and then every target partition, after which the entries can't change. What
the former owner had written since is counted in the target's tail (`tail`), and looked up on the source (`walk`). Where
that may not be what it was, records are compared (`content`, `align`). What stays uncertain is a fault.

A partition that can't be read now doesn't hold up the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from replicator.errors import ReplicatorError
from replicator.ledger.align import Aligned, Alignment, AmbiguousError
from replicator.ledger.content import MAX_RECORDS, SourceContent, TargetContent
from replicator.ledger.entry import Entry
from replicator.ledger.fetching import Key, read_all
from replicator.ledger.map_tail import MapOrderError, MapTail
from replicator.ledger.provenance import Provenance
from replicator.ledger.reading import TailReading, WalkReading
from replicator.ledger.tail import Copied, Tail, TailGoneError, copied_since
from replicator.states import PartitionFault, Reason
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_COMMITTED, READ_UNCOMMITTED
from replicator.wire.producer_id import ProducerIdAndEpoch

PATIENCE_S = 30.0
_SLOT = "recovery"


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where a partition goes on: write `chunks` (number, value) to the map, then `entry`, then copy.

    `copied` records were on the target without the ledger knowing; `foreign` batches there are of writers that aren't
    the lane's.
    """

    entry: Entry
    chunks: tuple[tuple[int, bytes], ...]
    copied: int
    foreign: int


async def recover_entries(
    entries: Sequence[Entry],
    *,
    owner: ProducerIdAndEpoch,
    producers: Collection[int],
    source: ClusterClient,
    target: ClusterClient,
    now_ms: Callable[[], int],
    patience_s: float = PATIENCE_S,
    to_end: bool = False,
    shared: bool = False,
    origins: Provenance | None = None,
) -> dict[Key, Recovered | ReplicatorError]:
    """Each entry's partition (source topic, number): where it goes on, or why it can't.

    `owner` has fenced the target partitions in this epoch, and written nothing to them yet. `producers` are all
    producer ids that have ever written for the lane. A PartitionFault stops the partition; after any other error the
    same call may succeed later. Partitions that get no further for `patience_s` (less when others are done) are given
    up for now. Both clients must watch the topics.

    `to_end`: the owner has another producer id than the former one, which its markers don't fence. Then the tails are
    read to the end of the logs; call it when the former owner is surely gone. `shared`: others may write to the target
    as well. `origins`: what the link doesn't copy because of where it is from.
    """
    clusters = source.alias, target.alias
    recoveries = [_Recovery(e, owner, frozenset(producers), clusters, to_end, shared, origins) for e in entries]
    learn = origins.learn if origins is not None else None
    results: dict[Key, Recovered | ReplicatorError] = {}

    failed = await read_all(
        target, [r.tail for r in recoveries], isolation=READ_UNCOMMITTED, slot=_SLOT, patience_s=patience_s
    )
    moved: list[_Recovery] = []
    for recovery in recoveries:
        error = failed.get((recovery.tail.topic, recovery.tail.partition))
        try:
            if error is not None:
                raise error
            if recovery.count() or recovery.gone is not None:
                moved.append(recovery)
            else:
                results[recovery.key] = recovery.unmoved(now_ms())
        except ReplicatorError as fault:
            results[recovery.key] = recovery.named(fault)

    failed = await read_all(
        source, [r.walk for r in moved], isolation=READ_COMMITTED, slot=_SLOT, patience_s=patience_s, learn=learn
    )
    doubtful: list[_Recovery] = []
    for recovery in moved:
        if (error := failed.get(recovery.key)) is not None:
            results[recovery.key] = recovery.named(error)
        elif recovery.is_counted():
            results[recovery.key] = recovery.outcome(recovery.counted, now_ms())
        else:
            doubtful.append(recovery)

    for group in _groups(doubtful):
        await _compare(group, source, target, patience_s, origins)
        for recovery in group:
            results[recovery.key] = recovery.outcome(recovery.compared, now_ms())
    return results


async def _compare(
    group: Sequence[_Recovery],
    source: ClusterClient,
    target: ClusterClient,
    patience_s: float,
    origins: Provenance | None,
) -> None:
    """Read the contents of both sides, for those of the group for which nothing stands in the way."""
    there = {recovery: recovery.read_target() for recovery in group}
    failed = await read_all(target, there.values(), isolation=READ_UNCOMMITTED, slot=_SLOT, patience_s=patience_s)
    for recovery, reading in there.items():
        recovery.error = failed.get((reading.topic, reading.partition))
    here = [recovery.read_source() for recovery in group if recovery.error is None]
    learn = origins.learn if origins is not None else None
    failed = await read_all(source, here, isolation=READ_COMMITTED, slot=_SLOT, patience_s=patience_s, learn=learn)
    await source.refresh()
    for recovery in group:
        leader = source.leader(*recovery.key)
        recovery.source_epoch = leader.leader_epoch if leader is not None else -1
    for recovery in group:
        recovery.error = recovery.error or failed.get(recovery.key)


def _groups(recoveries: Sequence[_Recovery]) -> Iterator[list[_Recovery]]:
    """In groups that together don't hold more than one partition may."""
    group: list[_Recovery] = []
    records = 0
    for recovery in recoveries:
        size = recovery.copied
        if group and records + size > MAX_RECORDS:
            yield group
            group, records = [], 0
        group.append(recovery)
        records += size
    if group:
        yield group


class _Recovery:
    """One partition on its way from its entry to the next one."""

    def __init__(
        self,
        entry: Entry,
        owner: ProducerIdAndEpoch,
        producers: frozenset[int],
        clusters: tuple[str, str],
        to_end: bool,
        shared: bool,
        origins: Provenance | None,
    ) -> None:
        self.key = entry.topic, entry.partition
        self._entry = entry
        self._owner = owner
        self._producers = producers | {owner.producer_id} | ({entry.producer_id} if entry.producer_id >= 0 else set())
        self._source_alias, target_alias = clusters
        self._there: TargetContent
        self._here: SourceContent
        self._alignment: Alignment | None = None
        self.gone: TailGoneError | None = None  # the target has lost what would tell
        self.source_epoch = -1  # the leader epoch of the source partition when its contents are compared
        self.error: ReplicatorError | None = None
        self._origins = origins
        tail = Tail(entry, owner, self._producers, to_end=to_end, shared=shared)
        self.tail = TailReading(entry, tail, f"{entry.target_topic}-{entry.partition} of cluster {target_alias}")
        self._copied = Copied(0, (), True)
        self.walk = WalkReading(entry, 0)

    def count(self) -> int:
        """How many records were copied since the entry, as far as the target knows."""
        try:
            self._copied = copied_since(self._entry, self.tail.tail)
        except TailGoneError as error:
            self.gone = error
            self.walk = WalkReading(self._entry, 1, from_log_start=True, origins=self._origins)
        else:
            self.walk = WalkReading(self._entry, self._copied.count, origins=self._origins)
        return self._copied.count

    def unmoved(self, now_ms: int) -> Recovered:
        """Nothing was copied since the entry."""
        entry = self._entry
        return self._recovered(entry.source_next, entry.source_leader_epoch, [], now_ms)

    @property
    def copied(self) -> int:
        """As `count` said."""
        return self._copied.count

    def is_counted(self) -> bool:
        """Whether the walk is all that is needed."""
        if self.gone is not None:
            return True
        walk, epoch = self.walk.walk, self._entry.source_leader_epoch
        # Of one leader epoch as what was copied before: the log can't have been cut and grown again in between.
        return not self._is_changed() and epoch >= 0 and all(seen == epoch for _, seen in walk.epochs)

    def outcome(self, answer: Callable[[int], Recovered], now_ms: int) -> Recovered | ReplicatorError:
        """What `answer` says, or why it doesn't."""
        try:
            if self.error is not None:
                raise self.error
            return answer(now_ms)
        except AmbiguousError as error:
            return PartitionFault(
                Reason.RECOVERY_AMBIGUOUS,
                f"{self.copied} records were copied behind offset {self._entry.source_next} of cluster "
                f"{self._source_alias} before the former worker ended, and {self._doubt()}; compared by content: "
                f"{error}.",
                topic=self._entry.topic,
                partition=self._entry.partition,
                offset=self._entry.source_next,
            )
        except ReplicatorError as error:
            return self.named(error)

    def counted(self, now_ms: int) -> Recovered:
        """Where the walk ended."""
        if self.gone is not None:
            if not self.walk.short:
                raise self.gone
            return self.unmoved(now_ms)  # whatever had been copied, the source has nothing from there on
        return self._recovered(self.walk.walk.position, self.walk.walk.leader_epoch, self._runs(), now_ms)

    def read_target(self) -> TargetContent:
        """What is copied, to be read."""
        entry = self._entry
        start = min((place.target for place in self._copied.places), default=entry.target_next)
        self._there = TargetContent(
            entry,
            max(start, entry.target_next),
            self.tail.tail,
            self._copied,
            self._producers,
            to_align=self.walk.walk.hole is not None,
        )
        return self._there

    def read_source(self) -> SourceContent:
        """What there was to copy, to be read when the target has been."""
        entry = self._entry
        if self.walk.walk.hole is not None:
            there = self._there
            self._alignment = Alignment(there.contents, complete=there.complete, start=entry.source_next)
        self._here = SourceContent(
            *self.key, entry.source_topic_id, entry.source_next, self.copied, self._alignment, self._origins
        )
        return self._here

    def compared(self, now_ms: int) -> Recovered:
        """What the contents say. AmbiguousError if that isn't one position."""
        there, here = self._there, self._here
        if self._alignment is not None:
            return self._aligned(self._alignment.result(), there, here, now_ms)
        same = _same_until(there, here, self.copied)
        return self.counted(now_ms) if same == self.copied else self._cut(same, there, here, now_ms)

    def _is_changed(self) -> bool:
        return self.walk.short or self.walk.walk.hole is not None

    def named(self, error: ReplicatorError) -> ReplicatorError:
        """A fault knows its partition."""
        if isinstance(error, PartitionFault):
            error.topic, error.partition = self.key
        return error

    def _doubt(self) -> str:
        walk = self.walk.walk
        if walk.hole is not None:
            return f"the source misses records from offset {walk.hole} on"
        if self.walk.short:
            return f"the source ends at offset {walk.position}"
        return "the source has had another leader meanwhile"

    def _cut(self, same: int, there: TargetContent, here: SourceContent, now_ms: int) -> Recovered:
        """The source was cut behind the first `same` copied records; it may have grown again since.

        The answer is a position behind the end of the leader epoch that goes with it: whoever reads from there is told
        that the log was cut, and where (SOURCE_TRUNCATED).
        """
        entry = self._entry
        end = here.offsets[same - 1] + 1 if same else entry.source_next
        epoch = here.epoch_before(end, entry.source_leader_epoch) if same else entry.source_leader_epoch
        other = here.offsets[same] if same < len(here.offsets) else here.end
        behind = self.source_epoch if same == len(here.offsets) else here.epoch_before(here.offsets[same] + 1, -1)
        if other is None or not 0 <= epoch < behind:
            raise AmbiguousError(f"from offset {end} on the source doesn't hold what was copied")
        offsets = dict(zip(there.indexes, there.offsets, strict=True))
        runs = [(here.offsets[index], offsets[index], 1) for index in range(same) if index in offsets]
        return self._recovered(other + self.copied - same, epoch, runs, now_ms)

    def _aligned(self, aligned: Aligned, there: TargetContent, here: SourceContent, now_ms: int) -> Recovered:
        """The source has lost records, and this is what was found of the others."""
        entry, count = self._entry, self.copied
        position, epoch, left = entry.source_next, entry.source_leader_epoch, count
        if aligned.next_offset is not None:
            position = aligned.next_offset
            epoch = here.epoch_before(position, epoch)
            left = count - 1 - there.indexes[aligned.matched[-1][0]]
        same_leader = max(self.source_epoch, here.newest_epoch) == epoch >= 0
        if left and aligned.next_offset is None and here.log_start > position:
            # From where the log begins now nothing is copied. What lies between may be missing, and will show as such:
            # all of it if the log may have been cut and grown again, else what couldn't have held the copied records.
            position = min(position + count, here.log_start) if same_leader else position
        elif left and not same_leader:
            raise AmbiguousError(f"the last {left} of them aren't there, and had another leader: compacted, or cut off")
        elif left and here.end is not None and left > here.end - position:
            raise AmbiguousError(f"the last {left} of them aren't there, and don't fit into the end of the log")
        runs = [(offset, there.offsets[index], 1) for index, offset in aligned.matched]
        return self._recovered(position, epoch, runs, now_ms)

    def _runs(self) -> list[tuple[int, int, int]]:
        """Source offset, target offset and length of what was copied and is still there."""
        runs: list[tuple[int, int, int]] = []
        sources, at = self.walk.walk.runs, 0
        for place in self._copied.places:
            index, end = place.first, place.first + place.length
            while index < end:
                while sources[at].first + sources[at].length <= index:
                    at += 1
                run = sources[at]
                length = min(end, run.first + run.length) - index
                runs.append((run.source + index - run.first, place.target + index - place.first, length))
                index += length
        return runs

    def _recovered(
        self, source_next: int, source_epoch: int, runs: list[tuple[int, int, int]], now_ms: int
    ) -> Recovered:
        entry, tail = self._entry, self.tail.tail
        offset_map = MapTail(entry.map_chunks, entry.map_tail)
        try:
            for run in runs:
                offset_map.add(*run)
        except MapOrderError as error:
            raise PartitionFault(Reason.RECOVERY_AMBIGUOUS, f"{error}.", offset=entry.source_next) from error
        chunks = offset_map.flush()
        map_chunks, map_tail = offset_map.after_flush()
        copied = self.copied
        return Recovered(
            entry=replace(
                entry,
                source_next=source_next,
                source_leader_epoch=source_epoch,
                target_next=tail.next_offset,
                producer_id=self._owner.producer_id,
                producer_epoch=self._owner.epoch,
                next_sequence=0,
                record_timestamp_ms=tail.max_timestamp if copied else entry.record_timestamp_ms,
                written_ms=now_ms,
                map_chunks=map_chunks,
                map_tail=map_tail,
            ),
            chunks=tuple(chunks),
            copied=copied,
            foreign=tail.foreign,
        )


def _same_until(there: TargetContent, here: SourceContent, count: int) -> int:
    """How many of the `count` copied records the source still has where they were: up to the first that differs."""
    if there.complete and there.contents.data == here.contents.data:
        return count
    for index, content in zip(there.indexes, there.contents, strict=True):
        if index >= len(here.offsets):
            return len(here.offsets)
        if here.contents[index] != content:
            return index
    if not there.indexes or there.indexes[-1] != count - 1:
        raise AmbiguousError("the last of the copied records are gone from the target")
    return count
