"""What the requester at hand may do: the one seam between Kafka's APIs and whatever authorizes.

    async def delete_groups(ctx: RequestContext, request: Any) -> Any:
        ctx.access.require(Operation.DESCRIBE, ResourceType.CLUSTER)          # raises KafkaError
        if not ctx.access.allows(Operation.DELETE, ResourceType.GROUP, name): ...

Which kinds of resources an API asks about it declares where it registers itself (`registry.api`); one that declares
nothing is refused to everybody as long as there is an authorizer.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable
from typing import Any

from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.security.authorizer import Authorizer, Requester
from broker.security.resources import CLUSTER_NAME, REFUSALS, SUPPORTED, Operation, ResourceType

log = logging.getLogger(__name__)

NOT_ASKED = -(2**31)
"""Authorized operations that the client didn't ask for."""


class Access:
    """Answers for one request, each question put to the authorizer once. This one allows everything."""

    def allows(
        self, operation: Operation, kind: ResourceType, name: str = CLUSTER_NAME, *, quiet: bool = False
    ) -> bool:
        """Whether the requester may do this. `quiet`: no denial is logged, because nothing was asked for by name."""
        return True

    def allows_any(self, operation: Operation, kind: ResourceType) -> bool:
        """Whether there may be a resource of this kind to which the requester may do this."""
        return True

    def require(self, operation: Operation, kind: ResourceType, name: str = CLUSTER_NAME) -> None:
        """Raise KafkaError TOPIC_, GROUP_, CLUSTER_ or TRANSACTIONAL_ID_AUTHORIZATION_FAILED unless it is allowed."""
        if not self.allows(operation, kind, name):
            raise KafkaError(REFUSALS[kind])

    def allowed_names(
        self, operation: Operation, kind: ResourceType, names: Iterable[str], *, quiet: bool = False
    ) -> set[str]:
        """Those of the names that `allows` this operation."""
        return {name for name in names if self.allows(operation, kind, name, quiet=quiet)}

    def operations(self, kind: ResourceType, name: str = CLUSTER_NAME) -> int:
        """The bit field of all operations that are allowed on a resource."""
        return sum(1 << each for each in SUPPORTED[kind] if self.allows(each, kind, name, quiet=True))

    def add_operations(self, groups: Iterable[dict[str, Any]]) -> None:
        """Put `authorized_operations` into the rows of described groups, but for those that are errors."""
        for row in groups:
            if row.get("error_code", ErrorCode.none) is ErrorCode.none:
                row["authorized_operations"] = self.operations(ResourceType.GROUP, row["group_id"])

    def operations_if_described(self) -> int:
        """The bit field for the cluster: 0 for whoever may not describe it."""
        if not self.allows(Operation.DESCRIBE, ResourceType.CLUSTER):
            return 0
        return self.operations(ResourceType.CLUSTER)


EVERYTHING = Access()


class AuthorizedAccess(Access):
    """Asks an authorizer."""

    def __init__(self, authorizer: Authorizer, who: Requester) -> None:
        self._authorizer = authorizer
        self._who = who
        self._known: dict[tuple[Operation, ResourceType, str], bool] = {}

    def allows(
        self, operation: Operation, kind: ResourceType, name: str = CLUSTER_NAME, *, quiet: bool = False
    ) -> bool:
        question = (operation, kind, name)
        answer = self._known.get(question)
        if answer is None:
            answer = self._known[question] = self._authorizer.allows(self._who, operation, kind, name)
            if not answer and not quiet:
                why = self._authorizer.refusal(self._who, *question)
                what = operation.name, kind.name, name, f" ({why})" if why else ""
                log.info("%s at %s is denied %s of %s %r%s", *self._named(), *what)
        return answer

    def allows_any(self, operation: Operation, kind: ResourceType) -> bool:
        return self._authorizer.allows_any(self._who, operation, kind)

    def _named(self) -> tuple[str, str]:
        return self._who.principal, self._who.host


def access_of(authorizer: Authorizer | None, principal: str, client_host: str, api: str) -> Access:
    """The access of whoever sent a request."""
    if authorizer is None:
        return EVERYTHING
    return AuthorizedAccess(authorizer, Requester(principal, host_as_java_writes_it(client_host), api))


def host_as_java_writes_it(host: str) -> str:
    """An address as it has to stand in an ACL: IPv6 in full, without zero padding or zone; IPv4 inside IPv6 as it."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return ":".join(f"{int(part, 16):x}" for part in address.exploded.split(":"))
