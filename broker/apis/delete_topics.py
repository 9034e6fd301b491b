"""DeleteTopics (key 20), versions 1-6: remove topics by name or, from version 6 on, by id (KIP-516).

The data goes at once, not after file.delete.delay.ms.
"""

from __future__ import annotations

from typing import Any

import kio.schema.delete_topics
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType
from broker.topics import Topic


@api(schema=kio.schema.delete_topics, versions=range(1, 7), asks={ResourceType.TOPIC, ResourceType.CLUSTER})
async def delete_topics(ctx: RequestContext, request: Any) -> Any:
    results = []
    for name, topic_id in _asked(request):
        row: dict[str, Any] = {"name": name, "topic_id": topic_id, "error_code": ErrorCode.none}
        try:
            topic = _find(ctx, name, topic_id)
            if _may(ctx, Operation.DESCRIBE, topic.name):
                row["name"] = topic.name
            if not _may(ctx, Operation.DELETE, topic.name):
                raise KafkaError(ErrorCode.topic_authorization_failed)
            row.update(name=topic.name, topic_id=topic.topic_id)
            ctx.cluster.delete_topic(topic)
        except KafkaError as error:
            row.update(error_code=error.code, error_message=error.message)
        results.append(row)
    return build(ctx, responses=results)


def _asked(request: Any) -> list[tuple[str | None, Any]]:
    if hasattr(request, "topic_names"):
        return [(name, None) for name in request.topic_names]
    return [(item.name, item.topic_id) for item in request.topics]


def _find(ctx: RequestContext, name: str | None, topic_id: Any) -> Topic:
    if not ctx.cluster.config.get_bool("delete.topic.enable"):
        raise KafkaError(ErrorCode.topic_deletion_disabled)
    if name is not None and topic_id is not None:
        raise KafkaError(ErrorCode.invalid_request, "You may not specify both topic name and topic id.")
    if name is None:
        if topic_id is None:
            raise KafkaError(ErrorCode.invalid_request, "Neither topic name nor id were specified.")
        found = ctx.cluster.topics.by_id(topic_id)
        if found is None:
            raise KafkaError(ErrorCode.unknown_topic_id, "This server does not host this topic ID.")
        return found
    found = ctx.cluster.topics.get(name)
    if not _may(ctx, Operation.DESCRIBE, name):  # who may not see a topic isn't told whether it exists
        raise KafkaError(ErrorCode.topic_authorization_failed)
    if found is None:
        raise KafkaError(ErrorCode.unknown_topic_or_partition, "This server does not host this topic-partition.")
    return found


def _may(ctx: RequestContext, operation: Operation, name: str) -> bool:
    return ctx.access.allows(Operation.DELETE, ResourceType.CLUSTER, quiet=True) or ctx.access.allows(
        operation, ResourceType.TOPIC, name
    )
