"""CreateCluster(V2), DescribeCluster(V2), ListClusters(V2), DeleteCluster, GetBootstrapBrokers, ListNodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.msk import identifiers, views
from broker.msk.arns import Arn, parse, partition_of
from broker.msk.cluster_rules import check_provisioned, check_serverless
from broker.msk.clusters.cluster_file import NODES_OF_SERVERLESS
from broker.msk.clusters.names import host
from broker.msk.errors import BadRequest, Conflict
from broker.msk.pages import page
from broker.msk.records import ClusterRecord, ClusterState
from broker.msk.registry import Call, operation
from broker.msk.tagged import check_tags


def cluster_of(call: Call, parameter: str = "clusterArn") -> ClusterRecord:
    """The cluster that a call is about. Raises BadRequest, NotFound."""
    arn = call.input[parameter]
    parse(arn, "cluster", parameter=parameter)
    return call.service.clusters.find(arn, call.region)


@operation("CreateCluster")
async def create_cluster(call: Call) -> Mapping[str, Any]:
    """A provisioned cluster."""
    given = {name: value for name, value in call.input.items() if name not in ("clusterName", "tags")}
    record = _create(call, {"provisioned": given})
    return {"clusterArn": record.arn, "clusterName": record.name, "state": record.state.value}


@operation("CreateClusterV2")
async def create_cluster_v2(call: Call) -> Mapping[str, Any]:
    """A provisioned or a serverless cluster."""
    record = _create(call, call.input)
    return {
        "clusterArn": record.arn,
        "clusterName": record.name,
        "state": record.state.value,
        "clusterType": record.type,
    }


def _create(call: Call, given: Mapping[str, Any]) -> ClusterRecord:
    name = call.input["clusterName"]
    provisioned, serverless = given.get("provisioned"), given.get("serverless")
    if (provisioned is None) == (serverless is None):
        raise BadRequest("Specify either provisioned or serverless, and only one of them.", "provisioned")
    if any(
        record.name == name and record.region == call.region and record.account == call.caller.account
        for record in call.service.clusters.records
    ):
        raise Conflict("A resource with this name already exists.", "clusterName")
    check_tags(call.input.get("tags", {}))
    if provisioned is not None:
        settings = check_provisioned(call, name, provisioned)
        brokers, subnets = settings["numberOfBrokerNodes"], settings["brokerNodeGroupInfo"]["clientSubnets"]
    else:
        serverless = check_serverless(name, serverless or {})
        settings, brokers, subnets = None, NODES_OF_SERVERLESS, serverless["vpcConfigs"][0]["subnetIds"]
    call.service.clusters.check_quota(call.caller.account, call.region, brokers)
    entropy = call.service.entropy
    key = identifiers.key(entropy)
    if serverless is not None:
        key = f"{key.rpartition('-')[0]}-s{key.rpartition('-')[2]}"
    record = ClusterRecord(
        key=key,
        arn=str(Arn(partition_of(call.region), call.region, call.caller.account, "cluster", f"{name}/{key}")),
        region=call.region,
        account=call.caller.account,
        created=call.now,
        tags=dict(call.input.get("tags", {})),
        host_part=identifiers.host_part(entropy),
        name=name,
        state=ClusterState.CREATING,
        version=identifiers.version(entropy),
        provisioned=settings,
        serverless=serverless,
    )
    return call.service.clusters.create(record, brokers, subnets)


@operation("DescribeCluster")
async def describe_cluster(call: Call) -> Mapping[str, Any]:
    """A provisioned cluster; for others there is DescribeClusterV2."""
    record = cluster_of(call)
    if record.provisioned is None:
        raise BadRequest("This operation cannot be performed on serverless clusters.", "clusterArn")
    return {"clusterInfo": views.cluster_info(record)}


@operation("DescribeClusterV2")
async def describe_cluster_v2(call: Call) -> Mapping[str, Any]:
    """Any cluster."""
    return {"clusterInfo": views.cluster(cluster_of(call))}


@operation("ListClusters")
async def list_clusters(call: Call) -> Mapping[str, Any]:
    """Provisioned clusters whose name begins with the filter."""
    records = [record for record in _filtered(call) if record.provisioned is not None]
    shown, token = page(call, records, _order)
    return {"clusterInfoList": [views.cluster_info(record) for record in shown], "nextToken": token}


@operation("ListClustersV2")
async def list_clusters_v2(call: Call) -> Mapping[str, Any]:
    """Clusters whose name begins with the filter, of the type asked for."""
    wanted = call.input.get("clusterTypeFilter")
    if wanted not in (None, "", "PROVISIONED", "SERVERLESS"):
        raise BadRequest("The cluster type isn't valid. Valid values: [PROVISIONED, SERVERLESS]", "clusterTypeFilter")
    records = [record for record in _filtered(call) if not wanted or record.type == wanted]
    shown, token = page(call, records, _order)
    return {"clusterInfoList": [views.cluster(record) for record in shown], "nextToken": token}


def _filtered(call: Call) -> list[ClusterRecord]:
    prefix = call.input.get("clusterNameFilter", "")
    return [
        record
        for record in call.service.clusters.records
        if record.region == call.region and record.account == call.caller.account and record.name.startswith(prefix)
    ]


def _order(record: ClusterRecord) -> str:
    return f"{record.created.timestamp():020.6f} {record.arn}"


@operation("DeleteCluster")
async def delete_cluster(call: Call) -> Mapping[str, Any]:
    """Ends the cluster; its data goes with it."""
    record = cluster_of(call)
    version = call.input.get("currentVersion")
    if version is not None and version != record.version:
        raise BadRequest(
            "The version of the cluster isn't current. Check the current version and try again.", "currentVersion"
        )
    record = call.service.clusters.delete(record)
    return {"clusterArn": record.arn, "state": record.state.value}


@operation("GetBootstrapBrokers")
async def get_bootstrap_brokers(call: Call) -> Mapping[str, Any]:
    """A string for each way in: up to three brokers, one in each zone."""
    record = cluster_of(call)
    if record.state in (ClusterState.CREATING, ClusterState.DELETING, ClusterState.FAILED):
        raise Conflict(f"The cluster is in the {record.state} state: it has no brokers to connect to.", "clusterArn")
    return call.service.clusters.bootstrap(record)


@operation("ListNodes")
async def list_nodes(call: Call) -> Mapping[str, Any]:
    """The brokers, each in the zone of its subnet."""
    record = cluster_of(call)
    if record.provisioned is None:
        raise BadRequest("This operation cannot be performed on serverless clusters.", "clusterArn")
    shown, token = page(call, record.nodes, lambda node: f"{node.id:06}")
    nodes = [
        {
            "addedToClusterTime": node.added.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "brokerNodeInfo": {
                "attachedENIId": node.eni,
                "brokerId": float(node.id),
                "clientSubnet": node.subnet,
                "clientVpcIpAddress": node.address,
                "currentBrokerSoftwareInfo": record.provisioned["currentBrokerSoftwareInfo"],
                "endpoints": [host(record, node)],
            },
            "instanceType": record.provisioned["brokerNodeGroupInfo"]["instanceType"],
            "nodeARN": f"{record.arn.replace(':cluster/', ':broker/')}/{node.id}",
            "nodeType": "BROKER",
        }
        for node in shown
    ]
    return {"nodeInfoList": nodes, "nextToken": token}
