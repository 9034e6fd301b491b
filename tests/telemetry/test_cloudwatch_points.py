"""From counters to MSK Replicator's metrics: what a period was, of one worker and of several."""

from __future__ import annotations

from collections import deque

import pytest

from replicator.telemetry import msk_metrics as msk
from replicator.telemetry.catalogue import CATALOGUE
from replicator.telemetry.cloudwatch_points import Point, ReplicatorPoints
from replicator.telemetry.counters import (
    ClusterCounters,
    LinkCounters,
    PartitionCounters,
    SyncCounters,
    WorkerCounters,
)

NAME = ("ReplicatorName", "us-to-eu")


def worker(*, controller: bool = True) -> WorkerCounters:
    counters = WorkerCounters()
    link = counters.links["us-to-eu"] = LinkCounters(controller=controller, groups=4)
    link.clusters = {"us": ClusterCounters(True, answers=10), "eu": ClusterCounters(False, answers=10)}
    if controller:
        link.syncers["groups"] = SyncCounters(held={"NOT_AUTHORIZED": 1, "ACTIVE": 7})
    for number, topic in enumerate(("orders", "orders", "quiet")):
        part = PartitionCounters("us-to-eu", topic, number, "COPYING", source_end=100)
        counters.partitions["us-to-eu", topic, number] = part
    return counters


def part(counters: WorkerCounters, number: int) -> PartitionCounters:
    return list(counters.partitions.values())[number]


def points_of(*, per_topic: bool = True, max_topics: int = 500) -> ReplicatorPoints:
    return ReplicatorPoints(per_topic=per_topic, max_topics=max_topics, every_s=60.0)


def value(points: list[Point], name: str, *dimensions: tuple[str, str]) -> float | None:
    found = [p.value for p in points if p.name == name and p.dimensions == (NAME, *dimensions)]
    assert len(found) <= 1, "one point for each metric and period"
    return found[0] if found else None


def test_given_a_period_then_every_metric_of_msk_replicator_has_its_points() -> None:
    counters = worker()
    part(counters, 0).arrived(15, 0)
    points = points_of().collect(counters, 1_790_000_000)
    for metric in msk.MSK_METRICS:
        mine = [p for p in points if p.name == metric.name]
        assert {tuple(name for name, _ in p.dimensions) for p in mine} == set(metric.dimensions), metric.name
        assert {p.unit for p in mine} == {metric.unit}
        assert {p.timestamp_s for p in mine} == {1_790_000_000}
    assert {p.name for p in points} == {metric.name for metric in msk.MSK_METRICS}


def test_given_the_table_then_each_of_its_metrics_is_in_the_catalogue_too() -> None:
    names = {metric.name for metric in CATALOGUE}
    assert [m.name for m in msk.MSK_METRICS if not m.prometheus or not names.issuperset(m.prometheus)] == []


def test_given_bytes_of_a_period_then_throughput_is_their_rate_and_starts_over_with_the_next() -> None:
    counters, points = worker(), points_of()
    part(counters, 0).bytes, part(counters, 1).bytes, part(counters, 0).read_bytes = 600, 1200, 6000
    first = points.collect(counters, 0)
    assert value(first, "ReplicatorThroughput") == 30
    assert value(first, "ReplicatorThroughput", ("Topic", "orders")) == 30
    assert value(first, "ReplicatorThroughput", ("Topic", "quiet")) == 0
    assert value(first, "ReplicatorBytesInPerSec") == 100
    part(counters, 0).bytes += 60
    second = points.collect(counters, 60)
    assert value(second, "ReplicatorThroughput") == 1
    assert value(second, "ReplicatorBytesInPerSec") == 0


def test_given_a_partition_that_went_elsewhere_then_what_it_copied_until_then_counts_once() -> None:
    counters, points = worker(), points_of()
    part(counters, 0).bytes = 600
    points.collect(counters, 0)
    leaving = counters.partitions.pop(("us-to-eu", "orders", 0))
    leaving.bytes = 660
    assert value(points.collect(counters, 60), "ReplicatorThroughput") == 1
    assert value(points.collect(counters, 120), "ReplicatorThroughput") == 0
    back = PartitionCounters("us-to-eu", "orders", 0, "COPYING", bytes=120)  # counts begin anew
    counters.partitions["us-to-eu", "orders", 0] = back
    assert value(points.collect(counters, 180), "ReplicatorThroughput") == 2


def test_given_a_partition_that_came_and_went_within_a_period_then_what_it_copied_counts_once() -> None:
    counters, points = worker(), points_of()
    counters.begun = deque()
    points.collect(counters, 0)
    guest = PartitionCounters("us-to-eu", "orders", 7, "COPYING", bytes=60, read_bytes=120)
    counters.begin(guest)
    del counters.partitions["us-to-eu", "orders", 7]
    found = points.collect(counters, 60)
    assert (value(found, "ReplicatorThroughput"), value(found, "ReplicatorBytesInPerSec")) == (1, 2)
    assert value(points.collect(counters, 120), "ReplicatorThroughput") == 0
    counters.begin(staying := PartitionCounters("us-to-eu", "orders", 7, "COPYING", bytes=60))
    assert value(points.collect(counters, 180), "ReplicatorThroughput") == 1
    staying.bytes += 60
    assert value(points.collect(counters, 240), "ReplicatorThroughput") == 1


