"""One fetch session on one connection: asks for what its partitions want, hands out what comes, and asks again.

It asks within the worker's byte budget, and before any of what came is written: the next response is on its way while
the last one is sent on.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from replicator.errors import ReplicatorError
from replicator.flow.backpressure import ByteBudget, Lease
from replicator.flow.bandwidth import Bandwidth
from replicator.flow.partition import PartitionFlow
from replicator.flow.round_trip import RoundTrip
from replicator.flow.source_errors import SourceErrors
from replicator.states import PartitionFault, Reason
from replicator.wire import fetch as protocol
from replicator.wire import kafka_errors as codes
from replicator.wire.cluster import ClusterClient
from replicator.wire.connection import API_VERSIONS, Connection
from replicator.wire.fetch import FetchedPartition, FetchPosition, TopicKey
from replicator.wire.fetch_session import CLOSING_EPOCH, FetchSession
from replicator.wire.kafka_errors import BrokerError

log = structlog.get_logger(__name__)

FETCH_MAX_BYTES = 8 << 20
IDLE_MAX_BYTES = 2 << 20  # asked for while nothing is behind: what long polls keep reserved of the budget
PARTITION_MAX_BYTES = 1 << 20
MIN_ROOM_BYTES = 1 << 20
MAX_WAIT_MS = 500
SPREAD_WAIT_MS = 100  # while partitions may come back from other loops at any time
BUSY_WAIT_MS = 10  # while partitions wait for room in their queues: look again soon
_PAUSE_S = 0.5  # after an error of a whole broker
_SLICE_S = 0.02  # let others run after so long in one response
_SHOW_AFTER_S = 10.0
_READ_REPLICA_FOR_S = 300.0  # as the Java consumer's metadata.max.age.ms: then ask the leader again
_CALM_RESPONSES = 10  # in a row that left nothing behind: then the far broker's first loop can do it alone
_LINGER_S = 5.0
_CLOSE_WITHIN_S = 5.0


class Broker(Protocol):
    """What the loops that read from one broker share."""

    node: int
    source: ClusterClient
    budget: ByteBudget
    bandwidth: Bandwidth
    errors: SourceErrors
    round_trip: RoundTrip
    throttled_s: float  # that it told us to wait, in all

    @property
    def place(self) -> Callable[[PartitionFlow], None]:
        """Find the broker to read a partition from anew."""

    @property
    def is_near(self) -> bool:
        """Whether one loop is enough."""

    @property
    def spread_out(self) -> bool:
        """Whether other loops read too."""

    def share(self, loop: FetchLoop) -> tuple[int, int]:
        """The most bytes that this loop asks for of a partition, and in all."""

    def spread(self, behind: Sequence[PartitionFlow]) -> None:
        """The first loop can't keep up with these partitions."""

    def gather(self, loop: FetchLoop) -> None:
        """The first loop takes over what this one reads."""

    def pause(self) -> None:
        """There was trouble: no additional loops for a while."""


