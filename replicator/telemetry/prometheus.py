"""The exposition: `WorkerCounters` become Prometheus families when somebody asks, and at no other time."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

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
from replicator.states import State
from replicator.telemetry import catalogue
from replicator.telemetry.aggregate import WHOLE_TOPIC, by_topic, worst
from replicator.telemetry.counters import Histogram, LinkCounters, PartitionCounters, WorkerCounters

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
        partitions = list(counters.partitions.values())
        if self._own_lines is None:
            yield from _each(partitions)
        else:
            yield from _summed_up(partitions, self._own_lines)
        yield from _links(counters, partitions)
        yield _gauge(catalogue.MEMORY, [((), counters.memory_in_use_bytes)])
        yield _gauge(catalogue.MEMORY_LIMIT, [((), counters.memory_limit_bytes)])
        yield _gauge(catalogue.READY, [((), 1 if self._ready() else 0)])
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
    yield _gauge(catalogue.SOURCE_END, ends)
    yield _gauge(
        catalogue.SOURCE_NEXT, [(labels, part.source_next) for labels, part in labelled if part.source_next >= 0]
    )
    yield _gauge(
        catalogue.TARGET_NEXT, [(labels, part.target_next) for labels, part in labelled if part.target_next >= 0]
    )
    yield _states(labelled)


def _summed_up(partitions: list[PartitionCounters], own_lines: int) -> Iterator[Metric]:
    topics = _labels(by_topic(partitions))
    yield from _counts(topics, _known(topics))
    named = _labels(worst(partitions, own_lines))
    known = _known(named)
    yield _gauge(catalogue.WORST_LAG_RECORDS, [(labels, part.lag_records) for labels, part in known])
    yield _gauge(catalogue.WORST_LAG_SECONDS, [(labels, part.lag_ms / 1000) for labels, part in known])
    yield _states(named)


def _labels(partitions: list[PartitionCounters]) -> Labelled:
    return [
        ((part.link, part.topic, "all" if part.partition == WHOLE_TOPIC else str(part.partition)), part)
        for part in partitions
    ]


def _known(labelled: Labelled) -> Labelled:
    return [(labels, part) for labels, part in labelled if part.lag_is_known]


def _counts(labelled: Labelled, known: Labelled) -> Iterator[Metric]:
    yield _counter(catalogue.RECORDS, [(labels, part.records) for labels, part in labelled])
    yield _counter(catalogue.BYTES, [(labels, part.bytes) for labels, part in labelled])
    yield _counter(catalogue.BATCHES, _batches(labelled))
    looping = [(labels, part) for labels, part in labelled if part.looped_records]
    yield _counter(catalogue.LOOPED_RECORDS, [(labels, part.looped_records) for labels, part in looping])
    yield _counter(catalogue.LOOPED_BYTES, [(labels, part.looped_bytes) for labels, part in looping])
    yield _counter(catalogue.RETRIES, [(labels, part.retries) for labels, part in labelled])
    yield _gauge(catalogue.LAG_RECORDS, [(labels, part.lag_records) for labels, part in known])
    yield _gauge(catalogue.LAG_SECONDS, [(labels, part.lag_ms / 1000) for labels, part in known])
    yield _gauge(catalogue.UNREAD_RECORDS, [(labels, part.unread_records) for labels, part in known])
    yield _gauge(catalogue.UNREAD_SECONDS, [(labels, part.unread_ms / 1000) for labels, part in known])


def _states(labelled: Labelled) -> Metric:
    return _gauge(
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
    yield _gauge(catalogue.PARTITIONS, sorted(states.items()))
    faulted = Counter((part.link, str(part.reason)) for part in partitions if part.state == State.FAULTED)
    yield _gauge(catalogue.FAULTED, sorted(faulted.items()))
    yield _counter(
        catalogue.FAULTS, [((link, str(reason)), count) for (link, reason), count in list(counters.faults.items())]
    )
    latency = HistogramMetricFamily(catalogue.LATENCY.name, catalogue.LATENCY.help, labels=catalogue.LATENCY.labels)
    for link, histogram in list(counters.latency.items()):
        buckets, total = _buckets(histogram)
        latency.add_metric((link,), buckets, total)
    yield latency
    links = sorted(counters.links.items())
    yield _counter(catalogue.AUTHORIZATION_FAILURES, _authorization_failures(links, partitions))
    yield _counter(catalogue.THROTTLED, [((name,), link.throttled_s) for name, link in links])
    lanes = [((name, "running"), link.running) for name, link in links]
    lanes += [((name, "recovering"), link.recovering) for name, link in links]
    yield _gauge(catalogue.LANES, lanes)
    yield _gauge(catalogue.LANES_CONFIGURED, [((name,), link.lanes) for name, link in links])
    yield _gauge(catalogue.CONTROLLER, [((name,), int(link.controller)) for name, link in links])
    yield from _syncers(links)
    yield _counter(
        catalogue.GROUP_POSITIONS, [((name,), link.group_positions) for name, link in links if link.controller]
    )


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


def _syncers(links: list[tuple[str, LinkCounters]]) -> Iterator[Metric]:
    each = [((name, syncer), found) for name, link in links for syncer, found in list(link.syncers.items())]
    yield _counter(
        catalogue.SYNC_ROUNDS,
        [
            ((*labels, result), times)
            for labels, found in each
            for result, times in (("ok", found.rounds), ("failed", found.failures))
        ],
    )
    yield _gauge(
        catalogue.SYNC_LAST, [(labels, found.last_success_s) for labels, found in each if found.last_success_s]
    )
    yield _counter(catalogue.SYNC_CHANGES, [(labels, found.changes) for labels, found in each])
    yield _gauge(
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


def _counter(metric: catalogue.Metric, samples: Samples) -> Metric:
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _gauge(metric: catalogue.Metric, samples: Samples) -> Metric:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def merged(expositions: Mapping[str, str | None], restarts: Mapping[str, int] | None = None) -> bytes:
    """One exposition of several workers', each sample with the label `worker`; None: that one didn't answer.

    `restarts`: how often each was started again.

    Works on lines, as `exposition` writes them: parsing and writing a large one again takes ten times as long.
    """
    labels = ("worker",)
    up = _gauge(
        replace(catalogue.WORKER_UP, labels=labels),
        [((worker,), 0 if text is None else 1) for worker, text in sorted(expositions.items())],
    )
    started = _counter(
        replace(catalogue.WORKER_RESTARTS, labels=labels),
        [((worker,), times) for worker, times in sorted((restarts or {}).items())],
    )
    families: dict[str, list[str]] = {}  # name -> its HELP and TYPE lines, then samples
    for worker, text in sorted(expositions.items()):
        samples: list[str] = []
        known = False
        for line in (text or "").splitlines():
            if line.startswith("# HELP "):
                name = line.split(" ", 3)[2]
                known = name in families
                samples = families.setdefault(name, [])
            if not line.startswith("#"):
                samples.append(_labelled(line, worker))
            elif not known:
                samples.append(line)
    lines = [line for family in families.values() for line in family]
    return generate_latest(_Ready([up, started])) + "".join(f"{line}\n" for line in lines).encode()


def _labelled(line: str, worker: str) -> str:
    """The sample with one more label; a `{` before the first space opens the others."""
    name, space, value = line.partition(" ")
    bare, brace, labels = name.partition("{")
    if brace:
        return f'{bare}{{worker="{worker}",{labels}{space}{value}'
    return f'{name}{{worker="{worker}"}}{space}{value}'


class _Ready(CollectorRegistry):
    """Families that are there already, in the shape `generate_latest` takes."""

    def __init__(self, families: list[Metric]) -> None:
        super().__init__(auto_describe=False)
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """The families as they are."""
        return iter(self._families)
