"""ListTransactions (66), v0-2: the transactional ids this node coordinates.

KIP-664 (filters by state and producer), KIP-994 (v1: by how long the transaction has been running), KIP-1152 (v2: by
a regular expression over the transactional id).
"""

from __future__ import annotations

import re
from typing import Any

import kio.schema.list_transactions
from kio.schema.errors import ErrorCode

from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType
from broker.transactions.metadata import Transaction, TransactionState

NAMES = {state.text for state in TransactionState}


@api(schema=kio.schema.list_transactions, versions=range(3), asks={ResourceType.TRANSACTIONAL_ID})
async def list_transactions(ctx: RequestContext, request: Any) -> Any:
    """Empty filters let everything pass; unknown states are reported and match nothing."""
    coordinators = ctx.cluster.coordinators
    states = set(request.state_filters)
    producers = set(request.producer_id_filters)
    longer_than = getattr(request, "duration_filter", -1)
    try:
        pattern = re.compile(getattr(request, "transactional_id_pattern", None) or ".*")
    except re.error:
        return build(ctx, error_code=ErrorCode.invalid_regular_expression)
    now = ctx.cluster.clock.now_ms()

    def matches(found: Transaction) -> bool:
        return (
            coordinators.transactions_log.coordinator_of(found.transactional_id) == ctx.node.node_id
            and (not producers or found.producer_id in producers)
            and (not states or found.state.text in states)
            and (longer_than < 0 or (found.started_ms >= 0 and now - found.started_ms > longer_than))
            and pattern.fullmatch(found.transactional_id) is not None
            and ctx.access.allows(Operation.DESCRIBE, ResourceType.TRANSACTIONAL_ID, found.transactional_id, quiet=True)
        )

    return build(
        ctx,
        unknown_state_filters=sorted(states - NAMES),
        transaction_states=[
            {
                "transactional_id": found.transactional_id,
                "producer_id": found.producer_id,
                "transaction_state": found.state.text,
            }
            for found in coordinators.transactions.transactions.values()
            if matches(found)
        ],
    )
