"""AddPartitionsToTxn (24), v0-5: take partitions into a transaction before producing to them.

KIP-588 (v2: PRODUCER_FENCED). KIP-890: v4 and v5 are for brokers, several transactions at once, optionally only to
verify. One partition that doesn't exist fails the whole transaction's request: the others OPERATION_NOT_ATTEMPTED.
"""

from __future__ import annotations

from typing import Any

import kio.schema.add_partitions_to_txn
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType
from broker.topics import INTERNAL_TOPICS
from broker.transactions.metadata import TopicPartition
from broker.transactions.routing import coordinate, fenced_code

FIRST_BATCHED = 4


@api(
    schema=kio.schema.add_partitions_to_txn,
    versions=range(6),
    asks={ResourceType.TRANSACTIONAL_ID, ResourceType.TOPIC, ResourceType.CLUSTER},
)
async def add_partitions_to_txn(ctx: RequestContext, request: Any) -> Any:
    """Before v4 there is just one transaction."""
    if ctx.api_version < FIRST_BATCHED:
        codes = _add(
            ctx,
            request.v3_and_below_transactional_id,
            request.v3_and_below_producer_id,
            request.v3_and_below_producer_epoch,
            _partitions(request.v3_and_below_topics),
            verify_only=False,
        )
        return build(ctx, results_by_topic_v3_and_below=_results(request.v3_and_below_topics, codes))
    ctx.access.require(Operation.CLUSTER_ACTION, ResourceType.CLUSTER)
    results = []
    for transaction in request.transactions:
        codes = _add(
            ctx,
            transaction.transactional_id,
            transaction.producer_id,
            transaction.producer_epoch,
            _partitions(transaction.topics),
            verify_only=transaction.verify_only,
        )
        results.append(
            {
                "transactional_id": transaction.transactional_id,
                "topic_results": _results(transaction.topics, codes),
            }
        )
    return build(ctx, results_by_transaction=results)


def _partitions(topics: Any) -> list[TopicPartition]:
    return [(topic.name, partition) for topic in topics for partition in topic.partitions]


def _add(
    ctx: RequestContext,
    transactional_id: str,
    producer_id: int,
    epoch: int,
    partitions: list[TopicPartition],
    *,
    verify_only: bool,
) -> dict[TopicPartition, ErrorCode]:
    if ctx.api_version < FIRST_BATCHED and not ctx.access.allows(
        Operation.WRITE, ResourceType.TRANSACTIONAL_ID, transactional_id
    ):
        return dict.fromkeys(partitions, ErrorCode.transactional_id_authorization_failed)
    refused = {each: code for each in partitions if (code := _refusal(ctx, each)) is not None}
    if refused:
        return {each: refused.get(each, ErrorCode.operation_not_attempted) for each in partitions}
    try:
        if not transactional_id:
            raise KafkaError(ErrorCode.invalid_request)
        coordinator = coordinate(ctx, transactional_id)
        if verify_only:
            return {each: coordinator.verify(transactional_id, producer_id, epoch, each) for each in partitions}
        coordinator.add_partitions(transactional_id, producer_id, epoch, frozenset(partitions))
    except KafkaError as error:
        return dict.fromkeys(partitions, fenced_code(ctx, error.code))
    return dict.fromkeys(partitions, ErrorCode.none)


def _refusal(ctx: RequestContext, partition: TopicPartition) -> ErrorCode | None:
    topic = partition[0]
    if ctx.api_version < FIRST_BATCHED and (
        topic in INTERNAL_TOPICS or not ctx.access.allows(Operation.WRITE, ResourceType.TOPIC, topic)
    ):
        return ErrorCode.topic_authorization_failed
    if not ctx.cluster.coordinators.has_partition(*partition):
        return ErrorCode.unknown_topic_or_partition
    return None


def _results(topics: Any, codes: dict[TopicPartition, ErrorCode]) -> list[dict[str, Any]]:
    return [
        {
            "name": topic.name,
            "results_by_partition": [
                {"partition_index": partition, "partition_error_code": codes[(topic.name, partition)]}
                for partition in topic.partitions
            ],
        }
        for topic in topics
    ]
