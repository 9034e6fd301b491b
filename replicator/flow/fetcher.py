"""Reads from a source cluster: one loop and one fetch session per broker.

A loop asks for everything that its partitions want, within the worker's byte budget, hands what comes to the
partitions, and asks again before any of it is written: the next response is on its way while this one is sent on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from replicator.errors import ReplicatorError
from replicator.flow.backpressure import ByteBudget, Lease
from replicator.flow.partition import PartitionFlow
from replicator.flow.source_errors import SourceErrors
from replicator.states import PartitionFault, Reason
from replicator.wire import fetch as protocol
from replicator.wire import kafka_errors as codes
from replicator.wire.cluster import ClusterClient
from replicator.wire.connection import Connection
from replicator.wire.fetch import FetchedPartition, FetchPosition, TopicKey
from replicator.wire.fetch_session import FetchSession
from replicator.wire.kafka_errors import BrokerError

log = structlog.get_logger(__name__)

FETCH_MAX_BYTES = 8 << 20
PARTITION_MAX_BYTES = 1 << 20
MIN_ROOM_BYTES = 1 << 20
MAX_WAIT_MS = 500
BUSY_WAIT_MS = 10  # while partitions wait for room in their queues: look again soon
_PAUSE_S = 0.5  # after an error of a whole broker
_SLICE_S = 0.02  # let others run after so long in one response
_SHOW_AFTER_S = 10.0
_READ_REPLICA_FOR_S = 300.0  # as the Java consumer's metadata.max.age.ms: then ask the leader again


class Fetcher:
    """All of one link's reading in this worker."""

    def __init__(self, source: ClusterClient, budget: ByteBudget, errors: SourceErrors) -> None:
        self._source = source
        self._budget = budget
        self._errors = errors
        self._loops: dict[int, _BrokerLoop] = {}
        self._home: dict[PartitionFlow, _BrokerLoop] = {}
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
        loop = self._home.pop(flow, None)
        if loop is not None:
            loop.remove(flow)

    def update(self, flow: PartitionFlow) -> None:
        """Its position or fetchability changed."""
        loop = self._home.get(flow)
        if loop is not None:
            loop.update(flow)

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
        await asyncio.gather(*(loop.close() for loop in self._loops.values()))

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
            loop = self._loops.get(node)
            if loop is None:
                loop = self._loops[node] = _BrokerLoop(node, self._source, self._budget, self._errors, self._place)
            self._home[flow] = loop
            loop.add(flow)
        else:
            present.update(flow)
        topic = self._source.topics.get(flow.topic)
        seen = topic is not None and topic.error == codes.NONE
        if seen and flow.waits_for_source and flow.reason in _SEEN_AGAIN and not self._errors.looks_into(flow):
            flow.try_fetching()


