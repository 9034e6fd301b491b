"""Secrets and metrics, with moto as AWS: what the control plane asks of others, and only where it was told to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.msk.kafka_clients import produce, scram
from tests.msk.world import REGION, ROOT, control_plane, create
from tests.support.aws import moto_url, no_aws
from tests.support.waiting import wait_for

__all__ = ["moto_url", "no_aws"]

pytestmark = pytest.mark.slow


def _client(service: str, url: str) -> Any:
    return boto3.client(service, endpoint_url=url, region_name=REGION)


def test_users_of_secrets_manager_log_in_and_metrics_come_to_cloudwatch_at_the_clusters_level(
    tmp_path: Path, no_aws: pytest.MonkeyPatch, moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ROOT.items():
        no_aws.setenv(name, value)
    monkeypatch.setattr("broker.msk.cloudwatch.EVERY_S", 0.5)
    secret = _client("secretsmanager", moto_url).create_secret(
        Name="AmazonMSK_alice", SecretString=json.dumps({"username": "alice", "password": "pw"})
    )["ARN"]
    environment = ROOT | {
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": moto_url,
        "AWS_ENDPOINT_URL_CLOUDWATCH": moto_url,
    }
    with control_plane(tmp_path / "msk", environment=environment) as world:
        kafka = world.client()
        arn = create(
            kafka,
            ClientAuthentication={"Sasl": {"Scram": {"Enabled": True}}},
            EnhancedMonitoring="PER_TOPIC_PER_BROKER",
        )
        answer = kafka.batch_associate_scram_secret(ClusterArn=arn, SecretArnList=[secret])
        assert answer["UnprocessedScramSecrets"] == []
        kafka.create_topic(ClusterArn=arn, TopicName="t", PartitionCount=1, ReplicationFactor=3)
        strings = kafka.get_bootstrap_brokers(ClusterArn=arn)
        settings = scram(strings["BootstrapBrokerStringSaslScram"], tmp_path / "msk" / "ca.pem", "alice", "pw")
        produce(settings, "t", [b"x"])

        def published() -> set[tuple[str, tuple[str, ...]]]:
            pages = _client("cloudwatch", moto_url).get_paginator("list_metrics").paginate(Namespace="Replicator")
            return {
                (one["MetricName"], tuple(sorted(where["Name"] for where in one["Dimensions"])))
                for page in pages
                for one in page["Metrics"]
            }

        wanted = {
            ("GlobalTopicCount", ("Cluster Name",)),
            ("PartitionCount", ("Broker ID", "Cluster Name")),
            ("MessagesInPerSec", ("Broker ID", "Cluster Name", "Topic")),
        }
        wait_for(lambda: wanted <= published(), within=30, what="metrics are at CloudWatch", every=0.5)
        assert world.plane.service.metrics.counters.sent > 0
