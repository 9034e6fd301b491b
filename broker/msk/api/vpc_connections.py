"""Connections from other VPCs: made, described, listed, rejected, deleted.

There are no VPCs here: a connection is a record with the service's states and rules, and the cluster's listeners for
other VPCs are there for everybody on this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.msk import identifiers, views
from broker.msk.api.clusters import cluster_of
from broker.msk.arns import Arn, parse, partition_of
from broker.msk.clusters.listeners import enabled
from broker.msk.errors import BadRequest, NotFound
from broker.msk.pages import page
from broker.msk.records import VpcConnectionRecord
from broker.msk.registry import Call, operation
from broker.msk.tagged import check_tags

AUTHENTICATIONS = {"SASL_IAM": ("sasl", "iam"), "SASL_SCRAM": ("sasl", "scram"), "TLS": ("tls",)}


def _find(call: Call, parameter: str = "arn") -> VpcConnectionRecord:
    arn = call.input[parameter]
    parse(arn, "vpc-connection", parameter=parameter)
    for record in call.service.vpc_connections:
        if record.arn == arn:
            return record
    raise NotFound("The requested resource doesn't exist.", parameter)


@operation("CreateVpcConnection")
async def create_vpc_connection(call: Call) -> Mapping[str, Any]:
    """A connection to a cluster that has this way of authentication on for other VPCs."""
    cluster = cluster_of(call, "targetClusterArn")
    authentication = call.input["authentication"]
    if authentication not in AUTHENTICATIONS:
        raise BadRequest(f"Valid values: [{', '.join(AUTHENTICATIONS)}]", "authentication")
    group = (cluster.provisioned or {}).get("brokerNodeGroupInfo", {})
    vpc = ((group.get("connectivityInfo") or {}).get("vpcConnectivity") or {}).get("clientAuthentication")
    if not enabled(vpc, *AUTHENTICATIONS[authentication]):
        raise BadRequest(
            f"VPC connectivity isn't enabled on the cluster for the authentication scheme {authentication}.",
            "authentication",
        )
    subnets = call.input["clientSubnets"]
    if len(subnets) != len(group["clientSubnets"]):
        raise BadRequest("Specify as many client subnets as the cluster has Availability Zones.", "clientSubnets")
    tags = check_tags(call.input.get("tags", {}))
    key = identifiers.key(call.service.entropy)
    arn = Arn(
        partition_of(call.region),
        call.region,
        call.caller.account,
        "vpc-connection",
        f"{call.caller.account}/{cluster.name}/{key}",
    )
    record = VpcConnectionRecord(
        key=key,
        arn=str(arn),
        region=call.region,
        account=call.caller.account,
        created=call.now,
        tags=tags,
        cluster_arn=cluster.arn,
        state="AVAILABLE",
        authentication=authentication,
        vpc=call.input["vpcId"],
        subnets=subnets,
        security_groups=call.input["securityGroups"],
    )
    call.service.vpc_connections.put(key, record)
    return {
        "vpcConnectionArn": record.arn,
        "state": "CREATING",
        "authentication": authentication,
        "vpcId": record.vpc,
        "clientSubnets": record.subnets,
        "securityGroups": record.security_groups,
        "creationTime": record.created,
        "tags": record.tags,
    }


@operation("DescribeVpcConnection")
async def describe_vpc_connection(call: Call) -> Mapping[str, Any]:
    """One connection."""
    record = _find(call)
    return views.vpc_connection(record) | {
        "subnets": record.subnets,
        "securityGroups": record.security_groups,
        "tags": record.tags,
    }


@operation("DeleteVpcConnection")
async def delete_vpc_connection(call: Call) -> Mapping[str, Any]:
    """Ends a connection."""
    record = _find(call)
    call.service.vpc_connections.delete(record.key)
    return {"vpcConnectionArn": record.arn, "state": "DELETING"}


@operation("ListVpcConnections")
async def list_vpc_connections(call: Call) -> Mapping[str, Any]:
    """The caller's connections in the region."""
    mine = [
        one for one in call.service.vpc_connections if (one.region, one.account) == (call.region, call.caller.account)
    ]
    shown, token = page(call, mine, lambda record: record.arn)
    return {"vpcConnections": [views.vpc_connection(record) for record in shown], "nextToken": token}


@operation("ListClientVpcConnections")
async def list_client_vpc_connections(call: Call) -> Mapping[str, Any]:
    """Connections to a cluster, whoever made them."""
    cluster = cluster_of(call)
    there = [one for one in call.service.vpc_connections if one.cluster_arn == cluster.arn]
    shown, token = page(call, there, lambda record: record.arn)
    connections = [
        {
            "authentication": record.authentication,
            "creationTime": record.created,
            "state": record.state,
            "vpcConnectionArn": record.arn,
            "owner": record.account,
        }
        for record in shown
    ]
    return {"clientVpcConnections": connections, "nextToken": token}


@operation("RejectClientVpcConnection")
async def reject_client_vpc_connection(call: Call) -> Mapping[str, Any]:
    """Refuses a connection, as the cluster's owner."""
    cluster = cluster_of(call)
    record = _find(call, "vpcConnectionArn")
    if record.cluster_arn != cluster.arn:
        raise NotFound("The requested resource doesn't exist.", "vpcConnectionArn")
    call.service.vpc_connections.put(record.key, record.model_copy(update={"state": "REJECTED"}))
    return {}