class _BrokerLoop:
    """Reads what one broker serves."""

    def __init__(
        self,
        node: int,
        source: ClusterClient,
        budget: ByteBudget,
        errors: SourceErrors,
        place: Callable[[PartitionFlow], None],
    ) -> None:
        self.node = node
        self._source = source
        self._budget = budget
        self._errors = errors
        self._place = place
        self._session = FetchSession()
        self._flows: dict[tuple[str, int], PartitionFlow] = {}
        self._by_wire: dict[tuple[TopicKey, int], PartitionFlow] = {}
        self._waiting_for_room: set[PartitionFlow] = set()
        self._probes: set[PartitionFlow] = set()  # faulted, and being read again
        self._version = 0
        self._connection: Connection | None = None
        self._wake = asyncio.Event()
        self._failing_since: float | None = None
        self._task = asyncio.create_task(self._run(), name=f"fetch {source.alias}/{node}")

    def add(self, flow: PartitionFlow) -> None:
        self._flows[flow.key] = flow
        self.update(flow)

    def remove(self, flow: PartitionFlow) -> None:
        if self._flows.get(flow.key) is flow:
            del self._flows[flow.key]
        wire = self._wire_key(flow)
        if self._by_wire.get(wire) is flow:
            del self._by_wire[wire]
            self._session.drop(wire)
        self._waiting_for_room.discard(flow)
        self._probes.discard(flow)

    def update(self, flow: PartitionFlow) -> None:
        """Bring the session in line with what the partition wants now."""
        if not self._version:
            self._wake.set()
            return
        wire = self._wire_key(flow)
        if flow.fetchable:
            self._by_wire[wire] = flow
            leader = self._source.leader(flow.topic, flow.partition)
            epoch = leader.leader_epoch if leader is not None else -1
            position = FetchPosition(flow.partition, epoch, flow.fetch_offset, flow.fetched_epoch, PARTITION_MAX_BYTES)
            self._session.want(wire, position)
            self._waiting_for_room.discard(flow)
            if flow.waits_for_source:
                self._probes.add(flow)
            self._wake.set()
        else:
            self._session.drop(wire)
            if flow.full:
                self._waiting_for_room.add(flow)
            else:
                self._waiting_for_room.discard(flow)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _wire_key(self, flow: PartitionFlow) -> tuple[TopicKey, int]:
        by_id = self._version >= protocol.TOPIC_ID_VERSION
        return (flow.source_topic_id if by_id else flow.topic), flow.partition

    async def _run(self) -> None:
        while True:
            try:
                if self._connection is None or self._connection.is_closed:
                    await self._connect()
                await self._fetch()
                self._failing_since = None
            except ReplicatorError as error:
                self._session.reset()
                await self._trouble(error)
            except Exception as error:  # a bug must show, and not end the reading from this broker
                log.exception("fetching failed", cluster=self._source.alias, broker=self.node)
                self._session.reset()
                await self._trouble(ReplicatorError(f"fetching failed: {type(error).__name__}: {error}"))

    async def _connect(self) -> None:
        while not self._flows:
            self._wake.clear()
            await self._wake.wait()
        self._connection = await self._source.connection(self.node, "fetch-0")
        version = self._connection.pick(protocol.FETCH, protocol.MIN_VERSION, protocol.MAX_VERSION)
        self._session = FetchSession()
        self._by_wire.clear()
        self._version = version
        for flow in self._flows.values():
            self.update(flow)

    async def _fetch(self) -> None:
        session, connection, version = self._session, self._connection, self._version
        assert connection is not None
        while not len(session):
            self._wake.clear()
            await self._wake.wait()
        await self._budget.wait_for_room(MIN_ROOM_BYTES)
        max_bytes = max(MIN_ROOM_BYTES, min(FETCH_MAX_BYTES, self._budget.left(), self._budget.limit_bytes // 4))
        topics, forgotten = session.plan()
        body = protocol.encode_fetch(
            version,
            max_wait_ms=BUSY_WAIT_MS if self._waiting_for_room else MAX_WAIT_MS,
            min_bytes=1,
            max_bytes=max_bytes,
            isolation=protocol.READ_COMMITTED,
            session_id=session.session_id,
            session_epoch=session.epoch,
            topics=topics,
            forgotten=forgotten,
            rack=self._source.config.client_rack or "",
        )
        self._budget.take(max_bytes)
        try:
            frame = await connection.request(protocol.FETCH, version, body, flexible=True)
        finally:
            self._budget.give(max_bytes)
        lease = Lease(self._budget, len(frame))
        try:
            response = protocol.decode_fetch(version, frame)
            if response.error != codes.NONE:
                raise BrokerError(response.error, f"cluster {self._source.alias}: fetch from broker {self.node}")
            session.answered(response.session_id)
            await self._hand_out(response, lease)
        finally:
            lease.release()
        if response.throttle_time_ms > 0:
            await asyncio.sleep(min(response.throttle_time_ms, 60_000) / 1000)

    async def _hand_out(self, response: protocol.FetchResponse, lease: Lease) -> None:
        slice_end = time.monotonic() + _SLICE_S
        for fetched in response.partitions:
            wire = fetched.topic, fetched.partition
            flow = self._by_wire.get(wire)
            if flow is None or flow.closed:
                continue
            asked = self._session.asked(wire)
            if asked is None or asked.offset != flow.fetch_offset or not flow.fetchable:
                pass  # stopped or set back while the response was on its way: what it skips isn't a gap of the source
            elif fetched.error == codes.NONE and fetched.diverging is None:
                flow.take(fetched, lease)
                if flow.waits_for_source:
                    self._errors.try_later(flow)
                if fetched.preferred_read_replica >= 0:
                    self._read_from(flow, fetched)
            else:
                self._broken(flow, fetched)
            if self._flows.get(flow.key) is flow:
                self.update(flow)
            if time.monotonic() > slice_end:
                await asyncio.sleep(0)
                slice_end = time.monotonic() + _SLICE_S
        if self._probes:
            self._end_probes()

    def _end_probes(self) -> None:
        """What this answer was about and leaves out is well: sessions don't mention what hasn't changed (KIP-227)."""
        for flow in list(self._probes):
            if not (flow.fetchable and flow.waits_for_source):
                self._probes.discard(flow)
            elif self._session.asked(self._wire_key(flow)) is not None:
                self._probes.discard(flow)
                flow.source_is_well()

    def _read_from(self, flow: PartitionFlow, fetched: FetchedPartition) -> None:
        replica = fetched.preferred_read_replica
        if replica not in self._source.brokers:  # the leader gives no data meanwhile: don't ask it at once again
            self._errors.look_into(flow, fetched._replace(error=codes.REPLICA_NOT_AVAILABLE))
            return
        flow.read_replica = replica
        asyncio.get_running_loop().call_later(_READ_REPLICA_FOR_S, self._read_from_leader, flow)
        self._place(flow)

    def _read_from_leader(self, flow: PartitionFlow) -> None:
        if flow.read_replica >= 0 and not flow.closed:
            flow.read_replica = -1
            self._place(flow)

    def _broken(self, flow: PartitionFlow, fetched: FetchedPartition) -> None:
        """An error of one partition. Whatever it is, the partition stays out of the session until it is looked into."""
        self._errors.look_into(flow, fetched)
        if flow.read_replica >= 0:
            flow.read_replica = -1
            self._place(flow)

    async def _trouble(self, error: ReplicatorError) -> None:
        now = time.monotonic()
        first = self._failing_since is None
        if self._failing_since is None:
            self._failing_since = now
        if first and isinstance(error, BrokerError) and error.code in _SESSION_ERRORS:
            return  # a full request follows at once
        log.warning("can't fetch", cluster=self._source.alias, broker=self.node, error=str(error))
        if now - self._failing_since > _SHOW_AFTER_S:
            for flow in list(self._flows.values()):
                flow.fault(PartitionFault(Reason.SOURCE_UNREACHABLE, str(error)))
        self._source.refresh_soon()
        await asyncio.sleep(_PAUSE_S)
        for flow in list(self._flows.values()):
            if flow.reason is Reason.SOURCE_UNREACHABLE and not self._errors.looks_into(flow):
                flow.try_fetching()


_SEEN_AGAIN = frozenset({Reason.SOURCE_UNREACHABLE, Reason.SOURCE_MISSING})  # what good metadata may be the end of
_SESSION_ERRORS = frozenset(
    {codes.FETCH_SESSION_ID_NOT_FOUND, codes.INVALID_FETCH_SESSION_EPOCH, codes.FETCH_SESSION_TOPIC_ID_ERROR}
)
