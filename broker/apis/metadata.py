"""Metadata (key 3), versions 0-13: brokers, topics, leaders, epochs, topic ids.

Creates missing topics when the client allows it and auto.create.topics.enable is on (KIP-361). Topics can be asked for
by id from version 10 on (KIP-516). Topics that the client may not describe are left out of "all topics", and asked for
by name look the same whether they exist or not.
"""

from __future__ import annotations

from typing import Any

import kio.schema.metadata
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.access import NOT_ASKED
from broker.security.resources import Operation, ResourceType
from broker.topics import Partition, Topic, TopicRegistry, check_name


@api(schema=kio.schema.metadata, versions=range(14), asks={ResourceType.TOPIC, ResourceType.CLUSTER})
async def metadata(ctx: RequestContext, request: Any) -> Any:
    cluster = ctx.cluster
    brokers = []
    for node in cluster.live_nodes:
        host, port = node.address(ctx.connection.listener.name)
        brokers.append({"node_id": node.node_id, "host": host, "port": port, "rack": node.rack})
    return build(
        ctx,
        brokers=brokers,
        cluster_id=cluster.cluster_id,
        controller_id=cluster.controller_id,
        cluster_authorized_operations=ctx.access.operations_if_described()
        if getattr(request, "include_cluster_authorized_operations", False)
        else NOT_ASKED,
        topics=_topics(ctx, request),
        error_code=ErrorCode.none,
    )


def _topics(ctx: RequestContext, request: Any) -> list[dict[str, Any]]:
    asked = request.topics
    rows = _all(ctx) if asked is None or (ctx.api_version == 0 and not asked) else _asked(ctx, request)
    if getattr(request, "include_topic_authorized_operations", False):
        for row in rows:
            if row["error_code"] not in (ErrorCode.topic_authorization_failed, ErrorCode.unknown_topic_id):
                row["topic_authorized_operations"] = ctx.access.operations(ResourceType.TOPIC, row["name"])
    return rows


def _all(ctx: RequestContext) -> list[dict[str, Any]]:
    allows = ctx.access.allows
    return [
        _described(ctx, topic)
        for topic in ctx.cluster.topics
        if allows(Operation.DESCRIBE, ResourceType.TOPIC, topic.name, quiet=True)
    ]


def _asked(ctx: RequestContext, request: Any) -> list[dict[str, Any]]:
    allows = ctx.access.allows
    out = []
    for item in request.topics:
        topic_id = getattr(item, "topic_id", None)
        if topic_id is not None:
            topic = ctx.cluster.topics.by_id(topic_id)
            if topic is None:
                # Kafka 4.1 answers the name as null and the id that was asked for.
                out.append(_failed(None, ErrorCode.unknown_topic_id, topic_id))
            elif not allows(Operation.DESCRIBE, ResourceType.TOPIC, topic.name):
                out.append(_failed(None, ErrorCode.topic_authorization_failed, topic_id))
            else:
                out.append(_described(ctx, topic))
            continue
        topic = ctx.cluster.topics.get(item.name)
        if not allows(Operation.DESCRIBE, ResourceType.TOPIC, item.name):
            out.append(_failed(item.name, ErrorCode.topic_authorization_failed))
        elif topic is not None:
            out.append(_described(ctx, topic))
        else:
            out.append(_missing(ctx, item.name, getattr(request, "allow_auto_topic_creation", True)))
    return out


def _missing(ctx: RequestContext, name: str, allow_creation: bool) -> dict[str, Any]:
    creates = allow_creation and ctx.cluster.config.get_bool("auto.create.topics.enable")
    if creates and not (
        ctx.access.allows(Operation.CREATE, ResourceType.CLUSTER, quiet=True)
        or ctx.access.allows(Operation.CREATE, ResourceType.TOPIC, name)
    ):
        return _failed(name, ErrorCode.topic_authorization_failed)
    try:
        check_name(name, TopicRegistry())
    except KafkaError as error:
        return _failed(name, error.code)
    if not creates:
        return _failed(name, ErrorCode.unknown_topic_or_partition)
    try:
        ctx.cluster.create_topic(name)
    except KafkaError as error:
        return _failed(name, error.code)
    return _failed(name, ErrorCode.unknown_topic_or_partition)  # as Kafka: known only when asked again


def _failed(name: str | None, code: ErrorCode, topic_id: Any = None) -> dict[str, Any]:
    return {
        "error_code": code,
        "name": name,
        "topic_id": topic_id,
        "partitions": (),
        "topic_authorized_operations": NOT_ASKED,
    }


def _described(ctx: RequestContext, topic: Topic) -> dict[str, Any]:
    return {
        "error_code": ErrorCode.none,
        "name": topic.name,
        "topic_id": topic.topic_id,
        "is_internal": topic.internal,
        "partitions": [described_partition(ctx, partition) for partition in topic.partitions],
        "topic_authorized_operations": NOT_ASKED,
    }


def described_partition(ctx: RequestContext, partition: Partition) -> dict[str, Any]:
    """Leader, epoch and replicas of a partition, by the names that Metadata and DescribeTopicPartitions share."""
    nodes = ctx.cluster.nodes
    return {
        "error_code": ErrorCode.leader_not_available if partition.leader == -1 else ErrorCode.none,
        "partition_index": partition.index,
        "leader_id": partition.leader,
        "leader_epoch": partition.leader_epoch,
        "replica_nodes": partition.replicas,
        "isr_nodes": partition.isr,
        "offline_replicas": [node_id for node_id in partition.replicas if not nodes[node_id].alive],
    }
