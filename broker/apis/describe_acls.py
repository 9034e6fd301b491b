"""DescribeAcls (29), v1-3: the ACLs that a filter means (KIP-140, KIP-290: prefixed patterns and MATCH).

Without an authorizer, or with one that doesn't know ACLs, SECURITY_DISABLED.
"""

from __future__ import annotations

from typing import Any

import kio.schema.describe_acls
from kio.schema.errors import ErrorCode

from broker.errors import CloseConnection
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.acls import AclFilter
from broker.security.resources import Operation, PatternType, Permission, ResourceType


@api(schema=kio.schema.describe_acls, versions=range(1, 4), asks={ResourceType.CLUSTER})
async def describe_acls(ctx: RequestContext, request: Any) -> Any:
    """Needs Describe on the cluster."""
    wanted = filter_in(request)
    ctx.access.require(Operation.DESCRIBE, ResourceType.CLUSTER)
    if not ctx.cluster.uses_acls:
        return build(
            ctx,
            error_code=ErrorCode.security_disabled,
            error_message="No Authorizer is configured on the broker",
        )
    resources: dict[tuple[int, str, int], list[dict[str, Any]]] = {}
    for acl in ctx.cluster.acls.matching(wanted):
        resources.setdefault((acl.resource_type, acl.name, acl.pattern_type), []).append(
            {
                "principal": acl.principal,
                "host": acl.host,
                "operation": acl.operation,
                "permission_type": acl.permission,
            }
        )
    return build(
        ctx,
        resources=[
            {"resource_type": kind, "resource_name": name, "pattern_type": pattern, "acls": acls}
            for (kind, name, pattern), acls in resources.items()
        ],
    )


def filter_in(item: Any) -> AclFilter:
    """The filter of a DescribeAcls request or of a part of DeleteAcls. Raises CloseConnection where it says UNKNOWN."""
    close_if_unknown(item.resource_type_filter, item.pattern_type_filter, item.operation, item.permission_type)
    return AclFilter(
        ResourceType(item.resource_type_filter),
        item.resource_name_filter,
        PatternType(item.pattern_type_filter),
        item.principal_filter,
        item.host_filter,
        Operation(item.operation),
        Permission(item.permission_type),
    )


def close_if_unknown(*codes: int) -> None:
    """Kafka can't parse requests with code 0, UNKNOWN; other codes that it doesn't know are refused one by one."""
    if 0 in codes:
        raise CloseConnection("an ACL or filter has an element of type UNKNOWN")
