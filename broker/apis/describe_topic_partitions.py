"""DescribeTopicPartitions (key 75), version 0: topics page by page, in name order (KIP-966).

Eligible leader replicas are not modelled: both lists are empty.
"""

from __future__ import annotations

from typing import Any

import kio.schema.describe_topic_partitions
from kio.schema.errors import ErrorCode

from broker.apis.metadata import described_partition
from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.access import NOT_ASKED
from broker.security.resources import Operation, ResourceType

MAX_PARTITIONS = 2000  # max.request.partition.size.limit


@api(schema=kio.schema.describe_topic_partitions, versions=range(1), asks={ResourceType.TOPIC})
async def describe_topic_partitions(ctx: RequestContext, request: Any) -> Any:
    names = sorted({item.name for item in request.topics} or {topic.name for topic in ctx.cluster.topics})
    first = 0
    if request.cursor is not None:
        if request.cursor.partition_index < 0:
            raise KafkaError(ErrorCode.invalid_request, "DescribeTopicPartitionsRequest cursor partition must be valid")
        names = [name for name in names if name >= request.cursor.topic_name]
        first = request.cursor.partition_index if names and names[0] == request.cursor.topic_name else 0
    seen = ctx.access.allowed_names(Operation.DESCRIBE, ResourceType.TOPIC, names, quiet=not request.topics)
    hidden = [_refused(name) for name in names if name not in seen] if request.topics else []
    names = [name for name in names if name in seen]
    left = max(1, min(request.response_partition_limit, MAX_PARTITIONS))
    topics: list[dict[str, Any]] = []
    for name in names:
        if left == 0:
            return build(ctx, topics=topics + hidden, next_cursor={"topic_name": name, "partition_index": 0})
        topic = ctx.cluster.topics.get(name)
        if topic is None:
            topics.append(
                {
                    "name": name,
                    "error_code": ErrorCode.unknown_topic_or_partition,
                    "topic_authorized_operations": ctx.access.operations(ResourceType.TOPIC, name),
                }
            )
            continue
        chosen = topic.partitions[first : first + left]
        topics.append(
            {
                "name": name,
                "topic_id": topic.topic_id,
                "is_internal": topic.internal,
                "partitions": [
                    described_partition(ctx, partition) | {"eligible_leader_replicas": (), "last_known_elr": ()}
                    for partition in chosen
                ],
                "topic_authorized_operations": ctx.access.operations(ResourceType.TOPIC, name),
            }
        )
        left -= len(chosen)
        if first + len(chosen) < len(topic.partitions):
            cursor = {"topic_name": name, "partition_index": first + len(chosen)}
            return build(ctx, topics=topics + hidden, next_cursor=cursor)
        first = 0
    return build(ctx, topics=topics + hidden, next_cursor=None)


def _refused(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "error_code": ErrorCode.topic_authorization_failed,
        "topic_authorized_operations": NOT_ASKED,
    }
