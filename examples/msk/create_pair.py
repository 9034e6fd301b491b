"""Two clusters, the source's policy, and a replicator between them, with boto3.

`python -m examples.msk.create_pair --help`. It may be run again: what is there already is left as it is. With
AWS_ENDPOINT_URL_KAFKA it works on a local MSK.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

_IAM = {"Sasl": {"Iam": {"Enabled": True}}}
_POLL_S = 1.0


class NotCreated(Exception):
    """The service gave up, time ran out, or something is in the way; the message says what."""


def main() -> int:
    """Exit codes: 0 all is there, 1 the service refused or gave up, 2 wrong usage."""
    arguments = _parser().parse_args()
    source = boto3.client("kafka", region_name=arguments.source_region)
    target = boto3.client("kafka", region_name=arguments.target_region)
    try:
        source_arn = cluster(
            source, arguments.source, arguments.source_subnets, arguments.source_security_groups, arguments
        )
        target_arn = cluster(
            target, arguments.target, arguments.target_subnets, arguments.target_security_groups, arguments
        )
        if arguments.source_region != arguments.target_region:
            connect_vpcs(source, source_arn, arguments.wait)
        allow_replication(source, source_arn)
        if arguments.service_execution_role:
            found = replicator(target, source_arn, target_arn, arguments)
            print(json.dumps({"source": source_arn, "target": target_arn, "replicator": found}))
        else:
            print(json.dumps({"source": source_arn, "target": target_arn}))
    except (ClientError, BotoCoreError, NotCreated) as error:
        print(f"create_pair: {error}", file=sys.stderr)
        return 1
    return 0


def cluster(kafka: Any, name: str, subnets: list[str], groups: list[str], arguments: argparse.Namespace) -> str:
    """The ARN of the cluster of that name, ACTIVE; created if there is none."""
    found = kafka.get_paginator("list_clusters_v2").paginate(ClusterNameFilter=name).search("ClusterInfoList[]")
    arn = next((each["ClusterArn"] for each in found if each and each["ClusterName"] == name), None)
    if arn is None:
        nodes = {"ClientSubnets": subnets, "InstanceType": arguments.instance_type}
        nodes |= {"SecurityGroups": groups} if groups else {}
        arn = kafka.create_cluster_v2(
            ClusterName=name,
            Provisioned={
                "BrokerNodeGroupInfo": nodes,
                "ClientAuthentication": _IAM,
                "EncryptionInfo": {"EncryptionInTransit": {"ClientBroker": "TLS", "InCluster": True}},
                "KafkaVersion": arguments.kafka_version,
                "NumberOfBrokerNodes": 4 if len(subnets) == 2 else len(subnets),  # fewer get no replicator
            },
            Tags={"purpose": "replication"},
        )["ClusterArn"]
    wait(lambda: kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"], "State", "ACTIVE", arguments.wait)
    return str(arn)


def connect_vpcs(kafka: Any, arn: str, seconds: float) -> None:
    """Multi-VPC connectivity with IAM, which a source in another region needs; the service wants it ACTIVE before."""
    info = kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]
    nodes = info["Provisioned"]["BrokerNodeGroupInfo"]
    present = nodes.get("ConnectivityInfo", {}).get("VpcConnectivity", {}).get("ClientAuthentication", {})
    if present.get("Sasl", {}).get("Iam", {}).get("Enabled"):
        return
    kafka.update_connectivity(
        ClusterArn=arn, CurrentVersion=info["CurrentVersion"],
        ConnectivityInfo={"VpcConnectivity": {"ClientAuthentication": _IAM}},
    )  # fmt: skip
    wait(lambda: kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"], "State", "ACTIVE", seconds)


def allow_replication(kafka: Any, arn: str) -> None:
    """The cluster policy that lets the service reach the source for a replicator. NotCreated if there is another."""
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Replication",
                "Effect": "Allow",
                "Principal": {"Service": ["kafka.amazonaws.com"]},
                "Action": ["kafka:CreateVpcConnection", "kafka:GetBootstrapBrokers", "kafka:DescribeClusterV2"],
                "Resource": arn,
            }
        ],
    }
    try:
        present = kafka.get_cluster_policy(ClusterArn=arn)
    except kafka.exceptions.NotFoundException:
        kafka.put_cluster_policy(ClusterArn=arn, Policy=json.dumps(policy))
        return
    if json.loads(present["Policy"]) != policy:
        raise NotCreated(
            f"{arn} has another cluster policy: add the statement by hand: {json.dumps(policy['Statement'])}"
        )


def replicator(kafka: Any, source: str, target: str, arguments: argparse.Namespace) -> str:
    """The ARN of the replicator of that name, RUNNING; created if there is none. It lives in the target's region."""
    pages = kafka.get_paginator("list_replicators").paginate(ReplicatorNameFilter=arguments.replicator)
    found = (each for page in pages for each in page.get("Replicators", ()))
    arn = next((each["ReplicatorArn"] for each in found if each["ReplicatorName"] == arguments.replicator), None)
    if arn is None:
        arn = kafka.create_replicator(**request(source, target, arguments))["ReplicatorArn"]
    wait(lambda: kafka.describe_replicator(ReplicatorArn=arn), "ReplicatorState", "RUNNING", arguments.wait)
    return str(arn)


