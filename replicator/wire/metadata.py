"""Metadata (API 3, versions 10 to 12: with topic ids) and the view of a cluster that it gives."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from replicator.wire.connection import QUESTION_TIMEOUT_S, Connection
from replicator.wire.primitives import NO_TAGS, Reader, compact_array, compact_string

METADATA = 3


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


async def fetch_metadata(connection: Connection, topics: Collection[str] | None) -> ClusterView:
    """Ask for these topics, or for all (None). Topics are never created by asking."""
    version = connection.pick(METADATA, 10, 12)
    named = [bytes(16) + compact_string(name) + NO_TAGS for name in topics or ()]
    body = b"\x00" if topics is None else compact_array(named)
    # allow auto topic creation, include cluster authorized operations (v10 only), include topic authorized operations
    flags = b"\x00\x00\x00" if version == 10 else b"\x00\x00"
    reply = Reader(
        await connection.request(METADATA, version, [body, flags, NO_TAGS], flexible=True, timeout_s=QUESTION_TIMEOUT_S)
    )
    reply.int32()  # throttle time
    brokers: dict[int, Broker] = {}
    for _ in range(reply.compact_array_length()):
        broker = Broker(reply.int32(), reply.compact_string(), reply.int32(), reply.compact_string())
        reply.tags()
        brokers[broker.node_id] = broker
    cluster_id = reply.compact_string()
    controller = reply.int32()
    found: dict[str, TopicMetadata] = {}
    for _ in range(reply.compact_array_length()):
        error, name, topic_id, internal = reply.int16(), reply.compact_string(), reply.uuid(), reply.boolean()
        topic = TopicMetadata(name, topic_id, internal, error)
        for _ in range(reply.compact_array_length()):
            code, index, leader, epoch = reply.int16(), reply.int32(), reply.int32(), reply.int32()
            for _ in range(3):  # replicas, in-sync replicas, offline replicas
                reply.skip(4 * reply.compact_array_length())
            reply.tags()
            topic.partitions[index] = PartitionMetadata(leader, epoch, code)
        reply.int32()  # authorized operations
        reply.tags()
        found[name] = topic
    return ClusterView(cluster_id, controller, brokers, found)
