"""DescribeCluster (key 60), versions 0-2: brokers and cluster id (KIP-700, KIP-919, KIP-1073).

There are no separate controllers: endpoint type 2 is refused. Only the authorized operations need a permission.
"""

from __future__ import annotations

from typing import Any

import kio.schema.describe_cluster
from kio.schema.errors import ErrorCode

from broker.node import RequestContext
from broker.registry import api, build
from broker.security.access import NOT_ASKED
from broker.security.resources import ResourceType

BROKERS = 1


@api(schema=kio.schema.describe_cluster, versions=range(3), asks={ResourceType.CLUSTER})
async def describe_cluster(ctx: RequestContext, request: Any) -> Any:
    if getattr(request, "endpoint_type", BROKERS) != BROKERS:
        return build(
            ctx,
            error_code=ErrorCode.mismatched_endpoint_type,
            error_message="The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type "
            "CONTROLLER",
        )
    brokers = []
    include_fenced = getattr(request, "include_fenced_brokers", False)
    for node in ctx.cluster.nodes.values():
        if not node.alive and not include_fenced:
            continue
        host, port = node.address(ctx.connection.listener.name)
        brokers.append(
            {"broker_id": node.node_id, "host": host, "port": port, "rack": node.rack, "is_fenced": not node.alive}
        )
    return build(
        ctx,
        endpoint_type=BROKERS,
        cluster_id=ctx.cluster.cluster_id,
        controller_id=ctx.cluster.controller_id,
        brokers=brokers,
        cluster_authorized_operations=ctx.access.operations_if_described()
        if request.include_cluster_authorized_operations
        else NOT_ASKED,
    )
