"""Keeps the offset maps of this worker's lanes small: what no log reaches is deleted, what is above the cap is thinned.

A lane's partition of the map topic is read twice at most, and only the chunks of one source partition are in memory at
a time. Everything is written as the lane's own producer, so a worker that lost the lane can't write it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Protocol

import structlog

from replicator.errors import ReplicatorError
from replicator.ledger.entry import Entry
from replicator.ledger.lanes import map_topic
from replicator.ledger.log import KeyValue
from replicator.ledger.map_chunks import PARTITION_MAX_BYTES, decode_head, encode_chunk_key
from replicator.ledger.map_scan import load_chunks, scan_chunks
from replicator.ledger.map_thinning import CAP_BYTES, expired, thin
from replicator.ledger.moved import Moved
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_COMMITTED
from replicator.wire.list_offsets import EARLIEST

log = structlog.get_logger(__name__)

Key = tuple[str, int]

FIRST_MS = 5 * 60_000  # after a takeover there is more urgent work
EVERY_MS = 60 * 60_000
AGAIN_MS = 60_000  # while there is more to be thinned than one step does
MAX_MERGES = 100  # a second of one core
_PAIRS_AT_ONCE = 500  # a MiB


class CaredLane(Protocol):
    """What is needed of a lane."""

    number: int
    entries: dict[Key, Entry]
    moved: dict[Key, Moved]

    @property
    def running(self) -> bool:
        """Whether it may write."""

    async def write_map(self, pairs: Sequence[KeyValue]) -> None:
        """Append to its partition of the map topic."""


class MapCare:
    """Of one link in this worker. Call `step` every few seconds; it does one lane that is due, if there is one.

    Lanes are due a while after they were seen first, and then once an hour, spread by their numbers.
    """

    def __init__(
        self,
        link: str,
        source: ClusterClient,
        target: ClusterClient,
        lanes: Callable[[], Iterable[CaredLane]],
        now_ms: Callable[[], int],
        *,
        max_bytes: int = CAP_BYTES,
        first_ms: int = FIRST_MS,
        every_ms: int = EVERY_MS,
    ) -> None:
        self._topic = map_topic(link)
        self._link = link
        self._source = source
        self._target = target
        self._lanes = lanes
        self._now_ms = now_ms
        self._max_bytes = max_bytes
        self._first_ms = first_ms
        self._every_ms = every_ms
        self._due: dict[int, tuple[CaredLane, int]] = {}  # by number: the lane that is meant, and when

    async def step(self) -> None:
        """ReplicatorError if that can't be done now; the lane is due again a while later."""
        now = self._now_ms()
        lanes = {lane.number: lane for lane in self._lanes()}
        self._due = {number: due for number, due in self._due.items() if lanes.get(number) is due[0]}
        for number, lane in lanes.items():
            if number not in self._due:
                self._due[number] = lane, now + self._first_ms + self._jitter(number)
        for number, (lane, at) in sorted(self._due.items(), key=lambda item: item[1][1]):
            if at > now:
                return
            if lane.running:
                self._due[number] = lane, now + AGAIN_MS
                more = await self._tend(lane)
                self._due[number] = lane, self._now_ms() + (AGAIN_MS if more else self._every_ms)
                return

    def _jitter(self, number: int) -> int:
        return self._every_ms * (number * 37 % 100) // 1000  # up to a tenth of the interval

    async def _tend(self, lane: CaredLane) -> bool:
        """Whether there is more to be done soon."""
        ends: dict[Key, dict[int, tuple[int, int]]] = {}
        sizes: dict[Key, dict[int, int]] = {}

        def note(at: Key, number: int, value: bytes | None) -> None:
            if value is None:
                ends.get(at, {}).pop(number, None)
                sizes.get(at, {}).pop(number, None)
            else:
                ends.setdefault(at, {})[number] = decode_head(value)[4:6]
                sizes.setdefault(at, {})[number] = len(value)

        await scan_chunks(self._target, self._topic, lane.number, note)
        entries = {key: lane.entries[key] for key in ends if key in lane.entries}  # not older than what was read
        starts = await self._starts(entries.values())
        deleted = thinned = 0
        more = False
        for key, known in sorted(ends.items()):
            if key in lane.moved:
                continue  # its new lane copies from here
            entry = entries.get(key)
            if entry is None:
                gone = sorted(known)
            else:
                known = {number: end for number, end in known.items() if number < entry.map_chunks}
                gone = expired(known, *starts[key]) if key in starts else []
            written = [(number, None) for number in gone]
            deleted += await self._write(lane, key, entry, written)
            left = known.keys() - set(gone) if entry is not None else set()
            if sum(sizes[key][number] for number in left) > self._max_bytes:
                values = await self._load(lane, key, _oldest(sizes[key], left))
                fewer = await asyncio.to_thread(thin, values, self._max_bytes, MAX_MERGES)
                thinned += await self._write(lane, key, entry, fewer)
                more = more or len(fewer) >= MAX_MERGES
        if deleted or thinned:
            log.info("tidied the offset map", link=self._link, lane=lane.number, deleted=deleted, thinned=thinned)
        return more

    async def _write(
        self, lane: CaredLane, key: Key, entry: Entry | None, written: Sequence[tuple[int, bytes | None]]
    ) -> int:
        """Write it unless the partition's map began anew meanwhile; how many chunks that were."""
        if not written or not lane.running:
            return 0
        now = lane.entries.get(key)
        if entry is None or now is None:
            if now is not entry:
                return 0
        elif now.map_chunks < entry.map_chunks or now.gaps != entry.gaps:
            return 0
        pairs = [(encode_chunk_key(*key, number), value) for number, value in written]
        for first in range(0, len(pairs), _PAIRS_AT_ONCE):
            await lane.write_map(pairs[first : first + _PAIRS_AT_ONCE])
        return len(written)

    async def _load(self, lane: CaredLane, key: Key, numbers: Collection[int]) -> dict[int, bytes]:
        return await load_chunks(self._target, self._topic, lane.number, key, numbers.__contains__)

    async def _starts(self, entries: Iterable[Entry]) -> Mapping[Key, tuple[int, int]]:
        """The log start offsets of both sides, of those of which both are known."""
        wanted = {(entry.topic, entry.partition): (entry.target_topic, entry.partition) for entry in entries}
        try:
            sources = await self._source.offsets([(*at, EARLIEST) for at in wanted], READ_COMMITTED)
            targets = await self._target.offsets([(*at, EARLIEST) for at in wanted.values()], READ_COMMITTED)
        except ReplicatorError as error:
            log.warning("can't ask where logs begin", link=self._link, error=str(error))
            return {}
        return {
            at: (sources[at].offset, targets[copy].offset)
            for at, copy in wanted.items()
            if at in sources and copy in targets and not sources[at].error and not targets[copy].error
        }


def _oldest(sizes: Mapping[int, int], numbers: Iterable[int]) -> set[int]:
    """The first of these chunks, as many as a map may have bytes."""
    ordered = sorted(numbers)
    taken = accumulate(sizes[number] for number in ordered)
    return {number for number, size in zip(ordered, taken, strict=True) if size <= PARTITION_MAX_BYTES}
