"""DescribeClusterOperation(V2), ListClusterOperations(V2): what was done to a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.msk import views
from broker.msk.api.clusters import cluster_of
from broker.msk.arns import parse
from broker.msk.errors import NotFound
from broker.msk.pages import page
from broker.msk.records import OperationRecord
from broker.msk.registry import Call, operation


def _find(call: Call) -> OperationRecord:
    arn = call.input["clusterOperationArn"]
    parse(arn, "cluster-operation", parameter="clusterOperationArn")
    for record in call.service.clusters.operations:
        if record.arn == arn and record.region == call.region:
            return record
    raise NotFound("The requested resource doesn't exist.", "clusterOperationArn")


@operation("DescribeClusterOperation")
async def describe(call: Call) -> Mapping[str, Any]:
    """One operation, with what it changed."""
    return {"clusterOperationInfo": views.operation(_find(call))}


@operation("DescribeClusterOperationV2")
async def describe_v2(call: Call) -> Mapping[str, Any]:
    """One operation, with what it changed."""
    return {"clusterOperationInfo": views.operation_v2(_find(call))}


@operation("ListClusterOperations")
async def list_operations(call: Call) -> Mapping[str, Any]:
    """All operations of a cluster, the newest first."""
    shown, token = _page(call)
    return {"clusterOperationInfoList": [views.operation(record) for record in shown], "nextToken": token}


@operation("ListClusterOperationsV2")
async def list_operations_v2(call: Call) -> Mapping[str, Any]:
    """All operations of a cluster in short, the newest first."""
    shown, token = _page(call)
    return {"clusterOperationInfoList": [views.operation_summary(record) for record in shown], "nextToken": token}


def _page(call: Call) -> tuple[list[OperationRecord], str | None]:
    cluster = cluster_of(call)
    mine = [record for record in call.service.clusters.operations if record.cluster_arn == cluster.arn]
    return page(call, mine, lambda record: f"{1e10 - record.created.timestamp():020.6f} {record.key}")
