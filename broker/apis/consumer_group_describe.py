"""ConsumerGroupDescribe (69), v0-1: state, epochs, members and assignments of consumer groups (KIP-848).

A group with a topic among its assignments that the client may not describe is refused as a whole.
"""

from __future__ import annotations

from typing import Any

import kio.schema.consumer_group_describe
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.groups.consumer_group import ConsumerGroup
from broker.groups.consumer_member import NOTHING, Assignment, ConsumerMember
from broker.groups.consumer_records import by_topic
from broker.groups.routing import coordinate
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.access import NOT_ASKED
from broker.security.resources import Operation, ResourceType

CONSUMER_MEMBER = 1
UNSEEN = "The group has described topic(s) that the client is not authorized to describe."


@api(schema=kio.schema.consumer_group_describe, versions=range(2), asks={ResourceType.GROUP, ResourceType.TOPIC})
async def consumer_group_describe(ctx: RequestContext, request: Any) -> Any:
    """Every group has an answer of its own, an error or not."""
    groups = [_describe(ctx, group_id) for group_id in request.group_ids]
    if request.include_authorized_operations:
        ctx.access.add_operations(groups)
    return build(ctx, groups=groups)


def _describe(ctx: RequestContext, group_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"group_id": group_id, "authorized_operations": NOT_ASKED}
    try:
        ctx.access.require(Operation.DESCRIBE, ResourceType.GROUP, group_id)
        group = coordinate(ctx, group_id).consumer_group(group_id)
    except KafkaError as error:
        return {**answer, "error_code": error.code, "error_message": error.message}
    members = [_member(ctx, group, member) for member in group.members.values()]
    if not all(ctx.access.allows(Operation.DESCRIBE, ResourceType.TOPIC, name) for name in _assigned(members)):
        return {**answer, "error_code": ErrorCode.topic_authorization_failed, "error_message": UNSEEN}
    return {
        **answer,
        "group_state": group.state_name,
        "group_epoch": group.snapshot.epoch,
        "assignment_epoch": group.snapshot.target_epoch,
        "assignor_name": group.assignor_name,
        "members": members,
    }


def _assigned(members: list[dict[str, Any]]) -> set[str]:
    return {
        row["topic_name"]
        for member in members
        for kind in ("assignment", "target_assignment")
        for row in member[kind]["topic_partitions"]
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
