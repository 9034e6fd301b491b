"""The scripts with boto3 and the AWS CLI against the local MSK, twice: what is there is left as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.msk.replicating import ROLE, FakeReplicators
from tests.msk.world import ROOT as KEYS
from tests.msk.world import Fakes, World, control_plane
from tests.support.documents import ROOT, shell_lines

pytestmark = [pytest.mark.slow]

REGIONS = ("us-east-1", "eu-west-1")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """The API, on clusters and replicators that are pretended: the real ones are tested where they live."""
    with control_plane(tmp_path / "msk", start_cluster=Fakes()) as found:
        FakeReplicators().install(found)
        yield found


def run(world: World, command: list[str], **environment: str) -> list[str]:
    """The lines that a script prints; it must succeed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    wanted: Mapping[str, str] = {**os.environ, **KEYS, "PATH": path, "AWS_ENDPOINT_URL_KAFKA": world.url, **environment}
    done = subprocess.run(command, cwd=ROOT, env=wanted, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def holds(world: World, source: str, target: str, replicator: str, brokers: int) -> None:
    """Both clusters are there, ACTIVE, the source lets the service in from another region, and the replicator runs."""
    for arn, region in zip((source, target), REGIONS, strict=True):
        assert f":{region}:" in arn
        info = world.client(region=region).describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]
        assert info["State"] == "ACTIVE"
        assert info["Provisioned"]["NumberOfBrokerNodes"] == brokers
    kafka = world.client(region=REGIONS[0])
    nodes = kafka.describe_cluster_v2(ClusterArn=source)["ClusterInfo"]["Provisioned"]["BrokerNodeGroupInfo"]
    assert nodes["ConnectivityInfo"]["VpcConnectivity"]["ClientAuthentication"]["Sasl"]["Iam"]["Enabled"] is True
    policy = json.loads(kafka.get_cluster_policy(ClusterArn=source)["Policy"])
    assert policy["Statement"][0]["Principal"] == {"Service": ["kafka.amazonaws.com"]}
    made = world.client(region=REGIONS[1]).describe_replicator(ReplicatorArn=replicator)
    assert made["ReplicatorState"] == "RUNNING"
    info = made["ReplicationInfoList"][0]["TopicReplication"]
    assert (info["TopicsToReplicate"], info["StartingPosition"]["Type"]) == ([".*"], "EARLIEST")


def test_given_a_local_msk_when_the_readmes_boto3_command_is_run_twice_then_the_pair_is_there_once(
    world: World,
) -> None:
    (written,) = [words for words in shell_lines("examples/msk/README.md") if words[0] == "python"]
    command = [sys.executable, *written[1:], "--wait", "60"]
    (first,) = run(world, command)
    (again,) = run(world, command)
    assert first == again
    holds(world, **json.loads(first), brokers=3)


def test_given_a_local_msk_when_the_aws_cli_script_is_run_then_the_pair_is_there(world: World) -> None:
    source, target, replicator = run(
        world, ["bash", "examples/msk/create_pair.sh"], POLL_S="0.2", WAIT_S="60", SERVICE_EXECUTION_ROLE=ROLE,
        SOURCE_SUBNETS="subnet-0aaa subnet-0bbb", TARGET_SUBNETS="subnet-0ccc subnet-0ddd",
    )  # fmt: skip
    holds(world, source, target, replicator, brokers=4)
