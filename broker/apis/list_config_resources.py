"""ListConfigResources (74), v0-1: which resources have settings: topics, brokers and groups here.

KIP-714 (v0: client-metrics subscriptions, of which there are none), KIP-1142 (v1: the other types).
"""

from __future__ import annotations

from typing import Any

import kio.schema.list_config_resources
from kio.schema.errors import ErrorCode

from broker.config_admin import BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType

KNOWN = {TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP}


@api(schema=kio.schema.list_config_resources, versions=range(2), asks={ResourceType.CLUSTER})
async def list_config_resources(ctx: RequestContext, request: Any) -> Any:
    """No types mean all types."""
    ctx.access.require(Operation.DESCRIBE_CONFIGS, ResourceType.CLUSTER)
    asked = set(getattr(request, "resource_types", [CLIENT_METRICS])) or KNOWN
    if not asked <= KNOWN:
        return build(ctx, error_code=ErrorCode.unsupported_version)
    found = []
    for kind in (BROKER_LOGGER, BROKER):
        if kind in asked:
            found += [{"resource_type": kind, "resource_name": str(node.node_id)} for node in ctx.cluster.live_nodes]
    if TOPIC in asked:
        found += [{"resource_type": TOPIC, "resource_name": topic.name} for topic in ctx.cluster.topics]
    if GROUP in asked:
        groups = ctx.cluster.config.dynamic_by_group
        found += [{"resource_type": GROUP, "resource_name": group_id} for group_id in groups]
    return build(ctx, config_resources=found)
