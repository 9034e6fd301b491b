"""The exposition: `WorkerCounters` become Prometheus families when somebody asks, and at no other time."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from replicator import __version__
from replicator.states import Reason, State
from replicator.telemetry import catalogue
from replicator.telemetry.aggregate import WHOLE_TOPIC, by_topic, worst
from replicator.telemetry.counters import DrillCounters, Histogram, LinkCounters, PartitionCounters, WorkerCounters

_LATENCY_IS_OLD_MS = 60_000
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def registry(
    counters: Callable[[], WorkerCounters], ready: Callable[[], bool], *, partitions: int | None = None
) -> CollectorRegistry:
    """A registry of this worker's counts and of its process (CPU, memory, file descriptors, start time).

    `partitions`: of how many partitions there are lines, the others being summed up by topic; None: of all.
    """
    made = CollectorRegistry(auto_describe=False)
    made.register(WorkerCollector(counters, ready, partitions))
    ProcessCollector(registry=made)
    return made


def exposition(source: CollectorRegistry) -> bytes:
    """Prometheus' text format; may be called from another thread than the one that counts."""
    return generate_latest(source)


class WorkerCollector(Collector):
    """Renders one worker's counters, while they are counted: each number is right, two of them are a moment apart."""

    def __init__(
        self, counters: Callable[[], WorkerCounters], ready: Callable[[], bool], partitions: int | None
    ) -> None:
        self._counters = counters
        self._ready = ready
        self._own_lines = partitions

    def collect(self) -> Iterator[Metric]:
        """All families of the catalogue that a worker itself offers."""
        counters = self._counters()
        partitions = counters.all_partitions()
        if self._own_lines is None:
            yield from _each(partitions)
        else:
            yield from _summed_up(partitions, self._own_lines)
        yield from _links(counters, partitions)
        yield from _outboxes(counters)
        yield gauge(catalogue.MEMORY, [((), counters.memory_in_use_bytes)])
        yield gauge(catalogue.MEMORY_LIMIT, [((), counters.memory_limit_bytes)])
        yield gauge(catalogue.READY, [((), 1 if self._ready() else 0)])
        build = InfoMetricFamily(catalogue.BUILD.name, catalogue.BUILD.help)
        build.add_metric((), {"version": __version__, "python": platform.python_version()})
        yield build


Samples = Iterable[tuple[tuple[str, ...], float]]


Labelled = list[tuple[tuple[str, str, str], PartitionCounters]]


def _each(partitions: list[PartitionCounters]) -> Iterator[Metric]:
    labelled = _labels(partitions)
    known = _known(labelled)
    yield from _counts(labelled, known)
    ends = [(labels, part.source_end) for labels, part in labelled if part.source_end >= 0]
    yield gauge(catalogue.SOURCE_END, ends)
    yield gauge(
        catalogue.SOURCE_NEXT, [(labels, part.source_next) for labels, part in labelled if part.source_next >= 0]
    )
    yield gauge(
        catalogue.TARGET_NEXT, [(labels, part.target_next) for labels, part in labelled if part.target_next >= 0]
    )
    yield _states(labelled)


def _summed_up(partitions: list[PartitionCounters], own_lines: int) -> Iterator[Metric]:
    topics = _labels(by_topic(partitions))
    yield from _counts(topics, _known(topics))
    named = _labels(worst(partitions, own_lines))
    known = _known(named)
    yield gauge(catalogue.WORST_LAG_RECORDS, [(labels, part.lag_records) for labels, part in known])
    yield gauge(catalogue.WORST_LAG_SECONDS, [(labels, part.lag_ms / 1000) for labels, part in known])
    yield _states(named)


def _labels(partitions: list[PartitionCounters]) -> Labelled:
    return [
        ((part.link, part.topic, "all" if part.partition == WHOLE_TOPIC else str(part.partition)), part)
        for part in partitions
    ]


def _known(labelled: Labelled) -> Labelled:
    return [(labels, part) for labels, part in labelled if part.lag_is_known]


