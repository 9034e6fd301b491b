"""IncrementalAlterConfigs (44), v0-1: set, delete, append to or subtract from settings (KIP-339)."""

from __future__ import annotations

from typing import Any

import kio.schema.incremental_alter_configs

from broker.config_admin import Change, alter, authorize
from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType


@api(
    schema=kio.schema.incremental_alter_configs,
    versions=range(2),
    asks={ResourceType.TOPIC, ResourceType.CLUSTER, ResourceType.GROUP},
)
async def incremental_alter_configs(ctx: RequestContext, request: Any) -> Any:
    """Each resource changes as a whole or not at all."""
    return build(ctx, responses=[_alter(ctx, resource, request.validate_only) for resource in request.resources])


def _alter(ctx: RequestContext, resource: Any, validate_only: bool) -> dict[str, Any]:
    answer = {"resource_type": resource.resource_type, "resource_name": resource.resource_name}
    changes = [Change(item.name, item.config_operation, item.value) for item in resource.configs]
    try:
        authorize(ctx, Operation.ALTER_CONFIGS, resource.resource_type, resource.resource_name)
        alter(
            ctx.cluster,
            ctx.node,
            resource.resource_type,
            resource.resource_name,
            changes,
            validate_only=validate_only,
        )
    except KafkaError as error:
        return {**answer, "error_code": error.code, "error_message": error.message}
    return answer
