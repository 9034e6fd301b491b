"""ListOffsets (API 2, versions 6 and 7): where a partition begins, ends, or stood at a time."""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import NamedTuple

from replicator.wire.connection import QUESTION_TIMEOUT_S, Connection
from replicator.wire.fetch import READ_COMMITTED
from replicator.wire.primitives import INT8, INT32, NO_TAGS, Reader, compact_array, compact_string

LIST_OFFSETS = 2
LATEST, EARLIEST = -1, -2

_PARTITION = struct.Struct(">iiqB")


class ListedOffset(NamedTuple):
    """`offset` is -1 when nothing is as young as the time asked for; `error` a Kafka error code."""

    error: int
    timestamp: int
    offset: int
    leader_epoch: int


async def list_offsets(
    connection: Connection,
    wanted: Collection[tuple[str, int, int]],
    *,
    isolation: int = READ_COMMITTED,
) -> dict[tuple[str, int], ListedOffset]:
    """Offsets of (topic, partition, timestamp in ms | LATEST | EARLIEST), all led by this broker.

    LATEST is the last stable offset under READ_COMMITTED, the high watermark otherwise.
    """
    version = connection.pick(LIST_OFFSETS, 6, 7)
    by_topic: dict[str, list[bytes]] = {}
    for topic, partition, timestamp in wanted:
        by_topic.setdefault(topic, []).append(_PARTITION.pack(partition, -1, timestamp, 0))
    topics = [compact_string(topic) + compact_array(items) + NO_TAGS for topic, items in by_topic.items()]
    body = INT32.pack(-1) + INT8.pack(isolation) + compact_array(topics) + NO_TAGS
    reply = Reader(await connection.request(LIST_OFFSETS, version, [body], flexible=True, timeout_s=QUESTION_TIMEOUT_S))
    reply.int32()
    found: dict[tuple[str, int], ListedOffset] = {}
    for _ in range(reply.compact_array_length()):
        topic = reply.compact_string()
        for _ in range(reply.compact_array_length()):
            partition = reply.int32()
            found[topic, partition] = ListedOffset(reply.int16(), reply.int64(), reply.int64(), reply.int32())
            reply.tags()
        reply.tags()
    return found
