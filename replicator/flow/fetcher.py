"""Reads from a source cluster: from each broker by one loop, and what is behind on a far one by several.

A broker answers a session's requests one after the other, so at most one answer is on its way to a loop. Near a broker
that is enough. Far from it the way has to be filled: partitions that have more than one answer holds move to additional
loops, as many as the measured round trip asks for (`flow.round_trip`), and return when nothing has been behind for a
while. An idle link has one loop per broker, however far and with however many partitions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from replicator.flow.backpressure import ByteBudget
from replicator.flow.bandwidth import Bandwidth
from replicator.flow.fetch_loop import (
    FETCH_MAX_BYTES,
    MIN_ROOM_BYTES,
    PARTITION_MAX_BYTES,
    ExtraLoop,
    FetchLoop,
    FirstLoop,
)
from replicator.flow.partition import QUEUE_BYTES, PartitionFlow
from replicator.flow.round_trip import MOST_LOOPS, NEAR, RoundTrip
from replicator.flow.source_errors import SourceErrors
from replicator.states import PartitionFault, Reason
from replicator.wire import kafka_errors as codes
from replicator.wire.cluster import ClusterClient

_SHOW_AFTER_S = 10.0
_EXTRA_PAUSE_S = 10.0  # after an additional loop ended: no others meanwhile


class Fetcher:
    """All of one link's reading in this worker."""

    def __init__(
        self,
        source: ClusterClient,
        budget: ByteBudget,
        errors: SourceErrors,
        bandwidth: Bandwidth | None = None,
    ) -> None:
        self._source = source
        self._budget = budget
        self._bandwidth = bandwidth or Bandwidth()
        self._errors = errors
        self._brokers: dict[int, _Broker] = {}
        self._home: dict[PartitionFlow, _Broker] = {}
        self._homeless: dict[PartitionFlow, float] = {}
        source.listeners.append(self.rehome)

    def add(self, flow: PartitionFlow) -> None:
        """Read this partition from its fetch offset on."""
        self._source.watch((flow.topic,))
        self._homeless[flow] = time.monotonic()
        self._place(flow)

    def remove(self, flow: PartitionFlow) -> None:
        """Don't read it any more."""
        self._homeless.pop(flow, None)
        broker = self._home.pop(flow, None)
        if broker is not None:
            broker.remove(flow)

    def update(self, flow: PartitionFlow) -> None:
        """Its position or fetchability changed."""
        broker = self._home.get(flow)
        if broker is not None:
            broker.update(flow)

    @property
    def throttled_s(self) -> float:
        """How long the source's brokers have told us to wait, because of a quota."""
        return sum(broker.throttled_s for broker in list(self._brokers.values()))

    def rehome(self) -> None:
        """Follow the source's leaders, after a metadata refresh."""
        for flow in (*self._home, *self._homeless):
            self._place(flow)

    def show_homeless(self) -> None:
        """Partitions that have had no leader for long show it; call every now and then."""
        now = time.monotonic()
        for flow, since in self._homeless.items():
            if now - since > _SHOW_AFTER_S:
                where = f"{flow.topic}-{flow.partition} of cluster {self._source.alias}"
                flow.fault(PartitionFault(Reason.SOURCE_UNREACHABLE, f"{where} has no leader."))

    async def close(self) -> None:
        """Stop all loops."""
        self._source.listeners.remove(self.rehome)
        await asyncio.gather(*(broker.close() for broker in self._brokers.values()))

    def _place(self, flow: PartitionFlow) -> None:
        leader = self._source.leader(flow.topic, flow.partition)
        topic_id = self._source.topic_id_of(flow.topic)
        if topic_id is not None and topic_id != flow.source_topic_id:
            flow.fault(self._errors.recreated(flow))
        node = None if leader is None else leader.leader
        if node is not None and flow.read_replica in self._source.brokers:
            node = flow.read_replica
        present = self._home.get(flow)
        if node is None:
            if present is not None:
                self.remove(flow)
                self._homeless[flow] = time.monotonic()
            return
        if present is None or present.node != node:
            self.remove(flow)
            broker = self._brokers.get(node)
            if broker is None:
                broker = self._brokers[node] = _Broker(
                    node, self._source, self._budget, self._bandwidth, self._errors, self._place
                )
            self._home[flow] = broker
            broker.add(flow)
        else:
            present.update(flow)
        topic = self._source.topics.get(flow.topic)
        seen = topic is not None and topic.error == codes.NONE
        if seen and flow.waits_for_source and flow.reason in _SEEN_AGAIN and not self._errors.looks_into(flow):
            flow.try_fetching()


