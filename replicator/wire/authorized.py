"""What we may do, as brokers tell it without anything being tried: "authorized operations" (KIP-430).

Metadata 10 for the cluster and its topics, DescribeGroups 5 for groups: not newer ones, of which the former is silent
about the cluster, and the latter about groups that don't exist. Brokers tell it of names that nothing has yet, too
(`KafkaApis.handleTopicMetadataRequest`, `handleDescribeGroupsRequest`), but of nothing that we mayn't describe; without
an authorizer they allow everything (`AuthHelper.authorizedOperations`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from replicator.wire import kafka_errors as codes
from replicator.wire.connection import QUESTION_TIMEOUT_S, Connection
from replicator.wire.metadata import METADATA, decode_operations
from replicator.wire.primitives import NO_TAGS, Reader, compact_array, compact_string

DESCRIBE_GROUPS = 15

_METADATA_VERSION = 10
_GROUPS_VERSION = 5
_UNTOLD = -(1 << 31)
_NAMES = {
    3: "Read",
    4: "Write",
    5: "Create",
    6: "Delete",
    7: "Alter",
    8: "Describe",
    9: "ClusterAction",
    10: "DescribeConfigs",
    11: "AlterConfigs",
    12: "IdempotentWrite",
}

Operations = frozenset[str] | None  # by Kafka's names; empty: not even Describe; None: the broker doesn't say


class AuthorizedTopics(NamedTuple):
    """What we may do with the cluster and with each of the topics."""

    cluster: Operations
    topics: dict[str, Operations]


class AuthorizedGroup(NamedTuple):
    """What we may do with a group; with an `error`, a Kafka error code, that isn't known."""

    error: int
    operations: Operations


async def authorized_topics(connection: Connection, topics: Collection[str]) -> AuthorizedTopics:
    """Of the cluster and these topics. Topics are never created by asking."""
    connection.pick(METADATA, _METADATA_VERSION, _METADATA_VERSION)
    named = [compact_string(name) for name in topics]
    body = compact_array([bytes(16) + name + NO_TAGS for name in named])
    flags = b"\x00\x01\x01"  # no automatic creation; the operations of the cluster, and of the topics
    answer = await connection.request(
        METADATA, _METADATA_VERSION, [body, flags, NO_TAGS], flexible=True, timeout_s=QUESTION_TIMEOUT_S
    )
    cluster, told = decode_operations(answer)
    found = {
        name: frozenset() if error == codes.TOPIC_AUTHORIZATION_FAILED else _operations(bits)
        for name, (error, bits) in told.items()
    }
    return AuthorizedTopics(_operations(cluster), found)


async def authorized_groups(connection: Connection, groups: Sequence[str]) -> dict[str, AuthorizedGroup]:
    """Of these groups, which this broker must coordinate; they needn't exist."""
    connection.pick(DESCRIBE_GROUPS, _GROUPS_VERSION, _GROUPS_VERSION)
    body = compact_array([compact_string(group) for group in groups]) + b"\x01" + NO_TAGS
    answer = await connection.request(
        DESCRIBE_GROUPS, _GROUPS_VERSION, [body], flexible=True, timeout_s=QUESTION_TIMEOUT_S
    )
    reply = Reader(answer)
    reply.int32()  # throttle time
    found: dict[str, AuthorizedGroup] = {}
    for _ in range(reply.compact_array_length()):
        error, group = reply.int16(), reply.compact_string()
        for _ in range(3):  # state, protocol type, protocol
            reply.compact_string()
        for _ in range(reply.compact_array_length()):
            for _ in range(4):  # member id, instance id, client id, host
                reply.compact_string()
            reply.compact_bytes()
            reply.compact_bytes()
            reply.tags()
        bits = reply.int32()
        reply.tags()
        if error == codes.GROUP_AUTHORIZATION_FAILED:
            found[group] = AuthorizedGroup(codes.NONE, frozenset())
        else:
            found[group] = AuthorizedGroup(error, None if error else _operations(bits))
    return found


def _operations(bits: int) -> Operations:
    return None if bits == _UNTOLD else frozenset(name for bit, name in _NAMES.items() if bits >> bit & 1)
