"""Data points on their way to CloudWatch: a bounded queue, requests within PutMetricData's limits, patience.

Limits (API reference of PutMetricData): 1,000 points and 1 MB a request; botocore compresses what is over 10 KB.
Nothing here runs on the event loop.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from replicator.config.telemetry import CloudWatchConfig
from replicator.telemetry.cloudwatch_points import Point
from replicator.telemetry.counters import OutboxCounters

log = structlog.get_logger(__name__)

MAX_QUEUED = 50_000  # points: about 20 MB, and with 500 topics half an hour without CloudWatch
MAX_POINTS = 1_000
MAX_BYTES = 900_000
_POINT_BYTES = 500  # at most, in any of the service's protocols, beside names and values
BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 20.0)
# What would be refused again. Anything else (throttling, no credentials yet, no network) may be better soon.
REFUSALS = frozenset({
    "InvalidParameterCombination", "InvalidParameterCombinationException", "InvalidParameterValue",
    "InvalidParameterValueException", "MissingParameter", "MissingRequiredParameterException", "ValidationError",
    "InvalidFormat", "RequestEntityTooLarge",
})  # fmt: skip


def make_client(config: CloudWatchConfig) -> Any:
    """boto3's client, with credentials by its default chain. Takes a third of a second: not for the event loop."""
    import boto3
    from botocore.config import Config

    patience = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "max_attempts": 3})
    return boto3.client("cloudwatch", region_name=config.region, endpoint_url=config.endpoint_url, config=patience)


class CloudWatchOutbox:
    """Points that wait, and their sending. `add` is for any thread, `send` for one at a time."""

    def __init__(
        self,
        namespace: str,
        counters: OutboxCounters,
        client: Callable[[], Any],
        *,
        resolution_s: int = 60,
        max_queued: int = MAX_QUEUED,
        backoff_s: tuple[float, ...] = BACKOFF_S,
    ) -> None:
        self._namespace = namespace
        self._counters = counters
        self._make_client = client
        self._client: Any = None
        self._resolution_s = resolution_s
        self._max_queued = max_queued
        self._backoff_s = backoff_s
        self._queue: deque[Point] = deque()
        self._lock = threading.Lock()
        self._said = ""

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, points: Iterable[Point]) -> None:
        """Have these sent. Of more than there is room for, the oldest are dropped, and counted."""
        with self._lock:
            self._queue.extend(points)
            excess = len(self._queue) - self._max_queued
            for _ in range(excess):
                self._queue.popleft()
        if excess > 0:
            self._counters.drop("full", excess)

    def send(self, within_s: float, stop: threading.Event) -> None:
        """Send what waits, and try again what failed, until all is sent, time is up, or `stop` is set."""
        deadline = time.monotonic() + within_s
        tries = 0
        while (batch := self._next_batch()) and not (tries and stop.is_set()):
            if self._put(batch):
                tries = 0
                continue
            pause_s = self._backoff_s[min(tries, len(self._backoff_s) - 1)]
            tries += 1
            if time.monotonic() + pause_s > deadline:
                return
            stop.wait(pause_s)

    def _next_batch(self) -> list[Point]:
        batch: list[Point] = []
        size = 0
        with self._lock:
            for point in self._queue:
                size += _POINT_BYTES + 3 * sum(len(name) + len(value) for name, value in point.dimensions)
                if batch and (size > MAX_BYTES or len(batch) == MAX_POINTS):
                    break
                batch.append(point)
        return batch

    def _put(self, batch: list[Point]) -> bool:
        """Whether the batch is done with."""
        try:
            if self._client is None:
                self._client = self._make_client()
            data = [point.datum(self._resolution_s) for point in batch]
            self._client.put_metric_data(Namespace=self._namespace, MetricData=data)
        except (BotoCoreError, ClientError) as error:
            self._counters.failures += 1
            self._say(error)
            if not isinstance(error, ClientError) or error.response["Error"].get("Code") not in REFUSALS:
                return False
            self._counters.drop("refused", len(batch))
        else:
            self._counters.sent += len(batch)
            if self._said:
                self._said = ""
                log.info("CloudWatch takes metrics again")
        self._forget(batch)
        return True

    def _forget(self, batch: list[Point]) -> None:
        """Those of the batch that the bound hasn't dropped meanwhile are the queue's first."""
        done = {id(point) for point in batch}
        with self._lock:
            while self._queue and id(self._queue[0]) in done:
                self._queue.popleft()

    def _say(self, error: Exception) -> None:
        kind = error.response["Error"].get("Code", "") if isinstance(error, ClientError) else type(error).__name__
        if kind != self._said:  # once, until it has become another one
            self._said = kind
            log.warning(
                "CloudWatch doesn't take metrics",
                error=str(error), waiting=len(self._queue),
                next_step="see that there are credentials, that they allow cloudwatch:PutMetricData for the namespace, "
                "and that the endpoint can be reached",
            )  # fmt: skip
