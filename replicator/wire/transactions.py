"""A transactional producer's conversation with its coordinator: InitProducerId, AddPartitionsToTxn, EndTxn.

Versions are kept below those that bump the producer's epoch with each transaction (KIP-890: AddPartitionsToTxn 4,
EndTxn 5, Produce 12): a lane keeps its epoch until another owner takes it over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from replicator.errors import ReplicatorError, UnreachableError
from replicator.wire import kafka_errors as codes
from replicator.wire.cluster import ClusterClient
from replicator.wire.connection import Connection
from replicator.wire.kafka_errors import BrokerError
from replicator.wire.permissions import refused_id, refused_idempotence
from replicator.wire.primitives import INT8, INT16, INT32, INT64, NO_TAGS, Reader, compact_array, compact_string
from replicator.wire.producer_id import ProducerIdAndEpoch, init_producer_id

FIND_COORDINATOR = 10
ADD_PARTITIONS_TO_TXN = 24
END_TXN = 26

_OPERATION_NOT_ATTEMPTED = 55
_OF_ONE_PARTITION = frozenset({codes.UNKNOWN_TOPIC_OR_PARTITION, codes.TOPIC_AUTHORIZATION_FAILED})

_TRANSACTION = 1  # FindCoordinator's key type
_SLOT = "coordinator"
_PAUSE_S = 0.005  # markers of the last transaction are written within a few ms
_PAUSE_MOST_S = 0.5
_LOST = frozenset({codes.COORDINATOR_NOT_AVAILABLE, codes.NOT_COORDINATOR})


class TransactionalProducer:
    """One transactional id. Calls try again until `patience_s` is over; then, or when fenced, BrokerError."""

    def __init__(self, cluster: ClusterClient, transactional_id: str, *, timeout_ms: int, patience_s: float = 30.0):
        self.transactional_id = transactional_id
        self.identity = ProducerIdAndEpoch(-1, -1)
        self.waiting_for: ReplicatorError | None = None  # what a call that is under way has failed with so far
        self._cluster = cluster
        self._timeout_ms = timeout_ms
        self._patience_s = patience_s
        self._node: int | None = None

    async def init(self) -> ProducerIdAndEpoch:
        """Become the only one to write under this id: the next epoch; what a former owner left open is aborted."""

        async def call(connection: Connection) -> None:
            self.identity = await init_producer_id(connection, self.transactional_id, self._timeout_ms)

        await self._patiently("InitProducerId", call)
        return self.identity

    async def add_partitions(self, topics: Mapping[str, Sequence[int]]) -> dict[tuple[str, int], int]:
        """Make these partitions part of the transaction, which begins with the first ones.

        Kafka takes all or none. If some are refused for themselves (unknown topic, no permission), none is added and
        their error codes are returned: ask again without them.
        """
        items = [
            compact_string(topic) + compact_array([INT32.pack(index) for index in indexes]) + NO_TAGS
            for topic, indexes in topics.items()
        ]
        body = self._head() + compact_array(items) + NO_TAGS
        refused: dict[tuple[str, int], int] = {}

        async def call(connection: Connection) -> None:
            refused.clear()
            reply = Reader(await connection.request(ADD_PARTITIONS_TO_TXN, 3, [body], flexible=True))
            reply.int32()
            for _ in range(reply.compact_array_length()):
                topic = reply.compact_string()
                for _ in range(reply.compact_array_length()):
                    index, code = reply.int32(), reply.int16()
                    reply.tags()
                    if code in _OF_ONE_PARTITION:
                        refused[topic, index] = code
                    elif code not in (codes.NONE, _OPERATION_NOT_ATTEMPTED):
                        raise self._error(code, f"AddPartitionsToTxn of {topic}-{index}")
                reply.tags()

        await self._patiently("AddPartitionsToTxn", call)
        return refused

    async def end(self, *, commit: bool) -> None:
        """End the transaction. Returns when the outcome is decided; markers reach the partitions right after."""
        body = self._head() + INT8.pack(commit) + NO_TAGS

        async def call(connection: Connection) -> None:
            reply = Reader(await connection.request(END_TXN, 3, [body], flexible=True))
            reply.int32()
            if (code := reply.int16()) != codes.NONE:
                raise self._error(code, "EndTxn")

        await self._patiently("EndTxn", call)

    def _head(self) -> bytes:
        producer_id, epoch = self.identity
        return compact_string(self.transactional_id) + INT64.pack(producer_id) + INT16.pack(epoch)

    async def _patiently(self, what: str, call: Callable[[Connection], Awaitable[None]]) -> None:
        try:
            await self._again_and_again(what, call)
        finally:
            self.waiting_for = None

    async def _again_and_again(self, what: str, call: Callable[[Connection], Awaitable[None]]) -> None:
        deadline = time.monotonic() + self._patience_s
        pause = _PAUSE_S
        while True:
            try:
                await call(await self._coordinator())
                return
            except BrokerError as error:
                if error.code in codes.AUTHORIZATION:
                    raise self._error(error.code, what) from error
                if error.code in _LOST:
                    self._node = None
                if not error.retriable or time.monotonic() > deadline:
                    raise
                self.waiting_for = error
            except UnreachableError as error:
                self._node = None
                if time.monotonic() > deadline:
                    raise
                self.waiting_for = error
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSE_MOST_S)

    async def _coordinator(self) -> Connection:
        if self._node is None:
            body = compact_string(self.transactional_id) + INT8.pack(_TRANSACTION) + NO_TAGS
            connection = await self._cluster.any_connection()
            reply = Reader(await connection.request(FIND_COORDINATOR, 3, [body], flexible=True))
            reply.int32()
            code, said, node = reply.int16(), reply.compact_string(), reply.int32()
            if code != codes.NONE:
                if code == codes.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
                    raise refused_id(self._cluster, self.transactional_id, "FindCoordinator", "Describe")
                raise self._error(code, f"FindCoordinator {said}".strip())
            self._node = node
        return await self._cluster.connection(self._node, _SLOT)

    def _error(self, code: int, what: str) -> ReplicatorError:
        where = f"cluster {self._cluster.alias}: {what} for transactional id {self.transactional_id}"
        if code == codes.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            return refused_id(self._cluster, self.transactional_id, what)
        if code == codes.CLUSTER_AUTHORIZATION_FAILED:
            return refused_idempotence(self._cluster)
        return BrokerError(code, where)
