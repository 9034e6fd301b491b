"""ListKafkaVersions, GetCompatibleKafkaVersions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.msk import kafka_versions
from broker.msk.api.clusters import cluster_of
from broker.msk.errors import BadRequest
from broker.msk.pages import page
from broker.msk.registry import Call, operation


@operation("ListKafkaVersions")
async def list_kafka_versions(call: Call) -> Mapping[str, Any]:
    """All versions, also those that new clusters can't have."""
    order = {version: f"{number:04}" for number, version in enumerate(kafka_versions.ALL)}
    shown, token = page(call, kafka_versions.ALL, order.__getitem__)
    versions = [{"version": version, "status": kafka_versions.STATUS[version]} for version in shown]
    return {"kafkaVersions": versions, "nextToken": token}


@operation("GetCompatibleKafkaVersions")
async def get_compatible_kafka_versions(call: Call) -> Mapping[str, Any]:
    """What clusters (or the one that is named) may be updated to."""
    if call.input.get("clusterArn"):
        cluster = cluster_of(call)
        if cluster.provisioned is None:
            raise BadRequest("This operation cannot be performed on serverless clusters.", "clusterArn")
        sources = [cluster.provisioned["currentBrokerSoftwareInfo"]["kafkaVersion"]]
    else:
        sources = [version for version in kafka_versions.ALL if kafka_versions.upgrades(version)]
    compatible = [{"sourceVersion": source, "targetVersions": kafka_versions.upgrades(source)} for source in sources]
    return {"compatibleKafkaVersions": compatible}
