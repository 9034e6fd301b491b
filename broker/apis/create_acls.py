"""CreateAcls (30), v1-3: add ACLs (KIP-140, KIP-290). Those that are there already are no error.

They apply from the next request on, on all nodes. Without an authorizer SECURITY_DISABLED.
"""

from __future__ import annotations

from typing import Any

import kio.schema.create_acls
from kio.schema.errors import ErrorCode

from broker.apis.describe_acls import close_if_unknown
from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.acls import Acl
from broker.security.resources import CLUSTER_NAME, Operation, PatternType, Permission, ResourceType

DISABLED = KafkaError(ErrorCode.security_disabled, "No Authorizer is configured.")


@api(schema=kio.schema.create_acls, versions=range(1, 4), asks={ResourceType.CLUSTER})
async def create_acls(ctx: RequestContext, request: Any) -> Any:
    """Needs Alter on the cluster; one answer each."""
    wanted = [_acl(item) for item in request.creations]
    results: list[KafkaError | None]
    if not ctx.access.allows(Operation.ALTER, ResourceType.CLUSTER):
        results = [KafkaError(ErrorCode.cluster_authorization_failed)] * len(wanted)
    elif not ctx.cluster.uses_acls:
        results = [DISABLED] * len(wanted)
    elif any(_is_for_filters(acl) for acl in wanted):  # Kafka stumbles over it, whatever the others are
        results = [KafkaError(ErrorCode.unknown_server_error)] * len(wanted)
    else:
        results = _create(ctx, wanted)
    return build(
        ctx,
        results=[
            {"error_code": ErrorCode.none, "error_message": ""}
            if error is None
            else {"error_code": error.code, "error_message": error.message}
            for error in results
        ],
    )


def _create(ctx: RequestContext, wanted: list[Acl]) -> list[KafkaError | None]:
    refused = [_refusal(acl) for acl in wanted]
    made = iter(ctx.cluster.acls.create([acl for acl, error in zip(wanted, refused, strict=True) if error is None]))
    return [error if error is not None else next(made) for error in refused]


def _refusal(acl: Acl) -> KafkaError | None:
    if acl.resource_type is ResourceType.CLUSTER and acl.name != CLUSTER_NAME:
        return KafkaError(ErrorCode.invalid_request, f"The only valid name for the CLUSTER resource is {CLUSTER_NAME}")
    if not acl.name:
        return KafkaError(ErrorCode.invalid_request, "Invalid empty resource name")
    return None


def _is_for_filters(acl: Acl) -> bool:
    return (
        acl.resource_type is ResourceType.ANY
        or acl.pattern_type in (PatternType.ANY, PatternType.MATCH)
        or acl.operation is Operation.ANY
        or acl.permission is Permission.ANY
    )


def _acl(item: Any) -> Acl:
    close_if_unknown(item.resource_type, item.resource_pattern_type, item.operation, item.permission_type)
    return Acl(
        ResourceType(item.resource_type),
        item.resource_name,
        PatternType(item.resource_pattern_type),
        item.principal,
        item.host,
        Operation(item.operation),
        Permission(item.permission_type),
    )
