"""EndTxn (26), v0-5: commit or abort. Answered before the markers are written.

KIP-588 (v2: PRODUCER_FENCED). KIP-890: v5 answers the next epoch (and, when epochs run out, the next producer id).
"""

from __future__ import annotations

from typing import Any

import kio.schema.end_txn

from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType
from broker.transactions.routing import coordinate, fenced_code

FIRST_WITH_BUMP = 5


@api(schema=kio.schema.end_txn, versions=range(6), asks={ResourceType.TRANSACTIONAL_ID})
async def end_txn(ctx: RequestContext, request: Any) -> Any:
    """Refusals carry no producer id."""
    try:
        ctx.access.require(Operation.WRITE, ResourceType.TRANSACTIONAL_ID, request.transactional_id)
        producer_id, epoch = coordinate(ctx, request.transactional_id).end(
            request.transactional_id,
            request.producer_id,
            request.producer_epoch,
            commit=request.committed,
            bumps_epoch=ctx.api_version >= FIRST_WITH_BUMP,
        )
    except KafkaError as error:
        return build(ctx, error_code=fenced_code(ctx, error.code), producer_id=-1, producer_epoch=-1)
    return build(ctx, producer_id=producer_id, producer_epoch=epoch)