def request(source: str, target: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """CreateReplicator's parameters: all topics and groups, from the beginning."""
    return {
        "ReplicatorName": arguments.replicator,
        "ServiceExecutionRoleArn": arguments.service_execution_role,
        "KafkaClusters": [
            _member(source, arguments.source_subnets, arguments.source_security_groups),
            _member(target, arguments.target_subnets, arguments.target_security_groups),
        ],
        "ReplicationInfoList": [
            {
                "SourceKafkaClusterArn": source,
                "TargetKafkaClusterArn": target,
                "TargetCompressionType": "NONE",
                "TopicReplication": {
                    "TopicsToReplicate": arguments.topics,
                    "CopyTopicConfigurations": True,
                    "CopyAccessControlListsForTopics": True,
                    "DetectAndCopyNewTopics": True,
                    "StartingPosition": {"Type": "EARLIEST"},
                    "TopicNameConfiguration": {"Type": arguments.naming},
                },
                "ConsumerGroupReplication": {
                    "ConsumerGroupsToReplicate": arguments.groups,
                    "DetectAndCopyNewConsumerGroups": True,
                    "SynchroniseConsumerGroupOffsets": True,
                },
            }
        ],
        "Tags": {"purpose": "replication"},
    }


def _member(arn: str, subnets: list[str], groups: list[str]) -> dict[str, Any]:
    network: dict[str, Any] = {"SubnetIds": subnets} | ({"SecurityGroupIds": groups} if groups else {})
    return {"AmazonMskCluster": {"MskClusterArn": arn}, "VpcConfig": network}


def wait(
    describe: Callable[[], dict[str, Any]], key: str, wanted: str, seconds: float,
    *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
) -> None:  # fmt: skip
    """Ask until it is in that state. NotCreated if it has FAILED, or `seconds` are over."""
    deadline = clock() + seconds
    while (found := describe())[key] != wanted:
        if found[key] == "FAILED":
            raise NotCreated(f"failed: {found.get('StateInfo', {}).get('Message', 'the service gives no reason')}")
        if clock() > deadline:
            raise NotCreated(f"still {found[key]} after {seconds:g} s; run it again to go on waiting")
        sleep(_POLL_S)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.msk.create_pair", description=__doc__)
    listed: dict[str, Any] = {"type": lambda text: text.split(","), "metavar": "A,B,…"}
    for side, region in (("source", "us-east-1"), ("target", "eu-west-1")):
        parser.add_argument(f"--{side}", default=f"orders-{side}", help="name of the cluster")
        parser.add_argument(f"--{side}-region", default=region)
        parser.add_argument(f"--{side}-subnets", required=True, help="one for each zone: two or three", **listed)
        parser.add_argument(f"--{side}-security-groups", default=[], **listed)
    parser.add_argument("--kafka-version", default="3.6.0")
    parser.add_argument("--instance-type", default="kafka.m5.large")
    parser.add_argument("--replicator", default="orders-replicator")
    parser.add_argument("--service-execution-role", metavar="ARN", help="left out: no replicator is created")
    parser.add_argument("--topics", default=[".*"], help="regular expressions", **listed)
    parser.add_argument("--groups", default=[".*"], help="regular expressions", **listed)
    parser.add_argument(
        "--naming",
        default="PREFIXED_WITH_SOURCE_CLUSTER_ALIAS",
        choices=("PREFIXED_WITH_SOURCE_CLUSTER_ALIAS", "IDENTICAL"),
    )
    parser.add_argument("--wait", type=float, default=3_600, metavar="SECONDS", help="for each step")
    return parser


if __name__ == "__main__":
    sys.exit(main())
