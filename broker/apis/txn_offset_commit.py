"""TxnOffsetCommit (28), v0-5: store a group's positions as part of a transaction.

KIP-447 (v3: the consumer's credentials are checked). KIP-890: v5 takes the group's partition into the transaction by
itself; before, AddOffsetsToTxn must have done so.
"""

from __future__ import annotations

from typing import Any

import kio.schema.txn_offset_commit
from kio.schema.errors import ErrorCode

from broker.apis.offset_commit import commit_response, known_commits
from broker.errors import KafkaError
from broker.groups.coordinator import Committer
from broker.groups.routing import coordinate
from broker.node import RequestContext
from broker.registry import api
from broker.security.resources import Operation, ResourceType

FIRST_IMPLICIT_ADD = 5


@api(
    schema=kio.schema.txn_offset_commit,
    versions=range(6),
    asks={ResourceType.TRANSACTIONAL_ID, ResourceType.GROUP, ResourceType.TOPIC},
)
async def txn_offset_commit(ctx: RequestContext, request: Any) -> Any:
    """One code a partition; a refusal of the whole is repeated for each."""
    ctx.access.require(Operation.WRITE, ResourceType.TRANSACTIONAL_ID, request.transactional_id)
    ctx.access.require(Operation.READ, ResourceType.GROUP, request.group_id)
    commits = known_commits(ctx, request.topics)
    if not commits:
        return commit_response(ctx, request.topics, [], [])
    try:
        coordinator = coordinate(ctx, request.group_id)
        await _enter_transaction(ctx, request)
        codes = coordinator.commit_in_transaction(
            request.group_id,
            Committer(
                getattr(request, "member_id", ""),
                getattr(request, "group_instance_id", None),
                getattr(request, "generation_id", -1),
            ),
            request.producer_id,
            request.producer_epoch,
            commits,
        )
    except KafkaError as error:
        codes = [error.code] * len(commits)
    return commit_response(ctx, request.topics, commits, codes)


async def _enter_transaction(ctx: RequestContext, request: Any) -> None:
    coordinators = ctx.cluster.coordinators
    partition = coordinators.offsets_log.partition_for(request.group_id)
    where = (
        request.transactional_id,
        request.producer_id,
        request.producer_epoch,
        coordinators.offsets_log.topic,
        partition,
    )
    states = ctx.cluster.log(coordinators.offsets_log.topic, partition).producer_states
    if states.has_ongoing(request.producer_id, request.producer_epoch):
        return
    if ctx.api_version >= FIRST_IMPLICIT_ADD:
        code = await coordinators.add_partition(*where)
    else:
        code = coordinators.transactions.verify(*where[:3], (where[3], where[4]))
    if code is not ErrorCode.none:
        raise KafkaError(_as_producer_sees_it(ctx, code))


def _as_producer_sees_it(ctx: RequestContext, code: ErrorCode) -> ErrorCode:
    if code is ErrorCode.producer_fenced:
        return ErrorCode.invalid_producer_epoch  # what an append to a log says
    if code is ErrorCode.transaction_abortable and ctx.api_version < FIRST_IMPLICIT_ADD - 1:
        return ErrorCode.invalid_txn_state
    return code