def _counts(labelled: Labelled, known: Labelled) -> Iterator[Metric]:
    yield counter(catalogue.RECORDS, [(labels, part.records) for labels, part in labelled])
    yield counter(catalogue.BYTES, [(labels, part.bytes) for labels, part in labelled])
    yield counter(catalogue.READ_BYTES, [(labels, part.read_bytes) for labels, part in labelled])
    yield counter(catalogue.BATCHES, _batches(labelled))
    looping = [(labels, part) for labels, part in labelled if part.looped_records]
    yield counter(catalogue.LOOPED_RECORDS, [(labels, part.looped_records) for labels, part in looping])
    yield counter(catalogue.LOOPED_BYTES, [(labels, part.looped_bytes) for labels, part in looping])
    yield counter(catalogue.RETRIES, [(labels, part.retries) for labels, part in labelled])
    since_ms = time.time() * 1000 - _LATENCY_IS_OLD_MS
    fresh = [(labels, part) for labels, part in labelled if part.latency_ms >= 0 and part.latency_at_ms >= since_ms]
    yield gauge(catalogue.LATENCY_NOW, [(labels, part.latency_ms / 1000) for labels, part in fresh])
    yield gauge(catalogue.LAG_RECORDS, [(labels, part.lag_records) for labels, part in known])
    yield gauge(catalogue.LAG_SECONDS, [(labels, part.lag_ms / 1000) for labels, part in known])
    yield gauge(catalogue.UNREAD_RECORDS, [(labels, part.unread_records) for labels, part in known])
    yield gauge(catalogue.UNREAD_SECONDS, [(labels, part.unread_ms / 1000) for labels, part in known])


def _states(labelled: Labelled) -> Metric:
    return gauge(
        catalogue.PARTITION_STATE, [((*labels, part.state, part.reason or ""), 1) for labels, part in labelled]
    )


def _batches(labelled: Labelled) -> Iterator[tuple[tuple[str, ...], float]]:
    for labels, part in labelled:
        yield (*labels, "passed", ""), part.batches_passed
        for reason, count in list(part.batches_rebuilt.items()):
            yield (*labels, "rebuilt", reason), count
        for reason, count in list(part.batches_dropped.items()):
            yield (*labels, "dropped", reason), count


def _links(counters: WorkerCounters, partitions: list[PartitionCounters]) -> Iterator[Metric]:
    states = Counter((part.link, str(part.state)) for part in partitions)
    yield gauge(catalogue.PARTITIONS, sorted(states.items()))
    faulted = Counter((part.link, str(part.reason)) for part in partitions if part.state == State.FAULTED)
    yield gauge(catalogue.FAULTED, sorted(faulted.items()))
    yield counter(catalogue.FAULTS, _faults(counters))
    latency = HistogramMetricFamily(catalogue.LATENCY.name, catalogue.LATENCY.help, labels=catalogue.LATENCY.labels)
    for link, histogram in list(counters.latency.items()):
        buckets, total = _buckets(histogram)
        latency.add_metric((link,), buckets, total)
    yield latency
    links = sorted(counters.links.items())
    yield counter(catalogue.AUTHORIZATION_FAILURES, _authorization_failures(links, partitions))
    yield counter(catalogue.THROTTLED, [((name,), link.throttled_s) for name, link in links])
    yield from _clusters(links)
    capped = [((name,), link.bandwidth_bytes) for name, link in links if link.bandwidth_bytes is not None]
    yield gauge(catalogue.BANDWIDTH, capped)
    yield counter(catalogue.BANDWIDTH_WAITED, [((name,), link.bandwidth_waited_s) for name, link in links])
    lanes = [((name, "running"), link.running) for name, link in links]
    lanes += [((name, "recovering"), link.recovering) for name, link in links]
    yield gauge(catalogue.LANES, lanes)
    yield gauge(catalogue.LANES_CONFIGURED, [((name,), link.lanes) for name, link in links])
    yield from _drills([((name,), link.drill) for name, link in links if link.drill is not None])
    yield gauge(catalogue.CONTROLLER, [((name,), int(link.controller)) for name, link in links])
    yield from _syncers(links)
    yield counter(
        catalogue.GROUP_POSITIONS, [((name,), link.group_positions) for name, link in links if link.controller]
    )
    syncing = [(name, link) for name, link in links if link.controller and "groups" in link.syncers]
    yield gauge(catalogue.GROUPS, [((name,), link.groups) for name, link in syncing])
    yield gauge(catalogue.GROUP_SYNC_FAILURES, [((name,), link.group_sync_failures) for name, link in syncing])


