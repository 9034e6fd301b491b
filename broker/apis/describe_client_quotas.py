"""DescribeClientQuotas (48), v0-1: the bundled broker keeps no quotas, so none match.

`kafka-configs.sh --describe --entity-type users` asks this beside the SCRAM credentials. Filters are judged as Kafka
does it (`org.apache.kafka.image.ClientQuotasImage`). Left out: AlterClientQuotas, and quotas themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import kio.schema.describe_client_quotas
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType

_IP, _USER, _CLIENT_ID = "ip", "user", "client-id"
_EXACT, _DEFAULT, _SPECIFIED = 0, 1, 2


@api(schema=kio.schema.describe_client_quotas, versions=range(2), asks={ResourceType.CLUSTER})
async def describe_client_quotas(ctx: RequestContext, request: Any) -> Any:
    """Needs DescribeConfigs on the cluster."""
    ctx.access.require(Operation.DESCRIBE_CONFIGS, ResourceType.CLUSTER)
    try:
        _check(request.components)
    except KafkaError as error:
        return build(ctx, error_code=error.code, error_message=error.message, entries=None)
    return build(ctx, error_message="", entries=())  # so does Kafka


def _check(components: Iterable[Any]) -> None:
    seen: set[str] = set()
    for component in components:
        kind = component.entity_type
        if not kind:
            raise _invalid("Invalid empty entity type.")
        if kind in seen:
            raise _invalid(f"Entity type {kind} cannot appear more than once in the filter.")
        if kind not in (_IP, _USER, _CLIENT_ID):
            raise KafkaError(ErrorCode.unsupported_version, f"Unsupported entity type {kind}")
        if component.match_type not in (_EXACT, _DEFAULT, _SPECIFIED):
            raise _invalid(f"Unknown match type {component.match_type}")
        if component.match_type == _EXACT and component.match is None:
            raise _invalid("Request specified MATCH_TYPE_EXACT, but set match string to null.")
        if component.match_type != _EXACT and component.match is not None:
            name = "DEFAULT" if component.match_type == _DEFAULT else "SPECIFIED"
            raise _invalid(f"Request specified MATCH_TYPE_{name}, but also specified a match string.")
        seen.add(kind)
    if _IP in seen and len(seen) > 1:
        raise _invalid(
            "Invalid entity filter component combination. IP filter component should not be used with user or clientId "
            "filter component."
        )


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.invalid_request, message)
