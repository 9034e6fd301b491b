"""CreatePartitions (key 37), versions 0-3: let topics grow (KIP-195). Quotas are not applied."""

from __future__ import annotations

from collections import Counter
from typing import Any

import kio.schema.create_partitions
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType


@api(schema=kio.schema.create_partitions, versions=range(4), asks={ResourceType.TOPIC})
async def create_partitions(ctx: RequestContext, request: Any) -> Any:
    asked = Counter(item.name for item in request.topics)
    results: dict[str, dict[str, Any]] = {}
    for item in request.topics:
        row: dict[str, Any] = {"name": item.name, "error_code": ErrorCode.none}
        try:
            if asked[item.name] > 1:
                raise KafkaError(ErrorCode.invalid_request, "Duplicate topic name.")
            ctx.access.require(Operation.ALTER, ResourceType.TOPIC, item.name)
            topic = ctx.cluster.topics.get(item.name)
            if topic is None:
                raise KafkaError(ErrorCode.unknown_topic_or_partition)
            assignments = None if item.assignments is None else [list(row.broker_ids) for row in item.assignments]
            ctx.cluster.add_partitions(topic, item.count, assignments, validate_only=request.validate_only)
        except KafkaError as error:
            row.update(error_code=error.code, error_message=error.message)
        results[item.name] = row
    return build(ctx, results=list(results.values()))
