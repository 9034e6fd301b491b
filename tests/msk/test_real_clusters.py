"""Clusters with real processes: clients by each way in, updates while they run, and everything that can die dies."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from broker.msk.clusters import addresses
from broker.msk.clusters.process import ClusterProcess
from tests.msk.kafka_clients import consume, iam, produce, scram
from tests.msk.world import ACCOUNT, ROOT, World, client, control_plane, create, provisioned, wait_active
from tests.support.certificates import CertificateAuthority
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow

ALL_WAYS: dict[str, Any] = {
    "ClientAuthentication": {
        "Sasl": {"Iam": {"Enabled": True}, "Scram": {"Enabled": True}},
        "Unauthenticated": {"Enabled": True},
    },
    "EncryptionInfo": {"EncryptionInTransit": {"ClientBroker": "TLS_PLAINTEXT"}},
}
SECRET = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:AmazonMSK_alice-aBcDeF"


class Running:
    """A control plane with one cluster that has all ways in."""

    def __init__(self, directory: Path, world: World, name: str = "orders") -> None:
        self.directory = directory
        self.world = world
        self.kafka = world.client()
        self.arn = create(self.kafka, name, **ALL_WAYS)
        self.authority = directory / "ca.pem"

    @property
    def bootstrap(self) -> dict[str, str]:
        """GetBootstrapBrokers' answer."""
        answer = dict(self.kafka.get_bootstrap_brokers(ClusterArn=self.arn))
        answer.pop("ResponseMetadata")
        return answer

    @property
    def version(self) -> str:
        """The cluster's version now."""
        return str(self.kafka.describe_cluster_v2(ClusterArn=self.arn)["ClusterInfo"]["CurrentVersion"])

    def topic(self, name: str, partitions: int = 1) -> str:
        """Make a topic with three replicas."""
        self.kafka.create_topic(ClusterArn=self.arn, TopicName=name, PartitionCount=partitions, ReplicationFactor=3)
        return name

    def process(self) -> Any:
        """The cluster's process."""
        clusters = self.world.plane.service.clusters
        return clusters.process(clusters.find(self.arn)).process

    def state(self) -> str:
        """The cluster's state."""
        return str(self.kafka.describe_cluster_v2(ClusterArn=self.arn)["ClusterInfo"]["State"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("msk")
    with control_plane(directory) as world:
        yield Running(directory, world)


def test_given_a_new_cluster_then_each_way_in_works_on_its_own_port(running: Running) -> None:
    topic = running.topic("ways")
    folder = running.directory / "secrets"
    folder.mkdir()
    (folder / "AmazonMSK_alice.json").write_text('{"username": "alice", "password": "pw"}')
    answer = running.kafka.batch_associate_scram_secret(ClusterArn=running.arn, SecretArnList=[SECRET])
    assert answer["UnprocessedScramSecrets"] == []
    strings = running.bootstrap
    by_iam = iam(strings["BootstrapBrokerStringSaslIam"], running.authority)
    by_scram = scram(strings["BootstrapBrokerStringSaslScram"], running.authority, "alice", "pw")
    plain = {"bootstrap.servers": strings["BootstrapBrokerString"]}
    tls = {
        "bootstrap.servers": strings["BootstrapBrokerStringTls"],
        "security.protocol": "SSL",
        "ssl.ca.location": str(running.authority),
    }
    for number, settings in enumerate((by_iam, by_scram, plain, tls)):
        produce(settings, topic, [b"%d" % number])
    for settings in (by_iam, by_scram, plain, tls):
        assert consume(settings, topic, 4) == [b"0", b"1", b"2", b"3"]
    assert consume(by_iam, topic, 4, as_group=True) == [b"0", b"1", b"2", b"3"]


def test_the_topics_api_sees_what_kafka_has(running: Running) -> None:
    kafka, arn = running.kafka, running.arn
    configs = base64.b64encode(b"retention.ms=1000\ncleanup.policy=compact").decode()
    made = kafka.create_topic(ClusterArn=arn, TopicName="api-1", PartitionCount=3, ReplicationFactor=3, Configs=configs)
    assert made["TopicArn"] == arn.replace(":cluster/", ":topic/") + "/api-1"
    assert made["Status"] == "CREATING"
    found = kafka.describe_topic(ClusterArn=arn, TopicName="api-1")
    assert (found["PartitionCount"], found["ReplicationFactor"], found["Status"]) == (3, 3, "ACTIVE")
    assert base64.b64decode(found["Configs"]) == b"cleanup.policy=compact\nretention.ms=1000"
    kafka.update_topic(
        ClusterArn=arn, TopicName="api-1", PartitionCount=5, Configs=base64.b64encode(b"retention.ms=2000").decode()
    )
    found = kafka.describe_topic(ClusterArn=arn, TopicName="api-1")
    assert found["PartitionCount"] == 5
    assert base64.b64decode(found["Configs"]) == b"cleanup.policy=compact\nretention.ms=2000"
    pages = kafka.get_paginator("describe_topic_partitions").paginate(
        ClusterArn=arn, TopicName="api-1", PaginationConfig={"PageSize": 2}
    )
    partitions = [one for page in pages for one in page["Partitions"]]
    assert [one["Partition"] for one in partitions] == [0, 1, 2, 3, 4]
    assert all(len(one["Isr"]) == 3 and one["Leader"] in one["Replicas"] for one in partitions)
    running.topic("api-2")
    pages = kafka.get_paginator("list_topics").paginate(
        ClusterArn=arn, TopicNameFilter="api-", PaginationConfig={"PageSize": 1}
    )
    assert [one["TopicName"] for page in pages for one in page["Topics"]] == ["api-1", "api-2"]
    assert kafka.delete_topic(ClusterArn=arn, TopicName="api-2")["Status"] == "DELETING"
    for call, arguments, code in (
        (kafka.describe_topic, {"TopicName": "api-2"}, "NotFoundException"),
        (kafka.delete_topic, {"TopicName": "api-2"}, "UnknownTopicOrPartitionException"),
        (
            kafka.create_topic,
            {"TopicName": "api-1", "PartitionCount": 1, "ReplicationFactor": 1},
            "TopicExistsException",
        ),
        (kafka.create_topic, {"TopicName": "a", "PartitionCount": 1, "ReplicationFactor": 9}, "KafkaRequestException"),
        (
            kafka.create_topic,
            {"TopicName": "a", "PartitionCount": 1, "ReplicationFactor": 1, "Configs": "?"},
            "BadRequestException",
        ),
    ):
        with pytest.raises(ClientError) as caught:
            call(ClusterArn=arn, **arguments)
        assert caught.value.response["Error"]["Code"] == code


def test_given_a_killed_process_then_the_cluster_heals_on_its_data_at_the_same_endpoints(running: Running) -> None:
    topic = running.topic("killed", 3)
    before = running.bootstrap
    settings = iam(before["BootstrapBrokerStringSaslIam"], running.authority)
    produce(settings, topic, [b"%d" % number for number in range(100)])
    process = running.process()
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: running.state() == "HEALING", within=20, what="the cluster is HEALING", every=0.01)
    wait_active(running.kafka, running.arn)
    assert running.process().pid != process.pid
    assert running.bootstrap == before
    assert sorted(consume(settings, topic, 100)) == sorted(b"%d" % number for number in range(100))


def test_given_a_broker_that_stopped_then_it_is_brought_back(running: Running) -> None:
    clusters = running.world.plane.service.clusters
    control = clusters.process(clusters.find(running.arn)).control

    def node_states() -> set[str]:
        with urllib.request.urlopen(f"http://{control}/cluster", timeout=10) as answer:
            return {node["state"] for node in json.load(answer)["nodes"]}

    urllib.request.urlopen(f"http://{control}/nodes/2/stop", data=b"", timeout=10).close()
    assert node_states() == {"running", "stopped"}
    wait_for(lambda: node_states() == {"running"}, within=20, what="broker 2 is back")
    wait_active(running.kafka, running.arn)


def test_given_a_reboot_then_clients_go_on(running: Running) -> None:
    topic = running.topic("rebooted", 3)
    settings = {"bootstrap.servers": running.bootstrap["BootstrapBrokerString"]}
    produce(settings, topic, [b"before"])
    running.kafka.reboot_broker(ClusterArn=running.arn, BrokerIds=["1"])
    produce(settings, topic, [b"during"])
    wait_active(running.kafka, running.arn)
    assert set(consume(settings, topic, 2)) == {b"before", b"during"}


def test_brokers_are_added_while_running_and_removed_when_nothing_is_on_them(running: Running) -> None:
    kafka, arn, pid = running.kafka, running.arn, running.process().pid
    kafka.update_broker_count(ClusterArn=arn, CurrentVersion=running.version, TargetNumberOfBrokerNodes=6)
    wait_active(kafka, arn)
    assert running.process().pid == pid, "more brokers take no restart"
    running.topic("spread", 6)
    leaders = {
        one["Leader"] for one in kafka.describe_topic_partitions(ClusterArn=arn, TopicName="spread")["Partitions"]
    }
    assert leaders == {1, 2, 3, 4, 5, 6}
    with pytest.raises(ClientError, match="hold partitions"):
        kafka.update_broker_count(ClusterArn=arn, CurrentVersion=running.version, TargetNumberOfBrokerNodes=3)
    kafka.delete_topic(ClusterArn=arn, TopicName="spread")
    kafka.update_broker_count(ClusterArn=arn, CurrentVersion=running.version, TargetNumberOfBrokerNodes=3)
    wait_active(kafka, arn)
    assert len(kafka.list_nodes(ClusterArn=arn)["NodeInfoList"]) == 3
    running.topic("after")
    produce(iam(running.bootstrap["BootstrapBrokerStringSaslIam"], running.authority), "after", [b"x"])


def test_open_monitoring_shows_each_broker_to_prometheus(running: Running) -> None:
    kafka, arn = running.kafka, running.arn
    enabled = {"Prometheus": {"JmxExporter": {"EnabledInBroker": True}, "NodeExporter": {"EnabledInBroker": True}}}
    kafka.update_monitoring(ClusterArn=arn, CurrentVersion=running.version, OpenMonitoring=enabled)
    wait_active(kafka, arn)
    for node in kafka.list_nodes(ClusterArn=arn)["NodeInfoList"]:
        address = node["BrokerNodeInfo"]["ClientVpcIpAddress"]
        for port in (11001, 11002):
            with urllib.request.urlopen(f"http://{address}:{port}/metrics", timeout=10) as answer:
                assert answer.status == 200


def test_security_is_changed_by_a_restart_and_then_clients_need_a_certificate(running: Running, tmp_path: Path) -> None:
    running = Running(running.directory, running.world, "secure")  # others shall not need certificates
    kafka, arn = running.kafka, running.arn
    theirs = CertificateAuthority(tmp_path / "theirs")
    trusted = running.directory / "certificate-authorities"
    trusted.mkdir()
    (trusted / "theirs.pem").write_bytes(theirs.certificate.read_bytes())
    running.topic("certified")
    tls = {
        "Enabled": True,
        "CertificateAuthorityArnList": ["arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/x"],
    }
    kafka.update_security(
        ClusterArn=arn,
        CurrentVersion=running.version,
        ClientAuthentication={"Tls": tls, "Unauthenticated": {"Enabled": False}},
        EncryptionInfo={"EncryptionInTransit": {"ClientBroker": "TLS"}},
    )
    wait_active(kafka, arn)
    strings = running.bootstrap
    assert "BootstrapBrokerString" not in strings
    identity = theirs.issue("orders-service")
    settings = {
        "bootstrap.servers": strings["BootstrapBrokerStringTls"],
        "security.protocol": "SSL",
        "ssl.ca.location": str(running.authority),
    }
    known = {"ssl.certificate.location": str(identity.certificate), "ssl.key.location": str(identity.key)}
    produce(settings | known, "certified", [b"x"])
    with pytest.raises(KafkaException):
        AdminClient({**settings, "log_level": 0}).list_topics(timeout=3)


def test_a_serverless_cluster_is_used_by_iam(running: Running) -> None:
    kafka = running.kafka
    serverless = {"VpcConfigs": [{"SubnetIds": ["subnet-0aaa", "subnet-0bbb"]}]}
    arn = kafka.create_cluster_v2(ClusterName="less", Serverless=serverless)["ClusterArn"]
    wait_active(kafka, arn)
    (string,) = [value for key, value in kafka.get_bootstrap_brokers(ClusterArn=arn).items() if key.endswith("SaslIam")]
    settings = iam(string, running.authority)
    admin = AdminClient(settings)
    admin.create_topics([NewTopic("t", 1, 3)])["t"].result(20)
    produce(settings, "t", [b"x"])
    assert consume(settings, "t", 1) == [b"x"]


async def test_given_a_process_left_behind_frozen_then_it_is_ended_before_the_next_one_is_started(
    running: Running, tmp_path: Path
) -> None:
    content = json.loads((running.directory / "clusters" / running.arn.rpartition("/")[2] / "cluster.json").read_text())
    network = addresses.choose_network([], random.SystemRandom())
    content |= {"data": str(tmp_path / "data"), "nodes": [{"id": 1, "host": f"{network}1"}]}
    content.pop("metrics", None)
    file = tmp_path / "cluster.json"
    file.write_text(json.dumps(content))
    left = await ClusterProcess.start(file, tmp_path / "log")
    os.kill(left.process.pid, signal.SIGSTOP)
    try:
        following = await ClusterProcess.start(file, tmp_path / "log")
        await following.stop()
    finally:
        if left.running:
            left.kill()
    assert await left.ended() == -signal.SIGKILL


def _serve(directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "broker.cli",
            "msk",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data",
            str(directory),
            "--print-hosts",
        ],
        env=os.environ | ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_given_a_control_plane_that_is_killed_then_its_clusters_end_and_the_next_one_has_them_again(
    tmp_path: Path,
) -> None:
    first = _serve(tmp_path)
    assert first.stdout is not None
    try:
        kafka = client(first.stdout.readline().strip())
        made = kafka.create_cluster_v2(
            ClusterName="kept", Provisioned=provisioned(KafkaVersion="4.1.x.kraft", **ALL_WAYS)
        )
        arn = made["ClusterArn"]
        wait_active(kafka, arn)
        hosts = [first.stdout.readline().split() for _ in range(3)]
        kafka.create_topic(ClusterArn=arn, TopicName="t", PartitionCount=1, ReplicationFactor=3)
        strings = kafka.get_bootstrap_brokers(ClusterArn=arn)
        settings = {"bootstrap.servers": strings["BootstrapBrokerString"]}
        produce(settings, "t", [b"kept"])
    finally:
        first.kill()
        first.wait()
        first.stdout.close()
    addresses = [one.rpartition(":")[0] for one in strings["BootstrapBrokerString"].split(",")]
    assert [line[0] for line in hosts] == addresses
    assert hosts[0][1].startswith("b-1.kept.")
    second = _serve(tmp_path)
    assert second.stdout is not None
    try:
        kafka = client(second.stdout.readline().strip())
        wait_active(kafka, arn)
        again = kafka.get_bootstrap_brokers(ClusterArn=arn)
        assert again["BootstrapBrokerString"] == strings["BootstrapBrokerString"]
        assert consume(settings, "t", 1) == [b"kept"]
    finally:
        second.terminate()
        assert second.wait(30) == 0
        second.stdout.close()
    left = subprocess.run(["ps", "ax", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in left, "no process is left"
