"""Publishing to CloudWatch while a worker runs: a thread of its own that looks at the counters once a period."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import structlog

from replicator.config.telemetry import CloudWatchConfig
from replicator.telemetry.cloudwatch import CloudWatchOutbox, make_client
from replicator.telemetry.cloudwatch_points import ReplicatorPoints
from replicator.telemetry.counters import OutboxCounters, WorkerCounters

log = structlog.get_logger(__name__)

LAST_SEND_S = 1.0  # at the end: workers have 5 s to stop


class CloudWatchLoop:
    """Starts with `start`, ends with `stop`, which sends the period begun. Nothing of it is on the event loop."""

    def __init__(
        self,
        config: CloudWatchConfig,
        counters: Callable[[], WorkerCounters],
        sent: OutboxCounters,
        *,
        client: Callable[[CloudWatchConfig], Any] = make_client,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._every_s = config.every
        self._counters = counters
        self._sent = sent
        self._now_s = now_s
        self._points = ReplicatorPoints(per_topic=config.per_topic, max_topics=config.max_topics, every_s=config.every)
        self._outbox = CloudWatchOutbox(
            config.namespace, sent, lambda: client(config), resolution_s=60 if config.every >= 60 else 1
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cloudwatch", daemon=True)

    def start(self) -> None:
        """Begin with the next full period."""
        self._thread.start()

    def stop(self) -> None:
        """Send what there is, a few seconds at most. Blocks."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(LAST_SEND_S + 0.2)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s - self._now_s() % self._every_s):
            self._publish_surely(self._every_s * 0.9)
        self._publish_surely(LAST_SEND_S)

    def _publish_surely(self, within_s: float) -> None:
        try:
            self._publish(within_s)
        except Exception:  # what goes wrong in one period mustn't end all the others
            self._sent.failures += 1
            log.exception("metrics couldn't be made ready for CloudWatch")

    def _publish(self, within_s: float) -> None:
        """One period. Its points bear the time of its beginning: all workers' meet there."""
        now_s = self._now_s()
        period_s = (now_s - 0.5 * self._every_s) // self._every_s * self._every_s
        self._outbox.add(self._points.collect(self._counters(), period_s))
        self._outbox.send(within_s, self._stop)