class FetchLoop(ABC):
    """What all loops do. `ready` while there is a connection."""

    def __init__(self, broker: Broker, slot: str) -> None:
        self.flows: dict[tuple[str, int], PartitionFlow] = {}
        self.reserved_bytes = 0  # of the budget, for the answer that is under way
        self._broker = broker
        self._source = broker.source
        self._slot = slot
        self._session = FetchSession()
        self._by_wire: dict[tuple[TopicKey, int], PartitionFlow] = {}
        self._waiting_for_room: set[PartitionFlow] = set()
        self._probes: set[PartitionFlow] = set()  # faulted, and being read again
        self._behind = False  # the last answer left out some of what there was
        self._version = 0
        self._connection: Connection | None = None
        self._wake = asyncio.Event()
        self.task = asyncio.create_task(self._run(), name=f"fetch {broker.source.alias}/{broker.node}/{slot}")

    @property
    def ready(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None and not self._connection.is_closed

    def add(self, flow: PartitionFlow) -> None:
        """Read this partition."""
        self.flows[flow.key] = flow
        self.update(flow)

    def remove(self, flow: PartitionFlow) -> None:
        """Don't read it any more; what is under way of it is dropped."""
        if self.flows.get(flow.key) is flow:
            del self.flows[flow.key]
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
            most, _ = self._broker.share(self)
            self._session.want(wire, FetchPosition(flow.partition, epoch, flow.fetch_offset, flow.fetched_epoch, most))
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
        """Stop reading."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    @abstractmethod
    async def _run(self) -> None: ...

    @abstractmethod
    async def _something_to_read(self) -> None:
        """Return when the session isn't empty; ReplicatorError to give up."""

    @abstractmethod
    def _handed_out(self, behind: list[PartitionFlow], records: bool) -> None:
        """After each answer: what it left out some of, and whether it had any records."""

    def _wire_key(self, flow: PartitionFlow) -> tuple[TopicKey, int]:
        by_id = self._version >= protocol.TOPIC_ID_VERSION
        return (flow.source_topic_id if by_id else flow.topic), flow.partition

    async def _connect(self) -> None:
        self._connection = await self._source.connection(self._broker.node, self._slot)
        version = self._connection.pick(protocol.FETCH, protocol.MIN_VERSION, protocol.MAX_VERSION)
        self._session = FetchSession()
        self._by_wire.clear()
        self._version = version
        for flow in self.flows.values():
            self.update(flow)

    async def _fetch(self) -> None:
        session, connection, version = self._session, self._connection, self._version
        assert connection is not None
        await self._something_to_read()
        budget = self._broker.budget
        bandwidth = self._broker.bandwidth
        await bandwidth.turn()
        await budget.wait_for_room(MIN_ROOM_BYTES)
        if connection.is_closed:  # while there was nothing to ask for
            return
        per_partition, most = self._broker.share(self)
        if not self._behind:
            most = min(most, IDLE_MAX_BYTES)
        most = min(most, per_partition * len(session), budget.left(), budget.limit_bytes // 4)
        max_bytes = bandwidth.at_once(max(MIN_ROOM_BYTES, most))
        topics, forgotten = session.plan()
        body = protocol.encode_fetch(
            version,
            max_wait_ms=self._max_wait_ms(),
            min_bytes=1,
            max_bytes=max_bytes,
            isolation=protocol.READ_COMMITTED,
            session_id=session.session_id,
            session_epoch=session.epoch,
            topics=topics,
            forgotten=forgotten,
            rack=self._source.config.client_rack or "",
        )
        if self._behind and self._broker.round_trip.due(time.monotonic()):
            self._measure(connection)
        budget.take(max_bytes)
        self.reserved_bytes = max_bytes
        try:
            frame = await connection.request(protocol.FETCH, version, body, flexible=True)
        finally:
            budget.give(max_bytes)
            self.reserved_bytes = 0
        bandwidth.took(len(frame))
        self._source.answers += 1
        lease = Lease(budget, len(frame))
        try:
            response = protocol.decode_fetch(version, frame)
            if response.error != codes.NONE:
                raise BrokerError(
                    response.error, f"cluster {self._source.alias}: fetch from broker {self._broker.node}"
                )
            session.answered(response.session_id)
            await self._hand_out(response, lease)
        finally:
            lease.release()
        if response.throttle_time_ms > 0:
            pause_s = min(response.throttle_time_ms, 60_000) / 1000
            self._broker.throttled_s += pause_s
            self._source.throttled_s += pause_s
            await asyncio.sleep(pause_s)

    def _max_wait_ms(self) -> int:
        if self._waiting_for_room:
            return BUSY_WAIT_MS
        return min(MAX_WAIT_MS, SPREAD_WAIT_MS) if self._broker.spread_out else MAX_WAIT_MS

    def _measure(self, connection: Connection) -> None:
        """Just before a fetch, when nothing is under way on this connection that the answer would wait for."""
        began = time.monotonic()

        def answered(done: asyncio.Future[memoryview]) -> None:
            if not done.cancelled() and done.exception() is None:
                self._broker.round_trip.measured(time.monotonic() - began)

        connection.request(API_VERSIONS, 0, [], flexible=False).add_done_callback(answered)

    async def _hand_out(self, response: protocol.FetchResponse, lease: Lease) -> None:
        slice_end = time.monotonic() + _SLICE_S
        behind: list[PartitionFlow] = []
        records = False
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
                records = records or len(fetched.records) > 0
                if flow.fetch_offset < flow.source_end:
                    behind.append(flow)
                if flow.waits_for_source:
                    self._broker.errors.try_later(flow)
                if fetched.preferred_read_replica >= 0:
                    self._read_from(flow, fetched)
            else:
                self._broken(flow, fetched)
            if self.flows.get(flow.key) is flow:
                self.update(flow)
            if time.monotonic() > slice_end:
                await asyncio.sleep(0)
                slice_end = time.monotonic() + _SLICE_S
        if self._probes:
            self._end_probes()
        self._behind = bool(behind or self._waiting_for_room)
        self._handed_out([flow for flow in behind if self.flows.get(flow.key) is flow], records)

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
            self._broker.errors.look_into(flow, fetched._replace(error=codes.REPLICA_NOT_AVAILABLE))
            return
        flow.read_replica = replica
        asyncio.get_running_loop().call_later(_READ_REPLICA_FOR_S, self._read_from_leader, flow)
        self._broker.place(flow)

    def _read_from_leader(self, flow: PartitionFlow) -> None:
        if flow.read_replica >= 0 and not flow.closed:
            flow.read_replica = -1
            self._broker.place(flow)

    def _broken(self, flow: PartitionFlow, fetched: FetchedPartition) -> None:
        """An error of one partition. Whatever it is, the partition stays out of the session until it is looked into."""
        self._broker.errors.look_into(flow, fetched)
        if flow.read_replica >= 0:
            flow.read_replica = -1
            self._broker.place(flow)


class FirstLoop(FetchLoop):
    """Reads whatever no other loop does, for as long as the link runs: it connects again after each trouble."""

    def __init__(self, broker: Broker) -> None:
        self._failing_since: float | None = None
        super().__init__(broker, "fetch-0")

    async def _run(self) -> None:
        while True:
            try:
                if not self.ready:
                    while not self.flows:
                        self._wake.clear()
                        await self._wake.wait()
                    await self._connect()
                await self._fetch()
                self._failing_since = None
            except ReplicatorError as error:
                self._session.reset()
                await self._trouble(error)
            except Exception as error:  # a bug must show, and not end the reading from this broker
                log.exception("fetching failed", cluster=self._source.alias, broker=self._broker.node)
                self._session.reset()
                await self._trouble(ReplicatorError(f"fetching failed: {type(error).__name__}: {error}"))

    async def _something_to_read(self) -> None:
        while not len(self._session):
            self._wake.clear()
            await self._wake.wait()

    def _handed_out(self, behind: list[PartitionFlow], records: bool) -> None:
        if behind:
            self._broker.spread(behind)

    async def _trouble(self, error: ReplicatorError) -> None:
        now = time.monotonic()
        first = self._failing_since is None
        if self._failing_since is None:
            self._failing_since = now
        if first and isinstance(error, BrokerError) and error.code in _SESSION_ERRORS:
            return  # a full request follows at once
        log.warning("can't fetch", cluster=self._source.alias, broker=self._broker.node, error=str(error))
        if now - self._failing_since > _SHOW_AFTER_S:
            for flow in list(self.flows.values()):
                flow.fault(PartitionFault(Reason.SOURCE_UNREACHABLE, str(error)))
        self._source.refresh_soon()
        await asyncio.sleep(_PAUSE_S)
        for flow in list(self.flows.values()):
            if flow.reason is Reason.SOURCE_UNREACHABLE and not self._broker.errors.looks_into(flow):
                flow.try_fetching()


class ExtraLoop(FetchLoop):
    """Reads some of what is behind on a far broker. Ends for good, and the first loop takes over what it has, when
    nothing has been behind for a while or at the first trouble."""

    def __init__(self, broker: Broker, number: int) -> None:
        self.ended = False
        self._calm = 0
        super().__init__(broker, f"fetch-{number}")

    async def _run(self) -> None:
        try:
            await self._connect()
            while True:
                await self._fetch()
                if not self.ready or self._calm >= _CALM_RESPONSES:
                    break
        except _Idle:
            pass
        except ReplicatorError as error:
            self._broker.pause()
            log.info("an additional fetch session ended", cluster=self._source.alias, error=str(error))
        except Exception:  # a bug must show; the first loop meets it again, or reads on
            self._broker.pause()
            log.exception("fetching failed", cluster=self._source.alias, broker=self._broker.node)
        finally:
            self.ended = True
            self._broker.gather(self)
        await self._close_session()

    async def _something_to_read(self) -> None:
        while not len(self._session):
            self._wake.clear()
            try:
                async with asyncio.timeout(_LINGER_S):
                    await self._wake.wait()
            except TimeoutError:
                raise _Idle from None

    def _handed_out(self, behind: list[PartitionFlow], records: bool) -> None:
        if not records or self._broker.is_near:
            self._calm = _CALM_RESPONSES
        else:
            self._calm = 0 if behind else self._calm + 1

    async def _close_session(self) -> None:
        """Give the broker back its place for a session (KIP-227), and close the connection."""
        connection, session = self._connection, self._session
        if connection is None:
            return
        try:
            if session.session_id and not connection.is_closed:
                body = protocol.encode_fetch(
                    self._version,
                    max_wait_ms=0,
                    min_bytes=0,
                    max_bytes=0,
                    isolation=protocol.READ_COMMITTED,
                    session_id=session.session_id,
                    session_epoch=CLOSING_EPOCH,
                    topics={},
                    forgotten={},
                    rack="",
                )
                await connection.request(protocol.FETCH, self._version, body, flexible=True, timeout_s=_CLOSE_WITHIN_S)
        except ReplicatorError as error:
            log.debug("a fetch session wasn't closed", cluster=self._source.alias, error=str(error))
        finally:
            connection.close()


class _Idle(Exception):
    """Nothing to read for a while."""


_SESSION_ERRORS = frozenset(
    {codes.FETCH_SESSION_ID_NOT_FOUND, codes.INVALID_FETCH_SESSION_EPOCH, codes.FETCH_SESSION_TOPIC_ID_ERROR}
)
