"""ElectLeaders (43), v0-2: hand partitions back to their preferred replica (KIP-183), or to any live one (KIP-460).

An unclean election by this API loses nothing here, since all replicas share one log; tests that want a log to be cut
ask `Cluster.elect_unclean`.
"""

from __future__ import annotations

from typing import Any

import kio.schema.elect_leaders
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType
from broker.topics import Partition

PREFERRED, UNCLEAN = 0, 1
NOT_NEEDED = "Leader election not needed for topic partition."


@api(schema=kio.schema.elect_leaders, versions=range(3), asks={ResourceType.CLUSTER})
async def elect_leaders(ctx: RequestContext, request: Any) -> Any:
    """Null partitions mean all of them; then only elections that took place are reported."""
    ctx.access.require(Operation.ALTER, ResourceType.CLUSTER)
    kind = getattr(request, "election_type", PREFERRED)
    if request.topic_partitions is None:
        asked = {topic.name: [each.index for each in topic.partitions] for topic in ctx.cluster.topics}
    else:
        asked = {item.topic: list(item.partitions) for item in request.topic_partitions}
    results = []
    for name, indexes in asked.items():
        rows = [await _elect(ctx, kind, name, index) for index in indexes]
        if request.topic_partitions is None:
            rows = [row for row in rows if row["error_code"] is not ErrorCode.election_not_needed]
        if rows:
            results.append({"topic": name, "partition_result": rows})
    return build(ctx, replica_election_results=results)


async def _elect(ctx: RequestContext, kind: int, name: str, index: int) -> dict[str, Any]:
    try:
        if name not in ctx.cluster.topics:
            raise KafkaError(ErrorCode.unknown_topic_or_partition, f"No such topic as {name}")
        partition = ctx.cluster.topics.partition(name, index)
        if partition is None:
            raise KafkaError(ErrorCode.unknown_topic_or_partition, f"No such partition as {name}-{index}")
        if kind == PREFERRED:
            await _elect_preferred(ctx, partition)
        elif partition.leader != -1:
            raise KafkaError(ErrorCode.election_not_needed, NOT_NEEDED)
        else:
            await ctx.cluster.elect_unclean(name, index, partition.log.log_end_offset)
    except KafkaError as error:
        return {"partition_id": index, "error_code": error.code, "error_message": error.message}
    return {"partition_id": index, "error_code": ErrorCode.none, "error_message": None}


async def _elect_preferred(ctx: RequestContext, partition: Partition) -> None:
    preferred = partition.replicas[0]
    if partition.leader == preferred:
        raise KafkaError(ErrorCode.election_not_needed, NOT_NEEDED)
    try:
        await ctx.cluster.move_leader(partition.topic.name, partition.index, preferred)
    except ValueError as error:
        raise KafkaError(ErrorCode.preferred_leader_not_available, str(error)) from error
