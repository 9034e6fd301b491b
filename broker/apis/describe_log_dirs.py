"""DescribeLogDirs (35), v1-4: one directory a node with the sizes of the partitions it has replicas of.

KIP-827 (v4: total and usable bytes of the volume). Sizes count records only, as there are no index files.
"""

from __future__ import annotations

import shutil
from typing import Any

import kio.schema.describe_log_dirs
from kio.schema.errors import ErrorCode

from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType
from broker.topics import Partition

MEMORY = "/memory"


@api(schema=kio.schema.describe_log_dirs, versions=range(1, 5), asks={ResourceType.CLUSTER})
async def describe_log_dirs(ctx: RequestContext, request: Any) -> Any:
    """Null topics mean all of them."""
    if not ctx.access.allows(Operation.DESCRIBE, ResourceType.CLUSTER):
        return build(ctx, error_code=ErrorCode.cluster_authorization_failed)
    wanted = None
    if request.topics is not None:
        wanted = {(topic.topic, index) for topic in request.topics for index in topic.partitions}
    topics: dict[str, list[dict[str, Any]]] = {}
    for partition in ctx.cluster.topics.partitions():
        if ctx.node.node_id in partition.replicas and (
            wanted is None or (partition.topic.name, partition.index) in wanted
        ):
            topics.setdefault(partition.topic.name, []).append(_row(partition))
    total, usable = _volume(ctx)
    return build(
        ctx,
        results=[
            {
                "log_dir": str(ctx.cluster.data_dir or MEMORY),
                "topics": [{"name": name, "partitions": rows} for name, rows in topics.items()],
                "total_bytes": total,
                "usable_bytes": usable,
            }
        ],
    )


def _row(partition: Partition) -> dict[str, Any]:
    return {
        "partition_index": partition.index,
        "partition_size": partition.log.size,
        "offset_lag": 0,
        "is_future_key": False,
    }


def _volume(ctx: RequestContext) -> tuple[int, int]:
    if ctx.cluster.data_dir is None:
        return -1, -1
    usage = shutil.disk_usage(ctx.cluster.data_dir)
    return usage.total, usage.free
