"""Replicators on clusters that run: records arrive once, whatever happens to processes in between."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.msk.replicating import replicator, request, wait_gone, wait_state
from tests.msk.world import SUBNETS, World, control_plane, create, wait_active
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OPEN_TOO = {"Sasl": {"Iam": {"Enabled": True}}, "Unauthenticated": {"Enabled": True}}
IDENTICAL = {"TopicNameConfiguration": {"Type": "IDENTICAL"}}
EARLIEST = {"StartingPosition": {"Type": "EARLIEST"}}
STARTS_WITHIN_S = 30.0  # the reach is 5; tests share their machine


class Side:
    """One cluster, through its listener for anybody."""

    def __init__(self, kafka: Any, arn: str, data: Path) -> None:
        brokers = kafka.get_bootstrap_brokers(ClusterArn=arn)["BootstrapBrokerStringTls"]
        self._config = {
            "bootstrap.servers": brokers,
            "security.protocol": "SSL",
            "ssl.ca.location": str(data / "ca.pem"),
        }
        self._producer = Producer(self._config)

    def write(self, topic: str, *values: str) -> None:
        """Write records and wait until they are there."""
        for value in values:
            self._producer.produce(topic, value.encode(), partition=0)
        assert self._producer.flush(30) == 0

    def read(self, topic: str) -> list[str]:
        """Everything that is in partition 0 of a topic."""
        consumer = Consumer(self._config | {"group.id": "reader", "enable.auto.commit": "false"})
        try:
            at = TopicPartition(topic, 0)
            if topic not in consumer.list_topics(timeout=20).topics:
                return []
            low, high = consumer.get_watermark_offsets(at, timeout=20)
            consumer.assign([TopicPartition(topic, 0, low)])
            found: list[str] = []
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and consumer.position([at])[0].offset < high:
                message = consumer.poll(0.2)
                if message is not None and message.error() is None:
                    found.append(message.value().decode())
            return found
        finally:
            consumer.close()

    def topics(self) -> set[str]:
        """All topics."""
        consumer = Consumer(self._config | {"group.id": "reader"})
        try:
            return set(consumer.list_topics(timeout=20).topics)
        finally:
            consumer.close()

    def wait_for(self, topic: str, values: list[str]) -> None:
        """Wait until a topic holds exactly these."""

        def holds() -> bool:
            found = self.read(topic)
            assert found == values, f"{found} in {topic}"
            return True

        wait_for(holds, within=45, what="records have arrived, each once")


def _pid(world: World, arn: str) -> int:
    replicators = world.plane.service.replicators

    def look() -> int | None:
        record = next(one for one in replicators.records if one.arn == arn)
        return replicators.process_of(record)

    found = wait_for(lambda: world.call(look), within=30, what="a process")
    assert found is not None
    return found


def _topic(kafka: Any, arn: str, name: str) -> None:
    kafka.create_topic(ClusterArn=arn, TopicName=name, PartitionCount=1, ReplicationFactor=3)


def test_records_arrive_once_through_kills_restarts_updates_and_a_second_replicator(tmp_path: Path) -> None:
    with control_plane(tmp_path) as world:
        kafka = world.client()
        source = create(kafka, "us-cluster", ClientAuthentication=OPEN_TOO)
        target = create(kafka, "eu-cluster", ClientAuthentication=OPEN_TOO)
        here, there = Side(kafka, source, tmp_path), Side(kafka, target, tmp_path)
        _topic(kafka, source, "orders")
        here.write("orders", "1", "2")
        began = time.monotonic()
        arn = replicator(kafka, source, target, topics=EARLIEST)
        took = time.monotonic() - began
        print(f"CreateReplicator to RUNNING: {took:.1f} s")
        assert took < STARTS_WITHIN_S
        info = kafka.describe_replicator(ReplicatorArn=arn)["ReplicationInfoList"][0]
        copy = f"{info['SourceKafkaClusterAlias']}.orders"
        there.wait_for(copy, ["1", "2"])

        os.kill(_pid(world, arn), signal.SIGKILL)
        here.write("orders", "3")
        there.wait_for(copy, ["1", "2", "3"])
        assert kafka.describe_replicator(ReplicatorArn=arn)["ReplicatorState"] == "RUNNING"

        process = _pid(world, arn)
        block = info["TopicReplication"] | {"TopicsToExclude": ["payments"]}
        for fixed in ("StartingPosition", "TopicNameConfiguration"):
            block.pop(fixed)
        kafka.update_replication_info(
            ReplicatorArn=arn,
            CurrentVersion=kafka.describe_replicator(ReplicatorArn=arn)["CurrentVersion"],
            SourceKafkaClusterArn=source,
            TargetKafkaClusterArn=target,
            TopicReplication=block,
        )
        wait_state(kafka, arn, "RUNNING")
        assert _pid(world, arn) == process, "it took the update while it ran"
        _topic(kafka, source, "payments")
        _topic(kafka, source, "shipments")
        here.write("payments", "secret")
        here.write("shipments", "a")
        there.wait_for(copy.replace("orders", "shipments"), ["a"])
        assert copy.replace("orders", "payments") not in there.topics()

    with control_plane(tmp_path) as world:
        kafka = world.client()
        wait_state(kafka, arn, "RUNNING")
        here, there = Side(kafka, source, tmp_path), Side(kafka, target, tmp_path)
        here.write("orders", "4")
        there.wait_for(copy, ["1", "2", "3", "4"])

        kafka.delete_replicator(ReplicatorArn=arn)
        wait_gone(kafka, arn)
        assert copy in there.topics()
        assert not [name for name in there.topics() if name.startswith("__replicator_")]
        here.write("orders", "5")
        second = replicator(kafka, source, target, "second", topics=EARLIEST)
        there.wait_for(copy, ["1", "2", "3", "4", "5"])
        assert kafka.describe_replicator(ReplicatorArn=second)["ReplicatorState"] == "RUNNING"


def test_identical_names_both_ways_and_home_again_copy_nothing_twice(tmp_path: Path) -> None:
    with control_plane(tmp_path) as world:
        kafka = world.client()
        source = create(kafka, "us-cluster", ClientAuthentication=OPEN_TOO)
        target = create(kafka, "eu-cluster", ClientAuthentication=OPEN_TOO)
        here, there = Side(kafka, source, tmp_path), Side(kafka, target, tmp_path)
        _topic(kafka, source, "orders")
        topics = EARLIEST | IDENTICAL
        enhanced = {"ConsumerGroupOffsetSyncMode": "ENHANCED"}
        here.write("orders", "1")
        replicator(kafka, source, target, "forth", topics=topics, groups=enhanced)
        there.wait_for("orders", ["1"])
        back = replicator(kafka, target, source, "back", topics=topics, groups=enhanced)
        there.write("orders", "2")
        here.wait_for("orders", ["1", "2"])
        here.write("orders", "3")
        there.wait_for("orders", ["1", "2", "3"])
        kafka.delete_replicator(ReplicatorArn=back)
        wait_gone(kafka, back)
        there.write("orders", "4")
        replicator(kafka, target, source, "back-again", topics=topics, groups=enhanced)
        here.wait_for("orders", ["1", "2", "3", "4"])
        here.write("orders", "5")
        there.wait_for("orders", ["1", "2", "3", "4", "5"])


def test_a_kafka_of_ones_own_is_copied_to_a_serverless_cluster_by_scram(tmp_path: Path) -> None:
    with control_plane(tmp_path) as world:
        kafka = world.client()
        secrets = tmp_path / "secrets"
        secrets.mkdir(exist_ok=True)
        login = {"username": "copier", "password": "not-a-secret-42"}
        (secrets / "AmazonMSK_copier.json").write_text(json.dumps(login))
        ways = {**OPEN_TOO, "Sasl": {"Iam": {"Enabled": True}, "Scram": {"Enabled": True}}}
        source = create(kafka, "on-premises", ClientAuthentication=ways)
        secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:"
        kafka.batch_associate_scram_secret(ClusterArn=source, SecretArnList=[f"{secret}AmazonMSK_copier-AbCdEf"])
        login["certificate"] = (tmp_path / "ca.pem").read_text()
        (secrets / "copier.json").write_text(json.dumps(login))
        network = {"SubnetIds": SUBNETS, "SecurityGroupIds": ["sg-1"]}
        target = kafka.create_cluster_v2(ClusterName="eu", Serverless={"VpcConfigs": [network]})["ClusterArn"]
        wait_active(kafka, target)
        _topic(kafka, source, "orders")
        Side(kafka, source, tmp_path).write("orders", "1", "2")
        wanted = request(
            source, target, topics=EARLIEST, info={"SourceKafkaClusterArn": None, "SourceKafkaClusterId": "own"}
        )
        brokers = kafka.get_bootstrap_brokers(ClusterArn=source)["BootstrapBrokerStringSaslScram"]
        wanted["KafkaClusters"][0] = {
            "ApacheKafkaCluster": {"ApacheKafkaClusterId": "own", "BootstrapBrokerString": brokers},
            "ClientAuthentication": {"SaslScram": {"Mechanism": "SHA512", "SecretArn": f"{secret}copier-AbCdEf"}},
            "EncryptionInTransit": {"EncryptionType": "TLS"},
        }
        arn = kafka.create_replicator(**wanted)["ReplicatorArn"]
        found = wait_state(kafka, arn, "RUNNING")
        assert found["KafkaClusters"][0]["KafkaClusterAlias"].startswith("own-")
        copy = f"{found['KafkaClusters'][0]['KafkaClusterAlias']}.orders"
        record = next(one for one in world.plane.service.clusters.records if one.arn == target)

        def copied() -> bool:
            topics = asyncio.run(world.plane.service.clusters.topics(record).list())
            return copy in {topic.name for topic in topics}

        wait_for(copied, within=30, what="the copy is there")
        log = next((tmp_path / "replicators").glob("*/replicator.log")).read_text()
        assert login["password"] not in log
