"""A lane: the unit of assignment and of state. From being assigned to being given up, with its partitions.

Life: `recover()` becomes the lane's only writer and reads its part of the ledger; `take_over()` finds out what was
written since the entries of partitions in fenced writing; `write_first()` and `write_entries()` record positions;
`flush()` hands over in good order; `close()` lets go at once (the lane is lost).

Entries of partitions in transactions are written with their transactions, by its producer; those of partitions in
fenced writing plainly, by the other one. So neither ever waits for the other in the ledger's partition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import structlog

from replicator.errors import ReplicatorError
from replicator.flow.fenced import FencedWriting
from replicator.flow.partition import PartitionFlow
from replicator.flow.ports import NATIVE, Gate
from replicator.flow.target_errors import STOPS_WRITING
from replicator.flow.transaction import TIMEOUT_MS, LaneTransaction
from replicator.flow.ways import Ways
from replicator.ledger.entry import Entry, encode_entry, encode_key
from replicator.ledger.lane_record import LANE_KEY, LaneRecord, decode_lane, encode_lane
from replicator.ledger.lanes import ledger_topic, map_topic
from replicator.ledger.load import entries_from_records
from replicator.ledger.log import KeyValue, LedgerLog
from replicator.ledger.map_chunks import encode_chunk_key
from replicator.ledger.map_tail import MapTail
from replicator.ledger.moved import Moved, encode_moved, moved_from_records
from replicator.ledger.provenance import Provenance
from replicator.ledger.recovery import Recovered
from replicator.ledger.selection import TopicProblem
from replicator.ledger.topic_problem import StoredProblem, problem_changes, problems_from_records
from replicator.states import PartitionFault, Reason, State, Way
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_UNCOMMITTED
from replicator.wire.producer_id import ProducerIdAndEpoch, init_producer_id
from replicator.wire.transactions import TransactionalProducer
from replicator.worker.lane_share import Chunks, Share, entry_pairs, forget, map_pairs
from replicator.worker.plain_state import PlainState
from replicator.worker.takeover import Takeover

log = structlog.get_logger(__name__)

Key = tuple[str, int]


_OF_TAKEOVER = frozenset({Reason.RECOVERY_AMBIGUOUS})


class TransactionalIds(NamedTuple):
    """The lane's: of its transactions, of its fenced writing, and of its transactions for another origin."""

    transactions: str
    fenced: str
    passing: Callable[[str], str]


Gates = Callable[["Lane", Share], tuple[LaneTransaction, FencedWriting | None]]


