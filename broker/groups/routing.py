"""Finds the group coordinator for a request, or says why this node isn't it."""

from __future__ import annotations

from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.groups.coordinator import GroupCoordinator
from broker.node import RequestContext


def coordinate(ctx: RequestContext, group_id: str, *, allow_empty: bool = False) -> GroupCoordinator:
    """The coordinator, if this node coordinates the group.

    Raises KafkaError: INVALID_GROUP_ID, or NOT_COORDINATOR when another node leads the group's partition.
    `allow_empty`: offset APIs accept the empty group id of old simple consumers.
    """
    if not group_id and not allow_empty:
        raise KafkaError(ErrorCode.invalid_group_id)
    coordinators = ctx.cluster.coordinators
    if coordinators.offsets_log.coordinator_of(group_id) != ctx.node.node_id:
        raise KafkaError(ErrorCode.not_coordinator)
    return coordinators.groups
