"""DeleteRecords (key 21), versions 0-2: raise a partition's log start offset (KIP-107). -1 means the high watermark.

Kafka refuses it for topics that aren't deleted by retention, and so do we.
"""

from __future__ import annotations

from typing import Any

import kio.schema.delete_records
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.leadership import led_partition
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType


@api(schema=kio.schema.delete_records, versions=range(3), asks={ResourceType.TOPIC})
async def delete_records(ctx: RequestContext, request: Any) -> Any:
    topics = []
    for topic in request.topics:
        rows = []
        for item in topic.partitions:
            row: dict[str, Any] = {"partition_index": item.partition_index, "low_watermark": -1}
            try:
                ctx.access.require(Operation.DELETE, ResourceType.TOPIC, topic.name)
                partition = led_partition(ctx, topic.name, item.partition_index)
                if partition.topic.internal:
                    raise KafkaError(ErrorCode.invalid_topic_exception)
                if "delete" not in partition.topic.log_config.cleanup_policy:
                    raise KafkaError(ErrorCode.policy_violation)
                row["low_watermark"] = partition.log.delete_records_to(item.offset)
                row["error_code"] = ErrorCode.none
            except KafkaError as error:
                row["error_code"] = error.code
            rows.append(row)
        topics.append({"name": topic.name, "partitions": rows})
    return build(ctx, topics=topics)
