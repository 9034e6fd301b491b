"""What a caller must be allowed besides to create a replicator: to pass the role, to see the clusters and networks.

Source: AWS developer guide, "IAM permissions required to create an MSK Replicator", and the service authorization
reference. The body hasn't been checked yet: what isn't of the right kind is passed over, and what is another account's,
since that is refused whatever policies say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from broker.msk.arns import partition_of


def create_needs(body: Mapping[str, Any], region: str, account: str) -> list[tuple[str, str]]:
    """The actions of CreateReplicator, each with its resource."""
    return list(_needs(body, region, account))


def _needs(body: Mapping[str, Any], region: str, account: str) -> Iterator[tuple[str, str]]:
    partition = partition_of(region)
    replicator = f"arn:{partition}:kafka:{region}:{account}:replicator/{_text(body.get('replicatorName')) or '*'}/*"
    yield "kafka:CreateReplicator", replicator
    if body.get("tags"):
        yield "kafka:TagResource", replicator
    role = _text(body.get("serviceExecutionRoleArn"))
    if role and f"::{account}:" in role:
        yield "iam:PassRole", role
    clusters = body.get("kafkaClusters")
    for cluster in clusters if isinstance(clusters, list) else []:
        entry = _mapping(cluster)
        arn = _text(_mapping(entry.get("amazonMskCluster")).get("mskClusterArn"))
        if arn and f":{account}:" in arn:
            yield "kafka:DescribeClusterV2", arn
            yield "kafka:GetBootstrapBrokers", arn
        where = arn.split(":")[3] if arn and arn.count(":") >= 5 else region
        vpc = _mapping(entry.get("vpcConfig"))
        for action, kind, ids in (
            ("ec2:DescribeSubnets", "subnet", vpc.get("subnetIds")),
            ("ec2:DescribeSecurityGroups", "security-group", vpc.get("securityGroupIds")),
        ):
            for one in ids if isinstance(ids, list) else []:
                yield action, f"arn:{partition}:ec2:{where}:{account}:{kind}/{_text(one) or '*'}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
