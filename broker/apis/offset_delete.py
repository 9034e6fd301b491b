"""OffsetDelete (47), v0: delete positions of topics that the group doesn't consume at the moment (KIP-496)."""

from __future__ import annotations

from typing import Any

import kio.schema.offset_delete

from broker.apis.offset_commit import unavailable
from broker.groups.routing import coordinate
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType


@api(schema=kio.schema.offset_delete, versions=range(1), asks={ResourceType.GROUP, ResourceType.TOPIC})
async def offset_delete(ctx: RequestContext, request: Any) -> Any:
    """A missing or busy group fails the whole request (KafkaError), an unknown topic only its partitions."""
    ctx.access.require(Operation.DELETE, ResourceType.GROUP, request.group_id)
    coordinator = coordinate(ctx, request.group_id, allow_empty=True)
    known = [
        (topic.name, partition.partition_index)
        for topic in request.topics
        if ctx.access.allows(Operation.READ, ResourceType.TOPIC, topic.name)
        for partition in topic.partitions
        if ctx.cluster.coordinators.has_partition(topic.name, partition.partition_index)
    ]
    codes = dict(zip(known, coordinator.delete_offsets(request.group_id, known), strict=True))
    return build(
        ctx,
        topics=[
            {
                "name": topic.name,
                "partitions": [
                    {
                        "partition_index": partition.partition_index,
                        "error_code": codes.get((topic.name, partition.partition_index), missing),
                    }
                    for partition in topic.partitions
                ],
            }
            for topic in request.topics
            for missing in (unavailable(ctx, topic.name),)
        ],
    )
