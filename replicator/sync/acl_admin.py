"""ACLs of a cluster through confluent-kafka's AdminClient: read all of a kind, create, delete exactly these."""

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

from replicator.errors import ReplicatorError
from replicator.sync.acl import Acl, AclKind
from replicator.sync.admin import Admin

_KINDS: dict[AclKind, Any] = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional_id": ResourceType.TRANSACTIONAL_ID,
}
_CHUNK = 500  # per request


class AclAdmin:
    """`read`, `create` and `delete` for one cluster."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self.cluster = admin.cluster

    async def read(self, kinds: Collection[AclKind]) -> tuple[set[Acl], int]:
        """All ACLs on resources of these kinds; and how many there are besides that librdkafka doesn't understand."""
        found: set[Acl] = set()
        unknown = 0
        for kind in kinds:
            everything = AclBindingFilter(
                _KINDS[kind], None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
            )
            for binding in await self._admin.describe_acls(everything):
                acl = _acl(kind, binding)
                if acl is None:
                    unknown += 1
                else:
                    found.add(acl)
        return found, unknown

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


def _acl(kind: AclKind, binding: Any) -> Acl | None:
    names = binding.resource_pattern_type.name, binding.operation.name, binding.permission_type.name
    if "UNKNOWN" in names:
        return None
    return Acl(kind, binding.name, names[0], binding.principal, binding.host, names[1], names[2])


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
