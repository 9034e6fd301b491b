"""JoinGroup (11), v0-9: become or stay a member of a classic group; answered when the round is complete.

KIP-345 (static members, v5), KIP-394 (member id first, v4), KIP-559 (protocol type and name in the answer, v7),
KIP-814 (skip assignment, v9). Upgrading a group to the consumer protocol of KIP-848 is left out.
"""

from __future__ import annotations

from typing import Any

import kio.schema.join_group
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.groups.member import JoinRequest, JoinResult
from broker.groups.routing import coordinate
from broker.node import RequestContext
from broker.protocol import milliseconds
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType

MAX_PROTOCOLS = 1000
FIRST_WITH_MEMBER_ID = 4
FIRST_WITH_SKIP = 9


@api(schema=kio.schema.join_group, versions=range(10), asks={ResourceType.GROUP})
async def join_group(ctx: RequestContext, request: Any) -> Any:
    """Join; the connection waits for its answer as it does in Kafka."""
    if len(request.protocols) > MAX_PROTOCOLS:
        return _answer(ctx, JoinResult(ErrorCode.inconsistent_group_protocol, request.member_id))
    session_timeout_ms = milliseconds(request.session_timeout)
    try:
        ctx.access.require(Operation.READ, ResourceType.GROUP, request.group_id)
        coordinator = coordinate(ctx, request.group_id)
    except KafkaError as error:
        return _answer(ctx, JoinResult(error.code, request.member_id))
    joining = JoinRequest(
        member_id=request.member_id,
        group_instance_id=getattr(request, "group_instance_id", None),
        client_id=ctx.client_id or "",
        client_host="/" + ctx.connection.client_host,
        session_timeout_ms=session_timeout_ms,
        rebalance_timeout_ms=milliseconds(getattr(request, "rebalance_timeout", session_timeout_ms)),
        protocol_type=request.protocol_type,
        protocols=tuple((protocol.name, bytes(protocol.metadata)) for protocol in request.protocols),
        requires_known_member_id=ctx.api_version >= FIRST_WITH_MEMBER_ID,
        supports_skipping_assignment=ctx.api_version >= FIRST_WITH_SKIP,
    )
    try:
        return _answer(ctx, await coordinator.join(request.group_id, joining))
    except KafkaError as error:
        return _answer(ctx, JoinResult(error.code, request.member_id))


def _answer(ctx: RequestContext, result: JoinResult) -> Any:
    return build(
        ctx,
        error_code=result.error,
        generation_id=result.generation,
        protocol_type=result.protocol_type,
        protocol_name=result.protocol_name,
        leader=result.leader,
        skip_assignment=result.skip_assignment,
        member_id=result.member_id,
        members=[
            {
                "member_id": member.member_id,
                "group_instance_id": member.group_instance_id,
                "metadata": member.metadata,
            }
            for member in result.members
        ],
    )
