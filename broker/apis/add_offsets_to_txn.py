"""AddOffsetsToTxn (25), v0-4: take a group's partition of `__consumer_offsets` into a transaction. KIP-588 (v2)."""

from __future__ import annotations

from typing import Any

import kio.schema.add_offsets_to_txn
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType
from broker.transactions.routing import coordinate, fenced_code


@api(schema=kio.schema.add_offsets_to_txn, versions=range(5), asks={ResourceType.TRANSACTIONAL_ID, ResourceType.GROUP})
async def add_offsets_to_txn(ctx: RequestContext, request: Any) -> Any:
    """What TxnOffsetCommit (below v5) needs before it."""
    offsets = ctx.cluster.coordinators.offsets_log
    try:
        ctx.access.require(Operation.WRITE, ResourceType.TRANSACTIONAL_ID, request.transactional_id)
        ctx.access.require(Operation.READ, ResourceType.GROUP, request.group_id)
        if not request.transactional_id:
            raise KafkaError(ErrorCode.invalid_request)
        coordinate(ctx, request.transactional_id).add_partitions(
            request.transactional_id,
            request.producer_id,
            request.producer_epoch,
            frozenset({(offsets.topic, offsets.partition_for(request.group_id))}),
        )
    except KafkaError as error:
        return build(ctx, error_code=fenced_code(ctx, error.code))
    return build(ctx)
