"""Which way each partition of a lane is written in, and when it changes.

Fenced writing relies on what brokers remember of a producer, and they forget it by the time of its last *record*. So
old records go in transactions, which keep a producer from being forgotten; fresh ones needn't. What counts as fresh is
half of what brokers remember; a partition comes back from transactions only for what is younger than a quarter of it,
and not more often than every `RETURN_AFTER_MS`. Records of other origins than the source always go in transactions, of
that origin's own producer (`worker.lane_share`).

Invariant: a partition changes its way only when nothing of it is in flight, nothing is uncommitted, and its entry is
acknowledged; until the change is done nothing of it is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from replicator.flow.partition import PartitionFlow
from replicator.flow.ports import NATIVE
from replicator.states import Way

RETURN_AFTER_MS = 15_000


class Memory(Protocol):
    """What is known of both clusters that decides whether fenced writing is safe."""

    def producer_memory_ms(self) -> int | None:
        """For how long the target's brokers remember a producer (`producer.id.expiration.ms`); None: not known, or
        fenced writing isn't proven there, or isn't wanted."""

    def may_be_compacted(self, topic: str) -> bool:
        """Whether records of this source topic may go while a worker is away; True if that isn't known."""


class Ways:
    """Decides for the partitions of one lane. `change` begins to change a partition's way, and soon is done."""

    def __init__(self, memory: Memory, change: Callable[[PartitionFlow, Way], None], now_ms: Callable[[], int]) -> None:
        self._memory = memory
        self._change = change
        self._now_ms = now_ms
        self._left: dict[PartitionFlow, int] = {}  # fenced writing, when

    def fits(self, flow: PartitionFlow) -> bool:
        """Whether what it sends next may go in the fenced way."""
        head = flow.head
        return head.origin == NATIVE and self._is_young(flow.topic, head.max_timestamp, 2)

    def forgotten(self, timestamp_ms: int) -> bool:
        """Whether brokers may have forgotten a producer whose last record was of this time."""
        memory_ms = self._memory.producer_memory_ms()
        return memory_ms is None or timestamp_ms < self._now_ms() - memory_ms // 2

    def reconsider(self, flow: PartitionFlow) -> bool:
        """Begin a change if one is due and can be; whether it was begun. Only when nothing of it is uncommitted."""
        if not flow.waiting or flow.unresolved or flow.closed:
            return False
        if flow.way is Way.FENCED:
            if self.fits(flow):
                return False
            self._left[flow] = self._now_ms()
            self._begin(flow, Way.TRANSACTIONS)
            return True
        if flow.head.origin != NATIVE:
            self._left[flow] = self._now_ms()  # where records of other origins come in between, all go in transactions
        if flow.gate is not None and flow.head.origin != flow.gate.origin:
            self._begin(flow, Way.TRANSACTIONS)
            return True
        if flow.head.origin != NATIVE:
            return False
        if not self._is_young(flow.topic, flow.head.max_timestamp, 4):
            return False
        if self._now_ms() - self._left.get(flow, 0) < RETURN_AFTER_MS:
            return False
        self._left.pop(flow, None)
        self._begin(flow, Way.FENCED)
        return True

    def forget(self, flow: PartitionFlow) -> None:
        """It runs no more."""
        self._left.pop(flow, None)

    def _begin(self, flow: PartitionFlow, way: Way) -> None:
        flow.changing = True
        self._change(flow, way)

    def _is_young(self, topic: str, timestamp_ms: int, part: int) -> bool:
        memory = self._memory
        memory_ms = memory.producer_memory_ms()
        if memory_ms is None or timestamp_ms < self._now_ms() - memory_ms // part:
            return False
        return not memory.may_be_compacted(topic)
