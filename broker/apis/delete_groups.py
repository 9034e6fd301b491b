"""DeleteGroups (42), v0-2: remove empty groups with their positions."""

from __future__ import annotations

from typing import Any

import kio.schema.delete_groups
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.groups.routing import coordinate
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType


@api(schema=kio.schema.delete_groups, versions=range(3), asks={ResourceType.GROUP})
async def delete_groups(ctx: RequestContext, request: Any) -> Any:
    """One error code a group."""
    return build(
        ctx,
        results=[
            {"group_id": group_id, "error_code": _delete(ctx, group_id)}
            for group_id in dict.fromkeys(request.groups_names)
        ],
    )


def _delete(ctx: RequestContext, group_id: str) -> ErrorCode:
    try:
        ctx.access.require(Operation.DELETE, ResourceType.GROUP, group_id)
        coordinate(ctx, group_id, allow_empty=True).delete_group(group_id)
    except KafkaError as error:
        return error.code
    return ErrorCode.none
