"""DeleteAcls (31), v1-3: remove the ACLs that filters mean (KIP-140, KIP-290). Finding none is no error.

Without an authorizer SECURITY_DISABLED.
"""

from __future__ import annotations

from typing import Any

import kio.schema.delete_acls
from kio.schema.errors import ErrorCode

from broker.apis.create_acls import DISABLED
from broker.apis.describe_acls import filter_in
from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.acls import Acl
from broker.security.resources import Operation, ResourceType


@api(schema=kio.schema.delete_acls, versions=range(1, 4), asks={ResourceType.CLUSTER})
async def delete_acls(ctx: RequestContext, request: Any) -> Any:
    """Needs Alter on the cluster; each filter is answered with what it found."""
    filters = [filter_in(item) for item in request.filters]
    results: list[list[Acl] | KafkaError]
    if not ctx.access.allows(Operation.ALTER, ResourceType.CLUSTER):
        results = [KafkaError(ErrorCode.cluster_authorization_failed)] * len(filters)
    elif not ctx.cluster.uses_acls:
        results = [DISABLED] * len(filters)
    else:
        results = ctx.cluster.acls.delete(filters)
    return build(ctx, filter_results=[_answer(result) for result in results])


def _answer(result: list[Acl] | KafkaError) -> dict[str, Any]:
    if isinstance(result, KafkaError):
        return {"error_code": result.code, "error_message": result.message}
    return {
        "matching_acls": [
            {
                "error_code": ErrorCode.none,
                "resource_type": acl.resource_type,
                "resource_name": acl.name,
                "pattern_type": acl.pattern_type,
                "principal": acl.principal,
                "host": acl.host,
                "operation": acl.operation,
                "permission_type": acl.permission,
            }
            for acl in result
        ]
    }
