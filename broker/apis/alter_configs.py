"""AlterConfigs (33), v0-2: replace all settings of a resource. Deprecated in favour of IncrementalAlterConfigs."""

from __future__ import annotations

from typing import Any

import kio.schema.alter_configs

from broker.config_admin import authorize, replace
from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType


@api(
    schema=kio.schema.alter_configs,
    versions=range(3),
    asks={ResourceType.TOPIC, ResourceType.CLUSTER, ResourceType.GROUP},
)
async def alter_configs(ctx: RequestContext, request: Any) -> Any:
    """Each resource changes as a whole or not at all."""
    return build(ctx, responses=[_alter(ctx, resource, request.validate_only) for resource in request.resources])


def _alter(ctx: RequestContext, resource: Any, validate_only: bool) -> dict[str, Any]:
    answer = {"resource_type": resource.resource_type, "resource_name": resource.resource_name}
    values = {item.name: item.value for item in resource.configs}
    try:
        authorize(ctx, Operation.ALTER_CONFIGS, resource.resource_type, resource.resource_name)
        replace(
            ctx.cluster,
            ctx.node,
            resource.resource_type,
            resource.resource_name,
            values,
            validate_only=validate_only,
        )
    except KafkaError as error:
        return {**answer, "error_code": error.code, "error_message": error.message}
    return answer
