"""What a node counts while it serves: a few integers for each request and batch.

A meter's rate is Yammer's and so Kafka's OneMinuteRate: an exponentially weighted mean over a minute, brought up to
date every five seconds (`com.yammer.metrics.stats.EWMA`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

TICK_S = 5.0
_MINUTE_S = 60.0


class Meter:
    """A count that is bumped as it is (`meter.count += 1`), and its rate a second."""

    __slots__ = ("_last", "_started", "count", "rate")

    def __init__(self) -> None:
        self.count: float = 0
        self.rate = 0.0
        self._last: float = 0
        self._started = False

    def tick(self, elapsed_s: float) -> None:
        """So long has passed since the last time."""
        now = (self.count - self._last) / elapsed_s
        self._last = self.count
        if self._started:
            self.rate += (1 - math.exp(-elapsed_s / _MINUTE_S)) * (now - self.rate)
        else:
            self.rate, self._started = now, True


class TopicCounts:
    """One topic's, on one node."""

    __slots__ = ("bytes_in", "bytes_out", "failed_fetches", "failed_produces", "fetches", "messages_in", "produces")

    def __init__(self) -> None:
        self.bytes_in = Meter()
        self.bytes_out = Meter()
        self.messages_in = Meter()
        self.produces = Meter()
        self.fetches = Meter()
        self.failed_produces = Meter()
        self.failed_fetches = Meter()

    def meters(self) -> Iterator[tuple[str, Meter]]:
        """By the names that they have in Kafka's BrokerTopicMetrics."""
        yield "BytesInPerSec", self.bytes_in
        yield "BytesOutPerSec", self.bytes_out
        yield "MessagesInPerSec", self.messages_in
        yield "TotalProduceRequestsPerSec", self.produces
        yield "TotalFetchRequestsPerSec", self.fetches
        yield "FailedProduceRequestsPerSec", self.failed_produces
        yield "FailedFetchRequestsPerSec", self.failed_fetches


class ApiCounts:
    """One API's requests on one node: how many, how long they took with all waiting, how large they were."""

    __slots__ = ("requests", "size_bytes", "total_s")

    def __init__(self) -> None:
        self.requests = Meter()
        self.total_s = Meter()
        self.size_bytes = Meter()

    @property
    def mean_ms(self) -> float:
        """How long they took in the last minute, on average; 0 without any."""
        return 1000 * self.total_s.rate / self.requests.rate if self.requests.rate > 1e-9 else 0.0

    @property
    def mean_bytes(self) -> float:
        """How large they were in the last minute, on average."""
        return self.size_bytes.rate / self.requests.rate if self.requests.rate > 1e-9 else 0.0


class LogInCounts:
    """A listener's: log-ins by SASL, renewals included."""

    __slots__ = ("failed", "succeeded")

    def __init__(self) -> None:
        self.succeeded = Meter()
        self.failed = Meter()


class NodeCounts:
    """One node's."""

    def __init__(self) -> None:
        self.topics: dict[str, TopicCounts] = {}
        self.apis: dict[str, ApiCounts] = {}
        self.connections_made = Meter()
        self.connections_closed = Meter()
        self.listeners: dict[str, LogInCounts] = {}

    def log_ins(self, listener: str) -> LogInCounts:
        """The counts of a listener."""
        return self.listeners.setdefault(listener, LogInCounts())

    def topic(self, name: str) -> TopicCounts:
        """The topic's counts."""
        found = self.topics.get(name)
        if found is None:
            found = self.topics[name] = TopicCounts()
        return found

    def served(self, api: str, size: int, seconds: float) -> None:
        """A request of this API was answered, refused, or broken off."""
        found = self.apis.get(api)
        if found is None:
            found = self.apis[api] = ApiCounts()
        found.requests.count += 1
        found.total_s.count += seconds
        found.size_bytes.count += size

    def tick(self, elapsed_s: float, topics: frozenset[str]) -> None:
        """Bring the rates up to date, and forget topics that aren't there any more."""
        for name in self.topics.keys() - topics:
            del self.topics[name]
        for topic in self.topics.values():
            for _, meter in topic.meters():
                meter.tick(elapsed_s)
        for api in self.apis.values():
            for meter in (api.requests, api.total_s, api.size_bytes):
                meter.tick(elapsed_s)
        self.connections_made.tick(elapsed_s)
        self.connections_closed.tick(elapsed_s)
        for listener in self.listeners.values():
            listener.succeeded.tick(elapsed_s)
            listener.failed.tick(elapsed_s)


class Rates:
    """Ticks the meters of all nodes, whenever five seconds have passed."""

    def __init__(self, now_s: float) -> None:
        self._last_s = now_s

    def tick(self, now_s: float, nodes: list[NodeCounts], topics: Iterator[str]) -> None:
        """Call it often; `now_s` is monotonic."""
        elapsed_s = now_s - self._last_s
        if elapsed_s < TICK_S:
            return
        self._last_s = now_s
        names = frozenset(topics)
        for counts in nodes:
            counts.tick(elapsed_s, names)
