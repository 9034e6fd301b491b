"""Ledger entries for copies that the ledger doesn't know: made by MirrorMaker 2, or by this link before its ledger was
lost. `adopt` finds by content where copying had got to; `copy_again` begins anew behind what the copies hold.

Both write nothing about partitions that the ledger knows, so they are harmless on every start, by several workers too:
a lane's entries are written in a transaction of the lane's own producer, which nobody else can have begun or changed
since the lane was looked at. Neither writes to a copy.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from replicator.config.models import LinkConfig
from replicator.dr.adopt_places import Copy, Place, Places
from replicator.errors import ReplicatorError, UnreachableError, WrongStateError
from replicator.ledger.align import AmbiguousError
from replicator.ledger.entry import Entry, Gap, cut_detail, encode_entry, encode_key
from replicator.ledger.lanes import lane_of, ledger_topic
from replicator.ledger.log import LedgerLog
from replicator.ledger.map_tail import TAIL_KEEP, MapTail
from replicator.ledger.moved import known_from_records
from replicator.ledger.selection import select
from replicator.states import PartitionFault, Reason, State
from replicator.wire import kafka_errors as codes
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_COMMITTED, READ_UNCOMMITTED
from replicator.wire.kafka_errors import NONE, BrokerError
from replicator.wire.list_offsets import EARLIEST, LATEST
from replicator.wire.primitives import NO_TOPIC_ID
from replicator.wire.producer_id import init_producer_id
from replicator.wire.transactions import TransactionalProducer

log = structlog.get_logger(__name__)

Key = tuple[str, int]

BY_ADOPT = "run --adopt"
BY_FROM_SCRATCH = "run --from-scratch"
_AT_ONCE = 16  # partitions compared
_SETTLE_S = 90.0  # for open transactions on the copies: a minute is what they may last, by default
_PAUSE_S = 0.5
_LEADERS_S = 30.0  # for topics that have only just been created
_TRANSACTION_TIMEOUT_MS = 60_000
_TURNS = 10
_FENCED = frozenset(
    {codes.INVALID_PRODUCER_EPOCH, codes.INVALID_TXN_STATE, codes.INVALID_PRODUCER_ID_MAPPING, codes.PRODUCER_FENCED}
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done. `partitions` have got an entry, the `ambiguous` ones among them a stopped one."""

    partitions: int
    ambiguous: int


