"""DescribeUserScramCredentials (50), v0: for which mechanisms users have credentials, with iterations (KIP-554)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import kio.schema.describe_user_scram_credentials
from kio.schema.errors import ErrorCode

from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType


@api(schema=kio.schema.describe_user_scram_credentials, versions=range(1), asks={ResourceType.CLUSTER})
async def describe_user_scram_credentials(ctx: RequestContext, request: Any) -> Any:
    """Needs Describe on the cluster. Without users: all."""
    ctx.access.require(Operation.DESCRIBE, ResourceType.CLUSTER)
    asked = Counter(item.name for item in request.users or ()) or Counter(ctx.cluster.scram.users)
    return build(ctx, results=[_result(ctx, user, count) for user, count in asked.items()])


def _result(ctx: RequestContext, user: str, count: int) -> dict[str, Any]:
    if count > 1:
        message = f"Cannot describe SCRAM credentials for the same user twice in a single request: {user}"
        return {"user": user, "error_code": ErrorCode.duplicate_resource, "error_message": message}
    found = ctx.cluster.scram.of(user)
    if not found:
        message = f"Attempt to describe a user credential that does not exist: {user}"
        return {"user": user, "error_code": ErrorCode.resource_not_found, "error_message": message}
    infos = [{"mechanism": number, "iterations": keys.iterations} for number, keys in found.items()]
    return {"user": user, "credential_infos": infos}
