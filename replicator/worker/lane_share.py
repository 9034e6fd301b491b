"""What a lane writes for one origin: its transactions, and the lane's own records that go with them.

A lane has one for the records that its source's clients wrote. Under identical names it gets another one for each
cluster whose records it passes on, with a producer of its own, so that the next link can tell them apart: such records
always go in transactions, whose entries say where recovery goes on, whoever wrote what before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from replicator.flow.ports import NATIVE
from replicator.flow.transaction import TIMEOUT_MS, LaneTransaction
from replicator.ledger.entry import Entry, encode_entry, encode_key
from replicator.ledger.lanes import ledger_topic, map_topic
from replicator.ledger.log import KeyValue, LedgerLog
from replicator.ledger.map_chunks import encode_chunk_key
from replicator.ledger.map_tail import MapTail
from replicator.wire.cluster import ClusterClient
from replicator.wire.transactions import TransactionalProducer

if TYPE_CHECKING:
    from replicator.worker.lane import Lane

Key = tuple[str, int]
Chunks = list[tuple[Key, MapTail, list[tuple[int, bytes]]]]  # of whose map, from which tail: number and value

RENEWAL_KEY = b"\x05"  # of nothing: what a producer writes that has nothing else to write for long


class Share:
    """One origin's; `flow.transaction.LaneState`. `transaction` is there once the lane runs."""

    def __init__(self, lane: Lane, link: str, target: ClusterClient, transactional_id: str, origin: str) -> None:
        self.origin = origin
        self.producer = TransactionalProducer(target, transactional_id, timeout_ms=TIMEOUT_MS)
        self.transaction: LaneTransaction | None = None
        self.dirty: set[Key] = set()
        self.committing: set[Key] = set()
        self._lane = lane
        self._number = lane.number
        self._ledger = LedgerLog(target, ledger_topic(link), lane.number)
        self._map = LedgerLog(target, map_topic(link), lane.number)
        self._written: dict[Key, Entry] = {}

    @property
    def is_native(self) -> bool:
        """Whether it is for what the source's clients wrote."""
        return self.origin == NATIVE

    async def settled(self, key: Key) -> None:
        """Return when nothing of this partition is on its way to the ledger. ReplicatorError if the run ends."""
        assert self.transaction is not None
        while key in self.dirty or key in self.committing:
            await self.transaction.commit_with([])

    async def renew(self) -> None:
        """Use the transactional id; the coordinator forgets unused ones."""
        assert self.transaction is not None
        await self.transaction.commit_with([(RENEWAL_KEY, None)])

    # flow.transaction.LaneState

    def places(self) -> list[tuple[str, int]]:
        """The internal partitions that `write` would write to now."""
        logs = [self._ledger] if self.dirty else []
        if self._lane.chunks(self.dirty):
            logs.append(self._map)
        return [(log.topic, self._number) for log in logs]

    async def write(self, pairs: Sequence[KeyValue]) -> None:
        """Append the parts of the map and the entries that changed, and `pairs`, within the open transaction."""
        dirty, self.dirty = self.dirty, set()
        self.committing = dirty
        chunks = self._lane.chunks(dirty)
        if chunks:
            await self._append(self._map, map_pairs(chunks))
            forget(chunks)
        self._written = self._lane.entries_of(dirty)
        await self._append(self._ledger, [*entry_pairs(self._written), *pairs])

    def committed(self) -> None:
        """What was written is in the ledger."""
        self._lane.entries.update(self._written)
        self._written = {}
        self.committing = set()

    async def _append(self, log: LedgerLog, pairs: Sequence[KeyValue]) -> None:
        await log.write(self.producer.identity, pairs, transactional_id=self.producer.transactional_id)


def map_pairs(chunks: Chunks) -> list[KeyValue]:
    """As they are written to the map topic."""
    return [(encode_chunk_key(*key, number), value) for key, _, written in chunks for number, value in written]


def forget(chunks: Chunks) -> None:
    """They are in the map topic: the tails go on without what they hold."""
    for _, tail, written in chunks:
        tail.flushed([number for number, _ in written])


def entry_pairs(entries: dict[Key, Entry]) -> list[KeyValue]:
    """As they are written to the ledger."""
    return [(encode_key(*key), encode_entry(entry)) for key, entry in entries.items()]
