"""DescribeGroups (15), v0-6: state, protocol, members and assignments of groups.

KIP-1043: from v6 on a group that isn't there or isn't classic is GROUP_ID_NOT_FOUND; before, a Dead one without error.
Authorized operations from v3 on.
"""

from __future__ import annotations

from typing import Any

import kio.schema.describe_groups

from broker.errors import KafkaError
from broker.groups.classic_state import GroupState
from broker.groups.coordinator import describe_members
from broker.groups.routing import coordinate
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.access import NOT_ASKED
from broker.security.resources import Operation, ResourceType

FIRST_WITH_NOT_FOUND = 6


@api(schema=kio.schema.describe_groups, versions=range(7), asks={ResourceType.GROUP})
async def describe_groups(ctx: RequestContext, request: Any) -> Any:
    """Every group has an answer of its own, an error or not."""
    groups = [_describe(ctx, group_id) for group_id in request.groups]
    if getattr(request, "include_authorized_operations", False):
        ctx.access.add_operations(groups)
    return build(ctx, groups=groups)


def _describe(ctx: RequestContext, group_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"group_id": group_id, "authorized_operations": NOT_ASKED}
    try:
        ctx.access.require(Operation.DESCRIBE, ResourceType.GROUP, group_id)
        coordinator = coordinate(ctx, group_id, allow_empty=True)
    except KafkaError as error:
        return {**answer, "error_code": error.code}
    try:
        group = coordinator.classic_group(group_id)
    except KafkaError as error:
        answer["group_state"] = GroupState.DEAD.value
        if ctx.api_version >= FIRST_WITH_NOT_FOUND:
            answer |= {"error_code": error.code, "error_message": error.message}
        return answer
    stable = group.state is GroupState.STABLE
    return {
        **answer,
        "group_state": group.state.value,
        "protocol_type": group.protocol_type or "",
        "protocol_data": (group.protocol_name or "") if stable else "",
        "members": describe_members(group),
    }
