"""Reads many partitions of one cluster at once, each until it has seen enough: for recovery, not for copying.

One request per broker is under way, for all partitions that it leads; brokers don't wait for one another. Requests are
made without a fetch session, and what is read is given away part by part, so memory is bounded by what responses hold.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Protocol
from uuid import UUID

import structlog

from replicator.errors import ReplicatorError, UnreachableError
from replicator.states import PartitionFault, Reason
from replicator.wire import fetch
from replicator.wire import kafka_errors as codes
from replicator.wire.batch import producers_in
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import FetchedPartition, FetchPosition, TopicKey
from replicator.wire.iam import TOPIC, in_iam
from replicator.wire.kafka_errors import BrokerError
from replicator.wire.list_offsets import EARLIEST, LATEST
from replicator.wire.primitives import NO_TOPIC_ID

log = structlog.get_logger(__name__)

Key = tuple[str, int]

RESPONSE_BYTES = 16 << 20
PARTITION_BYTES = 1 << 20
_PARTITIONS_AT_ONCE = 5_000
_MAX_WAIT_MS = 200
_REQUEST_TIMEOUT_S = 10.0  # for a broker that is frozen: its leaders may be elsewhere by then
_PAUSE_S = 0.1
_LOOK_S = 0.5  # how often to look for readings that get no further
GRACE_S = 5.0  # for those that are left when others are done: a broker that is away doesn't hold these up for long
_YIELD_AFTER_BYTES = 64 << 10  # others run in between: what is read may take long to be looked at


class Reading(Protocol):
    """One partition being read. Whatever ReplicatorError a call raises ends this reading, not the others."""

    @property
    def topic(self) -> str: ...

    @property
    def partition(self) -> int: ...

    @property
    def topic_id(self) -> UUID:
        """That of the topic meant: another one of the same name isn't read. NO_TOPIC_ID: whichever there is."""

    @property
    def position(self) -> int:
        """The offset to read on from."""

    @property
    def done(self) -> bool:
        """Whether it has seen enough."""

    def take(self, fetched: FetchedPartition) -> None:
        """What was read from `position` on; maybe nothing."""

    def out_of_range(self, start: int, end: int) -> None:
        """The log has `start` to `end`, for certain: `position` isn't there, or `idle` has asked."""

    def idle(self, fetched: FetchedPartition, seconds: float) -> bool | None:
        """There has been nothing new for so long; True to have the leader asked where the log ends (`out_of_range`).

        High watermarks in responses don't tell: that of a new leader may lag behind what was readable before.
        """


