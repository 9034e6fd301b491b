"""ACLs of a cluster: read all of a kind; create, and delete exactly these, through confluent-kafka's AdminClient."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from replicator.errors import AuthorizationError, ReplicatorError
from replicator.ledger.client_errors import RefusedError
from replicator.sync.acl import Acl, AclKind
from replicator.sync.admin import Admin
from replicator.wire.cluster import ClusterClient
from replicator.wire.describe_acls import AclEntry, DescribedAcls, describe_acls
from replicator.wire.kafka_errors import CLUSTER_AUTHORIZATION_FAILED, SECURITY_DISABLED, BrokerError

_KINDS: dict[AclKind, Any] = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional_id": ResourceType.TRANSACTIONAL_ID,
}
_CHUNK = 500  # per request

Read = tuple[frozenset[Acl], int]


class AclAdmin:
    """`read`, `create` and `delete` for one cluster."""

    def __init__(self, admin: Admin, client: ClusterClient) -> None:
        self._admin = admin
        self._client = client
        self.cluster = admin.cluster
        self._last: dict[AclKind, tuple[DescribedAcls, Read]] = {}

    async def read(self, kinds: Collection[AclKind]) -> Read:
        """All ACLs on resources of these kinds; and how many there are besides that we don't understand.

        RefusedError (SECURITY_DISABLED) without an authorizer, AuthorizationError without Describe on the cluster.
        """
        reads = [await self._read(kind) for kind in kinds]
        if len(reads) == 1:
            return reads[0]
        return frozenset().union(*(found for found, _ in reads)), sum(unknown for _, unknown in reads)

    async def _read(self, kind: AclKind) -> Read:
        known = self._last.get(kind)
        connection = await self._client.any_connection()
        try:
            described = await describe_acls(connection, _KINDS[kind].value, known[0] if known else None)
        except BrokerError as error:
            raise _translated(error) from error
        if known is None or described is not known[0]:
            acls = [_acl(kind, entry) for entry in described.acls]
            found = frozenset(acl for acl in acls if acl is not None)
            known = self._last[kind] = described, (found, acls.count(None))
        return known[1]

    async def create(self, acls: Iterable[Acl]) -> dict[Acl, ReplicatorError | None]:
        """None per ACL that is there now."""
        answers: dict[Acl, ReplicatorError | None] = {}
        for chunk in _chunks(acls):
            bindings = {_binding(acl): acl for acl in chunk}
            created = await self._admin.create_acls(list(bindings))
            answers |= {bindings[binding]: answer for binding, answer in created.items()}
        return answers

    async def delete(self, acls: Iterable[Acl]) -> dict[Acl, ReplicatorError | None]:
        """None per ACL that isn't there any more."""
        answers: dict[Acl, ReplicatorError | None] = {}
        for chunk in _chunks(acls):
            filters = {_filter(acl): acl for acl in chunk}
            deleted = await self._admin.delete_acls(list(filters))
            answers |= {filters[which]: answer for which, answer in deleted.items()}
        return answers


def _chunks(acls: Iterable[Acl]) -> Iterable[list[Acl]]:
    listed = sorted(acls)
    return (listed[first : first + _CHUNK] for first in range(0, len(listed), _CHUNK))


def _acl(kind: AclKind, entry: AclEntry) -> Acl | None:
    try:
        pattern = ResourcePatternType(entry.pattern).name
        operation = AclOperation(entry.operation).name
        permission = AclPermissionType(entry.permission).name
    except ValueError:
        return None
    if "UNKNOWN" in (pattern, operation, permission):
        return None
    return Acl(kind, entry.name, pattern, entry.principal, entry.host, operation, permission)


def _translated(error: BrokerError) -> ReplicatorError:
    if error.code == CLUSTER_AUTHORIZATION_FAILED:
        return AuthorizationError(str(error), resource="cluster", operation="Describe")
    if error.code == SECURITY_DISABLED:
        return RefusedError(str(error), code=error.code, name=error.name)
    return error


def _binding(acl: Acl) -> Any:
    return AclBinding(*_fields(acl))


def _filter(acl: Acl) -> Any:
    return AclBindingFilter(*_fields(acl))


def _fields(acl: Acl) -> tuple[Any, ...]:
    return (
        _KINDS[acl.kind],
        acl.name,
        ResourcePatternType[acl.pattern],
        acl.principal,
        acl.host,
        AclOperation[acl.operation],
        AclPermissionType[acl.permission],
    )
