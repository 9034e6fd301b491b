"""Metadata (API 3, versions 10 to 12: with topic ids) and the view of a cluster that it gives."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID

from replicator.errors import ProtocolError
from replicator.wire.connection import QUESTION_TIMEOUT_S, Connection
from replicator.wire.primitives import NO_TAGS, Reader, compact_array, compact_string

METADATA = 3
_BY_ID = 12  # the version from which topics can be asked for by id

_PARTITION = struct.Struct(">hiii")  # error, index, leader, leader epoch
_THROTTLE_BYTES = 4


class Broker(NamedTuple):
    """A broker as it advertises itself."""

    node_id: int
    host: str
    port: int
    rack: str


class PartitionMetadata(NamedTuple):
    """Who leads a partition; `leader` is -1 while nobody does."""

    leader: int
    leader_epoch: int
    error: int


@dataclass(slots=True)
class TopicMetadata:
    """One topic; `error` is a Kafka error code (0: none)."""

    name: str
    topic_id: UUID
    internal: bool
    error: int
    partitions: dict[int, PartitionMetadata] = field(default_factory=dict)


@dataclass(slots=True)
class ClusterView:
    """The answer to one metadata request."""

    cluster_id: str
    controller: int
    brokers: dict[int, Broker]
    topics: dict[str, TopicMetadata]
    digest: bytes = b""  # of the answer's bytes


async def fetch_metadata(
    connection: Connection, topics: Collection[str] | None, previous: ClusterView | None = None
) -> ClusterView:
    """Ask for these topics, or for all (None). Topics are never created by asking.

    `previous` itself is returned if the answer is the same to the byte: decoding that of a wide cluster is dear.
    """
    answer = await _ask(connection, topics)
    digest = blake2b(answer[_THROTTLE_BYTES:]).digest()
    if previous is not None and digest == previous.digest:
        return previous
    reply = Reader(answer)
    cluster_id, controller, brokers = _cluster(reply)
    return ClusterView(cluster_id, controller, brokers, {topic.name: topic for topic in _topics(reply)}, digest)


class Replicas(NamedTuple):
    """A partition's: how many it is to have, are in sync, and are on brokers that are away; `leader` -1: none."""

    leader: int
    all: int
    in_sync: int
    offline: int


async def fetch_replicas(connection: Connection, topics: Collection[str]) -> dict[str, list[Replicas]]:
    """Those of the partitions of these topics, as far as the broker knows the topics."""
    reply = Reader(await _ask(connection, topics))
    _cluster(reply)
    found: dict[str, list[Replicas]] = {}
    for _ in range(reply.compact_array_length()):
        _, name, _, _ = reply.int16(), reply.compact_string(), reply.uuid(), reply.boolean()
        for _ in range(reply.compact_array_length()):
            _, _, leader, _ = _PARTITION.unpack(reply.raw(_PARTITION.size))
            found.setdefault(name, []).append(Replicas(leader, *(_skip_nodes(reply) for _ in range(3))))
            reply.tags()
        reply.int32()  # authorized operations
        reply.tags()
    return found


async def fetch_replication(connection: Connection, topics: Collection[str]) -> dict[str, int]:
    """How many replicas the partitions of these topics have, as far as the broker knows the topics."""
    found = await fetch_replicas(connection, topics)
    return {name: max(each.all for each in partitions) for name, partitions in found.items()}


def _skip_nodes(reply: Reader) -> int:
    count = reply.compact_array_length()
    reply.skip(4 * count)
    return count


async def _ask(connection: Connection, topics: Collection[str] | None) -> memoryview:
    version = connection.pick(METADATA, 10, 12)
    named = [bytes(16) + compact_string(name) + NO_TAGS for name in topics or ()]
    body = b"\x00" if topics is None else compact_array(named)
    # allow auto topic creation, include cluster authorized operations (v10 only), include topic authorized operations
    flags = b"\x00\x00\x00" if version == 10 else b"\x00\x00"
    return await connection.request(
        METADATA, version, [body, flags, NO_TAGS], flexible=True, timeout_s=QUESTION_TIMEOUT_S
    )


