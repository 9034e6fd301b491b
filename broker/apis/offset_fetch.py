"""OffsetFetch (9), v1-9: positions of a group (v8: of several groups, KIP-709), of some partitions or all (v2).

KIP-447 (v7): `require_stable` answers UNSTABLE_OFFSET_COMMIT for a position that an open transaction would change.
KIP-848 (v9): a member of a consumer group says who it is, and is refused when that is no longer true.
"""

from __future__ import annotations

from typing import Any

import kio.schema.offset_fetch
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.groups.coordinator import GroupCoordinator
from broker.groups.records import CommittedOffset
from broker.groups.routing import coordinate
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType

FIRST_WITH_GROUPS = 8


@api(schema=kio.schema.offset_fetch, versions=range(1, 10), asks={ResourceType.GROUP, ResourceType.TOPIC})
async def offset_fetch(ctx: RequestContext, request: Any) -> Any:
    """A group that doesn't exist has no positions, which is no error."""
    stable = getattr(request, "require_stable", False)
    if ctx.api_version < FIRST_WITH_GROUPS:
        group_id = request.group_id
        ctx.access.require(Operation.DESCRIBE, ResourceType.GROUP, group_id)
        coordinator = coordinate(ctx, group_id, allow_empty=True)
        return build(ctx, topics=_topics(ctx, coordinator, group_id, request.topics, stable))
    return build(ctx, groups=[_group(ctx, group, stable) for group in request.groups])


def _group(ctx: RequestContext, group: Any, stable: bool) -> dict[str, Any]:
    try:
        ctx.access.require(Operation.DESCRIBE, ResourceType.GROUP, group.group_id)
        coordinator = coordinate(ctx, group.group_id, allow_empty=True)
        coordinator.positions(group.group_id, getattr(group, "member_id", None), getattr(group, "member_epoch", -1))
    except KafkaError as error:
        return {"group_id": group.group_id, "error_code": error.code}
    return {"group_id": group.group_id, "topics": _topics(ctx, coordinator, group.group_id, group.topics, stable)}


def _topics(
    ctx: RequestContext, coordinator: GroupCoordinator, group_id: str, topics: Any, stable: bool
) -> list[dict[str, Any]]:
    positions = coordinator.offsets.positions(group_id)
    wanted: dict[str, list[int]] = {}
    if topics is None:
        for topic, partition in positions:
            wanted.setdefault(topic, []).append(partition)
    else:
        for item in topics:
            wanted.setdefault(item.name, []).extend(item.partition_indexes)
    seen = ctx.access.allowed_names(Operation.DESCRIBE, ResourceType.TOPIC, wanted, quiet=topics is None)

    def position(topic: str, partition: int) -> dict[str, Any]:
        if topic not in seen:
            return _position(partition, ErrorCode.topic_authorization_failed)
        if stable and coordinator.offsets.is_pending(group_id, topic, partition):
            return _position(partition, ErrorCode.unstable_offset_commit)
        return _position(partition, ErrorCode.none, positions.get((topic, partition)))

    return [
        {"name": topic, "partitions": [position(topic, partition) for partition in partitions]}
        for topic, partitions in wanted.items()
        if topics is not None or topic in seen
    ]


def _position(partition: int, code: ErrorCode, committed: CommittedOffset | None = None) -> dict[str, Any]:
    return {
        "partition_index": partition,
        "error_code": code,
        "committed_offset": -1 if committed is None else committed.offset,
        "committed_leader_epoch": -1 if committed is None else committed.leader_epoch,
        "metadata": "" if committed is None else committed.metadata,
    }