def test_given_latencies_then_the_largest_of_the_period_counts_and_none_is_unknown_rather_than_zero() -> None:
    counters, points = worker(), points_of()
    for latency_ms in (5, 80, 7):
        part(counters, 0).arrived(latency_ms, 0)
    part(counters, 1).arrived(20, 0)
    first = points.collect(counters, 0)
    assert value(first, "ReplicationLatency") == 80
    assert value(first, "ReplicationLatency", ("Topic", "orders")) == 80
    assert value(first, "ReplicationLatency", ("Topic", "quiet")) is None
    assert value(points.collect(counters, 60), "ReplicationLatency") is None


def test_given_a_transaction_then_the_oldest_of_its_batches_makes_the_latency_when_it_is_committed() -> None:
    counters, points = worker(), points_of()
    for timestamp_ms in (1_000, 900, 1_100):
        part(counters, 0).hidden(timestamp_ms)
    assert value(points.collect(counters, 0), "ReplicationLatency") is None
    part(counters, 0).committed(1_400)
    assert value(points.collect(counters, 60), "ReplicationLatency") == 500


def test_given_a_partition_whose_lag_nobody_knows_then_it_has_no_part_in_the_sum() -> None:
    counters = worker()
    part(counters, 0).unread_records, part(counters, 1).unread_records = 5, 70
    part(counters, 1).state, part(counters, 1).lag_records = "FAULTED", 0
    part(counters, 2).source_end = -1
    points = points_of().collect(counters, 0)
    assert value(points, "MessageLag") == 5
    assert value(points, "MessageLag", ("Topic", "quiet")) is None


def test_given_two_workers_then_sums_and_maxima_over_their_points_are_the_links() -> None:
    one, two = worker(), worker(controller=False)
    for counters, lag, latency_ms in ((one, 5, 10), (two, 6, 30)):
        part(counters, 0).unread_records, part(counters, 0).bytes = lag, 600
        part(counters, 0).arrived(latency_ms, 0)
        counters.faults["us-to-eu", "RECORD_TOO_LARGE"] = 2
        counters.links["us-to-eu"].clusters["us"].authentication_failures = 30
    points = [*points_of().collect(one, 0), *points_of().collect(two, 0)]

    def over(name: str, *dimensions: tuple[str, str]) -> list[float]:
        return [p.value for p in points if p.name == name and p.dimensions == (NAME, *dimensions)]

    assert sum(over("MessageLag")) == 11
    assert sum(over("ReplicatorThroughput")) == 20
    assert max(over("ReplicationLatency")) == 30
    assert sum(over("ReplicatorFailure")) == sum(over("ReplicationFailures")) == 4
    assert sum(over("AuthError", ("ClusterAlias", "us"))) == 1
    assert over("KafkaClusterPingSuccessCount", ("ClusterAlias", "us")) == [1]  # of the controller alone
    assert over("KafkaClusterPingSuccessCount", ("ClusterAlias", "eu")) == [0]
    assert over("ConsumerGroupCount") == [4]
    assert over("ConsumerGroupOffsetSyncFailure") == [1]


def test_given_quotas_then_throttle_time_is_the_mean_wait_of_a_request() -> None:
    counters, points = worker(), points_of()
    points.collect(counters, 0)
    seen = counters.links["us-to-eu"].clusters["us"]
    seen.throttled_s, seen.answers = 2.0, 30
    assert value(points.collect(counters, 60), "ThrottleTime", ("ClusterAlias", "us")) == 100
    assert value(points.collect(counters, 120), "ThrottleTime", ("ClusterAlias", "us")) == 0


def test_given_more_topics_than_may_be_sent_then_those_most_behind_are_and_the_links_own_are_whole() -> None:
    counters = worker()
    for number in range(20):
        counters.partitions["us-to-eu", f"t{number}", 0] = PartitionCounters(
            "us-to-eu", f"t{number}", 0, "COPYING", source_end=9, unread_records=number
        )
    points = points_of(max_topics=2).collect(counters, 0)
    topics = {dict(p.dimensions)["Topic"] for p in points if len(p.dimensions) == 2 and p.dimensions[1][0] == "Topic"}
    assert topics == {"t19", "t18"}
    assert value(points, "MessageLag") == sum(range(20))
    assert not any(p.dimensions[-1][0] == "Topic" for p in points_of(per_topic=False).collect(counters, 0))


@pytest.mark.parametrize("before", [0, 500])
def test_given_a_link_that_was_made_anew_then_its_counts_do_not_go_back(before: int) -> None:
    counters, points = worker(), points_of()
    counters.links["us-to-eu"].clusters["us"].authentication_failures = before
    points.collect(counters, 0)
    counters.links["us-to-eu"].clusters["us"] = ClusterCounters(True, authentication_failures=before // 10 + 6)
    failures = value(points.collect(counters, 60), "AuthError", ("ClusterAlias", "us"))
    assert failures is not None
    assert failures > 0
