"""ConsumerGroupHeartbeat (68), v0-1: join, stay in or leave a consumer group (KIP-848).

v1: the member brings its own id (KIP-1082), and may subscribe by a pattern. Patterns are Python's instead of RE2's.
Left out: taking over a group of classic members that are still there; it is refused as if migration were disabled.
"""

from __future__ import annotations

from typing import Any

import kio.schema.consumer_group_heartbeat

from broker.errors import KafkaError
from broker.groups.consumer_heartbeat import ConsumerHeartbeat
from broker.groups.consumer_records import by_topic
from broker.groups.routing import coordinate
from broker.node import RequestContext
from broker.protocol import milliseconds
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType


@api(schema=kio.schema.consumer_group_heartbeat, versions=range(2), asks={ResourceType.GROUP, ResourceType.TOPIC})
async def consumer_group_heartbeat(ctx: RequestContext, request: Any) -> Any:
    """The assignment is in the answer when it changed or the member asked for everything."""
    try:
        _authorize(ctx, request)
    except KafkaError as error:
        return build(ctx, error_code=error.code, error_message=error.message)
    heartbeat = ConsumerHeartbeat(
        request.group_id,
        request.member_id,
        request.member_epoch,
        request.instance_id,
        request.rack_id,
        milliseconds(request.rebalance_timeout),
        None if request.subscribed_topic_names is None else frozenset(request.subscribed_topic_names),
        getattr(request, "subscribed_topic_regex", None),
        request.server_assignor,
        _owned(request.topic_partitions),
        ctx.client_id or "",
        f"/{ctx.connection.client_host}",
        lambda name: ctx.access.allows(Operation.DESCRIBE, ResourceType.TOPIC, name, quiet=True),
    )
    try:
        result = coordinate(ctx, request.group_id, allow_empty=True).consumer_heartbeat(heartbeat, ctx.api_version)
    except KafkaError as error:
        return build(ctx, error_code=error.code, error_message=error.message)
    return build(
        ctx,
        member_id=result.member_id,
        member_epoch=result.member_epoch,
        heartbeat_interval=result.heartbeat_interval_ms,
        assignment=None
        if result.assignment is None
        else {
            "topic_partitions": [
                {"topic_id": topic_id, "partitions": indexes}
                for topic_id, indexes in by_topic(result.assignment).items()
            ]
        },
    )


def _authorize(ctx: RequestContext, request: Any) -> None:
    ctx.access.require(Operation.READ, ResourceType.GROUP, request.group_id)
    for name in request.subscribed_topic_names or ():
        ctx.access.require(Operation.DESCRIBE, ResourceType.TOPIC, name)


def _owned(topics: Any) -> frozenset[Any] | None:
    if topics is None:
        return None
    return frozenset((topic.topic_id, index) for topic in topics for index in topic.partitions)