async def read_all(
    cluster: ClusterClient,
    readings: Iterable[Reading],
    *,
    isolation: int,
    slot: str,
    patience_s: float = 30.0,
    learn: Callable[[Collection[int]], Awaitable[None]] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[Key, ReplicatorError]:
    """Read until each is done; what ended those that never were.

    A reading that gets no further for `patience_s`, or for `GRACE_S` once another one is done, ends with an
    UnreachableError that names the last trouble. `learn` is told the producer ids of what was read before a reading
    takes it.
    """
    reader = _Reader(cluster, readings, isolation, slot, patience_s, learn, clock)
    await reader.run()
    return reader.failed


class _Reader:
    def __init__(
        self,
        cluster: ClusterClient,
        readings: Iterable[Reading],
        isolation: int,
        slot: str,
        patience_s: float,
        learn: Callable[[Collection[int]], Awaitable[None]] | None,
        clock: Callable[[], float],
    ) -> None:
        self.failed: dict[Key, ReplicatorError] = {}
        self._cluster = cluster
        self._isolation = isolation
        self._slot = slot
        self._patience_s = patience_s
        self._learn = learn
        self._clock = clock
        # Those that got something last are asked for last: a response that is full begins with others.
        self._open: dict[Key, Reading] = {(r.topic, r.partition): r for r in readings if not r.done}
        self._moved_at = dict.fromkeys(self._open, clock())
        self._trouble: dict[Key, str] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._busy: set[Key] = set()
        self._stale = False  # the leaders we know may not be the leaders any more

    async def run(self) -> None:
        try:
            while self._open:
                self._assign()
                if self._stale or not self._tasks:
                    self._stale = False
                    await self._refresh()
                if self._tasks:
                    idle = len(self._busy) < len(self._open)
                    done, _ = await asyncio.wait(
                        self._tasks.values(),
                        timeout=_PAUSE_S if idle else _LOOK_S,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    self._tasks = {node: task for node, task in self._tasks.items() if task not in done}
                    for task in done:
                        task.result()
                self._expire()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _assign(self) -> None:
        by_node: dict[int, list[Reading]] = {}
        for key, reading in self._open.items():
            if key in self._busy:
                continue
            leader = self._cluster.leader(*key)
            if leader is None:
                self._trouble[key] = "it has no leader"
                self._stale = True
            elif leader.leader not in self._tasks:
                by_node.setdefault(leader.leader, []).append(reading)
        for node, group in by_node.items():
            del group[_PARTITIONS_AT_ONCE:]
            self._busy.update((r.topic, r.partition) for r in group)
            self._tasks[node] = asyncio.create_task(self._ask(node, group), name=f"recovery fetch {node}")

    async def _ask(self, node: int, group: list[Reading]) -> None:
        try:
            connection = await self._cluster.connection(node, self._slot)
            version = connection.pick(fetch.FETCH, fetch.MIN_VERSION, fetch.MAX_VERSION)
            by_id = version >= fetch.TOPIC_ID_VERSION
            topics: dict[TopicKey, list[FetchPosition]] = {}
            asked: dict[tuple[TopicKey, int], Reading] = {}
            for reading in group:
                topic: TopicKey = self._topic_id(reading) if by_id else reading.topic
                topics.setdefault(topic, []).append(
                    FetchPosition(reading.partition, -1, reading.position, -1, PARTITION_BYTES)
                )
                asked[topic, reading.partition] = reading
            body = fetch.encode_fetch(
                version,
                max_wait_ms=_MAX_WAIT_MS,
                min_bytes=1,
                max_bytes=RESPONSE_BYTES,
                isolation=self._isolation,
                session_id=0,
                session_epoch=-1,
                topics=topics,
                forgotten={},
                rack="",
            )
            answer = await connection.request(fetch.FETCH, version, body, flexible=True, timeout_s=_REQUEST_TIMEOUT_S)
            response = fetch.decode_fetch(version, answer)
            if response.error:
                raise BrokerError(response.error, f"cluster {self._cluster.alias}: Fetch")
            outside = []
            for fetched in response.partitions:
                reading_of = asked.get((fetched.topic, fetched.partition))
                if reading_of is not None and not await self._knows_origins(reading_of, fetched):
                    continue
                if reading_of is not None and self._take(reading_of, fetched):
                    outside.append(reading_of)
                if len(fetched.records) > _YIELD_AFTER_BYTES:
                    await asyncio.sleep(0)
            await self._look_at_bounds(outside)
        except ReplicatorError as error:
            for reading in group:
                if error.retriable:
                    self._trouble[reading.topic, reading.partition] = str(error)
                else:
                    self._end(reading, error)
            self._stale = True
            await asyncio.sleep(_PAUSE_S)
        finally:
            self._busy.difference_update((r.topic, r.partition) for r in group)

    async def _knows_origins(self, reading: Reading, fetched: FetchedPartition) -> bool:
        if self._learn is None:
            return True
        try:
            await self._learn(set(producers_in(fetched.records)))
        except ReplicatorError as error:
            self._trouble[reading.topic, reading.partition] = str(error)
            if isinstance(error, PartitionFault):
                self._end(reading, error)
            return False
        return True

    def _topic_id(self, reading: Reading) -> UUID:
        if reading.topic_id != NO_TOPIC_ID:
            return reading.topic_id
        return self._cluster.topic_id_of(reading.topic) or NO_TOPIC_ID

    def _take(self, reading: Reading, fetched: FetchedPartition) -> bool:
        """Give it what came; whether to look at where its log begins and ends."""
        key = reading.topic, reading.partition
        if key not in self._open:
            return False  # given up meanwhile
        if fetched.error == codes.OFFSET_OUT_OF_RANGE:
            return True
        if fetched.error:
            self._refused(reading, fetched.error)
            return False
        before, now = reading.position, self._clock()
        try:
            reading.take(fetched)
            if not reading.done and reading.position == before:
                return bool(reading.idle(fetched, now - self._moved_at[key]))
        except ReplicatorError as error:
            self._end(reading, error)
            return False
        except Exception as error:
            log.exception("reading a partition failed", topic=reading.topic, partition=reading.partition)
            self._end(reading, self._fault(reading, Reason.INTERNAL_ERROR, f"{type(error).__name__}: {error}."))
            return False
        if reading.done:
            self._open.pop(key, None)
        elif reading.position != before:
            self._moved_at[key] = now
            self._open[key] = self._open.pop(key)
            self._trouble.pop(key, None)
        return False

    def _refused(self, reading: Reading, code: int) -> None:
        where = f"{reading.topic}-{reading.partition} of cluster {self._cluster.alias}"
        if code == codes.TOPIC_AUTHORIZATION_FAILED:
            what = f"Read on topic {reading.topic} of cluster {self._cluster.alias} ({in_iam(TOPIC, 'Read')})."
            self._end(reading, self._fault(reading, Reason.NOT_AUTHORIZED, what))
        elif codes.is_retriable(code):
            self._trouble[reading.topic, reading.partition] = codes.error_name(code)
            self._stale = True
        else:
            self._end(reading, BrokerError(code, f"read {where} at offset {reading.position}"))

    async def _look_at_bounds(self, outside: list[Reading]) -> None:
        if not outside:
            return
        found = [
            await self._cluster.offsets([(r.topic, r.partition, which) for r in outside], fetch.READ_UNCOMMITTED)
            for which in (EARLIEST, LATEST)
        ]
        for reading in outside:
            key = reading.topic, reading.partition
            if key not in self._open:
                continue
            start, end = (listed.get(key) for listed in found)
            if start is None or end is None or start.error or end.error:
                self._trouble[key] = "where its log begins and ends can't be asked"
                self._stale = True
                continue
            before = reading.position
            try:
                reading.out_of_range(start.offset, end.offset)
            except ReplicatorError as error:
                self._end(reading, error)
                continue
            if reading.done:
                self._open.pop(key, None)
            elif reading.position == before:
                self._trouble[key] = f"its log has offsets {start.offset} to {end.offset}"
                self._stale = True
            else:
                self._moved_at[key] = self._clock()

    def _end(self, reading: Reading, error: ReplicatorError) -> None:
        key = reading.topic, reading.partition
        if self._open.pop(key, None) is not None:
            self.failed[key] = error

    @staticmethod
    def _fault(reading: Reading, reason: Reason, detail: str) -> PartitionFault:
        return PartitionFault(reason, detail, topic=reading.topic, partition=reading.partition, offset=reading.position)

    def _expire(self) -> None:
        others_done = len(self._open) + len(self.failed) < len(self._moved_at)
        patience_s = min(self._patience_s, GRACE_S) if others_done else self._patience_s
        late = self._clock() - patience_s
        for key, reading in list(self._open.items()):
            if self._moved_at[key] <= late:
                trouble = self._trouble.get(key, "nothing new came")
                self._end(
                    reading,
                    UnreachableError(
                        f"cluster {self._cluster.alias}: {key[0]}-{key[1]} got no further than offset "
                        f"{reading.position} within {patience_s:.0f} s: {trouble}"
                    ),
                )

    async def _refresh(self) -> None:
        try:
            await self._cluster.refresh()
        except ReplicatorError as error:
            for key in self._open.keys() - self._busy:
                self._trouble[key] = str(error)
            if not self._tasks:
                await asyncio.sleep(_PAUSE_S)
