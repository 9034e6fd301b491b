"""Points reach CloudWatch, within its limits, late rather than never, and never at the price of memory."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from pydantic import ValidationError

from replicator.config.telemetry import CloudWatchConfig
from replicator.telemetry.cloudwatch import MAX_POINTS, CloudWatchOutbox, make_client
from replicator.telemetry.cloudwatch_loop import CloudWatchLoop
from replicator.telemetry.cloudwatch_points import Point
from replicator.telemetry.counters import LinkCounters, OutboxCounters, PartitionCounters, WorkerCounters
from tests.support.waiting import wait_for
from tests.telemetry.conftest import aws

NEVER = threading.Event()


def point(number: int = 0, topic: str = "t") -> Point:
    return Point("MessageLag", (("ReplicatorName", "l"), ("Topic", topic)), "Count", float(number), 1_790_000_000)


def error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "PutMetricData")


class FakeClient:
    """Takes points, after it has failed as often as told."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.requests: list[list[dict[str, Any]]] = []

    def put_metric_data(self, *, Namespace: str, MetricData: list[dict[str, Any]]) -> None:
        assert Namespace == "Replicator"
        if self.errors:
            raise self.errors.pop(0)
        self.requests.append(MetricData)


def outbox(client: FakeClient, counters: OutboxCounters, **more: Any) -> CloudWatchOutbox:
    return CloudWatchOutbox("Replicator", counters, lambda: client, backoff_s=(0.0,), **more)


def test_given_many_points_then_each_request_is_within_the_limits_and_all_arrive_in_order() -> None:
    client, counters = FakeClient(), OutboxCounters()
    box = outbox(client, counters)
    box.add(point(number) for number in range(2500))
    box.send(5, NEVER)
    assert [len(request) for request in client.requests] == [MAX_POINTS, MAX_POINTS, 500]
    assert [datum["Value"] for request in client.requests for datum in request] == list(range(2500))
    assert (counters.sent, len(box)) == (2500, 0)


def test_given_long_names_then_requests_are_cut_by_size() -> None:
    client = FakeClient()
    box = outbox(client, OutboxCounters())
    box.add(point(number, "t" * 249) for number in range(1000))
    box.send(5, NEVER)
    assert len(client.requests) == 2


@pytest.mark.parametrize("passing", [error("Throttling"), error("InternalServiceFault"), NoCredentialsError()])
def test_given_an_error_that_passes_then_the_same_points_are_sent_again(passing: Exception) -> None:
    client, counters = FakeClient(passing, passing), OutboxCounters()
    box = outbox(client, counters)
    box.add([point(1)])
    box.send(5, NEVER)
    assert [datum["Value"] for datum in client.requests[0]] == [1]
    assert (counters.sent, counters.failures, counters.dropped) == (1, 2, {})


def test_given_points_that_are_refused_then_they_are_counted_and_the_next_ones_go() -> None:
    client, counters = FakeClient(error("InvalidParameterValue")), OutboxCounters()
    box = outbox(client, counters)
    box.add(point(number) for number in range(1001))
    box.send(5, NEVER)
    assert [len(request) for request in client.requests] == [1]
    assert (counters.sent, counters.dropped) == (1, {"refused": 1000})


def test_given_no_cloudwatch_for_long_then_the_oldest_points_are_dropped_and_counted() -> None:
    client, counters = FakeClient(*[error("ServiceUnavailable")] * 2), OutboxCounters()
    box = outbox(client, counters, max_queued=10)
    for number in range(25):
        box.add([point(number)])
    assert (len(box), counters.dropped) == (10, {"full": 15})
    box.send(5, NEVER)
    assert [datum["Value"] for datum in client.requests[0]] == list(range(15, 25))


def test_given_a_full_queue_while_a_batch_is_on_its_way_then_nothing_is_sent_twice_or_lost_unsaid() -> None:
    counters = OutboxCounters()

    class Slow(FakeClient):
        def put_metric_data(self, **request: Any) -> None:
            if not self.requests:
                box.add(point(number) for number in range(10, 15))
            super().put_metric_data(**request)

    client = Slow()
    box = outbox(client, counters, max_queued=10)
    box.add(point(number) for number in range(10))
    box.send(5, NEVER)
    assert [datum["Value"] for request in client.requests for datum in request] == list(range(15))
    assert counters.sent == 15