class Adoption:
    """One link's. `prepare` makes the link's internal topics, when there is something to write into them."""

    def __init__(
        self,
        link: LinkConfig,
        source: ClusterClient,
        target: ClusterClient,
        *,
        prepare: Callable[[], Awaitable[None]],
        two_way: bool = False,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
        settle_s: float = _SETTLE_S,
        pause_s: Callable[[int], float] = lambda turn: random.uniform(0.1, 1.0 + turn),
        places: Places | None = None,
        by: str = BY_ADOPT,
    ) -> None:
        self._link = link
        self._source = source
        self._target = target
        self._prepare = prepare
        self._two_way = two_way
        self._now_ms = now_ms
        self._settle_s = settle_s
        self._pause_s = pause_s
        self._places = places or Places(source, target)
        self._by = by
        self._log = log.bind(link=link.name)

    async def adopt(self) -> Outcome:
        """Entries for all copies that hold records and have none, at the place that they have got to.

        WrongStateError while somebody writes to one of them.
        """
        return await self._unless_overtaken(self._adopt)

    async def look(self) -> Outcome:
        """What `adopt` would do now. Writes nothing, and ends no transaction."""
        entries = await self._found_entries(await self._unknown_copies())
        return Outcome(len(entries), sum(entry.reason is not None for entry in entries))

    async def copy_again(self) -> Outcome:
        """If the ledger knows nothing at all: entries at `start:` for copies that hold records."""
        return await self._unless_overtaken(self._copy_again)

    async def remember_groups(self, records: Mapping[bytes, bytes]) -> int:
        """Write these records of groups into lane 0's ledger, but for those that it has already; how many."""

        async def step() -> Outcome:
            await self._ledger_ready()
            ledger = self._ledger(0)

            async def unknown() -> list[tuple[bytes, bytes | None]]:
                known = {key for key, value in await ledger.read() if value is not None}
                return [(key, value) for key, value in records.items() if key not in known]

            return Outcome(await self._write_pairs(ledger, 0, unknown), 0)

        return (await self._unless_overtaken(step)).partitions

    async def _unless_overtaken(self, step: Callable[[], Awaitable[Outcome]]) -> Outcome:
        for turn in range(_TURNS):
            try:
                return await step()
            except BrokerError as error:
                if error.code not in _FENCED or turn == _TURNS - 1:
                    raise
                self._log.info("another worker does the same; looking again at what is left", error=str(error))
            await asyncio.sleep(self._pause_s(turn))
        raise AssertionError("unreachable")

    async def _adopt(self) -> Outcome:
        copies = await self._unknown_copies()
        if not copies:
            return Outcome(0, 0)
        if self._two_way:
            names = sorted({copy.target_topic for copy in copies})
            raise WrongStateError(
                f"link {self._link.name}: {', '.join(names[:5])} on {self._link.target} hold records that the ledger "
                "doesn't know, and can't be adopted: names are kept in both directions, so that their clients write "
                "there too. If this link has never copied them, start without --adopt: they are copied anew"
            )
        self._log.info("looking for the places that copies have got to", partitions=len(copies))
        written = await self._write(await self._found_entries(await self._settled(copies)))
        ambiguous = [entry for entry in written if entry.reason is not None]
        for entry in ambiguous:
            self._log.error("can't adopt", topic=entry.topic, partition=entry.partition, detail=entry.detail)
        self._log.info("adopted copies", partitions=len(written) - len(ambiguous), not_adopted=len(ambiguous))
        return Outcome(len(written), len(ambiguous))

    async def _found_entries(self, copies: Collection[Copy]) -> list[Entry]:
        firsts = await self._first_offsets(copies)
        turns = asyncio.Semaphore(_AT_ONCE)

        async def entry_of(copy: Copy) -> Entry:
            async with turns:
                try:
                    return self._adopted(copy, await self._places.find(copy))
                except (AmbiguousError, PartitionFault) as error:
                    return self._unclear(copy, firsts[copy.topic, copy.partition], error)

        return list(await asyncio.gather(*(entry_of(copy) for copy in copies)))

    async def _copy_again(self) -> Outcome:
        copies = await self._unknown_copies(only_without_ledger=True)
        if not copies:
            return Outcome(0, 0)
        copies = await self._settled(copies)
        firsts = await self._first_offsets(copies)
        await self._say_numbers(copies, firsts)
        entries = []
        for copy in copies:
            first, now = firsts[copy.topic, copy.partition], self._now_ms()
            gap = Gap(Reason.FOREIGN_WRITER, first, first, copy.end, copy.end, now, BY_FROM_SCRATCH)
            entries.append(replace(self._entry(copy, first), gaps=(gap,)))
        return Outcome(len(await self._write(entries)), 0)

    # what there is to do

    async def _unknown_copies(self, *, only_without_ledger: bool = False) -> list[Copy]:
        """The copies that hold records and that the ledger doesn't know.

        Ends are read before the ledger: what a worker has just begun has its entry already (rule A).
        """
        source, target = await self._source.all_topics(), await self._target.all_topics()
        self._target.watch([ledger_topic(self._link.name)])
        selection = select(
            self._link, {name: topic.internal for name, topic in source.topics.items()}, target.topics.keys()
        )
        pairs = [
            (name, partition, remote)
            for name, remote in selection.remote_names.items()
            if remote in target.topics
            for partition in sorted(source.topics[name].partitions.keys() & target.topics[remote].partitions.keys())
        ]
        self._source.watch(name for name, _, _ in pairs)
        self._target.watch(remote for _, _, remote in pairs)
        ends = await self._offsets(self._target, [(remote, p) for _, p, remote in pairs], LATEST, READ_UNCOMMITTED)
        copies = [
            Copy(name, partition, remote, ends[remote, partition])
            for name, partition, remote in pairs
            if ends.get((remote, partition), 0) > 0
        ]
        if not copies or ledger_topic(self._link.name) not in target.topics:
            return copies
        lanes = range(self._link.lanes) if only_without_ledger else sorted({self._lane(copy) for copy in copies})
        known: dict[Key, Entry] = {}
        for lane in lanes:
            known |= known_from_records(await self._ledger(lane).read())
        if only_without_ledger and known:
            return []
        return [copy for copy in copies if _is_unknown(known.get((copy.topic, copy.partition)), copy.end)]

    async def _settled(self, copies: Collection[Copy]) -> list[Copy]:
        """The copies at their ends, once no transaction is open on them. What the link left open is ended here."""
        deadline = time.monotonic() + self._settle_s
        places = [(copy.target_topic, copy.partition) for copy in copies]
        taken: set[int] = set()
        while True:
            stable = await self._offsets(self._target, places, LATEST, READ_COMMITTED)
            ends = await self._offsets(self._target, places, LATEST, READ_UNCOMMITTED)
            lost = [place for place in places if place not in ends or place not in stable]
            open_ones = [copy for copy in copies if stable.get(place := _place_of(copy), 0) < ends.get(place, 0)]
            if not lost and not open_ones:
                return [replace(copy, end=ends[_place_of(copy)]) for copy in copies]
            if time.monotonic() > deadline:
                if lost:
                    raise UnreachableError(
                        f"cluster {self._link.target}: {lost[0][0]}-{lost[0][1]} and {len(lost) - 1} more partitions "
                        "have no leader"
                    )
                raise self._written_meanwhile(open_ones[0], "a transaction is open on it")
            if self._link.delivery == "exactly_once":
                for lane in {self._lane(copy) for copy in open_ones} - taken:
                    await self._producer(lane).init()
                    taken.add(lane)
            await asyncio.sleep(_PAUSE_S)
            await self._target.refresh()

    async def _first_offsets(self, copies: Collection[Copy]) -> dict[Key, int]:
        """Where each would begin as a new one."""
        start = self._link.topics.start
        keys = [(copy.topic, copy.partition) for copy in copies]
        latest = await self._offsets(self._source, keys, LATEST, READ_COMMITTED)
        if isinstance(start, datetime):
            at = await self._offsets(self._source, keys, int(start.timestamp() * 1000), READ_COMMITTED)
            found = {key: at[key] if at.get(key, -1) >= 0 else end for key, end in latest.items()}
        else:
            found = latest if start == "latest" else await self._offsets(self._source, keys, EARLIEST, READ_COMMITTED)
        for topic, partition in keys:
            if (topic, partition) not in found:
                raise UnreachableError(f"cluster {self._link.source}: {topic}-{partition} has no leader")
        return found

    async def _say_numbers(self, copies: Collection[Copy], firsts: Mapping[Key, int]) -> None:
        places = [_place_of(copy) for copy in copies]
        starts = await self._offsets(self._target, places, EARLIEST, READ_UNCOMMITTED)
        ends = await self._offsets(self._source, list(firsts), LATEST, READ_COMMITTED)
        self._log.warning(
            "copying everything again behind what the copies hold: consumers read those records a second time",
            topics=len({copy.target_topic for copy in copies}),
            partitions=len(copies),
            offsets_there=sum(copy.end - starts.get(_place_of(copy), copy.end) for copy in copies),
            offsets_to_copy=sum(max(0, ends.get(key, first) - first) for key, first in firsts.items()),
        )

    # entries

    def _entry(self, copy: Copy, source_next: int) -> Entry:
        now = self._now_ms()
        return Entry(
            topic=copy.topic,
            partition=copy.partition,
            source_topic_id=self._source.topic_id_of(copy.topic) or NO_TOPIC_ID,
            source_leader_epoch=-1,
            target_topic=copy.target_topic,
            target_topic_id=self._target.topic_id_of(copy.target_topic) or NO_TOPIC_ID,
            source_next=source_next,
            target_next=copy.end,
            producer_id=-1,
            producer_epoch=-1,
            next_sequence=0,
            state=State.COPYING,
            reason=None,
            detail="",
            since_ms=now,
            record_timestamp_ms=-1,
            written_ms=now,
        )

    def _adopted(self, copy: Copy, place: Place) -> Entry:
        tail = MapTail()
        runs = place.runs[-TAIL_KEEP:]
        for run in runs:
            tail.add(*run)
        source_from, target_from = runs[0][:2] if runs else (place.source_next, copy.end)
        now = self._now_ms()
        return replace(
            self._entry(copy, place.source_next),
            record_timestamp_ms=place.record_timestamp_ms,
            map_tail=tail.encoded(),
            gaps=(Gap(Reason.FOREIGN_WRITER, source_from, source_from, target_from, target_from, now, self._by),),
        )

    def _unclear(self, copy: Copy, first: int, why: ReplicatorError) -> Entry:
        said = why.detail if isinstance(why, PartitionFault) else str(why)
        detail = (
            f"{copy} of cluster {self._link.target} ends at offset {copy.end}, and its records don't tell where on "
            f"{copy.topic}-{copy.partition} of {self._link.source} copying had got to: {said}. Exclude the topic; or, "
            f"to have it copied from source offset {first} behind what is there (nothing, if you delete "
            f"{copy.target_topic} and create it anew), run `replicator resume --accept-gap`."
        )
        return replace(
            self._entry(copy, first),
            state=State.FAULTED,
            reason=Reason.RECOVERY_AMBIGUOUS,
            detail=cut_detail(detail),
        )

    # writing

    async def _write(self, entries: Iterable[Entry]) -> list[Entry]:
        """Write those whose partitions still have no entry; which these were."""
        await self._ledger_ready()
        by_lane: dict[int, list[Entry]] = {}
        for entry in entries:
            by_lane.setdefault(lane_of(entry.topic, entry.partition, self._link.lanes), []).append(entry)
        written: list[Entry] = []
        for lane, wanted in sorted(by_lane.items()):
            written += await self._write_lane(lane, wanted)
        return written

    async def _ledger_ready(self) -> None:
        await self._prepare()
        deadline = time.monotonic() + _LEADERS_S
        name = ledger_topic(self._link.name)
        while missing := [n for n in range(self._link.lanes) if self._target.leader(name, n) is None]:
            if time.monotonic() > deadline:
                raise UnreachableError(f"cluster {self._link.target}: {name}-{missing[0]} has no leader")
            await asyncio.sleep(_PAUSE_S / 5)
            await self._target.refresh()

    async def _write_lane(self, lane: int, wanted: list[Entry]) -> list[Entry]:
        ledger = self._ledger(lane)
        entries: list[Entry] = []

        async def unknown() -> list[tuple[bytes, bytes | None]]:
            entries[:] = await self._still_unknown(ledger, wanted)
            return _pairs(entries)

        await self._write_pairs(ledger, lane, unknown)
        return entries

    async def _write_pairs(
        self, ledger: LedgerLog, lane: int, unknown: Callable[[], Awaitable[list[tuple[bytes, bytes | None]]]]
    ) -> int:
        """Write what is still unknown once nobody else can write there; how many records."""
        if self._link.delivery != "exactly_once":
            pairs = await unknown()
            await ledger.write(await init_producer_id(await self._target.any_connection()), pairs)
            return len(pairs)
        producer = self._producer(lane)
        identity = await producer.init()  # from here on whoever writes this lane's entries ends this one's transaction
        pairs = await unknown()
        if pairs:
            await producer.add_partitions({ledger.topic: [lane]})
            await ledger.write(identity, pairs, transactional_id=producer.transactional_id)
            await producer.end(commit=True)
        return len(pairs)

    async def _still_unknown(self, ledger: LedgerLog, wanted: list[Entry]) -> list[Entry]:
        known = known_from_records(await ledger.read())
        entries = [e for e in wanted if _is_unknown(known.get((e.topic, e.partition)), e.target_next)]
        places = [(entry.target_topic, entry.partition) for entry in entries]
        ends = await self._offsets(self._target, places, LATEST, READ_UNCOMMITTED)
        for entry in entries:
            if ends.get((entry.target_topic, entry.partition), entry.target_next) != entry.target_next:
                copy = Copy(entry.topic, entry.partition, entry.target_topic, entry.target_next)
                raise self._written_meanwhile(copy, "it has grown meanwhile")
        return entries

    def _written_meanwhile(self, copy: Copy, how: str) -> WrongStateError:
        return WrongStateError(
            f"link {self._link.name}: somebody writes to {copy} on cluster {self._link.target}: {how}. Stop what has "
            "been copying to it (MirrorMaker 2, another link), then start again"
        )

    def _lane(self, copy: Copy) -> int:
        return lane_of(copy.topic, copy.partition, self._link.lanes)

    def _ledger(self, lane: int) -> LedgerLog:
        return LedgerLog(self._target, ledger_topic(self._link.name), lane)

    def _producer(self, lane: int) -> TransactionalProducer:
        name = f"replicator.{self._link.name}.{lane}.{self._source.cluster_id}.t"
        return TransactionalProducer(self._target, name, timeout_ms=_TRANSACTION_TIMEOUT_MS)

    async def _offsets(
        self, cluster: ClusterClient, places: Collection[Key], where: int, isolation: int
    ) -> dict[Key, int]:
        found = await cluster.offsets([(*place, where) for place in places], isolation)
        return {place: listed.offset for place, listed in found.items() if listed.error == NONE}


def _is_unknown(entry: Entry | None, end: int) -> bool:
    """No entry; or one that was stopped because of records that it doesn't know, before anything was copied.

    A copy that was found unclear at this end isn't looked at again.
    """
    if entry is None:
        return True
    begun = entry.map_chunks or entry.map_tail or entry.gaps or entry.record_timestamp_ms >= 0
    unclear = entry.reason is Reason.RECOVERY_AMBIGUOUS and entry.target_next != end
    return not begun and (unclear or entry.reason is Reason.FOREIGN_WRITER)


def _place_of(copy: Copy) -> Key:
    return copy.target_topic, copy.partition


def _pairs(entries: Iterable[Entry]) -> list[tuple[bytes, bytes | None]]:
    return [(encode_key(entry.topic, entry.partition), encode_entry(entry)) for entry in entries]
