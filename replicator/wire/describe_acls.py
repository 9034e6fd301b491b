"""DescribeAcls (API 29, versions 2 and 3), not decoded where the answer is the same as last time.

Of our own since librdkafka takes a refusal (*seen*: CLUSTER_AUTHORIZATION_FAILED) for an empty list, and whoever takes
it for one would delete what he thinks is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from replicator.wire.connection import QUESTION_TIMEOUT_S, Connection
from replicator.wire.kafka_errors import NONE, BrokerError
from replicator.wire.primitives import INT8, NO_TAGS, Reader, compact_string

DESCRIBE_ACLS = 29
ANY = 1

_THROTTLE_BYTES = 4


class AclEntry(NamedTuple):
    """One ACL, with the protocol's numbers for kinds, patterns, operations and permissions."""

    resource_type: int
    name: str
    pattern: int
    principal: str
    host: str
    operation: int
    permission: int


@dataclass(slots=True)
class DescribedAcls:
    """The answer to one request."""

    acls: tuple[AclEntry, ...]
    digest: bytes


async def describe_acls(
    connection: Connection, resource_type: int, previous: DescribedAcls | None = None
) -> DescribedAcls:
    """All ACLs on resources of this type; `previous` itself if the answer is the same to the byte.

    BrokerError: SECURITY_DISABLED without an authorizer, CLUSTER_AUTHORIZATION_FAILED without Describe on the cluster.
    """
    version = connection.pick(DESCRIBE_ACLS, 2, 3)
    any_name = compact_string(None)
    body = [
        INT8.pack(resource_type) + any_name + INT8.pack(ANY),  # pattern type
        any_name + any_name + INT8.pack(ANY) + INT8.pack(ANY),  # principal, host, operation, permission
        NO_TAGS,
    ]
    answer = await connection.request(DESCRIBE_ACLS, version, body, flexible=True, timeout_s=QUESTION_TIMEOUT_S)
    digest = blake2b(answer[_THROTTLE_BYTES:]).digest()
    if previous is not None and previous.digest == digest:
        return previous
    return DescribedAcls(decode_acls(answer, connection.cluster), digest)


def decode_acls(answer: memoryview, cluster: str) -> tuple[AclEntry, ...]:
    """All ACLs of an answer. BrokerError if it is a refusal, ProtocolError if it isn't an answer."""
    reply = Reader(answer)
    reply.int32()  # throttle time
    error, message = reply.int16(), reply.compact_string()
    if error != NONE:
        raise BrokerError(error, f"cluster {cluster}: describe ACLs", message)
    found: list[AclEntry] = []
    for _ in range(reply.compact_array_length()):
        resource_type, name, pattern = reply.int8(), reply.compact_string(), reply.int8()
        for _ in range(reply.compact_array_length()):
            principal, host = reply.compact_string(), reply.compact_string()
            found.append(AclEntry(resource_type, name, pattern, principal, host, reply.int8(), reply.int8()))
            reply.tags()
        reply.tags()
    return tuple(found)
