"""From a worker's counters to CloudWatch's data points, once a period, under MSK Replicator's names.

Several workers of a link send points of one and the same metric and moment; each tells of its own share, so that the
statistic in `msk_metrics` (Sum, or Maximum) over the period is the link's. What is one for the whole link comes from
the owner of lane 0 alone. Rates are of whole periods, also of those that a worker has seen in part: times the period
they add up to what was copied, to the byte.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from replicator.telemetry import msk_metrics as msk
from replicator.telemetry.counters import LinkCounters, PartitionCounters, WorkerCounters
from replicator.telemetry.msk_metrics import MskMetric

Key = tuple[str, ...]


class Point(NamedTuple):
    """One data point; `timestamp_s` is since 1970, the period's beginning."""

    name: str
    dimensions: tuple[tuple[str, str], ...]
    unit: str
    value: float
    timestamp_s: float

    def datum(self, resolution_s: int) -> dict[str, Any]:
        """As PutMetricData takes it."""
        return {
            "MetricName": self.name,
            "Dimensions": [{"Name": name, "Value": value} for name, value in self.dimensions],
            "Timestamp": self.timestamp_s,
            "Value": self.value,
            "Unit": self.unit,
            "StorageResolution": resolution_s,
        }


class ReplicatorPoints:
    """What has happened since it was asked last. Asked by one thread."""

    def __init__(self, *, per_topic: bool, max_topics: int, every_s: float) -> None:
        """`every_s` is the period's length."""
        self._per_topic = per_topic
        self._max_topics = max_topics
        self._every_s = every_s
        self._numbers: dict[Key, float] = {}
        # The counters themselves, so that what a partition counted before it went elsewhere isn't lost.
        self._parts: dict[int, tuple[PartitionCounters, int, int]] = {}

    def collect(self, counters: WorkerCounters, timestamp_s: float) -> list[Point]:
        """The points of the period that began at `timestamp_s` and ends now."""
        topics: dict[tuple[str, str], _Sums] = {}
        links: dict[str, _Sums] = {name: _Sums() for name in counters.links}
        living = counters.all_partitions()
        for part, copied, read in self._moved([*_taken(counters.begun), *living]):
            for sums in (topics.setdefault((part.link, part.topic), _Sums()), links.setdefault(part.link, _Sums())):
                sums.copied += copied
                sums.read += read
        for part in living:
            latency_ms = part.take_latency()
            for sums in (topics.setdefault((part.link, part.topic), _Sums()), links.setdefault(part.link, _Sums())):
                sums.add(part, latency_ms)
        points: list[Point] = []

        def say(metric: MskMetric, value: float, *values: str) -> None:
            names = next(names for names in metric.dimensions if len(names) == len(values))
            dimensions = tuple(zip(names, values, strict=True))
            points.append(Point(metric.name, dimensions, metric.unit, value, timestamp_s))

        for name, sums in sorted(links.items()):
            for metric, value in sums.values(self._every_s):
                say(metric, value, name)
            say(msk.BYTES_IN, sums.read / self._every_s, name)
            faults = sum(times for (link, _), times in list(counters.faults.items()) if link == name)
            happened = self._since(("faults", name), faults)
            say(msk.FAILURE, happened, name)
            say(msk.FAILURES, happened, name)
            if (link := counters.links.get(name)) is not None:
                for metric, value, *where in self._of_link(name, link):
                    say(metric, value, name, *where)
        if self._per_topic:
            for (link_name, topic), sums in self._chosen(topics):
                for metric, value in sums.values(self._every_s):
                    say(metric, value, link_name, topic)
        return points

    def _moved(self, living: Iterable[PartitionCounters]) -> Iterator[tuple[PartitionCounters, int, int]]:
        """What each partition has copied and read since last time, those included that aren't ours any more."""
        before, self._parts = self._parts, {}
        for part in living:
            self._parts[id(part)] = part, part.bytes, part.read_bytes
        gone = [part for key, (part, _, _) in before.items() if key not in self._parts]
        for part, copied, read in (*self._parts.values(), *((part, part.bytes, part.read_bytes) for part in gone)):
            _, copied_before, read_before = before.get(id(part), (part, 0, 0))
            yield part, copied - copied_before, read - read_before

    def _of_link(self, name: str, link: LinkCounters) -> Iterator[tuple[Any, ...]]:
        for alias, seen in sorted(link.clusters.items()):
            failures = self._since(("authentication", name, alias), seen.authentication_failures)
            yield msk.AUTH_ERROR, failures / self._every_s, alias
            waited_s = self._since(("throttled", name, alias), seen.throttled_s)
            answers = self._since(("answers", name, alias), seen.answers)
            yield msk.THROTTLE_TIME, 1000 * waited_s / max(1, answers), alias
            if link.controller and seen.reachable is not None:
                yield msk.PING, float(seen.reachable), alias
        if link.controller and "groups" in link.syncers:
            yield msk.GROUPS, float(link.groups)
            yield msk.GROUP_FAILURE, float(link.group_sync_failures)

    def _since(self, key: Key, count: float) -> float:
        """How much more it is than last time; a count that has begun anew counts whole."""
        before = self._numbers.get(key, 0.0)
        self._numbers[key] = count
        return count - before if count >= before else count

    def _chosen(self, topics: dict[tuple[str, str], _Sums]) -> list[tuple[tuple[str, str], _Sums]]:
        chosen = []
        left: dict[str, int] = {}
        for key, sums in sorted(topics.items(), key=lambda item: (-item[1].lag, item[0])):
            left[key[0]] = left.get(key[0], self._max_topics) - 1
            if left[key[0]] >= 0:
                chosen.append((key, sums))
        return chosen


def _taken(begun: deque[PartitionCounters] | None) -> Iterator[PartitionCounters]:
    """Those that have begun since, also if they have ended since: what they copied was copied."""
    while begun:
        yield begun.popleft()


class _Sums:
    """Over partitions."""

    __slots__ = ("copied", "lag", "lag_is_known", "latency_ms", "read")

    def __init__(self) -> None:
        self.copied = self.read = 0
        self.lag = 0
        self.lag_is_known = False
        self.latency_ms = -1

    def add(self, part: PartitionCounters, latency_ms: int) -> None:
        self.latency_ms = max(self.latency_ms, latency_ms)
        if part.lag_is_known:
            self.lag_is_known = True
            self.lag += part.unread_records

    def values(self, every_s: float) -> Iterator[tuple[MskMetric, float]]:
        yield msk.THROUGHPUT, self.copied / every_s
        if self.lag_is_known:
            yield msk.MESSAGE_LAG, float(self.lag)
        if self.latency_ms >= 0:  # unknown isn't 0
            yield msk.LATENCY, float(self.latency_ms)
