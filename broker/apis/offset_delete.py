"""OffsetDelete (47), v0: delete positions of topics that the group doesn't consume at the moment (KIP-496)."""

from __future__ import annotations

from typing import Any

import kio.schema.offset_delete
from kio.schema.errors import ErrorCode

from broker.groups.routing import coordinate
from broker.node import RequestContext
from broker.registry import api, build


@api(schema=kio.schema.offset_delete, versions=range(1))
async def offset_delete(ctx: RequestContext, request: Any) -> Any:
    """A missing or busy group fails the whole request (KafkaError), an unknown topic only its partitions."""
    coordinator = coordinate(ctx, request.group_id, allow_empty=True)
    known = [
        (topic.name, partition.partition_index)
        for topic in request.topics
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
                        "error_code": codes.get(
                            (topic.name, partition.partition_index), ErrorCode.unknown_topic_or_partition
                        ),
                    }
                    for partition in topic.partitions
                ],
            }
            for topic in request.topics
        ],
    )
