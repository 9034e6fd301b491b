"""OffsetCommit (8), v2-9: store positions of a group. KIP-211 (v5: no retention time), KIP-345 (v7), KIP-848 (v9:
the generation is a member epoch for members of consumer groups, which older versions can't commit for).

Topic ids (v10, not in Kafka 4.1) are left out.
"""

from __future__ import annotations

from typing import Any

import kio.schema.offset_commit
from kio.schema.errors import ErrorCode

from broker.groups.coordinator import DEFAULT_RETENTION, Commit, Committer
from broker.groups.routing import coordinate
from broker.node import RequestContext
from broker.protocol import milliseconds
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType


@api(schema=kio.schema.offset_commit, versions=range(2, 10), asks={ResourceType.GROUP, ResourceType.TOPIC})
async def offset_commit(ctx: RequestContext, request: Any) -> Any:
    """Unknown partitions fail alone; wrong credentials fail everything (KafkaError)."""
    ctx.access.require(Operation.READ, ResourceType.GROUP, request.group_id)
    commits = known_commits(ctx, request.topics)
    if not commits:  # Kafka doesn't look at the group then
        return commit_response(ctx, request.topics, [], [])
    coordinator = coordinate(ctx, request.group_id, allow_empty=True)
    retention = getattr(request, "retention_time", None)
    codes = coordinator.commit(
        request.group_id,
        Committer(
            request.member_id, getattr(request, "group_instance_id", None), request.generation_id_or_member_epoch
        ),
        commits,
        retention_ms=DEFAULT_RETENTION if retention is None else milliseconds(retention),
        api_version=ctx.api_version,
    )
    return commit_response(ctx, request.topics, commits, codes)


def known_commits(ctx: RequestContext, topics: Any) -> list[Commit]:
    """The commits in a request whose partitions exist and may be read."""
    return [
        Commit(
            topic.name,
            partition.partition_index,
            partition.committed_offset,
            getattr(partition, "committed_leader_epoch", -1),
            partition.committed_metadata or "",
        )
        for topic in topics
        if ctx.access.allows(Operation.READ, ResourceType.TOPIC, topic.name)
        for partition in topic.partitions
        if ctx.cluster.coordinators.has_partition(topic.name, partition.partition_index)
    ]


def commit_response(ctx: RequestContext, topics: Any, commits: list[Commit], codes: list[ErrorCode]) -> Any:
    """The response in the request's order; partitions without a code are unknown, or their topics may not be read."""
    by_partition = {(each.topic, each.partition): code for each, code in zip(commits, codes, strict=True)}
    return build(
        ctx,
        topics=[
            {
                "name": topic.name,
                "partitions": [
                    {
                        "partition_index": partition.partition_index,
                        "error_code": by_partition.get((topic.name, partition.partition_index), missing),
                    }
                    for partition in topic.partitions
                ],
            }
            for topic in topics
            for missing in (unavailable(ctx, topic.name),)
        ],
    )


def unavailable(ctx: RequestContext, topic: str) -> ErrorCode:
    """Why a position of the topic can't be changed: it may not be read, or else the partition doesn't exist."""
    if ctx.access.allows(Operation.READ, ResourceType.TOPIC, topic):
        return ErrorCode.unknown_topic_or_partition
    return ErrorCode.topic_authorization_failed
