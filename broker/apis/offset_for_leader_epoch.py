"""OffsetForLeaderEpoch (key 23), versions 2-4: where a leader epoch ended, so that a reader can see a truncation.

KIP-101, KIP-279, KIP-320.
"""

from __future__ import annotations

from typing import Any

import kio.schema.offset_for_leader_epoch
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.leadership import led_partition
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType


@api(schema=kio.schema.offset_for_leader_epoch, versions=range(2, 5), asks={ResourceType.TOPIC, ResourceType.CLUSTER})
async def offset_for_leader_epoch(ctx: RequestContext, request: Any) -> Any:
    among_brokers = ctx.access.allows(Operation.CLUSTER_ACTION, ResourceType.CLUSTER, quiet=True)
    topics = []
    for topic in request.topics:
        rows = []
        for item in topic.partitions:
            row: dict[str, Any] = {"partition": item.partition, "leader_epoch": -1, "end_offset": -1}
            try:
                if not among_brokers:
                    ctx.access.require(Operation.DESCRIBE, ResourceType.TOPIC, topic.topic)
                partition = led_partition(ctx, topic.topic, item.partition, item.current_leader_epoch)
                epoch, end_offset = partition.log.epoch_end_offset(item.leader_epoch)
                row.update(error_code=ErrorCode.none, leader_epoch=epoch, end_offset=end_offset)
            except KafkaError as error:
                row["error_code"] = error.code
            rows.append(row)
        topics.append({"topic": topic.topic, "partitions": rows})
    return build(ctx, topics=topics)
