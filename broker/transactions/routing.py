"""Finds the transaction coordinator for a request, or says why this node isn't it."""

from __future__ import annotations

from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.node import RequestContext
from broker.transactions.coordinator import TransactionCoordinator

FIRST_WITH_FENCED = 2
"""From this version of AddPartitionsToTxn, AddOffsetsToTxn and EndTxn on, clients know PRODUCER_FENCED (KIP-588)."""


def coordinate(ctx: RequestContext, transactional_id: str) -> TransactionCoordinator:
    """The coordinator, if this node coordinates the transactional id. Raises KafkaError NOT_COORDINATOR."""
    coordinators = ctx.cluster.coordinators
    if coordinators.transactions_log.coordinator_of(transactional_id) != ctx.node.node_id:
        raise KafkaError(ErrorCode.not_coordinator)
    return coordinators.transactions


def fenced_code(ctx: RequestContext, code: ErrorCode) -> ErrorCode:
    """The code as clients of this version know it."""
    if code is ErrorCode.producer_fenced and ctx.api_version < FIRST_WITH_FENCED:
        return ErrorCode.invalid_producer_epoch
    return code
