"""ConsumerGroupDescribe (69), v0-1: state, epochs, members and assignments of consumer groups (KIP-848).

Authorised operations are always unknown: there are no ACLs.
"""

from __future__ import annotations

from typing import Any

import kio.schema.consumer_group_describe

from broker.errors import KafkaError
from broker.groups.consumer_group import ConsumerGroup
from broker.groups.consumer_member import NOTHING, Assignment, ConsumerMember
from broker.groups.consumer_records import by_topic
from broker.groups.routing import coordinate
from broker.node import RequestContext
from broker.registry import api, build

OPERATIONS_NOT_ASKED = -(2**31)
CONSUMER_MEMBER = 1


@api(schema=kio.schema.consumer_group_describe, versions=range(2))
async def consumer_group_describe(ctx: RequestContext, request: Any) -> Any:
    """Every group has an answer of its own, an error or not."""
    return build(ctx, groups=[_describe(ctx, group_id) for group_id in request.group_ids])


def _describe(ctx: RequestContext, group_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"group_id": group_id, "authorized_operations": OPERATIONS_NOT_ASKED}
    try:
        group = coordinate(ctx, group_id).consumer_group(group_id)
    except KafkaError as error:
        return {**answer, "error_code": error.code, "error_message": error.message}
    return {
        **answer,
        "group_state": group.state_name,
        "group_epoch": group.snapshot.epoch,
        "assignment_epoch": group.snapshot.target_epoch,
        "assignor_name": group.assignor_name,
        "members": [_member(ctx, group, member) for member in group.members.values()],
    }


def _member(ctx: RequestContext, group: ConsumerGroup, member: ConsumerMember) -> dict[str, Any]:
    return {
        "member_id": member.member_id,
        "instance_id": member.instance_id,
        "rack_id": member.rack_id,
        "member_epoch": member.epoch,
        "client_id": member.client_id,
        "client_host": member.client_host,
        "subscribed_topic_names": sorted(member.topics),
        "subscribed_topic_regex": member.regex,
        "assignment": _assignment(ctx, member.assigned),
        "target_assignment": _assignment(ctx, group.snapshot.targets.get(member.member_id, NOTHING)),
        "member_type": CONSUMER_MEMBER,
    }


def _assignment(ctx: RequestContext, assignment: Assignment) -> dict[str, Any]:
    """Topics that were deleted in the meantime are left out."""
    return {
        "topic_partitions": [
            {"topic_id": topic_id, "topic_name": topic.name, "partitions": indexes}
            for topic_id, indexes in by_topic(assignment).items()
            if (topic := ctx.cluster.topics.by_id(topic_id)) is not None
        ]
    }
