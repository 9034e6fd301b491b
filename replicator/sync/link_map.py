"""One link's entries, offset maps and group records, kept up to date from its ledger; whoever runs its lanes.

Entries are read each time, maps only where they are needed: what was copied last is in the entry itself. A map that was
loaded answers for what it knew then; what came since is asked of the entry, or loaded anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

import structlog

from replicator.errors import ReplicatorError
from replicator.ledger.codec import LedgerFormatError
from replicator.ledger.entry import MOVED_VERSION, Entry, decode, decode_key, encode_key
from replicator.ledger.following import TopicFollower
from replicator.ledger.group_state import GroupTopic, decode_group, decode_group_key
from replicator.ledger.lanes import ledger_topic, map_topic
from replicator.ledger.map_chunks import PARTITION_MAX_BYTES
from replicator.ledger.map_reader import map_of
from replicator.ledger.map_scan import scan_chunks
from replicator.ledger.moved import decode_moved
from replicator.ledger.offset_map import MapCache, OffsetMap
from replicator.ledger.translation import Located, locate
from replicator.wire.cluster import ClusterClient

Key = tuple[str, int]

LANES_AT_ONCE = 8  # whose maps are loaded in one round
_SLOT = "groups-ledger"

log = structlog.get_logger(__name__)


class Known(NamedTuple):
    """What is known of a partition: its entry, which lane's, the map of the newest records, and what it depends on."""

    entry: Entry
    lane: int
    tail: OffsetMap
    basis: int


