"""A lane: the unit of assignment and of state. From being assigned to being given up, with its partitions.

Life: `recover()` reads the lane's part of the ledger and gets a producer; `write_first()` and `write_entries()` record
positions; `flush()` hands over in good order; `close()` lets go at once (the lane is lost).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from replicator.errors import ReplicatorError
from replicator.flow.partition import PartitionFlow
from replicator.flow.transaction import TIMEOUT_MS, LaneTransaction
from replicator.ledger.entry import Entry, encode_entry, encode_key
from replicator.ledger.lane_record import LANE_KEY, LaneRecord, decode_lane, encode_lane
from replicator.ledger.lanes import ledger_topic, map_topic
from replicator.ledger.load import entries_from_records
from replicator.ledger.log import KeyValue, LedgerLog
from replicator.ledger.map_chunks import encode_chunk_key
from replicator.ledger.map_tail import MapTail
from replicator.ledger.selection import TopicProblem
from replicator.ledger.topic_problem import StoredProblem, problem_changes, problems_from_records
from replicator.wire.cluster import ClusterClient
from replicator.wire.producer_id import ProducerIdAndEpoch, init_producer_id
from replicator.wire.transactions import TransactionalProducer

Key = tuple[str, int]
Chunks = list[tuple[Key, MapTail, list[tuple[int, bytes]]]]  # of whose map, from which tail: number and value


class Lane:
    """One lane owned by this worker."""

    def __init__(
        self,
        number: int,
        link: str,
        target: ClusterClient,
        now_ms: Callable[[], int],
        *,
        transactional_id: str | None = None,
        gates: Callable[[Lane, TransactionalProducer], LaneTransaction] | None = None,
    ) -> None:
        self.number = number
        self.entries: dict[Key, Entry] = {}
        self.flows: dict[Key, PartitionFlow] = {}
        self.begun_ms: int | None = None  # since when the link has been running this lane; None: never before
        self.recovered = False
        self.recovering: asyncio.Task[None] | None = None
        self.closed = False
        self._target = target
        self._ledger = LedgerLog(target, ledger_topic(link), number)
        self._map = LedgerLog(target, map_topic(link), number)
        self._tails: dict[Key, MapTail] = {}
        self._now_ms = now_ms
        self._producer: ProducerIdAndEpoch | None = None
        self._ledger_producer: ProducerIdAndEpoch | None = None
        self._dirty: set[Key] = set()
        self._problems: dict[str, StoredProblem] = {}
        self._written: dict[Key, Entry] = {}
        self._gates = gates
        self._transactions: TransactionalProducer | None = None
        if transactional_id is not None:
            self._transactions = TransactionalProducer(target, transactional_id, timeout_ms=TIMEOUT_MS)
        self.transaction: LaneTransaction | None = None
        self._writing = asyncio.Lock()
        self._saving = asyncio.Lock()

    @property
    def running(self) -> bool:
        """Recovered, and neither given up nor about to start over."""
        return self.recovered and not self.closed and not (self.transaction and self.transaction.broken.done())

    @property
    def producer(self) -> ProducerIdAndEpoch:
        """Who writes this lane's batches."""
        assert self._producer is not None, "the lane hasn't recovered"
        return self._producer

    async def recover(self) -> None:
        """Become the lane's producer, then read the ledger. ReplicatorError if the target can't be reached or refuses.

        In this order: with a transactional id, a former owner can't commit any more once we are its producer, and what
        it had committed is readable by then.
        """
        producer = await (self._transactions.init() if self._transactions else self._new_producer())
        pairs = await self._ledger.read()
        self.entries = entries_from_records(pairs)
        for key, value in pairs:
            if key == LANE_KEY and value is not None:
                self.begun_ms = decode_lane(value).begun_ms
        self._problems = problems_from_records(pairs)
        self._producer = self._ledger_producer = producer
        if self._transactions is not None and self._gates is not None:
            self.transaction = self._gates(self, self._transactions)
        self.recovered = True

    def changed(self, flow: PartitionFlow) -> None:
        """The partition's entry is out of date."""
        self._dirty.add(flow.key)
        if self.transaction is not None:
            self.transaction.touch()

    @property
    def dirty(self) -> bool:
        """Whether `write_entries` has something to do; in transactions, entries go with each commit by themselves."""
        return bool(self._dirty) and self.transaction is None

    async def write_first(self, entries: list[Entry]) -> None:
        """Entries of partitions that begin now; acknowledged before a record of theirs is produced (rule A)."""
        if entries:
            await self._write([(encode_key(e.topic, e.partition), encode_entry(e)) for e in entries])
            self.entries.update({(e.topic, e.partition): e for e in entries})

    async def write_begun(self) -> None:
        """Note that the lane has begun: partitions that come from now on were born after the link."""
        if self.begun_ms is None:
            self.begun_ms = self._now_ms()
            await self._write([(LANE_KEY, encode_lane(LaneRecord(self.begun_ms)))])

    async def write_problems(self, problems: Mapping[str, TopicProblem]) -> None:
        """Which topics aren't copied and why (lane 0): what has changed of it."""
        pairs, updated = problem_changes(self._problems, problems, self._now_ms())
        if pairs:
            await self._write(pairs)
            self._problems = updated

    async def write_entries(self) -> None:
        """Write an entry for each partition that changed. What fails stays to be written.

        When it returns, no older entries are on their way.
        """
        if self.transaction is not None:
            if self._dirty and not self.closed:
                await self.transaction.commit_with([])
            return
        async with self._saving:
            if not self._dirty or self.closed:
                return
            dirty, self._dirty = self._dirty, set()
            chunks, written = self._chunks(dirty), self._entries_of(dirty)  # of one instant: more runs come meanwhile
            try:
                if chunks:  # before the entries, which count on them
                    await self._append(self._map, _map_pairs(chunks))
                await self._write(_pairs(written))
            except BaseException:
                self._dirty |= {key for key in dirty if key in self.flows and not self.flows[key].closed}
                for _, tail, _ in chunks:
                    tail.unflush()
                raise
            _forget(chunks)
            self.entries.update(written)

    def retire(self, flow: PartitionFlow) -> None:
        """End this partition's run without letting another one begin: it writes no entry any more."""
        flow.close()
        self._dirty.discard(flow.key)

    def drop(self, flow: PartitionFlow) -> None:
        """Let another run begin from the partition's entry."""
        self.retire(flow)
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
        self._dirty |= {key for key, flow in self.flows.items() if not flow.closed}
        await self.write_entries()

    def close(self) -> None:
        """Let go of all partitions; nothing is written any more."""
        self.closed = True
        if self.transaction is not None:
            self.transaction.fail(ReplicatorError(f"lane {self.number} was given up"))
            closing = asyncio.ensure_future(self.transaction.close())
            closing.add_done_callback(_done)
        for flow in self.flows.values():
            flow.close()

    # the state that goes with a transaction (`flow.transaction.LaneState`)

    def places(self) -> list[tuple[str, int]]:
        """The internal partitions that `write` would write to now."""
        logs = [self._ledger] if self._dirty else []
        if self._chunks(self._dirty):
            logs.append(self._map)
        return [(log.topic, self.number) for log in logs]

    async def write(self, pairs: Sequence[KeyValue]) -> None:
        """Append the parts of the map and the entries that changed, and `pairs`, within the open transaction."""
        dirty, self._dirty = self._dirty, set()
        chunks = self._chunks(dirty)
        if chunks:
            await self._in_transaction(self._map, _map_pairs(chunks))
            _forget(chunks)
        self._written = self._entries_of(dirty)
        await self._in_transaction(self._ledger, [*_pairs(self._written), *pairs])

    def committed(self) -> None:
        """What was written is in the ledger."""
        self.entries.update(self._written)
        self._written = {}

    async def _in_transaction(self, log: LedgerLog, pairs: Sequence[KeyValue]) -> None:
        assert self._transactions is not None
        await log.write(self.producer, pairs, transactional_id=self._transactions.transactional_id)

    async def _write(self, pairs: list[KeyValue]) -> None:
        if self.transaction is not None:
            await self.transaction.commit_with(pairs)
        else:
            await self._append(self._ledger, pairs)

    async def _append(self, log: LedgerLog, pairs: Sequence[KeyValue]) -> None:
        async with self._writing:
            if self._ledger_producer is None:
                self._ledger_producer = await self._new_producer()
                self._ledger.new_producer()
                self._map.new_producer()
            try:
                await log.write(self._ledger_producer, pairs)
            except BaseException:
                # Nobody knows whether these bytes are in the log. Other entries under their sequences could be taken
                # for duplicates of them, so this producer writes no more.
                self._ledger_producer = None
                raise

    def _chunks(self, keys: set[Key]) -> Chunks:
        """The chunks of these partitions' maps that are to be written now."""
        tails = [(key, self._tails[key]) for key in keys if key in self._tails]
        return [(key, tail, written) for key, tail in tails if (written := tail.flush())]

    def _entries_of(self, keys: set[Key]) -> dict[Key, Entry]:
        return {key: self._entry(self.flows[key]) for key in keys if key in self.flows}

    async def _new_producer(self) -> ProducerIdAndEpoch:
        return await init_producer_id(await self._target.any_connection())

    def _entry(self, flow: PartitionFlow) -> Entry:
        map_chunks, map_tail = self._tails[flow.key].after_flush()
        known = self.entries.get(flow.key)
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
        )


def _map_pairs(chunks: Chunks) -> list[KeyValue]:
    return [(encode_chunk_key(*key, number), value) for key, _, written in chunks for number, value in written]


def _forget(chunks: Chunks) -> None:
    """They are in the map topic: the tails go on without what they hold."""
    for _, tail, written in chunks:
        tail.flushed([number for number, _ in written])


def _pairs(entries: dict[Key, Entry]) -> list[KeyValue]:
    return [(encode_key(*key), encode_entry(entry)) for key, entry in entries.items()]


def _done(closing: asyncio.Future[None]) -> None:
    """Closing ends tasks that have nothing to say any more."""
    if not closing.cancelled():
        closing.exception()
