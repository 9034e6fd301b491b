"""DescribeTransactions (65), v0: state, producer and partitions of transactional ids (KIP-664)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import kio.schema.describe_transactions
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType
from broker.transactions.routing import coordinate

NEVER = datetime(1970, 1, 1, tzinfo=UTC) - timedelta(milliseconds=1)
"""-1 on the wire: the transaction hasn't begun."""


@api(
    schema=kio.schema.describe_transactions, versions=range(1), asks={ResourceType.TRANSACTIONAL_ID, ResourceType.TOPIC}
)
async def describe_transactions(ctx: RequestContext, request: Any) -> Any:
    """Every id has an answer of its own, an error or not."""
    return build(ctx, transaction_states=[_describe(ctx, name) for name in request.transactional_ids])


def _describe(ctx: RequestContext, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"transactional_id": name, "producer_id": 0, "producer_epoch": 0}
    try:
        ctx.access.require(Operation.DESCRIBE, ResourceType.TRANSACTIONAL_ID, name)
        if not name:
            raise KafkaError(ErrorCode.invalid_request)
        found = coordinate(ctx, name).transactions.get(name)
    except KafkaError as error:
        return {**answer, "error_code": error.code}
    if found is None:
        return {**answer, "error_code": ErrorCode.transactional_id_not_found}
    topics: dict[str, list[int]] = {}
    for topic, partition in sorted(found.partitions):
        if ctx.access.allows(Operation.DESCRIBE, ResourceType.TOPIC, topic):
            topics.setdefault(topic, []).append(partition)
    return {
        **answer,
        "transaction_state": found.state.text,
        "transaction_timeout": found.timeout_ms,
        "transaction_start_time": NEVER if found.started_ms < 0 else found.started_ms,
        "producer_id": found.producer_id,
        "producer_epoch": found.producer_epoch,
        "topics": [{"topic": topic, "partitions": partitions} for topic, partitions in topics.items()],
    }
