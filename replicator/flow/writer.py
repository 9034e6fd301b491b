"""Writes to a target cluster: requests that carry the next batch of many partitions, several under way at once.

A partition always uses the same connection to its leader, so its batches arrive in the order they were sent; it moves
to another leader only when nothing of it is in flight (`PartitionFlow`, invariant A).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

import structlog

from replicator.errors import ReplicatorError
from replicator.flow import target_errors
from replicator.flow.batch import Batch
from replicator.flow.partition import PartitionFlow
from replicator.states import PartitionFault, Reason
from replicator.wire import batch as v2
from replicator.wire import kafka_errors as codes
from replicator.wire import produce as protocol
from replicator.wire.cluster import ClusterClient
from replicator.wire.connection import Connection
from replicator.wire.primitives import Bytes

log = structlog.get_logger(__name__)

CONNECTIONS_PER_BROKER = 2  # a broker serves a connection one request at a time; measured +40 % over one
REQUESTS_IN_FLIGHT = 5
REQUEST_BYTES = 4 << 20
_PAUSE_S = 0.5
_SHOW_AFTER_S = 10.0


class Writer:
    """All of one link's writing in this worker."""

    def __init__(self, target: ClusterClient, may_write: Callable[[], bool] = lambda: True) -> None:
        self._target = target
        self._may_write = may_write
        self._channels: dict[tuple[int, int], _Channel] = {}
        self._homeless: dict[PartitionFlow, float] = {}
        target.listeners.append(self.rehome)

    def offer(self, flow: PartitionFlow) -> None:
        """The partition may have something to send."""
        if not flow.sendable:
            return
        if flow.in_flight and flow.outlet is not None:  # it moves to another leader when all of that is answered
            flow.outlet.offer(flow)
            return
        topic_id = self._target.topic_id_of(flow.target_topic)
        if topic_id not in (None, flow.target_topic_id):
            flow.fault(target_errors.recreated(flow, self._target.alias, topic_id))
            return
        leader = self._target.leader(flow.target_topic, flow.partition)
        if not self.has_leader(flow) or leader is None:
            return
        key = leader.leader, hash(flow.key) % CONNECTIONS_PER_BROKER
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = _Channel(self._target, *key, self.offer, self._may_write)
        flow.outlet = channel
        channel.offer(flow)

    def has_leader(self, flow: PartitionFlow) -> bool:
        """Whether its target partition has one. If not, it is looked for, and shown when that takes long."""
        if self._target.leader(flow.target_topic, flow.partition) is not None:
            self._homeless.pop(flow, None)
            return True
        self._homeless.setdefault(flow, time.monotonic())
        self._target.refresh_soon()
        return False

    def remove(self, flow: PartitionFlow) -> None:
        """Forget a closed partition."""
        self._homeless.pop(flow, None)

    def rehome(self) -> None:
        """Offer again what had no leader, after a metadata refresh."""
        for flow in list(self._homeless):
            if flow.closed:
                del self._homeless[flow]
            elif self._target.leader(flow.target_topic, flow.partition) is not None:
                del self._homeless[flow]  # if it can't send just now, it offers itself when it can
                flow.offer()

    def show_homeless(self) -> None:
        """Partitions that have had no leader for long show it, and are looked for again; call every now and then."""
        now = time.monotonic()
        for flow, since in list(self._homeless.items()):
            if now - since > _SHOW_AFTER_S and not flow.closed:
                where = f"{flow.target_topic}-{flow.partition} of cluster {self._target.alias}"
                flow.fault(PartitionFault(Reason.TARGET_UNREACHABLE, f"{where} has no leader."))
                flow.park()
        if self._homeless:
            self._target.refresh_soon()

    async def close(self) -> None:
        """Stop sending."""
        self._target.listeners.remove(self.rehome)
        for channel in self._channels.values():
            await channel.close()