def test_given_time_is_up_then_sending_ends_and_the_points_stay() -> None:
    client = FakeClient(*[error("Throttling")] * 9)
    box = CloudWatchOutbox("Replicator", OutboxCounters(), lambda: client, backoff_s=(60.0,))
    box.add([point()])
    began = time.monotonic()
    box.send(1, NEVER)
    assert time.monotonic() - began < 1
    assert len(box) == 1


def test_given_a_stop_then_waiting_for_another_try_ends() -> None:
    stop = threading.Event()
    box = CloudWatchOutbox("Replicator", OutboxCounters(), lambda: FakeClient(*[error("Throttling")] * 9))
    box.add([point()])
    stop.set()
    began = time.monotonic()
    box.send(60, stop)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("namespace", ["AWS/Kafka", "aws/kafka", "", "a b"])
def test_given_a_namespace_that_is_reserved_or_not_one_then_it_is_refused(namespace: str) -> None:
    with pytest.raises(ValidationError):
        CloudWatchConfig(namespace=namespace)


def copied() -> WorkerCounters:
    counters = WorkerCounters()
    counters.links["us-to-eu"] = LinkCounters(controller=True)
    part = PartitionCounters("us-to-eu", "orders", 0, "COPYING", bytes=6000, source_end=9, unread_records=3)
    part.arrived(25, 0)
    counters.partitions["us-to-eu", "orders", 0] = part
    return counters


def test_given_a_worker_that_stops_then_what_it_did_can_be_read_from_cloudwatch(aws_url: str) -> None:
    sent = OutboxCounters()
    config = CloudWatchConfig(namespace="Mine", region="us-east-1", endpoint_url=aws_url)
    counters = copied()
    loop = CloudWatchLoop(config, lambda: counters, sent)
    loop.start()
    loop.stop()
    wait_for(lambda: sent.sent > 0, within=20, what="CloudWatch has the points")
    assert sent.failures == 0
    client = aws("cloudwatch", aws_url)
    listed = client.list_metrics(Namespace="Mine", MetricName="ReplicationLatency")["Metrics"]
    assert sorted(sorted(d["Name"] for d in metric["Dimensions"]) for metric in listed) == [
        ["ReplicatorName"],
        ["ReplicatorName", "Topic"],
    ]
    now = datetime.now(UTC)
    answer = client.get_metric_statistics(
        Namespace="Mine",
        MetricName="ReplicationLatency",
        Dimensions=[{"Name": "ReplicatorName", "Value": "us-to-eu"}],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=1),
        Period=60,
        Statistics=["Maximum"],
    )
    assert [(row["Maximum"], row["Unit"]) for row in answer["Datapoints"]] == [(25.0, "Milliseconds")]


def test_given_a_large_request_then_it_is_compressed_on_its_way(aws_url: str) -> None:
    config = CloudWatchConfig(region="us-east-1", endpoint_url=aws_url)
    encodings = []
    client = make_client(config)
    client.meta.events.register(
        "before-send.cloudwatch.PutMetricData",
        lambda request, **_: encodings.append((request.headers.get("Content-Encoding"), len(request.body))),
    )
    sent = OutboxCounters()
    box = CloudWatchOutbox("Replicator", sent, lambda: client)
    box.add(point(number, f"topic-{number}") for number in range(1000))
    box.send(30, NEVER)
    assert sent.sent == 1000
    assert [encoding for encoding, _ in encodings] in ([b"gzip"], ["gzip"])
    assert encodings[0][1] < 100_000


def test_given_counters_that_can_not_be_read_then_the_loop_goes_on_and_counts_it() -> None:
    sent = OutboxCounters()
    answers: list[WorkerCounters] = []

    def broken() -> WorkerCounters:
        answers.append(copied())
        raise RuntimeError("dictionary changed size during iteration")

    client = FakeClient()
    loop = CloudWatchLoop(CloudWatchConfig(every=5), broken, sent, client=lambda config: client, now_s=lambda: 4.99)
    loop.start()
    wait_for(lambda: len(answers) > 2, within=5, what="it looked again", every=0.01)
    loop.stop()
    assert sent.failures >= 3
