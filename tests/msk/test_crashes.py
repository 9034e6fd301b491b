"""The control plane is killed amid whatever it does: afterwards all clusters are ACTIVE and nothing is stuck."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.msk.kafka_clients import consume, produce
from tests.msk.world import ROOT, client, provisioned
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow
PLAIN: dict[str, Any] = {
    "ClientAuthentication": {"Unauthenticated": {"Enabled": True}},
    "EncryptionInfo": {"EncryptionInTransit": {"ClientBroker": "TLS_PLAINTEXT"}},
}


class Plane:
    """`msk serve` as a process that is killed and started again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.process: subprocess.Popen[str] | None = None
        self.kafka: Any = None

    def start(self) -> None:
        """Start it on what is there."""
        command = [sys.executable, "-m", "broker.cli", "msk", "serve", "--listen", "127.0.0.1:0"]
        command += ["--data", str(self._directory)]
        with (self._directory.parent / "log").open("a") as log:
            self.process = subprocess.Popen(
                command, env=os.environ | ROOT, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        self.kafka = client(self.process.stdout.readline().strip())

    def kill(self) -> None:
        """End it without a word."""
        if self.process is not None and self.process.stdout is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def settled(self) -> list[dict[str, Any]]:
        """All clusters, once all are ACTIVE and no operation is open."""

        def all_active() -> list[dict[str, Any]]:
            found = list(self.kafka.list_clusters_v2()["ClusterInfoList"])
            assert {one["State"] for one in found} == {"ACTIVE"}, [(one["ClusterName"], one["State"]) for one in found]
            for one in found:
                done = self.kafka.list_cluster_operations_v2(ClusterArn=one["ClusterArn"])["ClusterOperationInfoList"]
                assert {each["OperationState"] for each in done} <= {"UPDATE_COMPLETE"}, done
                assert "ActiveOperationArn" not in one
            return found

        return wait_for(all_active, within=60, what="all clusters are ACTIVE", every=0.3)


def _something(kafka: Any, arn: str, dice: random.Random) -> Callable[[], Any]:
    info = kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]
    version, brokers = info["CurrentVersion"], info["Provisioned"]["NumberOfBrokerNodes"]
    number = dice.randint(0, 10**6)
    return dice.choice([
        lambda: kafka.update_broker_count(
            ClusterArn=arn, CurrentVersion=version, TargetNumberOfBrokerNodes=min(brokers + 3, 9)
        ),
        lambda: kafka.update_security(
            ClusterArn=arn,
            CurrentVersion=version,
            ClientAuthentication={"Sasl": {"Iam": {"Enabled": dice.random() < 0.5}}},
        ),
        lambda: kafka.reboot_broker(ClusterArn=arn, BrokerIds=["2"]),
        lambda: kafka.tag_resource(ResourceArn=arn, Tags={f"t{number % 5}": str(number)}),
        lambda: kafka.create_configuration(Name=f"c-{number}", ServerProperties=b"num.partitions=2"),
    ])  # fmt: skip


@pytest.mark.parametrize("rounds", [3, pytest.param(60, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
def test_given_kills_at_random_moments_then_clusters_records_and_operations_are_whole(
    tmp_path: Path, rounds: int
) -> None:
    seed = random.SystemRandom().randint(0, 10**6)
    print(f"seed {seed}")
    dice = random.Random(seed)
    (tmp_path / "msk").mkdir()
    plane = Plane(tmp_path / "msk")
    plane.start()
    try:
        arn = plane.kafka.create_cluster_v2(ClusterName="kept", Provisioned=provisioned(**PLAIN))["ClusterArn"]
        plane.settled()
        plane.kafka.create_topic(ClusterArn=arn, TopicName="t", PartitionCount=1, ReplicationFactor=3)
        strings = plane.kafka.get_bootstrap_brokers(ClusterArn=arn)
        settings = {"bootstrap.servers": strings["BootstrapBrokerString"]}
        for number in range(rounds):
            produce(settings, "t", [b"%d" % number])
            do = _something(plane.kafka, arn, dice)
            with contextlib.suppress(BotoCoreError, ClientError):
                do()
            with contextlib.suppress(subprocess.TimeoutExpired):
                assert plane.process is not None
                plane.process.wait(dice.choice([0.001, 0.01, 0.05, 0.2, 0.6, 1.5]))
            plane.kill()
            plane.start()
            assert plane.settled()[0]["ClusterArn"] == arn
            now = plane.kafka.get_bootstrap_brokers(ClusterArn=arn)["BootstrapBrokerString"]
            assert now == strings["BootstrapBrokerString"]
        assert consume(settings, "t", rounds) == [b"%d" % number for number in range(rounds)]
    finally:
        plane.kill()
