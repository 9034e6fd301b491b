"""Going on behind a gap: what a partition's entry becomes when somebody accepts that data is missing for good.

The gap itself stays in the entry, and so in `status`. Where offsets begin to mean something else (another topic under
the same name, a target that was cut), the offset map begins anew; where the source was cut, so is the map.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from replicator.errors import UnreachableError, WrongStateError
from replicator.ledger.control import ACCEPTABLE
from replicator.ledger.entry import Entry, Gap
from replicator.ledger.map_chunks import encode_chunk_key
from replicator.ledger.map_cut import cut_map, tail_suffices
from replicator.states import Reason, State
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_UNCOMMITTED
from replicator.wire.kafka_errors import NONE
from replicator.wire.leader_epoch import end_offset_of_epoch
from replicator.wire.list_offsets import EARLIEST, LATEST

BY_POLICY = "policy on_gap: continue"
BY_PEOPLE_ALONE = frozenset({Reason.FOREIGN_WRITER, Reason.RECOVERY_AMBIGUOUS})  # no policy knows better
MAP_GOES_ON = frozenset(
    {Reason.RETENTION_OVERRUN, Reason.SOURCE_TRUNCATED, Reason.FOREIGN_WRITER, Reason.RECOVERY_AMBIGUOUS}
)


class Gaps:
    """Finds where to go on; asks both clusters, changes nothing."""

    def __init__(self, source: ClusterClient, target: ClusterClient, now_ms: Callable[[], int]) -> None:
        self._source = source
        self._target = target
        self._now_ms = now_ms

    async def entry_behind(self, entry: Entry, reason: Reason, by: str) -> Entry:
        """The entry to go on with. WrongStateError if this can't be accepted, UnreachableError to try later."""
        if reason not in ACCEPTABLE:
            raise WrongStateError(f"{entry.topic}-{entry.partition}: {reason.value} isn't a gap that could be accepted")
        source_next, source_to = await self._source_position(entry, reason)
        target_end = await self._offset(self._target, entry.target_topic, entry.partition, LATEST)
        target_from, target_to = 0, 0
        if reason is Reason.TARGET_TRUNCATED:
            target_from, target_to = min(target_end, entry.target_next), max(entry.target_next, 0)
        elif reason is Reason.TARGET_RECREATED:
            target_to = max(entry.target_next, 0)
        elif reason is Reason.RECOVERY_AMBIGUOUS:
            target_from, target_to = entry.target_next, target_end  # what may be there, and is copied once more
        now = self._now_ms()
        gap = Gap(reason, entry.source_next, source_to, target_from, target_to, now, by)
        changed = replace(
            entry,
            source_topic_id=self._source.topic_id_of(entry.topic) or entry.source_topic_id,
            target_topic_id=self._target.topic_id_of(entry.target_topic) or entry.target_topic_id,
            source_next=source_next,
            source_leader_epoch=-1 if source_next != entry.source_next else entry.source_leader_epoch,
            target_next=target_end,
            state=State.COPYING,
            reason=None,
            detail="",
            since_ms=now,
            written_ms=now,
            gaps=(*entry.gaps, gap),
        )
        known_cut = reason is not Reason.SOURCE_TRUNCATED or entry.source_leader_epoch >= 0
        return changed if reason in MAP_GOES_ON and known_cut else replace(changed, map_chunks=0, map_tail=b"")

    async def with_map_cut(
        self, entry: Entry, load: Callable[[], Awaitable[Mapping[int, bytes]]]
    ) -> tuple[Entry, list[tuple[bytes, bytes | None]]]:
        """The entry with its map ending before `source_next`, and what is to be written into the map topic before it.

        `load` reads the partition's chunks, if they are needed.
        """
        chunks = {} if tail_suffices(entry, entry.source_next) else await load()
        map_chunks, map_tail, written = cut_map(entry, chunks, entry.source_next)
        key = entry.topic, entry.partition
        pairs: list[tuple[bytes, bytes | None]] = [(encode_chunk_key(*key, n), value) for n, value in written]
        return replace(entry, map_chunks=map_chunks, map_tail=map_tail), pairs

    async def _source_position(self, entry: Entry, reason: Reason) -> tuple[int, int]:
        """Where to read next, and the end of what is missing on the source (exclusive; the start if nothing is)."""
        present = entry.source_next
        if reason is Reason.RETENTION_OVERRUN:
            start = await self._offset(self._source, entry.topic, entry.partition, EARLIEST)
            return max(start, present), max(start, present)
        if reason is Reason.SOURCE_RECREATED:
            return await self._offset(self._source, entry.topic, entry.partition, EARLIEST), present
        if reason is Reason.SOURCE_TRUNCATED:
            return await self._truncation(entry), present
        return present, present

    async def _truncation(self, entry: Entry) -> int:
        """Where the source's log begins to differ from what was copied."""
        end = await self._offset(self._source, entry.topic, entry.partition, LATEST)
        if entry.source_leader_epoch >= 0:
            leader = self._source.leader(entry.topic, entry.partition)
            if leader is None:
                raise UnreachableError(f"cluster {self._source.alias}: {entry.topic}-{entry.partition} has no leader")
            connection = await self._source.connection(leader.leader, "admin")
            known = await end_offset_of_epoch(connection, entry.topic, entry.partition, entry.source_leader_epoch)
            end = min(end, known) if known >= 0 else end
        return min(end, entry.source_next)

    async def _offset(self, cluster: ClusterClient, topic: str, partition: int, where: int) -> int:
        listed = (await cluster.offsets([(topic, partition, where)], READ_UNCOMMITTED)).get((topic, partition))
        if listed is None or listed.error != NONE:
            raise UnreachableError(f"cluster {cluster.alias}: {topic}-{partition} can't be asked for its offsets now")
        return listed.offset
