"""CreateTopics (key 19), versions 2-7: make topics, or only check whether they could be made.

KIP-464 (defaults), KIP-525 (settings in the answer), KIP-516 (topic ids). Quotas are not applied.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import kio.schema.create_topics
from kio.schema.errors import ErrorCode

from broker.config import topic_value
from broker.config_defs import TOPIC_CONFIGS
from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType

DEFAULT_CONFIG, STATIC_BROKER_CONFIG, DYNAMIC_DEFAULT_BROKER_CONFIG, DYNAMIC_TOPIC_CONFIG = 5, 4, 3, 1


@api(schema=kio.schema.create_topics, versions=range(2, 8), asks={ResourceType.TOPIC, ResourceType.CLUSTER})
async def create_topics(ctx: RequestContext, request: Any) -> Any:
    names = Counter(item.name for item in request.topics)
    results: list[dict[str, Any]] = []
    for item in request.topics:
        if names[item.name] > 1:
            if not any(result["name"] == item.name for result in results):
                results.append(_failed(item.name, KafkaError(ErrorCode.invalid_request, "Duplicate topic name.")))
            continue
        try:
            if not ctx.access.allows(Operation.CREATE, ResourceType.CLUSTER, quiet=True) and not ctx.access.allows(
                Operation.CREATE, ResourceType.TOPIC, item.name
            ):
                raise KafkaError(ErrorCode.topic_authorization_failed, "Authorization failed.")
            results.append(_create(ctx, item, request.validate_only))
        except KafkaError as error:
            results.append(_failed(item.name, error))
    return build(ctx, topics=results)


def _create(ctx: RequestContext, item: Any, validate_only: bool) -> dict[str, Any]:
    assignments = {row.partition_index: list(row.broker_ids) for row in item.assignments}
    if assignments and (item.num_partitions != -1 or item.replication_factor != -1):
        raise KafkaError(
            ErrorCode.invalid_request,
            "A manual partition assignment was specified, but "
            + ("numPartitions" if item.num_partitions != -1 else "replication factor")
            + " was not set to -1.",
        )
    topic = ctx.cluster.create_topic(
        item.name,
        item.num_partitions,
        item.replication_factor,
        {row.name: row.value for row in item.configs},
        assignments=assignments,
        validate_only=validate_only,
    )
    made = {"name": topic.name, "topic_id": topic.topic_id, "error_code": ErrorCode.none}
    if not ctx.access.allows(Operation.DESCRIBE_CONFIGS, ResourceType.TOPIC, topic.name, quiet=True):
        return {
            **made,
            "topic_config_error_code": ErrorCode.topic_authorization_failed,
            "num_partitions": -1,
            "replication_factor": -1,
            "configs": (),
        }
    return {
        **made,
        "num_partitions": len(topic.partitions),
        "replication_factor": len(topic.partitions[0].replicas),
        "configs": _described_configs(ctx, topic.configs),
    }


def _described_configs(ctx: RequestContext, configs: dict[str, str]) -> list[dict[str, Any]]:
    broker = ctx.cluster.config
    out = []
    for known in TOPIC_CONFIGS.values():
        if known.internal and known.name not in configs:
            continue
        source = DEFAULT_CONFIG
        if known.name in configs:
            source = DYNAMIC_TOPIC_CONFIG
        elif known.synonym in broker.dynamic_default:
            source = DYNAMIC_DEFAULT_BROKER_CONFIG
        elif known.synonym in broker.static:
            source = STATIC_BROKER_CONFIG
        value = topic_value(broker, configs, known.name)
        out.append({"name": known.name, "value": value, "read_only": False, "config_source": source})
    return out


def _failed(name: str, error: KafkaError) -> dict[str, Any]:
    return {
        "name": name,
        "error_code": error.code,
        "error_message": error.message,
        "num_partitions": -1,
        "replication_factor": -1,
        "configs": (),
    }
