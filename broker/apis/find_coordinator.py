"""FindCoordinator (10), v0-6: which node coordinates a group (key type 0) or a transactional id (1).

KIP-699 (several keys from v4 on). The coordinator is the leader of the key's partition in `__consumer_offsets` or
`__transaction_state`; both topics are made by the first question. Share groups (key type 2) are left out.
"""

from __future__ import annotations

from typing import Any

import kio.schema.find_coordinator
from kio.schema.errors import ErrorCode

from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import REFUSALS, Operation, ResourceType

GROUP, TRANSACTION = 0, 1


@api(schema=kio.schema.find_coordinator, versions=range(7), asks={ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID})
async def find_coordinator(ctx: RequestContext, request: Any) -> Any:
    """Answer one key (v0-3) or many."""
    key_type = getattr(request, "key_type", GROUP)
    if ctx.api_version < 4:
        found = _find(ctx, key_type, request.key)
        del found["key"]
        return build(ctx, **found)
    return build(ctx, coordinators=[_find(ctx, key_type, key) for key in request.coordinator_keys])


def _find(ctx: RequestContext, key_type: int, key: str) -> dict[str, Any]:
    kind = {GROUP: ResourceType.GROUP, TRANSACTION: ResourceType.TRANSACTIONAL_ID}.get(key_type)
    if kind is not None and not ctx.access.allows(Operation.DESCRIBE, kind, key):
        return _nowhere(key, REFUSALS[kind], None)
    coordinators = ctx.cluster.coordinators
    log = {GROUP: coordinators.offsets_log, TRANSACTION: coordinators.transactions_log}.get(key_type)
    if log is None:
        return _nowhere(key, ErrorCode.invalid_request, f"key type {key_type} is not supported")
    node_id = log.coordinator_of(key)
    if node_id is None:
        return _nowhere(key, ErrorCode.coordinator_not_available, "the coordinator's partition has no leader")
    host, port = ctx.cluster.nodes[node_id].address(ctx.connection.listener.name)
    return {
        "key": key,
        "error_code": ErrorCode.none,
        "error_message": None if ctx.api_version >= 4 else "NONE",
        "node_id": node_id,
        "host": host,
        "port": port,
    }


def _nowhere(key: str, code: ErrorCode, message: str | None) -> dict[str, Any]:
    return {"key": key, "error_code": code, "error_message": message, "node_id": -1, "host": "", "port": -1}
