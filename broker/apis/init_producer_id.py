"""InitProducerId (22), v0-5: a producer id, or a transactional producer's next epoch, which fences the former one.

KIP-98, KIP-360 (v3: a producer that recovers presents what it has), KIP-588 (v4: PRODUCER_FENCED instead of
INVALID_PRODUCER_EPOCH). Two-phase commit (KIP-939, v6) is left out, as in Kafka 4.1.
"""

from __future__ import annotations

from typing import Any

import kio.schema.init_producer_id
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.node import RequestContext
from broker.protocol import milliseconds
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType
from broker.transactions.routing import coordinate

FIRST_WITH_FENCED = 4


@api(
    schema=kio.schema.init_producer_id,
    versions=range(6),
    asks={ResourceType.TRANSACTIONAL_ID, ResourceType.CLUSTER, ResourceType.TOPIC},
)
async def init_producer_id(ctx: RequestContext, request: Any) -> Any:
    """Any node gives ids without transactional id; with one, only its coordinator."""
    try:
        producer_id, epoch = _init(ctx, request)
    except KafkaError as error:
        code = error.code
        if code is ErrorCode.producer_fenced and ctx.api_version < FIRST_WITH_FENCED:
            code = ErrorCode.invalid_producer_epoch
        return build(ctx, error_code=code, producer_id=-1, producer_epoch=-1)
    return build(ctx, producer_id=producer_id, producer_epoch=epoch)


def _init(ctx: RequestContext, request: Any) -> tuple[int, int]:
    if request.transactional_id is not None:
        ctx.access.require(Operation.WRITE, ResourceType.TRANSACTIONAL_ID, request.transactional_id)
    elif not ctx.access.allows_any(Operation.WRITE, ResourceType.TOPIC):
        ctx.access.require(Operation.IDEMPOTENT_WRITE, ResourceType.CLUSTER)
    known = (getattr(request, "producer_id", -1), getattr(request, "producer_epoch", -1))
    if (known[0] == -1) != (known[1] == -1):
        raise KafkaError(ErrorCode.invalid_request)
    if request.transactional_id is None:
        return ctx.cluster.coordinators.transactions.new_idempotent_producer()
    if not request.transactional_id:
        raise KafkaError(ErrorCode.invalid_request)
    # Kafka looks at the timeout first: every node refuses it, whoever the coordinator is.
    ctx.cluster.coordinators.transactions.check_timeout(milliseconds(request.transaction_timeout))
    return coordinate(ctx, request.transactional_id).init_producer(
        request.transactional_id,
        milliseconds(request.transaction_timeout),
        None if known[0] == -1 else known,
    )
