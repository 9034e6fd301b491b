"""OffsetForLeaderEpoch (API 23, version 4): where the records of a leader epoch end in the log as it is now."""

from __future__ import annotations

import struct

from replicator.wire.connection import Connection
from replicator.wire.kafka_errors import NONE, BrokerError
from replicator.wire.primitives import INT32, NO_TAGS, Reader, compact_array, compact_string

OFFSET_FOR_LEADER_EPOCH = 23
_CONSUMER = -1
_PARTITION = struct.Struct(">iiiB")


async def end_offset_of_epoch(connection: Connection, topic: str, partition: int, epoch: int) -> int:
    """The offset behind the last record of the largest epoch up to `epoch`; -1 if the broker doesn't know.

    The broker must lead the partition. BrokerError if it refuses.
    """
    version = connection.pick(OFFSET_FOR_LEADER_EPOCH, 4, 4)
    wanted = compact_string(topic) + compact_array([_PARTITION.pack(partition, -1, epoch, 0)]) + NO_TAGS
    body = INT32.pack(_CONSUMER) + compact_array([wanted]) + NO_TAGS
    reply = Reader(await connection.request(OFFSET_FOR_LEADER_EPOCH, version, [body], flexible=True))
    reply.int32()
    end = -1
    for _ in range(reply.compact_array_length()):
        reply.compact_string()
        for _ in range(reply.compact_array_length()):
            code, _, _, end = reply.int16(), reply.int32(), reply.int32(), reply.int64()
            reply.tags()
            if code != NONE:
                raise BrokerError(code, f"cluster {connection.cluster}: {topic}-{partition}: OffsetForLeaderEpoch")
        reply.tags()
    return end
