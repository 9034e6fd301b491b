"""DescribeClientQuotas (API 48, version 1, Kafka 2.8): what users and client ids are held to (KIP-546)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from replicator.wire.connection import QUESTION_TIMEOUT_S, Connection
from replicator.wire.kafka_errors import NONE, BrokerError
from replicator.wire.primitives import NO_TAGS, Reader

DESCRIBE_CLIENT_QUOTAS = 48
USER, CLIENT_ID, IP = "user", "client-id", "ip"
PRODUCER_RATE, CONSUMER_RATE, REQUESTS = "producer_byte_rate", "consumer_byte_rate", "request_percentage"

_FLOAT64 = struct.Struct(">d")


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits of one entity: `entity` is type -> name, "" for the default of that type; `limits` by Kafka's keys."""

    entity: Mapping[str, str]
    limits: Mapping[str, float]

    @property
    def of(self) -> str:
        """`user alice, any client-id`, for people."""
        return ", ".join(f"{kind} {name}" if name else f"any {kind}" for kind, name in sorted(self.entity.items()))

    def concerns(self, user: str, client_id_prefix: str) -> bool:
        """Whether it may hold for this user with client ids that begin so."""
        names = {USER: lambda name: name == user, CLIENT_ID: lambda name: name.startswith(client_id_prefix)}
        return all(kind in names and (not name or names[kind](name)) for kind, name in self.entity.items())


async def describe_client_quotas(connection: Connection) -> list[Quota]:
    """All quotas of the cluster. BrokerError CLUSTER_AUTHORIZATION_FAILED without DescribeConfigs on the cluster,
    UnsupportedVersionError where brokers can't say."""
    version = connection.pick(DESCRIBE_CLIENT_QUOTAS, 1, 1)
    everything = b"\x01\x00" + NO_TAGS  # no components, not strict
    answer = await connection.request(
        DESCRIBE_CLIENT_QUOTAS, version, [everything], flexible=True, timeout_s=QUESTION_TIMEOUT_S
    )
    reply = Reader(answer)
    reply.int32()  # throttle time
    error, message = reply.int16(), reply.compact_string()
    if error != NONE:
        raise BrokerError(error, f"cluster {connection.cluster}: describe client quotas", message)
    found: list[Quota] = []
    for _ in range(reply.compact_array_length()):
        entity: dict[str, str] = {}
        for _ in range(reply.compact_array_length()):
            kind = reply.compact_string()
            entity[kind] = reply.compact_string()
            reply.tags()
        limits: dict[str, float] = {}
        for _ in range(reply.compact_array_length()):
            key = reply.compact_string()
            limits[key] = float(_FLOAT64.unpack(reply.raw(8))[0])
            reply.tags()
        reply.tags()
        found.append(Quota(entity, limits))
    return found
