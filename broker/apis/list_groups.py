"""ListGroups (16), v0-5: the groups this node coordinates. KIP-518 (states, v4), KIP-848 (types, v5)."""

from __future__ import annotations

from typing import Any

import kio.schema.list_groups

from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType


@api(schema=kio.schema.list_groups, versions=range(6), asks={ResourceType.GROUP, ResourceType.CLUSTER})
async def list_groups(ctx: RequestContext, request: Any) -> Any:
    """Groups that the client may not describe are left out.

    Filters are case-insensitive, empty ones let everything pass.
    """
    coordinators = ctx.cluster.coordinators
    access = ctx.access
    sees_all = access.allows(Operation.DESCRIBE, ResourceType.CLUSTER, quiet=True)
    states = {state.lower() for state in getattr(request, "states_filter", ())}
    types = {group_type.lower() for group_type in getattr(request, "types_filter", ())}
    return build(
        ctx,
        groups=[
            {
                "group_id": group.group_id,
                "protocol_type": group.protocol_type or "",
                "group_state": group.state_name,
                "group_type": group.kind,
            }
            for group in coordinators.groups.groups.values()
            if coordinators.offsets_log.coordinator_of(group.group_id) == ctx.node.node_id
            and (not states or group.state_name.lower() in states)
            and (not types or group.kind in types)
            and (sees_all or access.allows(Operation.DESCRIBE, ResourceType.GROUP, group.group_id, quiet=True))
        ],
    )
