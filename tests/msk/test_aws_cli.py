"""The AWS CLI drives every call of the service; brokers are pretended, but for the topics API.

It is run in this process, which is its own program without the start of an interpreter; one call is run as people do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from awscli.clidriver import create_clidriver

from broker.msk.model import service_model
from tests.msk.world import ACCOUNT, REGION, ROOT, SUBNETS, World, control_plane
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow
LEFT_TO_OTHERS = ("Channel", "Replicator", "Replication")
SECRET = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:AmazonMSK_alice-aBcDeF"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": ["kafka.amazonaws.com"]},
            "Action": ["kafka:CreateVpcConnection", "kafka:GetBootstrapBrokers", "kafka:DescribeClusterV2"],
            "Resource": "*",
        }
    ],
}
Aws = Callable[..., Any]


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[World]:
    """A control plane with real clusters."""
    with control_plane(tmp_path / "msk") as found:
        yield found


@pytest.fixture
def aws(plane: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Aws:
    """`aws kafka COMMAND ...`: its answer as JSON, or `code` as the exit code that it must end with."""
    for name, value in (ROOT | {"AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": plane.url}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    driver = create_clidriver()

    def run(*arguments: object, code: int = 0) -> Any:
        words = [word if isinstance(word, str) else json.dumps(word) for word in arguments]
        ended = driver.main(["kafka", *words, "--output", "json"])
        printed = capsys.readouterr()
        assert ended == code, f"{words}: {ended}\n{printed.out}{printed.err}"
        return json.loads(printed.out or "{}") if code == 0 else printed.err

    return run


def test_every_call_of_the_service_through_the_aws_cli(aws: Aws, tmp_path: Path) -> None:
    asked: set[str] = set()

    def kafka(command: str, *arguments: object, code: int = 0) -> Any:
        asked.add(command)
        return aws(command, *arguments, code=code)

    properties = tmp_path / "server.properties"
    properties.write_text("auto.create.topics.enable = true\nlog.roll.ms = 604800000\n")
    made = kafka("create-configuration", "--name", "Example", "--server-properties", f"fileb://{properties}")
    configuration = ("--arn", made["Arn"])
    kafka("update-configuration", *configuration, "--server-properties", f"fileb://{properties}")
    assert kafka("describe-configuration", *configuration)["LatestRevision"]["Revision"] == 2
    assert kafka("describe-configuration-revision", *configuration, "--revision", "1")["ServerProperties"]
    assert len(kafka("list-configuration-revisions", *configuration)["Revisions"]) == 2
    assert len(kafka("list-configurations")["Configurations"]) == 1
    assert kafka("list-kafka-versions", "--max-items", "3")["NextToken"]

    group = {"ClientSubnets": SUBNETS, "InstanceType": "kafka.m5.large"}
    arn = kafka(
        "create-cluster",
        *("--cluster-name", "first", "--broker-node-group-info", group, "--kafka-version", "3.6.0"),
        *("--number-of-broker-nodes", "3", "--client-authentication", {"Sasl": {"Iam": {"Enabled": True}}}),
        *("--configuration-info", {"Arn": made["Arn"], "Revision": 1}),
    )["ClusterArn"]
    cluster = ("--cluster-arn", arn)
    serverless = {"VpcConfigs": [{"SubnetIds": SUBNETS}]}
    other = kafka("create-cluster-v2", "--cluster-name", "second", "--serverless", serverless)["ClusterArn"]

    def version() -> tuple[str, str]:
        def active() -> str | None:
            info = aws("describe-cluster", *cluster)["ClusterInfo"]
            return str(info["CurrentVersion"]) if info["State"] == "ACTIVE" else None

        found = wait_for(active, within=30, what="the cluster is ACTIVE")
        return "--current-version", str(found)

    version()
    assert kafka("describe-cluster", *cluster)["ClusterInfo"]["ZookeeperConnectString"]
    assert kafka("describe-cluster-v2", "--cluster-arn", other)["ClusterInfo"]["ClusterType"] == "SERVERLESS"
    assert len(kafka("list-clusters", "--cluster-name-filter", "fir")["ClusterInfoList"]) == 1
    assert len(kafka("list-clusters-v2", "--page-size", "1")["ClusterInfoList"]) == 2
    assert ":9098" in kafka("get-bootstrap-brokers", *cluster)["BootstrapBrokerStringSaslIam"]
    assert len(kafka("list-nodes", *cluster, "--page-size", "2")["NodeInfoList"]) == 3
    assert kafka("get-compatible-kafka-versions", *cluster)["CompatibleKafkaVersions"]

    put = kafka("put-cluster-policy", *cluster, "--policy", POLICY)
    assert kafka("get-cluster-policy", *cluster)["CurrentVersion"] == put["CurrentVersion"]
    kafka("delete-cluster-policy", *cluster)
    kafka("tag-resource", "--resource-arn", arn, "--tags", {"team": "blue"})
    assert kafka("list-tags-for-resource", "--resource-arn", arn)["Tags"] == {"team": "blue"}
    kafka("untag-resource", "--resource-arn", arn, "--tag-keys", "team")

    kafka("create-topic", *cluster, "--topic-name", "t", "--partition-count", "1", "--replication-factor", "3")
    kafka("update-topic", *cluster, "--topic-name", "t", "--partition-count", "2")
    assert kafka("describe-topic", *cluster, "--topic-name", "t")["PartitionCount"] == 2
    assert len(kafka("describe-topic-partitions", *cluster, "--topic-name", "t")["Partitions"]) == 2
    assert [one["TopicName"] for one in kafka("list-topics", *cluster)["Topics"]] == ["t"]
    kafka("delete-topic", *cluster, "--topic-name", "t")

    updates: list[tuple[object, ...]] = [
        ("update-broker-count", "--target-number-of-broker-nodes", "6"),
        (
            "update-broker-storage",
            "--target-broker-ebs-volume-info",
            [{"KafkaBrokerNodeId": "All", "VolumeSizeGB": 200}],
        ),
        ("update-broker-type", "--target-instance-type", "kafka.m7g.large"),
        ("update-cluster-configuration", "--configuration-info", {"Arn": made["Arn"], "Revision": 2}),
        ("update-cluster-kafka-version", "--target-kafka-version", "3.7.x"),
        ("update-monitoring", "--enhanced-monitoring", "PER_BROKER"),
        ("update-security", "--client-authentication", {"Sasl": {"Scram": {"Enabled": True}}}),
        (
            "update-connectivity",
            "--connectivity-info",
            {"VpcConnectivity": {"ClientAuthentication": {"Sasl": {"Iam": {"Enabled": True}}}}},
        ),
        ("update-storage", "--storage-mode", "TIERED"),
    ]
    for command, *arguments in updates:
        answer = kafka(str(command), *cluster, *version(), *arguments)
        assert answer["ClusterOperationArn"]
    refused = kafka("update-rebalancing", *cluster, *version(), "--rebalancing", {"Status": "PAUSED"}, code=255)
    assert "(BadRequestException)" in refused
    answer = kafka("reboot-broker", *cluster, "--broker-ids", "1")
    version()
    operation = ("--cluster-operation-arn", answer["ClusterOperationArn"])
    assert kafka("describe-cluster-operation", *operation)["ClusterOperationInfo"]["OperationType"] == "REBOOT_NODE"
    assert kafka("describe-cluster-operation-v2", *operation)["ClusterOperationInfo"]["EndTime"]
    for listing in ("list-cluster-operations", "list-cluster-operations-v2"):
        listed = kafka(listing, *cluster, "--page-size", "4")["ClusterOperationInfoList"]
        assert {one["OperationState"] for one in listed} == {"UPDATE_COMPLETE"}
        assert len(listed) == len(updates) + 1

    secrets = ("--secret-arn-list", SECRET)
    answer = kafka("batch-associate-scram-secret", *cluster, *secrets)
    assert answer["UnprocessedScramSecrets"][0]["ErrorCode"] == "InvalidSecretArn"
    assert kafka("list-scram-secrets", *cluster)["SecretArnList"] == []
    kafka("batch-disassociate-scram-secret", *cluster, *secrets)

    connection = kafka(
        "create-vpc-connection",
        *("--target-cluster-arn", arn, "--authentication", "SASL_IAM", "--vpc-id", "vpc-1"),
        *("--client-subnets", *SUBNETS, "--security-groups", "sg-1"),
    )["VpcConnectionArn"]
    assert kafka("describe-vpc-connection", "--arn", connection)["State"] == "AVAILABLE"
    assert len(kafka("list-vpc-connections")["VpcConnections"]) == 1
    assert len(kafka("list-client-vpc-connections", *cluster)["ClientVpcConnections"]) == 1
    kafka("reject-client-vpc-connection", *cluster, "--vpc-connection-arn", connection)
    kafka("delete-vpc-connection", "--arn", connection)

    kafka("delete-cluster", *cluster)
    wait_for(lambda: len(aws("list-clusters-v2")["ClusterInfoList"]) == 1, within=20, what="the first is gone")
    kafka("delete-configuration", *configuration)

    every = {name for name in service_model().operations if not any(word in name for word in LEFT_TO_OTHERS)}
    assert {_command(name) for name in every} == asked


def _command(operation: str) -> str:
    """An operation's name as the CLI has it."""
    from botocore import xform_name

    return str(xform_name(operation, "-"))


def test_the_aws_cli_as_people_run_it(plane: World, tmp_path: Path) -> None:
    def run(**keys: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("aws")), "kafka", "list-clusters-v2", "--endpoint-url", plane.url],
            env=os.environ | ROOT | {"AWS_DEFAULT_REGION": REGION, "AWS_CONFIG_FILE": str(tmp_path / "none")} | keys,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    done = run()
    assert (done.returncode, json.loads(done.stdout)) == (0, {"ClusterInfoList": []}), done.stderr
    refused = run(AWS_SECRET_ACCESS_KEY="wrong")
    assert refused.returncode == 255
    assert "(InvalidSignatureException)" in refused.stderr
