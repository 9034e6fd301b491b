"""A lane: the unit of assignment and of state. From being assigned to being given up, with its partitions.

Life: `recover()` reads the lane's part of the ledger and gets a producer; `write_first()` and `write_entries()` record
positions; `flush()` hands over in good order; `close()` lets go at once (the lane is lost).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from replicator.errors import ReplicatorError
from replicator.flow.partition import PartitionFlow
from replicator.flow.transaction import TIMEOUT_MS, LaneTransaction
from replicator.ledger.entry import Entry, encode_entry, encode_key
from replicator.ledger.lane_record import LANE_KEY, decode_lane, encode_lane
from replicator.ledger.load import entries_from_records
from replicator.ledger.log import KeyValue, LedgerLog
from replicator.wire.cluster import ClusterClient
from replicator.wire.producer_id import ProducerIdAndEpoch, init_producer_id
from replicator.wire.transactions import TransactionalProducer

Key = tuple[str, int]


class Lane:
    """One lane owned by this worker."""

    def __init__(
        self,
        number: int,
        ledger_topic: str,
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
        self._log = LedgerLog(target, ledger_topic, number)
        self._now_ms = now_ms
        self._producer: ProducerIdAndEpoch | None = None
        self._ledger_producer: ProducerIdAndEpoch | None = None
        self._dirty: set[Key] = set()
        self._collected: dict[Key, Entry] = {}
        self._gates = gates
        self._transactions: TransactionalProducer | None = None
        if transactional_id is not None:
            self._transactions = TransactionalProducer(target, transactional_id, timeout_ms=TIMEOUT_MS)
        self.transaction: LaneTransaction | None = None
        self._writing = asyncio.Lock()

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
        pairs = await self._log.read()
        self.entries = entries_from_records(pairs)
        for key, value in pairs:
            if key == LANE_KEY and value is not None:
                self.begun_ms = decode_lane(value)
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
            await self._write([(LANE_KEY, encode_lane(self.begun_ms))])

    async def write_entries(self) -> None:
        """Write an entry for each partition that changed. What fails stays to be written."""
        if not self._dirty or self.closed:
            return
        if self.transaction is not None:
            await self.transaction.commit_with([])
            return
        dirty, self._dirty = self._dirty, set()
        written = {key: self._entry(self.flows[key]) for key in dirty if key in self.flows}
        try:
            await self._write([(encode_key(*key), encode_entry(entry)) for key, entry in written.items()])
        except ReplicatorError:
            self._dirty |= dirty
            raise
        self.entries.update(written)

    async def flush(self) -> None:
        """Stop fetching, wait until what is in flight is acknowledged, and write the last entries."""
        flows = list(self.flows.values())
        await asyncio.gather(*(flow.drain() for flow in flows))
        self._dirty |= self.flows.keys()
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

    # the transaction's view of the ledger

    def collect(self) -> list[KeyValue]:
        """The entries that are out of date, for the commit that is about to be."""
        dirty, self._dirty = self._dirty, set()
        self._collected = {key: self._entry(self.flows[key]) for key in dirty if key in self.flows}
        return [(encode_key(*key), encode_entry(entry)) for key, entry in self._collected.items()]

    async def write_in_transaction(self, pairs: Sequence[KeyValue]) -> None:
        """Append to the ledger, within the open transaction."""
        assert self._transactions is not None
        await self._log.write(self.producer, pairs, transactional_id=self._transactions.transactional_id)

    def committed(self) -> None:
        """What was collected is in the ledger."""
        self.entries.update(self._collected)
        self._collected = {}

    async def _write(self, pairs: list[KeyValue]) -> None:
        if self.transaction is not None:
            await self.transaction.commit_with(pairs)
            return
        async with self._writing:
            if self._ledger_producer is None:
                self._ledger_producer = await self._new_producer()
                self._log.new_producer()
            try:
                await self._log.write(self._ledger_producer, pairs)
            except BaseException:
                # Nobody knows whether these bytes are in the log. Other entries under their sequences could be taken
                # for duplicates of them, so this producer writes no more.
                self._ledger_producer = None
                raise

    async def _new_producer(self) -> ProducerIdAndEpoch:
        return await init_producer_id(await self._target.any_connection())

    def _entry(self, flow: PartitionFlow) -> Entry:
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
        )


def _done(closing: asyncio.Future[None]) -> None:
    """Closing ends tasks that have nothing to say any more."""
    if not closing.cancelled():
        closing.exception()