def _clusters(links: list[tuple[str, LinkCounters]]) -> Iterator[Metric]:
    yield counter(catalogue.TARGET_THROTTLED, [((name,), link.target_throttled_s) for name, link in links])
    each = [((name, alias), seen) for name, link in links for alias, seen in list(link.clusters.items())]
    known = [(labels, int(seen.reachable)) for labels, seen in each if seen.reachable is not None]
    yield gauge(catalogue.CLUSTER_REACHABLE, known)
    yield counter(catalogue.AUTHENTICATION_FAILURES, [(labels, seen.authentication_failures) for labels, seen in each])


def _outboxes(counters: WorkerCounters) -> Iterator[Metric]:
    if (points := counters.cloudwatch) is not None:
        yield counter(catalogue.CLOUDWATCH_SENT, [((), points.sent)])
        dropped = {"full": 0, "refused": 0} | points.dropped
        yield counter(catalogue.CLOUDWATCH_DROPPED, [((why,), count) for why, count in dropped.items()])
        yield counter(catalogue.CLOUDWATCH_FAILURES, [((), points.failures)])
    if logs := sorted(counters.logs.items()):
        yield counter(catalogue.LOGS_SENT, [((name,), sent.sent) for name, sent in logs])
        yield counter(catalogue.LOGS_DROPPED, [((name,), sum(sent.dropped.values())) for name, sent in logs])
        yield counter(catalogue.LOGS_FAILURES, [((name,), sent.failures) for name, sent in logs])


def _faults(counters: WorkerCounters) -> list[tuple[tuple[str, str], float]]:
    """Every reason from the beginning, with 0: else `increase()` wouldn't see the first of each."""
    counts = {(link, reason.value): 0 for link in counters.links for reason in Reason} | counters.faults
    return sorted(counts.items())


def _authorization_failures(
    links: list[tuple[str, LinkCounters]], partitions: list[PartitionCounters]
) -> list[tuple[tuple[str, str], float]]:
    refused: Counter[tuple[str, str]] = Counter()
    for part in partitions:
        if part.authorization_failures:
            refused[part.link, part.topic] += part.authorization_failures
    for name, link in links:
        for topic, times in list(link.authorization_failures.items()):
            refused[name, topic] += times
    return sorted(refused.items())


def _drills(drills: list[tuple[tuple[str], DrillCounters]]) -> Iterator[Metric]:
    yield gauge(catalogue.DRILL_LAST, [(label, each.at_s) for label, each in drills])
    yield gauge(catalogue.DRILL_OK, [(label, int(each.ok)) for label, each in drills])
    for metric, values in (
        (catalogue.DRILL_LAST_GOOD, [(label, each.last_good_s) for label, each in drills]),
        (catalogue.DRILL_RTO, [(label, each.rto_s) for label, each in drills]),
        (catalogue.DRILL_RPO_RECORDS, [(label, each.rpo_records) for label, each in drills]),
        (catalogue.DRILL_RPO_SECONDS, [(label, each.rpo_s) for label, each in drills]),
    ):
        yield gauge(metric, [(label, value) for label, value in values if value is not None])


def _syncers(links: list[tuple[str, LinkCounters]]) -> Iterator[Metric]:
    each = [((name, syncer), found) for name, link in links for syncer, found in list(link.syncers.items())]
    yield counter(
        catalogue.SYNC_ROUNDS,
        [
            ((*labels, result), times)
            for labels, found in each
            for result, times in (("ok", found.rounds), ("failed", found.failures))
        ],
    )
    yield gauge(catalogue.SYNC_LAST, [(labels, found.last_success_s) for labels, found in each if found.last_success_s])
    yield counter(catalogue.SYNC_CHANGES, [(labels, found.changes) for labels, found in each])
    yield gauge(
        catalogue.SYNC_HELD,
        [((*labels, reason), count) for labels, found in each for reason, count in sorted(found.held.items())],
    )


def _buckets(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    running = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), list(histogram.counts), strict=True):
        running += count
        buckets.append((bound, running))
    return buckets, histogram.total


def counter(metric: catalogue.Metric, samples: Samples) -> Metric:
    """The family with these samples: (labels, value)."""
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def gauge(metric: catalogue.Metric, samples: Samples) -> Metric:
    """As `counter`."""
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
