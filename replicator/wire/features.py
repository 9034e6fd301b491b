"""What a cluster has been upgraded to: finalized features, which ApiVersions 3 tells in tagged fields (KIP-584)."""

from __future__ import annotations

from replicator.wire.connection import API_VERSIONS, QUESTION_TIMEOUT_S, Connection
from replicator.wire.kafka_errors import NONE, BrokerError
from replicator.wire.primitives import NO_TAGS, Reader, compact_string

METADATA_VERSION = "metadata.version"
_FINALIZED = 2
_VERSION = 3

# The first level of each release (`org.apache.kafka.server.common.MetadataVersion`).
_RELEASES = ((26, "4.1"), (22, "4.0"), (21, "3.9"), (20, "3.8"), (15, "3.7"), (12, "3.6"), (9, "3.5"), (8, "3.4"),
             (4, "3.3"))  # fmt: skip


async def finalized_features(connection: Connection) -> dict[str, int]:
    """Each feature's level in force; empty where the cluster has none (ZooKeeper, other brokers)."""
    if not connection.supports(API_VERSIONS, _VERSION):
        return {}
    body = compact_string("replicator") + compact_string("1") + NO_TAGS
    answer = await connection.request(API_VERSIONS, _VERSION, [body], flexible=True, timeout_s=QUESTION_TIMEOUT_S)
    reply = Reader(answer)
    error = reply.int16()
    if error != NONE:
        raise BrokerError(error, f"cluster {connection.cluster}: ApiVersions", "")
    for _ in range(reply.compact_array_length()):
        reply.skip(6)  # API, lowest and highest version
        reply.tags()
    reply.int32()  # throttle time
    told = reply.tags().get(_FINALIZED)
    if told is None:
        return {}
    inner, found = Reader(told), {}
    for _ in range(inner.compact_array_length()):
        name, highest = inner.compact_string(), inner.int16()
        inner.int16()  # lowest
        inner.tags()
        found[name] = highest
    return found


def release_of(level: int) -> str:
    """The Kafka release that brought this level of `metadata.version`, "4.1 or newer" for unknown ones; "" if older."""
    newest, name = _RELEASES[0]
    if level > newest + 1:
        return f"{name} or newer"
    return next((release for first, release in _RELEASES if level >= first), "")