class _Broker:
    """What is read from one broker, by which loop. Any loop may read any partition, but only one at a time."""

    def __init__(
        self,
        node: int,
        source: ClusterClient,
        budget: ByteBudget,
        bandwidth: Bandwidth,
        errors: SourceErrors,
        place: Callable[[PartitionFlow], None],
    ) -> None:
        self.node = node
        self.source = source
        self.budget = budget
        self.bandwidth = bandwidth
        self.errors = errors
        self.place = place
        self.round_trip = RoundTrip()
        self.throttled_s = 0.0
        self._extra: dict[int, ExtraLoop] = {}  # by the number of their connection; ended ones until that is closed
        self._no_extra_before = 0.0
        self._extra_share = PARTITION_MAX_BYTES, FETCH_MAX_BYTES
        self._loop_of: dict[PartitionFlow, FetchLoop] = {}
        self.first = FirstLoop(self)

    @property
    def extra(self) -> list[ExtraLoop]:
        return [loop for loop in self._extra.values() if not loop.ended]

    @property
    def loops(self) -> list[FetchLoop]:
        return [self.first, *self.extra]

    def add(self, flow: PartitionFlow) -> None:
        self._move(flow, self.first)

    def remove(self, flow: PartitionFlow) -> None:
        loop = self._loop_of.pop(flow, None)
        if loop is not None:
            loop.remove(flow)

    def update(self, flow: PartitionFlow) -> None:
        loop = self._loop_of.get(flow)
        if loop is not None:
            loop.update(flow)

    async def close(self) -> None:
        await asyncio.gather(*(loop.close() for loop in (self.first, *self._extra.values())))

    def _move(self, flow: PartitionFlow, loop: FetchLoop) -> None:
        self.remove(flow)
        self._loop_of[flow] = loop
        loop.add(flow)

    # for the loops

    @property
    def is_near(self) -> bool:
        return self.round_trip.reach(self.budget.limit_bytes) == NEAR

    @property
    def spread_out(self) -> bool:
        return bool(self._extra)

    def share(self, loop: FetchLoop) -> tuple[int, int]:
        return (PARTITION_MAX_BYTES, FETCH_MAX_BYTES) if loop is self.first else self._extra_share

    def spread(self, behind: Sequence[PartitionFlow]) -> None:
        reach = self.round_trip.reach(self.budget.limit_bytes // 2)
        if reach == NEAR:
            return
        extra = self.extra
        partitions = sum(len(loop.flows) for loop in extra) + len(behind)
        wanted = min(reach.loops, partitions)
        if time.monotonic() >= self._no_extra_before:
            while len(extra) < wanted and (free := set(range(1, MOST_LOOPS + 1)) - set(self._extra)):
                extra.append(self._begin_extra(min(free)))
        self._extra_share = (
            max(PARTITION_MAX_BYTES, min(QUEUE_BYTES, reach.bytes // partitions)),
            max(MIN_ROOM_BYTES, min(FETCH_MAX_BYTES, reach.bytes // wanted)),
        )
        ready = [loop for loop in extra if loop.ready]
        for flow in behind:
            loop = min(ready, key=lambda loop: len(loop.flows), default=None)
            if loop is None or len(loop.flows) * wanted >= partitions:  # its part; the others are connecting yet
                return
            self._move(flow, loop)

    def gather(self, loop: FetchLoop) -> None:
        for flow in list(loop.flows.values()):
            self._move(flow, self.first)

    def _begin_extra(self, number: int) -> ExtraLoop:
        loop = self._extra[number] = ExtraLoop(self, number)
        loop.task.add_done_callback(lambda _: self._extra.pop(number))
        return loop

    def pause(self) -> None:
        self._no_extra_before = time.monotonic() + _EXTRA_PAUSE_S


_SEEN_AGAIN = frozenset({Reason.SOURCE_UNREACHABLE, Reason.SOURCE_MISSING})  # what good metadata may be the end of
