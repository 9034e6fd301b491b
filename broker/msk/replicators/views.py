"""Replicators as the service describes them."""

from __future__ import annotations

from typing import Any

from broker.msk.replicators.names import alias, reference_arn
from broker.msk.replicators.records import ReplicatorRecord, reference_of


def summary(record: ReplicatorRecord, region: str) -> dict[str, Any]:
    """The shape ReplicatorSummary, as it is seen from a region."""
    summaries = [
        {name: one[name] for name in ("amazonMskCluster", "apacheKafkaCluster") if name in one}
        | {"kafkaClusterAlias": alias(reference_of(one))}
        for one in record.clusters
    ]
    return _head(record, region) | {
        "kafkaClustersSummary": summaries,
        "replicationInfoSummaryList": [
            {"sourceKafkaClusterAlias": record.source_alias, "targetKafkaClusterAlias": record.target_alias}
        ],
    }


def description(record: ReplicatorRecord, region: str) -> dict[str, Any]:
    """The shape DescribeReplicatorResponse."""
    return _head(record, region) | {
        "kafkaClusters": [dict(one) | {"kafkaClusterAlias": alias(reference_of(one))} for one in record.clusters],
        "replicationInfoList": [
            {
                "sourceKafkaClusterAlias": record.source_alias,
                "targetKafkaClusterAlias": record.target_alias,
                "targetCompressionType": record.compression,
                "topicReplication": record.topics,
                "consumerGroupReplication": record.groups,
            }
        ],
        "replicatorDescription": record.description,
        "serviceExecutionRoleArn": record.role,
        "stateInfo": record.state_info,
        "tags": record.tags,
        "logDelivery": record.log_delivery,
    }


def _head(record: ReplicatorRecord, region: str) -> dict[str, Any]:
    reference = region != record.region
    return {
        "creationTime": record.created,
        "currentVersion": record.version,
        "isReplicatorReference": reference,
        "replicatorArn": reference_arn(record.arn, region) if reference else record.arn,
        "replicatorName": record.name,
        "replicatorResourceArn": record.arn,
        "replicatorState": record.state.value,
    }
