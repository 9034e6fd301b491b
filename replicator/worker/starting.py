"""Where a partition begins: at its ledger entry, or, without one, where the link's `start:` says.

All questions to the brokers are asked for many partitions at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime

from replicator.config.models import LinkConfig
from replicator.ledger.entry import Entry
from replicator.states import Reason, State
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_COMMITTED, READ_UNCOMMITTED
from replicator.wire.kafka_errors import NONE
from replicator.wire.list_offsets import EARLIEST, LATEST, ListedOffset
from replicator.wire.primitives import NO_TOPIC_ID

Key = tuple[str, int]

_UNKNOWN = (
    "{copy} has got to offset {end}, and the ledger knows nothing of it: another program or link wrote it, or this "
    "entry of the ledger was lost. If it is a copy, restart a worker with `replicator run --adopt`, which finds the "
    "place to go on from; `replicator resume --accept-gap` copies from source offset {start} behind what is there."
)


class StartingPoints:
    """Decides first entries for new partitions, and holds old entries against what the clusters are now."""

    def __init__(
        self,
        link: LinkConfig,
        source: ClusterClient,
        target: ClusterClient,
        now_ms: Callable[[], int],
        *,
        two_way: bool = False,
        turned: Callable[[Key], int | None] = lambda at: None,
    ) -> None:
        self._link = link
        self._source = source
        self._target = target
        self._now_ms = now_ms
        self._turned = turned  # before which offset the other direction has written all
        self._two_way = two_way  # then what a target topic holds may well be its own clients'

    async def first_entries(self, keys: Collection[Key], *, born_after_link: Collection[Key]) -> list[Entry]:
        """Entries for partitions that have none; those of them that the source got only when the link ran already are
        copied from their beginnings. Partitions whose leaders aren't known now are left out."""
        starts = await self._first_offsets(keys, born_after_link)
        ends = await self._target_ends(starts)
        now = self._now_ms()
        entries = []
        for (topic, partition), start in starts.items():
            remote = self._link.remote_topic(topic)
            end = ends.get((topic, partition))
            if end is None:
                continue
            turned = self._turned((topic, partition))
            start = max(start, turned or 0)
            reason = Reason.FOREIGN_WRITER if end > 0 and not self._two_way and turned is None else None
            entries.append(
                Entry(
                    topic=topic,
                    partition=partition,
                    source_topic_id=self._source.topic_id_of(topic) or NO_TOPIC_ID,
                    source_leader_epoch=-1,
                    target_topic=remote,
                    target_topic_id=self._target.topic_id_of(remote) or NO_TOPIC_ID,
                    source_next=start,
                    target_next=end,
                    producer_id=-1,
                    producer_epoch=-1,
                    next_sequence=0,
                    state=State.FAULTED if reason else State.COPYING,
                    reason=reason,
                    detail=_UNKNOWN.format(copy=f"{remote}-{partition}", end=end, start=start) if reason else "",
                    since_ms=now,
                    record_timestamp_ms=-1,
                    written_ms=now,
                )
            )
        return entries

    async def brought_forward(self, entries: Collection[Entry]) -> list[Entry]:
        """Those of these entries whose source has deleted what comes next, where all of that was written by the other
        direction, while this one rested: they go on where the source begins, or where the other direction ended."""
        due = [e for e in entries if (self._turned((e.topic, e.partition)) or -1) > e.source_next]
        if not due:
            return []
        found = await self._source.offsets([(e.topic, e.partition, EARLIEST) for e in due], READ_COMMITTED)
        starts = _usable(found)
        forward = []
        for entry in due:
            key = entry.topic, entry.partition
            at = min(starts.get(key, -1), self._turned(key) or -1)
            if at > entry.source_next:
                forward.append(replace(entry, source_next=at, source_leader_epoch=-1, written_ms=self._now_ms()))
        return forward

    async def target_ends(self, entries: Collection[Entry]) -> dict[Key, int]:
        """The present end of each entry's target partition; those without a leader now are left out."""
        return await self._target_ends([(entry.topic, entry.partition) for entry in entries])

    async def _first_offsets(self, keys: Collection[Key], born_after_link: Collection[Key]) -> dict[Key, int]:
        start = self._link.topics.start
        if isinstance(start, datetime):
            at = int(start.timestamp() * 1000)
            found = await self._source.offsets([(*key, at) for key in keys], READ_COMMITTED)
            later = [key for key, listed in found.items() if listed.error == NONE and listed.offset < 0]
            found.update(await self._source.offsets([(*key, LATEST) for key in later], READ_COMMITTED))
        else:
            where = EARLIEST if start == "earliest" else LATEST
            asked = [(*key, EARLIEST if key in born_after_link else where) for key in keys]
            found = await self._source.offsets(asked, READ_COMMITTED)
        return _usable(found)

    async def _target_ends(self, keys: Collection[Key]) -> dict[Key, int]:
        asked = [(self._link.remote_topic(topic), partition, LATEST) for topic, partition in keys]
        found = _usable(await self._target.offsets(asked, READ_UNCOMMITTED))
        remote = self._link.remote_topic
        return {key: found[remote(key[0]), key[1]] for key in keys if (remote(key[0]), key[1]) in found}


def _usable(found: dict[Key, ListedOffset]) -> dict[Key, int]:
    return {key: listed.offset for key, listed in found.items() if listed.error == NONE and listed.offset >= 0}
