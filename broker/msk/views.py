"""Records as the service describes them: ClusterInfo, Cluster, operations of both versions, VPC connections."""

from __future__ import annotations

from typing import Any

from broker.msk import kafka_versions
from broker.msk.clusters.names import domain
from broker.msk.records import ClusterRecord, OperationRecord, VpcConnectionRecord

ZOOKEEPERS = 3


def cluster(record: ClusterRecord) -> dict[str, Any]:
    """The shape Cluster of DescribeClusterV2 and ListClustersV2."""
    provisioned = None
    if record.provisioned is not None:
        provisioned = {**record.provisioned, **_zookeeper(record), "customerActionStatus": "NONE"}
    return {
        "activeOperationArn": record.active_operation,
        "clusterType": record.type,
        "clusterArn": record.arn,
        "clusterName": record.name,
        "creationTime": record.created,
        "currentVersion": record.version,
        "state": record.state.value,
        "stateInfo": record.state_info,
        "tags": record.tags,
        "provisioned": provisioned,
        "serverless": record.serverless,
    }


def cluster_info(record: ClusterRecord) -> dict[str, Any]:
    """The shape ClusterInfo of DescribeCluster and ListClusters, for provisioned clusters."""
    return {
        **(record.provisioned or {}),
        **_zookeeper(record),
        "activeOperationArn": record.active_operation,
        "clusterArn": record.arn,
        "clusterName": record.name,
        "creationTime": record.created,
        "currentVersion": record.version,
        "state": record.state.value,
        "stateInfo": record.state_info,
        "tags": record.tags,
        "customerActionStatus": "NONE",
    }


def operation(record: OperationRecord) -> dict[str, Any]:
    """The shape ClusterOperationInfo."""
    return {
        "clientRequestId": record.request_id,
        "clusterArn": record.cluster_arn,
        "creationTime": record.created,
        "endTime": record.ended,
        "errorInfo": record.error,
        "operationArn": record.arn,
        "operationState": record.state,
        "operationSteps": _steps(record),
        "operationType": record.type,
        "sourceClusterInfo": record.source,
        "targetClusterInfo": record.target,
        "vpcConnectionInfo": record.vpc_connection,
    }


def operation_summary(record: OperationRecord) -> dict[str, Any]:
    """The shape ClusterOperationV2Summary."""
    return {
        "clusterArn": record.cluster_arn,
        "clusterType": record.cluster_type,
        "startTime": record.created,
        "endTime": record.ended,
        "operationArn": record.arn,
        "operationState": record.state,
        "operationType": record.type,
    }


def operation_v2(record: OperationRecord) -> dict[str, Any]:
    """The shape ClusterOperationV2."""
    provisioned, serverless = None, None
    if record.cluster_type == "SERVERLESS":
        serverless = {"vpcConnectionInfo": record.vpc_connection}
    else:
        provisioned = {
            "operationSteps": _steps(record),
            "sourceClusterInfo": record.source,
            "targetClusterInfo": record.target,
            "vpcConnectionInfo": record.vpc_connection,
        }
    return operation_summary(record) | {
        "errorInfo": record.error,
        "provisioned": provisioned,
        "serverless": serverless,
    }


def vpc_connection(record: VpcConnectionRecord) -> dict[str, Any]:
    """The shape VpcConnection of ListVpcConnections."""
    return {
        "vpcConnectionArn": record.arn,
        "targetClusterArn": record.cluster_arn,
        "creationTime": record.created,
        "authentication": record.authentication,
        "vpcId": record.vpc,
        "state": record.state,
    }


def _zookeeper(record: ClusterRecord) -> dict[str, str]:
    """Connect strings are shown, but nobody listens there: tools that can't do without are out of reach."""
    version = (record.provisioned or {}).get("currentBrokerSoftwareInfo", {}).get("kafkaVersion", "")
    if kafka_versions.kraft(version):
        return {}
    hosts = [f"z-{number}.{domain(record)}" for number in range(1, ZOOKEEPERS + 1)]
    return {
        "zookeeperConnectString": ",".join(f"{host}:2181" for host in hosts),
        "zookeeperConnectStringTls": ",".join(f"{host}:2182" for host in hosts),
    }


def _steps(record: OperationRecord) -> list[dict[str, Any]]:
    status = {"PENDING": "PENDING", "UPDATE_IN_PROGRESS": "IN_PROGRESS", "UPDATE_FAILED": "FAILED"}.get(
        record.state, "COMPLETED"
    )
    names = ("INITIALIZE_UPDATE", record.type, "FINALIZE_UPDATE")
    return [{"stepName": name, "stepInfo": {"stepStatus": status}} for name in names]
