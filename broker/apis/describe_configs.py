"""DescribeConfigs (32), v1-4: settings of topics, brokers and groups, where they come from, types, documentation (v3).

KIP-226 (sources and synonyms), KIP-569 (types). Other resource types are left out.
"""

from __future__ import annotations

from typing import Any

import kio.schema.describe_configs

from broker.config_admin import authorize, describe
from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType


@api(
    schema=kio.schema.describe_configs,
    versions=range(1, 5),
    asks={ResourceType.TOPIC, ResourceType.CLUSTER, ResourceType.GROUP},
)
async def describe_configs(ctx: RequestContext, request: Any) -> Any:
    """Every resource has an answer of its own, an error or not."""
    return build(ctx, results=[_describe(ctx, request, resource) for resource in request.resources])


def _describe(ctx: RequestContext, request: Any, resource: Any) -> dict[str, Any]:
    answer = {"resource_type": resource.resource_type, "resource_name": resource.resource_name}
    try:
        authorize(ctx, Operation.DESCRIBE_CONFIGS, resource.resource_type, resource.resource_name)
        rows = describe(
            ctx.cluster, ctx.node, resource.resource_type, resource.resource_name, resource.configuration_keys
        )
    except KafkaError as error:
        return {**answer, "error_code": error.code, "error_message": error.message}
    for row in rows:
        if not request.include_synonyms:
            row["synonyms"] = []
        if not getattr(request, "include_documentation", False):
            row["documentation"] = None
    return {**answer, "configs": rows}
