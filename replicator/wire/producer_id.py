"""InitProducerId (API 22): a producer id of our own, from any broker (without a transactional id)."""

from __future__ import annotations

from typing import NamedTuple

from replicator.wire.connection import QUESTION_TIMEOUT_S, Connection
from replicator.wire.kafka_errors import NONE, BrokerError
from replicator.wire.primitives import INT16, INT32, INT64, NO_TAGS, Reader, compact_string

INIT_PRODUCER_ID = 22


class ProducerIdAndEpoch(NamedTuple):
    """Who writes, in the broker's eyes."""

    producer_id: int
    epoch: int


async def init_producer_id(
    connection: Connection, transactional_id: str | None = None, transaction_timeout_ms: int = 60_000
) -> ProducerIdAndEpoch:
    """A fresh producer id, epoch 0; for a transactional id its own one, at the next epoch. BrokerError if refused."""
    version = connection.pick(INIT_PRODUCER_ID, 2, 4)
    body = compact_string(transactional_id) + INT32.pack(transaction_timeout_ms)
    if version >= 3:
        body += INT64.pack(-1) + INT16.pack(-1)
    reply = Reader(
        await connection.request(
            INIT_PRODUCER_ID, version, [body + NO_TAGS], flexible=True, timeout_s=QUESTION_TIMEOUT_S
        )
    )
    reply.int32()
    code, producer = reply.int16(), ProducerIdAndEpoch(reply.int64(), reply.int16())
    if code != NONE:
        raise BrokerError(code, f"cluster {connection.cluster}: InitProducerId")
    return producer