async def fetch_topic_errors(connection: Connection, topic_ids: Collection[UUID]) -> dict[UUID, int]:
    """What this broker knows of topics of these ids, as Kafka error codes.

    UNKNOWN_TOPIC_ID means that there is none, TOPIC_AUTHORIZATION_FAILED that there is one which we mayn't describe.
    UnsupportedVersionError before Kafka 3.1, which can't be asked by id.
    """
    version = connection.pick(METADATA, _BY_ID, _BY_ID)
    body = compact_array([topic_id.bytes + compact_string(None) + NO_TAGS for topic_id in topic_ids])
    answer = await connection.request(
        METADATA, version, [body, b"\x00\x00", NO_TAGS], flexible=True, timeout_s=QUESTION_TIMEOUT_S
    )
    return {topic.topic_id: topic.error for topic in _answered(answer)}


def decode_operations(answer: memoryview) -> tuple[int, dict[str, tuple[int, int]]]:
    """Of an answer of version 10: the cluster's authorized operations, and each topic's error and operations."""
    reply = Reader(answer)
    _cluster(reply)
    found: dict[str, tuple[int, int]] = {}
    for _ in range(reply.compact_array_length()):
        topic, operations = _topic(reply, {})
        found[topic.name] = topic.error, operations
    return reply.int32(), found


def _answered(answer: memoryview) -> Iterator[TopicMetadata]:
    reply = Reader(answer)
    _cluster(reply)
    return _topics(reply)


def _cluster(reply: Reader) -> tuple[str, int, dict[int, Broker]]:
    reply.int32()  # throttle time
    brokers: dict[int, Broker] = {}
    for _ in range(reply.compact_array_length()):
        broker = Broker(reply.int32(), reply.compact_string(), reply.int32(), reply.compact_string())
        reply.tags()
        brokers[broker.node_id] = broker
    return reply.compact_string(), reply.int32(), brokers


def _topics(reply: Reader) -> Iterator[TopicMetadata]:
    made: dict[tuple[int, int, int], PartitionMetadata] = {}
    for _ in range(reply.compact_array_length()):
        yield _topic(reply, made)[0]


def _topic(reply: Reader, made: dict[tuple[int, int, int], PartitionMetadata]) -> tuple[TopicMetadata, int]:
    """A topic, and its authorized operations."""
    error, name, topic_id, internal = reply.int16(), reply.compact_string(), reply.uuid(), reply.boolean()
    topic = TopicMetadata(name, topic_id, internal, error)
    _take_partitions(reply, topic.partitions, made)
    operations = reply.int32()
    reply.tags()
    return topic, operations


def _take_partitions(
    reply: Reader, into: dict[int, PartitionMetadata], made: dict[tuple[int, int, int], PartitionMetadata]
) -> None:
    """A topic's partitions: tens of thousands in all, most of them alike, so no call for each of their fields."""
    view, unpack = reply.view, _PARTITION.unpack_from
    count = reply.compact_array_length()
    pos = reply.pos
    try:
        for _ in range(count):
            code, index, leader, epoch = unpack(view, pos)
            pos += _PARTITION.size
            for _ in range(3):  # replicas, in-sync replicas, offline replicas
                length = view[pos]  # and one, a varint
                if length > 0x7F:
                    reply.pos = pos
                    reply.skip(4 * reply.compact_array_length())
                    pos = reply.pos
                else:
                    pos += 1 + 4 * max(0, length - 1)
            if view[pos]:
                reply.pos = pos
                reply.tags()
                pos = reply.pos
            else:
                pos += 1
            same = leader, epoch, code
            known = made.get(same)
            if known is None:
                known = made[same] = PartitionMetadata(*same)
            into[index] = known
    except (IndexError, struct.error):
        raise ProtocolError(f"metadata of {len(view)} bytes ends within a topic's {count} partitions") from None
    reply.pos = pos
