"""SyncGroup (14), v0-5: the leader brings the assignment, everybody gets their part of it.

KIP-345 (v3), KIP-559 (protocol type and name are checked, v5).
"""

from __future__ import annotations

from typing import Any

import kio.schema.sync_group
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.groups.routing import coordinate
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType


@api(schema=kio.schema.sync_group, versions=range(6), asks={ResourceType.GROUP})
async def sync_group(ctx: RequestContext, request: Any) -> Any:
    """Sync; the connection waits for the leader."""
    protocol_type = getattr(request, "protocol_type", None)
    protocol_name = getattr(request, "protocol_name", None)
    if ctx.api_version >= 5 and (protocol_type is None or protocol_name is None):
        return build(ctx, error_code=ErrorCode.inconsistent_group_protocol)
    try:
        ctx.access.require(Operation.READ, ResourceType.GROUP, request.group_id)
        result = await coordinate(ctx, request.group_id).sync(
            request.group_id,
            request.member_id,
            getattr(request, "group_instance_id", None),
            request.generation_id,
            protocol_type,
            protocol_name,
            {item.member_id: bytes(item.assignment) for item in request.assignments},
        )
    except KafkaError as error:
        return build(ctx, error_code=error.code)
    return build(
        ctx,
        error_code=result.error,
        protocol_type=result.protocol_type,
        protocol_name=result.protocol_name,
        assignment=result.assignment,
    )
