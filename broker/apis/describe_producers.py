"""DescribeProducers (61), v0: what partitions remember of their producers (KIP-664)."""

from __future__ import annotations

from typing import Any

import kio.schema.describe_producers
from kio.schema.errors import ErrorCode

from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType
from broker.storage.producers import ProducerEntry


@api(schema=kio.schema.describe_producers, versions=range(1), asks={ResourceType.TOPIC})
async def describe_producers(ctx: RequestContext, request: Any) -> Any:
    """One list a partition; only its leader knows."""
    return build(
        ctx,
        topics=[
            {
                "name": topic.name,
                "partitions": [_describe(ctx, topic.name, index) for index in topic.partition_indexes],
            }
            for topic in request.topics
        ],
    )


def _describe(ctx: RequestContext, topic: str, index: int) -> dict[str, Any]:
    if not ctx.access.allows(Operation.READ, ResourceType.TOPIC, topic):
        return {"partition_index": index, "error_code": ErrorCode.topic_authorization_failed}
    partition = ctx.cluster.topics.partition(topic, index)
    if partition is None:
        return {"partition_index": index, "error_code": ErrorCode.unknown_topic_or_partition}
    if not ctx.cluster.leads(ctx.node, partition):
        return {"partition_index": index, "error_code": ErrorCode.not_leader_or_follower}
    entries = partition.log.producer_states.entries.values()
    return {"partition_index": index, "active_producers": [_producer(entry) for entry in entries]}


def _producer(entry: ProducerEntry) -> dict[str, Any]:
    first = entry.transaction_first_offset
    return {
        "producer_id": entry.producer_id,
        "producer_epoch": entry.epoch,
        "last_sequence": entry.last_sequence,
        "last_timestamp": entry.last_timestamp,
        "coordinator_epoch": entry.coordinator_epoch,
        "current_txn_start_offset": -1 if first is None else first,
    }
