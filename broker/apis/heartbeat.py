"""Heartbeat (12), v0-4: keep a membership alive, and learn that a rebalance has begun. KIP-345 (v3)."""

from __future__ import annotations

from typing import Any

import kio.schema.heartbeat

from broker.groups.routing import coordinate
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType


@api(schema=kio.schema.heartbeat, versions=range(5), asks={ResourceType.GROUP})
async def heartbeat(ctx: RequestContext, request: Any) -> Any:
    """Refusals come as KafkaError and become the response's error code."""
    ctx.access.require(Operation.READ, ResourceType.GROUP, request.group_id)
    coordinate(ctx, request.group_id).heartbeat(
        request.group_id, request.member_id, getattr(request, "group_instance_id", None), request.generation_id
    )
    return build(ctx)
