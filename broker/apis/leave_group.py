"""LeaveGroup (13), v0-5: leave, or remove members. KIP-345 (several members, static ones by instance id, v3)."""

from __future__ import annotations

from typing import Any

import kio.schema.leave_group

from broker.groups.routing import coordinate
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType


@api(schema=kio.schema.leave_group, versions=range(6), asks={ResourceType.GROUP})
async def leave_group(ctx: RequestContext, request: Any) -> Any:
    """One error code a member; before v3 there is just one member."""
    ctx.access.require(Operation.READ, ResourceType.GROUP, request.group_id)
    coordinator = coordinate(ctx, request.group_id)
    if ctx.api_version < 3:
        (code,) = coordinator.leave(request.group_id, [(request.member_id, None)])
        return build(ctx, error_code=code)
    leaving = [(member.member_id, member.group_instance_id) for member in request.members]
    codes = coordinator.leave(request.group_id, leaving)
    return build(
        ctx,
        members=[
            {"member_id": member_id, "group_instance_id": instance, "error_code": code}
            for (member_id, instance), code in zip(leaving, codes, strict=True)
        ],
    )