class _Channel:
    """One connection to one broker, and the partitions that wait to send on it."""

    def __init__(
        self,
        target: ClusterClient,
        node: int,
        index: int,
        elsewhere: Callable[[PartitionFlow], None],
        may_write: Callable[[], bool],
    ) -> None:
        self._target = target
        self._elsewhere = elsewhere
        self._may_write = may_write
        self._node = node
        self._slot = f"produce-{index}"
        # By transactional id: a request with transactional batches carries those of one transaction only.
        self._ready: dict[str | None, deque[PartitionFlow]] = {}
        self._queued: set[PartitionFlow] = set()
        self._connection: Connection | None = None
        self._version = 0
        self._connecting: asyncio.Task[None] | None = None
        self._in_flight = 0
        self._scheduled = False
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def offer(self, flow: PartitionFlow) -> None:
        if flow in self._queued:
            return
        self._queued.add(flow)
        self._ready.setdefault(flow.transactional_id, deque()).append(flow)
        if not self._scheduled and self._in_flight < REQUESTS_IN_FLIGHT:
            # Not at once: what else this turn of the loop brings travels in the same request.
            self._scheduled = True
            self._loop.call_soon(self._pump)

    async def close(self) -> None:
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)

    def _pump(self) -> None:
        self._scheduled = False
        if self._closed or not self._may_write():
            return
        if self._connection is None or self._connection.is_closed:
            if self._ready and (self._connecting is None or self._connecting.done()):
                self._connecting = self._loop.create_task(self._connect(), name=f"connect {self._slot}/{self._node}")
            return
        while self._ready and self._in_flight < REQUESTS_IN_FLIGHT:
            items = self._next_items()
            if not items:
                return
            self._send(self._connection, items)

    def _next_items(self) -> list[tuple[PartitionFlow, Batch]]:
        """One batch each of as many partitions as fit, of the transaction whose turn it is."""
        items: list[tuple[PartitionFlow, Batch]] = []
        again: list[PartitionFlow] = []
        size = 0
        while self._ready and not items:
            transactional_id = next(iter(self._ready))
            ready = self._ready.pop(transactional_id)
            while ready:
                flow = ready[0]
                if flow.outlet is not self or flow.transactional_id != transactional_id or not flow.sendable:
                    ready.popleft()
                    self._queued.discard(flow)
                    if flow.sendable:  # it goes another way by now
                        self._loop.call_soon(self._elsewhere, flow)
                    elif flow.waiting:  # it waited for so long that it has to be written in another way by now
                        self._loop.call_soon(flow.offer)
                    continue
                if items and size + flow.head.size > REQUEST_BYTES:
                    break
                ready.popleft()
                batch = flow.next_batch()
                size += batch.size
                items.append((flow, batch))
                if flow.waiting:  # whether it may send is asked when its turn comes again
                    again.append(flow)
                else:
                    self._queued.discard(flow)
            ready.extend(again)
            if ready:
                self._ready[transactional_id] = ready  # the others first
        return items

    def _send(self, connection: Connection, items: list[tuple[PartitionFlow, Batch]]) -> None:
        transactional_id = items[0][0].transactional_id
        highest = protocol.MAX_VERSION if transactional_id is None else protocol.MAX_TRANSACTIONAL_VERSION
        version = min(self._version, highest)
        by_id = version >= protocol.TOPIC_ID_VERSION
        topics: dict[protocol.TopicKey, list[tuple[int, Bytes]]] = {}
        waiting: dict[tuple[protocol.TopicKey, int], tuple[PartitionFlow, Batch]] = {}
        transactional = transactional_id is not None
        for item in items:
            flow, batch = item
            if v2.is_transactional(batch.data) is not transactional:
                # One stray bit poisons a producer: the broker waits for the end of a transaction that never began.
                flow.failed(batch, codes.INVALID_TXN_STATE, "it is stamped for the other way of writing")
                continue
            topic = flow.target_topic_key if by_id else flow.target_topic
            topics.setdefault(topic, []).append((flow.partition, batch.data))
            waiting[topic, flow.partition] = item
        if not waiting:
            return
        self._in_flight += 1
        body = protocol.encode_produce(version, topics, transactional_id=transactional_id)
        future = connection.request(protocol.PRODUCE, version, body, flexible=True)
        future.add_done_callback(lambda done: self._answered(done, version, waiting))

    def _answered(
        self,
        future: asyncio.Future[memoryview],
        version: int,
        waiting: dict[tuple[protocol.TopicKey, int], tuple[PartitionFlow, Batch]],
    ) -> None:
        self._in_flight -= 1
        error: BaseException | None = future.exception() if not future.cancelled() else ConnectionError("cancelled")
        if error is None:
            try:
                results, throttle_ms = protocol.decode_produce(version, future.result())
                self._target.answers += 1
                self._target.throttled_s += throttle_ms / 1000
            except ReplicatorError as unreadable:
                error = unreadable
                if self._connection is not None:
                    self._connection.close()
        if error is not None:
            for flow, batch in waiting.values():
                flow.failed(batch, codes.NETWORK_EXCEPTION, str(error))
        else:
            for result in results:
                item = waiting.pop((result.topic, result.partition), None)
                if item is None:
                    continue
                flow, batch = item
                if result.error in (codes.NONE, codes.DUPLICATE_SEQUENCE_NUMBER):
                    flow.acknowledged(batch, result.base_offset)
                else:
                    flow.failed(batch, result.error, result.message)
                if flow.waiting and flow not in self._queued:  # whether it may send is asked when its turn comes
                    self.offer(flow)
            for flow, batch in waiting.values():
                flow.failed(batch, codes.NETWORK_EXCEPTION, "the broker's answer left this partition out")
        if self._ready and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._pump)

    async def _connect(self) -> None:
        since = time.monotonic()
        while self._ready and not self._closed:
            try:
                connection = await self._target.connection(self._node, self._slot)
                self._version = connection.pick(protocol.PRODUCE, protocol.MIN_VERSION, protocol.MAX_VERSION)
                self._connection = connection
                self._pump()
                return
            except ReplicatorError as error:
                log.warning("can't write", cluster=self._target.alias, broker=self._node, error=str(error))
                self._target.refresh_soon()
                self._give_back(error if time.monotonic() - since > _SHOW_AFTER_S else None)
            await asyncio.sleep(_PAUSE_S)

    def _give_back(self, error: ReplicatorError | None) -> None:
        """Partitions that have another leader by now go there; the others show the trouble if it lasts."""
        waiting = [flow for ready in self._ready.values() for flow in ready]
        self._ready.clear()
        for flow in waiting:
            leader = self._target.leader(flow.target_topic, flow.partition)
            if flow.closed or flow.outlet is not self or (leader is not None and leader.leader != self._node):
                self._queued.discard(flow)
                self._elsewhere(flow)
                continue
            if error is not None:
                flow.fault(PartitionFault(Reason.TARGET_UNREACHABLE, str(error)))
                flow.park()
            self._ready.setdefault(flow.transactional_id, deque()).append(flow)
