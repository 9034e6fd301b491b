"""Metadata (key 3), versions 0-13: brokers, topics, leaders, epochs, topic ids.

Creates missing topics when the client allows it and auto.create.topics.enable is on (KIP-361). Topics can be asked for
by id from version 10 on (KIP-516). There are no ACLs yet: every operation is authorized.
"""

from __future__ import annotations

from typing import Any

import kio.schema.metadata
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import api, build
from broker.topics import Partition, Topic, TopicRegistry, check_name

NO_OPERATIONS = -(2**31)
ALL_TOPIC_OPERATIONS = 3576  # read, write, create, delete, alter, describe, describe and alter configs
ALL_CLUSTER_OPERATIONS = 8096


@api(schema=kio.schema.metadata, versions=range(14))
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
        cluster_authorized_operations=ALL_CLUSTER_OPERATIONS
        if getattr(request, "include_cluster_authorized_operations", False)
        else NO_OPERATIONS,
        topics=_topics(ctx, request),
        error_code=ErrorCode.none,
    )


def _topics(ctx: RequestContext, request: Any) -> list[dict[str, Any]]:
    asked = request.topics
    operations = (
        ALL_TOPIC_OPERATIONS if getattr(request, "include_topic_authorized_operations", False) else NO_OPERATIONS
    )
    if asked is None or (ctx.api_version == 0 and not asked):
        return [_described(ctx, topic, operations) for topic in ctx.cluster.topics]
    out = []
    for item in asked:
        topic_id = getattr(item, "topic_id", None)
        if topic_id is not None:
            topic = ctx.cluster.topics.by_id(topic_id)
            if topic is None:
                # Kafka 4.1 answers the name as null and the id that was asked for.
                out.append(_failed(None, ErrorCode.unknown_topic_id, topic_id))
                continue
            out.append(_described(ctx, topic, operations))
            continue
        topic = ctx.cluster.topics.get(item.name)
        if topic is not None:
            out.append(_described(ctx, topic, operations))
        else:
            out.append(_missing(ctx, item.name, getattr(request, "allow_auto_topic_creation", True)))
    return out


def _missing(ctx: RequestContext, name: str, allow_creation: bool) -> dict[str, Any]:
    try:
        check_name(name, TopicRegistry())
    except KafkaError as error:
        return _failed(name, error.code)
    if not allow_creation or not ctx.cluster.config.get_bool("auto.create.topics.enable"):
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
        "topic_authorized_operations": NO_OPERATIONS,
    }


def _described(ctx: RequestContext, topic: Topic, operations: int) -> dict[str, Any]:
    return {
        "error_code": ErrorCode.none,
        "name": topic.name,
        "topic_id": topic.topic_id,
        "is_internal": topic.internal,
        "partitions": [described_partition(ctx, partition) for partition in topic.partitions],
        "topic_authorized_operations": operations,
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
