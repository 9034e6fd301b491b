"""Metrics and logs of running workers arrive at a stand-in for AWS, and stopping stays quick when it is gone."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from tests.support.aws import stand_in
from tests.support.bundled import BundledCluster
from tests.support.checker import Seen
from tests.support.copying import create, produce
from tests.support.replicator import Installation, Worker
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow

LINK = {"name": "us-to-eu", "source": "us", "target": "eu", "sync": {"every": 0.5}}
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}


@pytest.fixture
def aws_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with stand_in() as url:
        yield url


_CONTROL = 0x20  # in the low byte of a batch's attributes

Pair = tuple[BundledCluster, BundledCluster]


@pytest.fixture
def pair() -> Iterator[Pair]:
    with BundledCluster(name="us") as us, BundledCluster(name="eu", persistent=True) as eu:
        create(us.admin(), "orders", 4)
        for partition in range(4):
            produce(us.client_config, "orders", partition, [Seen(i, b"k", b"v", (), _now_ms()) for i in range(50)])
        yield us, eu


@pytest.fixture
def installation(pair: Pair, tmp_path: Path) -> Installation:
    us, eu = pair
    return Installation(tmp_path, {"us": us, "eu": eu}, [LINK])


def _now_ms() -> int:
    return int(time.time() * 1000)


def batch_bytes(segment: Path) -> int:
    """What the record batches in it take, transactions' markers not counted."""
    log, at, found = segment.read_bytes(), 0, 0
    while at < len(log):
        size = 12 + int.from_bytes(log[at + 8 : at + 12])
        found += 0 if log[at + 22] & _CONTROL else size
        at += size
    return found


def told(installation: Installation, worker: Worker, **service: Any) -> Worker:
    """The worker, with more under `service` in its file."""
    path = installation.directory / f"{worker.name}.yaml"
    document = yaml.safe_load(path.read_text())
    document["service"] |= service
    path.write_text(yaml.safe_dump(document))
    return worker


def test_given_two_workers_then_cloudwatch_has_the_links_metrics_and_the_log_group_both_workers_lines(
    pair: Pair, installation: Installation, aws_url: str
) -> None:
    client = boto3.client("cloudwatch", endpoint_url=aws_url, **KEYS)
    logs = boto3.client("logs", endpoint_url=aws_url, **KEYS)
    logs.create_log_group(logGroupName="replicator")
    place = {"region": "us-east-1", "endpoint_url": aws_url}
    worker = told(
        installation,
        installation.worker("--workers", "2"),
        cloudwatch=place | {"every": 5},
        log_delivery=place | {"cloudwatch_logs": {"log_group": "replicator"}, "log_file": {"path": "replicator.log"}},
    )
    began = datetime.now(UTC) - timedelta(seconds=10)

    def points(name: str, statistic: str, **dimensions: str) -> list[float]:
        answer = client.get_metric_statistics(
            Namespace="Replicator",
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=began,
            EndTime=datetime.now(UTC) + timedelta(seconds=10),
            Period=5,
            Statistics=[statistic],
        )
        return [row[statistic] for row in answer["Datapoints"]]

    link = {"ReplicatorName": "us-to-eu"}
    with worker:
        worker.wait_ready()
        installation.wait_until_copied(4)
        answering = [{"ClusterAlias": "us"}, {"ClusterAlias": "eu"}]
        there: list[tuple[str, str, dict[str, str]]] = [
            *(("KafkaClusterPingSuccessCount", "Sum", alias) for alias in answering),
            ("ReplicatorThroughput", "Sum", {}),
            ("ReplicationLatency", "Maximum", {"Topic": "orders"}),
            ("ConsumerGroupCount", "Sum", {}),
        ]
        wait_for(
            lambda: not [name for name, statistic, more in there if not points(name, statistic, **link, **more)],
            within=40,
            what="every metric has points",
        )
        for alias in answering:
            assert max(points("KafkaClusterPingSuccessCount", "Sum", **link, **alias)) == 1
        wait_for(lambda: sum(points("ReplicatorThroughput", "Sum", **link)) > 0, within=30, what="throughput is there")
        _, target = pair
        stored = sum(batch_bytes(target.segment("us.orders", partition)) for partition in range(4))
        _, text = worker.get("/metrics")
        for child in ("w0", "w1"):
            assert f'replicator_cloudwatch_failures_total{{worker="{child}"}} 0.0' in text
            assert f'replicator_logs_dropped_total{{worker="{child}",destination="cloudwatch_logs"}} 0.0' in text
        assert worker.terminate() < 5
    # With the topic: the stand-in takes points with more dimensions for those of the link, too.
    copied = sum(points("ReplicatorThroughput", "Sum", **link, Topic="orders")) * 5
    assert copied == pytest.approx(stored)  # nothing was left out, whichever part of a period a worker has seen
    streams = logs.describe_log_streams(logGroupName="replicator")["logStreams"]
    assert {part for name in streams for part in ("-w0-", "-w1-", "-replicator-") if part in name["logStreamName"]} == {
        "-w0-", "-w1-", "-replicator-",
    }  # fmt: skip
    events = [
        json.loads(event["message"])
        for stream in streams
        for event in logs.get_log_events(logGroupName="replicator", logStreamName=stream["logStreamName"])["events"]
    ]
    assert any(event["event"] == "stopped" for event in events)
    for name in ("replicator.w0.log", "replicator.w1.log", "replicator.log"):
        lines = (installation.directory / name).read_text().splitlines()
        assert all("event" in json.loads(line) for line in lines)


def test_given_no_aws_then_copying_goes_on_and_stopping_is_quick(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        place = {"region": "us-east-1", "endpoint_url": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        worker = told(
            installation,
            installation.worker(),
            cloudwatch=place | {"every": 5},
            log_delivery=place | {"cloudwatch_logs": {"log_group": "g"}, "s3": {"bucket": "some-bucket", "every": 1}},
        )
        with worker:
            worker.wait_ready()
            installation.wait_until_copied(4)
            assert worker.terminate() < 5