class Lane:
    """One lane owned by this worker. `origin` is the id of the source cluster; `shared` says that others may write to
    the target topics as well, `origins` what isn't copied because of where it is from (identical naming)."""

    def __init__(
        self,
        number: int,
        link: str,
        target: ClusterClient,
        now_ms: Callable[[], int],
        *,
        ids: TransactionalIds | None = None,
        gates: Gates | None = None,
        origin: str = "",
        shared: bool = False,
        origins: Provenance | None = None,
    ) -> None:
        self.number = number
        self.entries: dict[Key, Entry] = {}
        self.moved: dict[Key, Moved] = {}  # of those that are another lane's now
        self.flows: dict[Key, PartitionFlow] = {}
        self.sequences: dict[Key, dict[ProducerIdAndEpoch, int]] = {}  # of dropped runs, for the next one to go on
        self.record = LaneRecord()
        self.recovered = False
        self.recovering: asyncio.Task[None] | None = None
        self.failure: ReplicatorError | None = None  # why it didn't recover when it tried last
        self.closed = False
        self.starting = asyncio.Lock()  # held while its partitions are being started
        self._target = target
        self._ledger = LedgerLog(target, ledger_topic(link), number)
        self._map = LedgerLog(target, map_topic(link), number)
        self._tails: dict[Key, MapTail] = {}
        self._now_ms = now_ms
        self._producer: ProducerIdAndEpoch | None = None
        self._dirty_plain: set[Key] = set()
        self._problems: dict[str, StoredProblem] = {}
        self._gates = gates
        self._origin = origin
        self._shared = shared
        self._ids = ids
        self._link = link
        self._native: Share | None = None
        self._passing: dict[str, Share] = {}  # by origin
        self._takeover: Takeover | None = None
        if ids is not None:
            self._native = Share(self, link, target, ids.transactions, NATIVE)
            fence = TransactionalProducer(target, ids.fenced, timeout_ms=TIMEOUT_MS)
            self._takeover = Takeover(fence, number, target, now_ms, shared=shared, origins=origins)
        self._plain = PlainState(target, link, number, self._new_producer if ids is None else None)
        self.transaction: LaneTransaction | None = None
        self.fenced: FencedWriting | None = None
        self.ways: Ways | None = None
        self.found_records = 0  # that the last `take_over` found on the target, and no entry knew
        self._taken_over: set[Key] = set()  # whose former owner is fenced
        self._fencing = asyncio.Lock()
        self._saving = asyncio.Lock()
        self._joining = asyncio.Lock()

    @property
    def running(self) -> bool:
        """Recovered, and neither given up nor about to start over."""
        return self.recovered and not self.closed and not (self.transaction and self.transaction.broken.done())

    @property
    def guests(self) -> set[Key]:
        """The partitions with entries here that have moved before, from their home lanes or back to this one."""
        return {key for key, entry in self.entries.items() if entry.moves}

    @property
    def trouble(self) -> ReplicatorError | None:
        """What it is waiting for, or why it hasn't recovered so far (`worker.troubles`)."""
        asking = (*(share.producer for share in self._shares), self._takeover)
        waiting = next((who.waiting_for for who in asking if who is not None and who.waiting_for is not None), None)
        return waiting or (None if self.recovered else self.failure)

    def writing_of(self, entry: Entry) -> tuple[ProducerIdAndEpoch, Gate | None]:
        """Who writes the partition of this entry, and through which gate."""
        if entry.way is Way.FENCED and self.fenced is not None and self._takeover is not None:
            return self._takeover.identity, self.fenced
        assert self._producer is not None, "the lane hasn't recovered"
        return self._producer, self.transaction

    # taking over

    async def recover(self) -> None:
        """Become the lane's only writer, then read the ledger. ReplicatorError if the target can't be reached or
        refuses.

        In this order: when the ledger is read, a former owner can write neither state nor anything that counts in a
        transaction, and what it had written is readable. What it may have written plainly, `take_over` finds.
        """
        if self._native is None or self._takeover is None:
            self._producer = await self._new_producer()
            self._plain.begin(self._producer)
            self._read_in(await self._ledger.read())
            self.recovered = True
            return
        await self._ledger.served()
        await self._map.served()
        self._producer = await self._native.producer.init()
        if self._shared:
            await self._recover_passing()
        own = await self._takeover.claim((self._ledger.topic, self.number), (self._map.topic, self.number))
        self._plain.begin(own)
        self._read_in(await self._ledger.read())
        self._takeover.knows(self.record.producers)
        if self._gates is not None:
            self.transaction, self.fenced = self._gates(self, self._native)
            for share in self._shares:
                share.transaction = self.transaction if share.is_native else self._gates(self, share)[0]
        record = self.record.with_origin(self._origin)  # until now a lane has written for its source alone
        record = record.with_producers(self._producer.producer_id, own.producer_id, origin=self._origin)
        for origin, share in self._passing.items():
            record = record.with_producers(share.producer.identity.producer_id, origin=origin)
        if record is not self.record:  # before anything is written as one of them (rule A)
            await self._write([(LANE_KEY, encode_lane(record))])
            self.record = record
        self.recovered = True

    @property
    def _shares(self) -> list[Share]:
        return [] if self._native is None else [self._native, *self._passing.values()]

    async def _recover_passing(self) -> None:
        """Become the only writer for other origins as well, so that nothing of the lane is left open. From here on
        nobody can add an origin: that takes the lane's first producer."""
        ledger = LedgerLog(self._target, self._ledger.topic, self.number, isolation=READ_UNCOMMITTED)
        known: set[str] = set()
        for key, value in await ledger.read():
            if key == LANE_KEY and value is not None:
                known.update(decode_lane(value).origins.values())
        for origin in sorted(known - {self._origin}):
            share = self._passing[origin] = self._new_share(origin)
            await share.producer.init()

    def _new_share(self, origin: str) -> Share:
        assert self._ids is not None
        return Share(self, self._link, self._target, self._ids.passing(origin), origin)

    async def _share_for(self, origin: str) -> Share:
        """The one for this origin; a new one is in the ledger before it is used (rule A)."""
        async with self._joining:
            if origin == NATIVE:
                assert self._native is not None
                return self._native
            if (known := self._passing.get(origin)) is not None:
                return known
            assert self._gates is not None
            share = self._new_share(origin)
            identity = await share.producer.init()
            record = self.record.with_producers(identity.producer_id, origin=origin)
            await self._write([(LANE_KEY, encode_lane(record))])
            if self.closed:
                raise ReplicatorError(f"lane {self.number} was given up")
            self.record = record
            share.transaction, _ = self._gates(self, share)
            self._passing[origin] = share
            return share

    def _read_in(self, pairs: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        self.entries, self.moved = entries_from_records(pairs), moved_from_records(pairs)
        for key, value in pairs:
            if key == LANE_KEY and value is not None:
                self.record = decode_lane(value)
        self._problems = problems_from_records(pairs)

    def to_take_over(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those of which a former owner may have written more than they say, and may still be writing."""
        if self._takeover is None:
            return []
        return [e for e in entries if e.way is Way.FENCED and (e.topic, e.partition) not in self._taken_over]

    async def take_over(self, entries: Sequence[Entry], source: ClusterClient) -> dict[Key, ReplicatorError]:
        """Fence the target partitions of these entries, which have leaders, and bring the entries up to what was
        written; those for which that can't be done now, with the reason.

        The new entries are in the ledger when it returns. Where nobody can say what was written they are faulted.
        """
        try:
            async with self._fencing:
                return await self._take_over(self.to_take_over(entries), source)
        except ReplicatorError as error:
            self.fail(error)  # fenced ourselves, or cut off in the middle: begin anew
            raise

    async def _take_over(self, entries: Sequence[Entry], source: ClusterClient) -> dict[Key, ReplicatorError]:
        if not entries or self._takeover is None:
            return {}
        found = await self._takeover.settle(entries, self.record.producers, source)
        if self.closed:  # that may have taken long
            raise ReplicatorError(f"lane {self.number} was given up")
        later: dict[Key, ReplicatorError] = {}
        written: dict[Key, Entry] = {}
        chunks: list[KeyValue] = []
        self.found_records = sum(answer.copied for answer in found.values() if isinstance(answer, Recovered))
        for key, answer in found.items():
            entry = self.entries[key]
            if isinstance(answer, Recovered):
                if answer.foreign and not self._shared:
                    log.warning(
                        "somebody else writes to the target topic",
                        target_topic=entry.target_topic, partition=entry.partition, batches=answer.foreign,
                        from_offset=entry.target_next, to_offset=answer.entry.target_next - 1,
                        next_step="grant Write on it to the replicator alone",
                    )  # fmt: skip
                found_out = entry.reason is not None and (entry.reason.heals or entry.reason in _OF_TAKEOVER)
                written[key] = self._copying(answer.entry) if found_out else answer.entry
                chunks += [(encode_chunk_key(*key, number), value) for number, value in answer.chunks]
            elif isinstance(answer, PartitionFault) and answer.reason in STOPS_WRITING:
                written[key] = self._faulted(entry, answer.reason, answer.detail)
            else:
                later[key] = answer
                waiting = self._waiting(entry, answer, source.alias)
                if (waiting.reason, waiting.detail) != (entry.reason, entry.detail):
                    written[key] = waiting
        if chunks:
            await self._plain.write_map(chunks)
        if written:
            await self._plain.write_ledger(entry_pairs(written))
        self.entries.update(written)
        self._taken_over |= found.keys() - later.keys()
        return later

    async def renew(self) -> None:
        """Use both transactional ids; the coordinator forgets unused ones (`transactional.id.expiration.ms`)."""
        if self._takeover is None or not self.running:
            return
        async with self._joining:
            await self._write([(LANE_KEY, encode_lane(self.record))])
        for share in self._passing.values():
            await share.renew()
        async with self._fencing:
            await self._takeover.renew()

    # ways of writing

    async def change_way(self, flow: PartitionFlow, way: Way, origin: str) -> None:
        """Change how this partition is written, or for which origin; nothing of it is in flight, and nothing is sent
        until this is done.

        What was written the former way is in the ledger before; that the fenced way begins, as well.
        """
        assert self.fenced is not None
        assert self._takeover is not None
        try:
            if flow.way is Way.FENCED:
                await self._write_plain({flow.key})
            else:  # what comes next must not be followed by an entry of a commit that was under way
                await self._share_of(flow).settled(flow.key)
            share = await self._share_for(origin)
            if flow.closed:
                return
            self._dirty_plain.discard(flow.key)
            if way is Way.FENCED:
                flow.go_through(self.fenced, self._takeover.identity)
                self._taken_over.add(flow.key)
                self.changed(flow)
                await self._write_plain({flow.key})
            else:
                assert share.transaction is not None
                flow.go_through(share.transaction, share.producer.identity)
                self.changed(flow)
        except ReplicatorError as error:
            self.fail(error)
        finally:
            flow.changing = False
            flow.offer()

    def _share_of(self, flow: PartitionFlow) -> Share:
        """The one that the partition, which is in transactions, goes through."""
        assert self._native is not None
        return self._passing.get(flow.gate.origin, self._native) if flow.gate is not None else self._native

    def doom(self, flow: PartitionFlow) -> bool:
        """Whether what the partition has sent is in an open transaction, which is never committed then; the `stop` that
        has to follow ends the lane's run."""
        gate = flow.gate
        return isinstance(gate, LaneTransaction) and gate.doom(flow)

    async def stop(self, flow: PartitionFlow, reason: Reason, detail: str) -> None:
        """Record that this partition can't be written any more, as of its committed entry, and give the open
        transaction up: what it had sent went to another log than it was meant for."""
        try:
            entry = self.entries[flow.key]
            await self._plain.write_ledger(entry_pairs({flow.key: self._faulted(entry, reason, detail)}))
        except ReplicatorError as error:
            log.warning("the ledger doesn't say why the partition stopped", partition=str(flow), error=str(error))
        finally:
            self.fail(ReplicatorError(f"{flow} stopped with records in the open transaction: {reason.value}"))

    def fail(self, error: ReplicatorError) -> None:
        """The lane can't go on like this; it starts over from the ledger."""
        for share in self._shares:
            if share.transaction is not None:
                share.transaction.fail(error)

    def changed(self, flow: PartitionFlow) -> None:
        """The partition's entry is out of date."""
        if flow.closed:
            return
        if self.transaction is None or flow.way is Way.FENCED:
            self._dirty_plain.add(flow.key)
        else:
            share = self._share_of(flow)
            share.dirty.add(flow.key)
            if share.transaction is not None:
                share.transaction.touch()

    # writing

    @property
    def dirty(self) -> bool:
        """Whether `write_entries` has something to do that doesn't happen by itself, with the next transaction."""
        return bool(self._dirty_plain)

    async def write_first(self, entries: list[Entry]) -> None:
        """Entries of partitions that begin now; acknowledged before a record of theirs is produced (rule A)."""
        if entries:
            async with self._saving:
                pass  # older entries may be on their way, and must not come to stand behind these
            for share in self._passing.values():
                for entry in entries:
                    await share.settled((entry.topic, entry.partition))
            await self._write([(encode_key(e.topic, e.partition), encode_entry(e)) for e in entries])
            for entry in entries:
                self.entries[entry.topic, entry.partition] = entry
                self.moved.pop((entry.topic, entry.partition), None)

    async def write_moved(self, moved: Moved) -> None:
        """The partition is another lane's from here on. Its run has ended, and all of it is in its entry."""
        key = moved.entry.topic, moved.entry.partition
        async with self._saving:
            pass
        await self._write([(encode_key(*key), encode_moved(moved))])
        self.moved[key] = moved
        self.entries.pop(key, None)

    async def write_begun(self) -> None:
        """Note that the lane has begun: partitions that come from now on were born after the link."""
        async with self._joining:  # two that change the record at once would lose what one of them adds
            if self.record.begun_ms is None:
                record = replace(self.record, begun_ms=self._now_ms())
                await self._write([(LANE_KEY, encode_lane(record))])
                self.record = record

    async def write_problems(self, problems: Mapping[str, TopicProblem]) -> None:
        """Which topics aren't copied and why (lane 0): what has changed of it."""
        pairs, updated = problem_changes(self._problems, problems, self._now_ms())
        if pairs:
            await self._write(pairs)
            self._problems = updated

    async def write_state(self, pairs: Sequence[KeyValue]) -> None:
        """Write records of other kinds into the lane's ledger; they are there when it returns."""
        await self._write(list(pairs))

    async def write_plainly(self, pairs: Sequence[KeyValue]) -> None:
        """The same, beside the transactions: for what counts without them."""
        try:
            await self._plain.write_ledger(pairs)
        except ReplicatorError as error:
            self.fail(error)
            raise

    async def write_map(self, pairs: Sequence[KeyValue]) -> None:
        """Append to the offset map's topic."""
        try:
            await self._plain.write_map(pairs)
        except ReplicatorError as error:
            self.fail(error)
            raise

    async def write_entries(self) -> None:
        """Write an entry for each partition that changed. What fails stays to be written.

        When it returns, no older entries are on their way.
        """
        if self.closed:
            return
        for share in self._shares:
            if share.transaction is not None and share.dirty:
                await share.transaction.commit_with([])
        await self._write_plain(self._dirty_plain)

    async def _write_plain(self, keys: set[Key]) -> None:
        async with self._saving:
            dirty = keys & self._dirty_plain
            if not dirty or self.closed:
                return
            self._dirty_plain -= dirty
            chunks, written = self.chunks(dirty), self.entries_of(dirty)  # of one instant: more runs come meanwhile
            try:
                if chunks:  # before the entries, which count on them
                    await self._plain.write_map(map_pairs(chunks))
                await self._plain.write_ledger(entry_pairs(written))
            except BaseException as error:
                self._dirty_plain |= {key for key in dirty if key in self.flows and not self.flows[key].closed}
                for _, tail, _ in chunks:
                    tail.unflush()
                if isinstance(error, ReplicatorError):
                    self.fail(error)  # maybe it is there: whoever takes over sees
                raise
            forget(chunks)
            self.entries.update(written)

    def retire(self, flow: PartitionFlow) -> None:
        """End this partition's run without letting another one begin: it writes no entry any more."""
        flow.close()
        for share in self._shares:
            share.dirty.discard(flow.key)
        self._dirty_plain.discard(flow.key)

    def drop(self, flow: PartitionFlow) -> None:
        """Let another run begin from the partition's entry."""
        self.retire(flow)
        self.sequences[flow.key] = flow.sequences
        self.flows.pop(flow.key, None)
        self._tails.pop(flow.key, None)

    def map_tail(self, entry: Entry) -> MapTail:
        """Where the partition of this entry notes what is copied where."""
        tail = self._tails[entry.topic, entry.partition] = MapTail(entry.map_chunks, entry.map_tail)
        return tail

    async def flush(self) -> None:
        """Stop fetching, wait until what is in flight is acknowledged, and write the last entries."""
        flows = list(self.flows.values())
        await asyncio.gather(*(flow.drain() for flow in flows))
        for flow in flows:
            if not flow.closed:
                self.changed(flow)
        await self.write_entries()

    def close(self) -> None:
        """Let go of all partitions; nothing is written any more."""
        self.closed = True
        for share in self._shares:
            if share.transaction is not None:
                share.transaction.fail(ReplicatorError(f"lane {self.number} was given up"))
                closing = asyncio.ensure_future(share.transaction.close())
                closing.add_done_callback(_done)
        for flow in self.flows.values():
            flow.close()

    async def _write(self, pairs: list[KeyValue]) -> None:
        if self.transaction is not None:
            await self.transaction.commit_with(pairs)
        else:
            await self._plain.write_ledger(pairs)

    def _faulted(self, entry: Entry, reason: Reason, detail: str) -> Entry:
        now = self._now_ms()
        since = entry.since_ms if entry.reason is reason else now
        return replace(entry, state=State.FAULTED, reason=reason, detail=detail, since_ms=since, written_ms=now)

    def _copying(self, entry: Entry) -> Entry:
        now = self._now_ms()
        return replace(entry, state=State.COPYING, reason=None, detail="", since_ms=now, written_ms=now)

    def _waiting(self, entry: Entry, error: ReplicatorError, source: str) -> Entry:
        """Where nobody can tell yet how far it got: it shows, unless a fault that waits for people already does."""
        if entry.reason is not None and not entry.reason.heals:
            return entry
        if isinstance(error, PartitionFault) and error.reason.heals:
            reason = error.reason
        else:
            of_source = str(error).startswith(f"cluster {source}:")
            reason = Reason.SOURCE_UNREACHABLE if of_source else Reason.TARGET_UNREACHABLE
        return self._faulted(entry, reason, f"What a former worker wrote can't be told yet: {error}.")

    def chunks(self, keys: set[Key]) -> Chunks:
        """The chunks of these partitions' maps that are to be written now."""
        tails = [(key, self._tails[key]) for key in keys if key in self._tails]
        return [(key, tail, written) for key, tail in tails if (written := tail.flush())]

    def entries_of(self, keys: set[Key]) -> dict[Key, Entry]:
        """The entries of these partitions as of now."""
        return {key: self._entry(self.flows[key]) for key in keys if key in self.flows}

    async def _new_producer(self) -> ProducerIdAndEpoch:
        return await init_producer_id(await self._target.any_connection())

    def _entry(self, flow: PartitionFlow) -> Entry:
        known = self.entries.get(flow.key)
        if known is not None and known.reason is flow.reason and flow.reason in _OF_TAKEOVER:
            return known  # what it says is all that's known: the next takeover may find out more
        map_chunks, map_tail = self._tails[flow.key].after_flush()
        return Entry(
            topic=flow.topic,
            partition=flow.partition,
            source_topic_id=flow.source_topic_id,
            source_leader_epoch=flow.source_epoch,
            target_topic=flow.target_topic,
            target_topic_id=flow.target_topic_id,
            source_next=flow.source_next,
            target_next=flow.target_next,
            producer_id=flow.producer.producer_id,
            producer_epoch=flow.producer.epoch,
            next_sequence=flow.acknowledged_sequence,
            state=flow.state,
            reason=flow.reason,
            detail=flow.detail,
            since_ms=flow.since_ms,
            record_timestamp_ms=flow.record_timestamp_ms,
            written_ms=self._now_ms(),
            map_chunks=map_chunks,
            map_tail=map_tail,
            gaps=known.gaps if known is not None else (),
            way=flow.way,
            moves=known.moves if known is not None else 0,
        )


def _done(closing: asyncio.Future[None]) -> None:
    """Closing ends tasks that have nothing to say any more."""
    if not closing.cancelled():
        closing.exception()