class LinkMap:
    """Of the link with this name, whose ledger is on this cluster. Belongs to one event loop."""

    def __init__(self, link: str, cluster: ClusterClient, cache: MapCache) -> None:
        self.link = link
        self.cluster = cluster
        self.groups: dict[tuple[str, str], GroupTopic] = {}  # by group and target topic
        self.unreadable = ""  # what couldn't be read of it last
        self._ledger = TopicFollower(cluster, ledger_topic(link), _SLOT)
        self._cache = cache
        self._loaded: dict[Key, tuple[int, int]] = {}  # for which basis, and how many chunks
        self._raw: dict[Key, dict[int, bytes]] = {}  # of each lane that has a record of the partition
        self._known: dict[Key, Known | None] = {}
        self._topics: dict[str, str] = {}  # source -> target
        self._wanted: dict[Key, int] = {}  # lane
        self._generation: UUID | None = None

    @property
    def exists(self) -> bool:
        """Whether the cluster has its ledger."""
        return self._ledger.partitions > 0

    async def refresh(self) -> None:
        """Read on in the ledger. A lane that can't be read now leaves its partitions as they were (`unreadable`);
        UnreachableError if none can."""
        self.cluster.watch([ledger_topic(self.link), map_topic(self.link)])
        if self.cluster.topics.get(ledger_topic(self.link)) is None:
            await self.cluster.refresh()
        topic_id = self.cluster.topic_id_of(ledger_topic(self.link))
        if topic_id != self._generation:
            self._begin_anew(topic_id)
        lanes = range(self._ledger.partitions)
        failed = await self._ledger.read(lanes, self.take)
        if failed and len(failed) == len(lanes):
            raise next(iter(failed.values()))
        self.unreadable = "; ".join(str(error) for error in list(failed.values())[:3])

    def _begin_anew(self, topic_id: UUID | None) -> None:
        self._generation = topic_id
        self._ledger = TopicFollower(self.cluster, ledger_topic(self.link), _SLOT)
        for forgotten in (self._raw, self._known, self._topics, self._wanted, self.groups, self._loaded):
            forgotten.clear()

    def take(self, lane: int, key: bytes, value: bytes | None) -> None:
        """Learn a record of its ledger."""
        if (group := decode_group_key(key)) is not None:
            if value is None:
                self.groups.pop(group, None)
            else:
                self.groups[group] = decode_group(value)
            return
        where = decode_key(key)
        if where is None:
            return
        lanes = self._raw.setdefault(where, {})
        if value is None:
            lanes.pop(lane, None)
        else:
            lanes[lane] = value
        self._known.pop(where, None)

    @property
    def topics(self) -> Mapping[str, str]:
        """Source topic -> target topic, of all that have entries. LedgerFormatError if an entry can't be read."""
        for key in self._raw:
            if key[0] not in self._topics and (known := self.known(key)) is not None:
                self._topics[key[0]] = known.entry.target_topic
        return self._topics

    def known(self, key: Key) -> Known | None:
        """The partition's entry as of the last refresh; None without one. LedgerFormatError if it can't be read."""
        if key in self._known:
            return self._known[key]
        lanes = self._raw.get(key)
        found = self._known[key] = None if not lanes else self._decode(key, lanes)
        return found

    def _decode(self, key: Key, lanes: Mapping[int, bytes]) -> Known | None:
        raw_key = encode_key(*key)
        best: tuple[int, bool, int, Entry] | None = None  # a partition is where it has moved last
        for lane, value in lanes.items():
            if value[:1] == bytes((MOVED_VERSION,)):
                moved = decode_moved(raw_key, value)
                option = None if moved is None else (moved.number - 1, False, lane, moved.entry)
            else:
                entry = decode(raw_key, value)
                option = None if entry is None else (entry.moves, True, lane, entry)
            if option is not None and (best is None or option[:2] > best[:2]):
                best = option
        if best is None:
            return None
        entry = best[3]
        return Known(entry, best[2], map_of(entry, {}), _basis(entry))

    def locate(self, known: Known, offset: int, *, reverse: bool = False) -> Located | str | None:
        """Where a position of the partition is on the other side, or why that can't be said; None: its map has to be
        loaded before (`load`)."""
        entry, tail = known.entry, known.tail
        start, key = tail.target_start if reverse else tail.source_start, (entry.topic, entry.partition)
        if not entry.map_chunks or (tail and offset >= start):
            return locate(entry, tail, offset, reverse=reverse)
        basis, chunks = self._loaded.get(key, (0, 0))
        loaded = self._cache.get(self.link, *key) if chunks and basis == known.basis else None
        if loaded is not None:
            end = loaded.target_end if reverse else loaded.source_end
            if offset < end or (not tail and chunks == entry.map_chunks):
                return locate(entry, loaded, offset, reverse=reverse)
        self._wanted[key] = known.lane
        return None

    def around(self, known: Known, offset: int, *, of_target: bool) -> OffsetMap:
        """The map that knows this offset of the target (or source), of those that are here; maybe none does."""
        tail, key = known.tail, (known.entry.topic, known.entry.partition)
        if tail and offset >= (tail.target_start if of_target else tail.source_start):
            return tail
        basis, chunks = self._loaded.get(key, (0, 0))
        loaded = self._cache.get(self.link, *key) if chunks and basis == known.basis else None
        return tail if loaded is None else loaded

    async def load(self) -> bool:
        """Load maps that `locate` had to do without, some lanes of them; whether any was. ReplicatorError if none of
        them could be read."""
        wanted, self._wanted = self._wanted, {}
        if not wanted:
            return False
        lanes = sorted(set(wanted.values()))[:LANES_AT_ONCE]
        last: ReplicatorError | None = None
        done = False
        for lane in lanes:
            try:
                done |= await self._load_lane(lane, {key for key, of in wanted.items() if of == lane})
            except ReplicatorError as error:
                last = error
        if last is not None and not done:
            raise last
        return done

    async def _load_lane(self, lane: int, keys: set[Key]) -> bool:
        chunks: dict[Key, dict[int, bytes]] = {key: {} for key in keys}
        sizes = dict.fromkeys(keys, 0)

        def take(key: Key, number: int, value: bytes | None) -> None:
            into = chunks.get(key)
            if into is None:
                return
            sizes[key] += len(value or b"") - len(into.pop(number, b""))
            if sizes[key] > PARTITION_MAX_BYTES:
                raise LedgerFormatError(
                    f"the offset map of {key[0]}-{key[1]} has more than {PARTITION_MAX_BYTES} bytes"
                )
            if value is not None:
                into[number] = value

        await scan_chunks(self.cluster, map_topic(self.link), lane, take)
        done = False
        for key in keys:
            known = self.known(key)
            if known is None:
                continue
            if known.entry.map_chunks - 1 not in chunks[key]:
                log.debug("the newest part of an offset map can't be read yet", link=self.link, partition=key)
                continue
            loaded = map_of(known.entry, chunks[key])
            self._cache.put(self.link, *key, loaded)
            self._loaded[key] = known.basis, known.entry.map_chunks
            done = True
            await asyncio.sleep(0)
        return done


def _basis(entry: Entry) -> int:
    """What a final translation depends on: which topics they are, and what was accepted to be missing."""
    said = entry.source_topic_id.bytes + entry.target_topic_id.bytes
    for gap in entry.gaps:
        said += f"{gap.reason}{gap.source_from}{gap.at_ms}".encode()
    return crc32(said)
