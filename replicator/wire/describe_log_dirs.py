"""DescribeLogDirs (API 35, versions 2 to 4): a broker's log directories, and the room on their volumes (KIP-827)."""

from __future__ import annotations

from typing import NamedTuple

from replicator.wire.connection import QUESTION_TIMEOUT_S, Connection
from replicator.wire.kafka_errors import NONE, BrokerError
from replicator.wire.primitives import NO_TAGS, Reader, compact_array

DESCRIBE_LOG_DIRS = 35
_UNKNOWN = -1


class LogDir(NamedTuple):
    """One directory; `error` is a Kafka error code, sizes are -1 where the broker doesn't tell (before Kafka 3.3)."""

    path: str
    error: int
    total_bytes: int
    usable_bytes: int


async def describe_log_dirs(connection: Connection) -> list[LogDir]:
    """Those of this broker, without what is in them. BrokerError without Describe on the cluster."""
    version = connection.pick(DESCRIBE_LOG_DIRS, 2, 4)
    answer = await connection.request(
        DESCRIBE_LOG_DIRS, version, [compact_array([]), NO_TAGS], flexible=True, timeout_s=QUESTION_TIMEOUT_S
    )
    reply = Reader(answer)
    reply.int32()  # throttle time
    error = reply.int16() if version >= 3 else NONE
    if error != NONE:
        raise BrokerError(error, f"cluster {connection.cluster}: describe log directories", "")
    found: list[LogDir] = []
    for _ in range(reply.compact_array_length()):
        code, path = reply.int16(), reply.compact_string()
        for _ in range(reply.compact_array_length()):
            reply.compact_string()
            for _ in range(reply.compact_array_length()):
                reply.skip(4 + 8 + 8 + 1)  # index, size, lag, whether it is a future one
                reply.tags()
            reply.tags()
        total, usable = (reply.int64(), reply.int64()) if version >= 4 else (_UNKNOWN, _UNKNOWN)
        reply.tags()
        found.append(LogDir(path, code, total, usable))
    return found
