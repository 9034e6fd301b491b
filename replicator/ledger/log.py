"""A lane's partition of the ledger topic, read and written over the data plane's own connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID

from replicator.errors import ReplicatorError, UnreachableError
from replicator.flow.backpressure import ByteBudget, Lease
from replicator.flow.partition import SEQUENCE_MASK
from replicator.flow.stage import Stage
from replicator.wire import batch as v2
from replicator.wire import fetch, produce, records
from replicator.wire import kafka_errors as codes
from replicator.wire.cluster import ClusterClient
from replicator.wire.compression import LZ4
from replicator.wire.connection import Connection
from replicator.wire.iam import TOPIC, in_iam
from replicator.wire.kafka_errors import BrokerError
from replicator.wire.list_offsets import EARLIEST, LATEST
from replicator.wire.producer_id import ProducerIdAndEpoch
from replicator.wire.records import Record

RECORDS_PER_BATCH = 1_000
_FETCH_BYTES = 4 << 20
_PAUSE_S = 0.1
_SLOT = "ledger"

KeyValue = tuple[bytes, bytes | None]


class LedgerLog:
    """One partition of the ledger topic, read with this isolation."""

    def __init__(self, target: ClusterClient, topic: str, lane: int, *, isolation: int = fetch.READ_COMMITTED) -> None:
        self._isolation = isolation
        self._target = target
        self.topic = topic
        self._lane = lane
        self._sequence = 0

    async def read(self) -> list[tuple[bytes | None, bytes | None]]:
        """All (key, value) pairs up to the end as it was when this was called, in log order."""
        return (await self.read_from(-1))[0]

    async def read_from(self, offset: int) -> tuple[list[tuple[bytes | None, bytes | None]], int]:
        """As `read`, from this offset on (-1: from the start); and the offset to go on from next time."""
        start, end = await self._bound(EARLIEST), await self._bound(LATEST)
        position = max(start, offset)
        stage, budget = Stage("source"), ByteBudget(1 << 40)
        pairs: list[tuple[bytes | None, bytes | None]] = []
        while position < end:
            fetched = await self._fetch(position)
            staged = stage.stage(fetched, position, Lease(budget, 0))
            if staged.fault is not None:
                raise staged.fault
            if staged.next_offset == position:
                raise UnreachableError(self._said(f"offset {position} of {end} can't be read now"))
            for batch in staged.batches:
                pairs += [(r.key, r.value) for r in records.decode(batch.data, v2.read_header(batch.data, 0))]
            position = staged.next_offset
        return pairs, position

    async def served(self) -> None:
        """Return if the partition's leader serves it; a ReplicatorError if not, for which a retry may help.

        Ask before a transaction includes it. Brokers (4.1, measured) may leave a request to write markers unanswered
        if one of its partitions isn't online yet, as soon after its creation, and all other markers wait 30 s for it.
        """
        await self._bound(LATEST)

    async def _bound(self, where: int) -> int:
        key = (self.topic, self._lane)
        listed = (await self._target.offsets([(*key, where)], self._isolation)).get(key)
        if listed is None:
            raise UnreachableError(self._said("has no leader"))
        if listed.error:
            raise self._refused(listed.error, "list offsets", "Describe")
        return listed.offset

    async def write(
        self,
        producer: ProducerIdAndEpoch,
        pairs: Sequence[KeyValue],
        *,
        transactional_id: str | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        """Append these pairs; returns when the target has acknowledged them (acks=all).

        With a transactional id they are part of its open transaction. One call at a time. Retriable errors are tried
        again with the same bytes and sequence until `timeout_s` is over.
        """
        deadline = time.monotonic() + timeout_s
        now = int(time.time() * 1000)
        for first in range(0, len(pairs), RECORDS_PER_BATCH):
            chunk = pairs[first : first + RECORDS_PER_BATCH]
            data, count = records.encode([Record(0, now, key, value, ()) for key, value in chunk], LZ4)
            v2.stamp(
                memoryview(data),
                producer_id=producer.producer_id,
                producer_epoch=producer.epoch,
                base_sequence=self._sequence,
                transactional=transactional_id is not None,
            )
            await self._append(data, deadline, transactional_id)
            self._sequence = (self._sequence + count) & SEQUENCE_MASK

    def new_producer(self) -> None:
        """The lane has another producer now: its sequences begin at 0."""
        self._sequence = 0

    async def _append(self, data: bytearray, deadline: float, transactional_id: str | None) -> None:
        while True:
            try:
                connection = await self._leader()
                highest = produce.MAX_VERSION if transactional_id is None else produce.MAX_TRANSACTIONAL_VERSION
                version = connection.pick(produce.PRODUCE, produce.MIN_VERSION, highest)
                by_id = version >= produce.TOPIC_ID_VERSION
                topic = self._topic_key(by_id)
                name = topic.bytes if isinstance(topic, UUID) else topic
                body = produce.encode_produce(version, {name: [(self._lane, data)]}, transactional_id=transactional_id)
                reply = await connection.request(produce.PRODUCE, version, body, flexible=True)
                results = produce.decode_produce(version, reply).partitions
                code, message = (results[0].error, results[0].message) if results else (codes.REQUEST_TIMED_OUT, "")
                if code in (codes.NONE, codes.DUPLICATE_SEQUENCE_NUMBER):
                    return
                raise self._refused(code, "write", "Write", message)
            except ReplicatorError as error:
                if not error.retriable or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_PAUSE_S)
                if time.monotonic() < deadline:
                    await self._refresh_quietly()

    async def _fetch(self, position: int) -> fetch.FetchedPartition:
        connection = await self._leader()
        version = connection.pick(fetch.FETCH, fetch.MIN_VERSION, fetch.MAX_VERSION)
        topic = self._topic_key(version >= fetch.TOPIC_ID_VERSION)
        body = fetch.encode_fetch(
            version,
            max_wait_ms=500,
            min_bytes=1,
            max_bytes=_FETCH_BYTES,
            isolation=self._isolation,
            session_id=0,
            session_epoch=-1,
            topics={topic: [fetch.FetchPosition(self._lane, -1, position, -1, _FETCH_BYTES)]},
            forgotten={},
            rack="",
        )
        response = fetch.decode_fetch(version, await connection.request(fetch.FETCH, version, body, flexible=True))
        for fetched in response.partitions:
            if fetched.error:
                await self._refresh_quietly()
                raise self._refused(fetched.error, "read", "Read")
            return fetched
        raise BrokerError(response.error or codes.REQUEST_TIMED_OUT, self._said("read"))

    async def _leader(self) -> Connection:
        leader = self._target.leader(self.topic, self._lane)
        if leader is None:
            raise UnreachableError(self._said("has no leader"))
        return await self._target.connection(leader.leader, _SLOT)

    def _topic_key(self, by_id: bool) -> str | UUID:
        topic = self._target.topic_id_of(self.topic) if by_id else self.topic
        if topic is None:
            raise UnreachableError(self._said("its topic isn't there"))
        return topic

    async def _refresh_quietly(self) -> None:
        try:
            await self._target.refresh()
        except UnreachableError:
            return  # the caller tries again, and says so when its time is over

    def _refused(self, code: int, what: str, operation: str, message: str = "") -> BrokerError:
        if code == codes.TOPIC_AUTHORIZATION_FAILED:
            what += f", for which {operation} is needed ({in_iam(TOPIC, operation)})"
        return BrokerError(code, self._said(what), message)

    def _said(self, what: str) -> str:
        return f"cluster {self._target.alias}: ledger {self.topic}-{self._lane}: {what}"
