"""The exposition: everything counted is there, under the catalogue's names, and parents merge their children's."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from replicator.http.refusals import Refusals
from replicator.telemetry import catalogue
from replicator.telemetry.counters import (
    ClusterCounters,
    DrillCounters,
    Histogram,
    LinkCounters,
    OutboxCounters,
    PartitionCounters,
    SyncCounters,
    WorkerCounters,
)
from replicator.telemetry.merged import merged
from replicator.telemetry.prometheus import exposition, registry


def counted() -> WorkerCounters:
    counters = WorkerCounters(memory_in_use_bytes=5, memory_limit_bytes=10)
    part = PartitionCounters(link="l", topic="orders", partition=3, state="COPYING")
    part.records, part.bytes, part.batches_passed, part.retries = 7, 700, 2, 1
    part.batches_rebuilt["holes"] = 4
    part.batches_dropped["control"] = 5
    part.lag_records, part.lag_ms, part.source_end, part.source_next, part.target_next = 9, 1500, 100, 91, 90
    lost = PartitionCounters(link="l", topic='a"b\n', partition=0, state="FAULTED", reason="CORRUPT_BATCH")
    counters.partitions = {("l", "orders", 3): part, ("l", "a", 0): lost}
    part.looped_records, part.looped_bytes = 1, 10
    part.unread_records, part.unread_ms, part.authorization_failures = 4, 700, 2
    groups = SyncCounters(rounds=3, failures=1, changes=8, last_success_s=1_790_000_000.5, held={"ACTIVE": 2})
    link = LinkCounters(lanes=8, running=4, recovering=1, controller=True, throttled_s=2.5, group_positions=6)
    link.bandwidth_bytes, link.bandwidth_waited_s = 500.0, 1.5
    link.syncers["groups"] = groups
    link.drill = DrillCounters(1_790_000_001, True, 1_790_000_001, 7.5, 3, 0.25)
    link.authorization_failures = {"orders": 1, "denied": 5}
    counters.links["l"] = link
    counters.faults["l", "CORRUPT_BATCH"] = 1
    counters.latency["l"] = Histogram((0.1, 1.0))
    counters.latency["l"].observe(0.05, times=3)
    counters.latency["l"].observe(7.0)
    part.read_bytes = 900
    part.arrived(40, int(time.time() * 1000))
    lost.arrived(50, 1_790_000_000_000)  # long ago
    link.clusters = {"us": ClusterCounters(True, 2, 2.5, 10), "eu": ClusterCounters(None, 0)}
    link.target_throttled_s, link.groups = 0.5, 12
    groups.held["REFUSED"] = 3
    counters.cloudwatch = OutboxCounters(sent=100, failures=2, dropped={"full": 5})
    counters.logs = {"s3": OutboxCounters(sent=7, failures=1, dropped={"full": 1, "refused": 2})}
    return counters


def samples(text: bytes) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text.decode()) for sample in family.samples]


def value(text: bytes, name: str, **labels: str) -> float:
    found = [s.value for s in samples(text) if s.name == name and labels.items() <= s.labels.items()]
    assert len(found) == 1, (name, labels, found)
    return float(found[0])


def rendered(ready: bool = True) -> bytes:
    counters = counted()
    return exposition(registry(lambda: counters, lambda: ready))


def test_given_counters_then_every_one_is_exposed() -> None:
    text = rendered()
    here = {"link": "l", "topic": "orders", "partition": "3"}
    assert value(text, "replicator_records_total", **here) == 7
    assert value(text, "replicator_bytes_total", **here) == 700
    assert value(text, "replicator_batches_total", way="passed", **here) == 2
    assert value(text, "replicator_read_bytes_total", **here) == 900
    assert value(text, "replicator_partition_latency_seconds") == 0.04  # the other one's was long ago
    assert value(text, "replicator_batches_total", way="rebuilt", reason="holes", **here) == 4
    assert value(text, "replicator_batches_total", way="dropped", reason="control", **here) == 5
    assert value(text, "replicator_retries_total", **here) == 1
    assert value(text, "replicator_lag_records", **here) == 9
    assert value(text, "replicator_lag_seconds", **here) == 1.5
    assert value(text, "replicator_source_end_offset", **here) == 100
    assert value(text, "replicator_source_next_offset", **here) == 91
    assert value(text, "replicator_target_next_offset", **here) == 90
    assert value(text, "replicator_partitions", state="FAULTED") == 1
    assert value(text, "replicator_partition_state", reason="CORRUPT_BATCH", topic='a"b\n') == 1
    assert value(text, "replicator_faults_total", reason="CORRUPT_BATCH") == 1
    assert value(text, "replicator_faults_total", reason="NOT_AUTHORIZED") == 0
    assert value(text, "replicator_faulted_partitions", reason="CORRUPT_BATCH") == 1
    assert value(text, "replicator_unread_records", **here) == 4
    assert value(text, "replicator_unread_seconds", **here) == 0.7
    assert value(text, "replicator_memory_in_use_bytes") == 5
    assert value(text, "replicator_memory_limit_bytes") == 10
    assert value(text, "replicator_ready") == 1
    assert value(text, "replicator_build_info") == 1
    assert value(text, "process_resident_memory_bytes") > 0


def test_given_a_link_then_what_its_controller_and_lanes_do_is_exposed() -> None:
    text = rendered()
    assert value(text, "replicator_authorization_failures_total", link="l", topic="orders") == 3
    assert value(text, "replicator_authorization_failures_total", link="l", topic="denied") == 5
    assert value(text, "replicator_source_throttled_seconds_total", link="l") == 2.5
    assert value(text, "replicator_bandwidth_limit_bytes", link="l") == 500
    assert value(text, "replicator_bandwidth_waited_seconds_total", link="l") == 1.5
    assert value(text, "replicator_lanes", link="l", state="running") == 4
    assert value(text, "replicator_lanes", link="l", state="recovering") == 1
    assert value(text, "replicator_lanes_configured", link="l") == 8
    assert value(text, "replicator_controller", link="l") == 1
    assert value(text, "replicator_sync_rounds_total", syncer="groups", result="ok") == 3
    assert value(text, "replicator_sync_rounds_total", syncer="groups", result="failed") == 1
    assert value(text, "replicator_sync_changes_total", syncer="groups") == 8
    assert value(text, "replicator_sync_last_success_timestamp_seconds", syncer="groups") == 1_790_000_000.5
    assert value(text, "replicator_sync_held", syncer="groups", reason="ACTIVE") == 2
    assert value(text, "replicator_group_positions_written_total", link="l") == 6
    assert value(text, "replicator_groups", link="l") == 12
    assert value(text, "replicator_group_sync_failures", link="l") == 3  # who is active isn't a failure
    assert value(text, "replicator_target_throttled_seconds_total", link="l") == 0.5
    assert value(text, "replicator_cluster_reachable") == 1  # of the other nobody has asked yet
    assert value(text, "replicator_authentication_failures_total", cluster="us") == 2
    assert value(text, "replicator_authentication_failures_total", cluster="eu") == 0


def test_given_what_is_sent_elsewhere_then_what_got_there_and_what_did_not_is_exposed() -> None:
    text = rendered()
    assert value(text, "replicator_cloudwatch_sent_total") == 100
    assert value(text, "replicator_cloudwatch_dropped_total", why="full") == 5
    assert value(text, "replicator_cloudwatch_dropped_total", why="refused") == 0
    assert value(text, "replicator_cloudwatch_failures_total") == 2
    assert value(text, "replicator_logs_sent_total", destination="s3") == 7
    assert value(text, "replicator_logs_dropped_total", destination="s3") == 3
    assert value(text, "replicator_logs_failures_total", destination="s3") == 1


def test_given_a_stopped_partition_that_is_not_known_to_be_behind_then_its_lag_is_absent_rather_than_zero() -> None:
    counters = counted()
    part = counters.partitions["l", "orders", 3]
    part.state, part.reason = "FAULTED", "SOURCE_UNREACHABLE"
    assert value(exposition(registry(lambda: counters, lambda: True)), "replicator_lag_records") == 9
    part.lag_records = 0
    text = exposition(registry(lambda: counters, lambda: True))
    assert [s for s in samples(text) if s.name in ("replicator_lag_records", "replicator_unread_records")] == []
    assert value(text, "replicator_source_end_offset") == 100


def test_given_many_partitions_then_lines_can_be_topics_and_the_worst_partitions() -> None:
    counters = counted()
    for partition in range(4, 104):
        calm = PartitionCounters("l", "orders", partition, "COPYING", records=1, source_end=5, source_next=5)
        counters.partitions["l", "orders", partition] = calm
    text = exposition(registry(lambda: counters, lambda: True, partitions=2))
    whole = {"link": "l", "topic": "orders", "partition": "all"}
    assert value(text, "replicator_records_total", topic="orders") == 107
    assert value(text, "replicator_batches_total", way="rebuilt", reason="holes", **whole) == 4
    assert value(text, "replicator_lag_records", topic="orders") == 9
    assert value(text, "replicator_lag_seconds", topic="orders") == 1.5
    assert value(text, "replicator_worst_partition_lag_records") == 9  # of the two, the other one's lag isn't known
    assert value(text, "replicator_worst_partition_lag_seconds", partition="3") == 1.5
    assert value(text, "replicator_partition_state", reason="CORRUPT_BATCH", partition="0") == 1
    assert value(text, "replicator_partitions", state="COPYING") == 101
    assert value(text, "replicator_unread_seconds", **whole) == 0.7
    assert len(samples(text)) < 145


def test_given_observations_then_the_histogram_is_cumulative() -> None:
    text = rendered()
    assert value(text, "replicator_latency_seconds_bucket", le="0.1") == 3
    assert value(text, "replicator_latency_seconds_bucket", le="1.0") == 3
    assert value(text, "replicator_latency_seconds_bucket", le="+Inf") == 4
    assert value(text, "replicator_latency_seconds_count", link="l") == 4
    assert value(text, "replicator_latency_seconds_sum", link="l") == 7.0 + 3 * 0.05


def test_given_a_partition_whose_end_is_unknown_then_its_lag_is_absent_rather_than_zero() -> None:
    lags = [s.labels["topic"] for s in samples(rendered()) if s.name == "replicator_lag_records"]
    assert lags == ["orders"]


def test_given_a_worker_that_is_not_ready_then_it_says_so() -> None:
    assert value(rendered(ready=False), "replicator_ready") == 0


def test_given_the_catalogue_then_the_exposition_has_its_families_and_no_others() -> None:
    summed_up = exposition(registry(counted, lambda: True, partitions=9))
    refused = CollectorRegistry()
    refused.register(Refusals())
    text = merged({"w0": rendered().decode(), "w1": summed_up.decode()}, {"w0": 0}).decode()
    text += exposition(refused).decode()  # the server's own
    families = {f.name: f for f in text_string_to_metric_families(text)}
    everything = (*catalogue.CATALOGUE, *catalogue.PROCESS)
    assert {m.name + ("_info" if m.kind == "info" else "") for m in everything} == set(families)
    for metric in everything:
        family = families[metric.name + ("_info" if metric.kind == "info" else "")]
        assert family.documentation == metric.help
        assert family.type == ("gauge" if metric.kind == "info" else metric.kind)
        assert family.samples, metric
        for sample in family.samples:
            assert sample.name in metric.samples
            of_worker = {"worker"} if metric is not catalogue.HTTP_REFUSED else set()
            assert set(sample.labels) == {*metric.labels} | of_worker | ({"le"} & set(sample.labels))


def test_given_two_workers_then_their_samples_differ_by_worker_and_a_silent_one_is_down() -> None:
    restarts = {"w0": 0, "w1": 2, "w2": 1}
    text = merged({"w0": rendered().decode(), "w1": rendered(ready=False).decode(), "w2": None}, restarts)
    assert value(text, "replicator_worker_restarts_total", worker="w1") == 2
    assert value(text, "replicator_ready", worker="w0") == 1
    assert value(text, "replicator_ready", worker="w1") == 0
    assert value(text, "replicator_worker_up", worker="w1") == 1
    assert value(text, "replicator_worker_up", worker="w2") == 0
    assert value(text, "replicator_latency_seconds_bucket", worker="w1", le="+Inf") == 4
    assert value(text, "replicator_records_total", worker="w1", topic="orders") == 7
    assert text.count(b"# TYPE replicator_records_total counter") == 1


def test_given_partitions_without_a_run_then_they_count_and_what_runs_counts_once() -> None:
    counters = counted()
    paused = PartitionCounters("l", "held", 0, "PAUSED", source_next=7)
    counters.links["l"].resting = {4: [paused, PartitionCounters("l", "orders", 3)]}
    text = exposition(registry(lambda: counters, lambda: True))
    states = {s.labels["state"]: s.value for s in samples(text) if s.name == "replicator_partitions"}
    assert states == {"COPYING": 1, "FAULTED": 1, "PAUSED": 1}
    assert value(text, "replicator_source_next_offset", topic="held") == 7
    assert value(text, "replicator_partition_state", topic="held", state="PAUSED") == 1
    assert [s for s in samples(text) if s.name == "replicator_lag_records" and s.labels["topic"] == "held"] == []
