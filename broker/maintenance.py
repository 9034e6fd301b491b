"""Work that the broker does by itself, by the clock: retention, compaction, expiry of producers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.storage.retention import apply_retention

if TYPE_CHECKING:
    from broker.cluster import Cluster


class Maintenance:
    """Keeps the intervals that Kafka's background threads keep."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._last: dict[str, float] = {}

    def tick(self) -> None:
        """Do what is due."""
        if self._due("log.retention.check.interval.ms"):
            self.retain()
        if self._due("producer.id.expiration.check.interval.ms"):
            self.expire_producers()

    def retain(self) -> None:
        """Delete segments that are too old or too much."""
        for partition in self._cluster.topics.partitions():
            apply_retention(partition.log)

    def expire_producers(self) -> None:
        """Forget producers whose last batch's records are too old."""
        expiration = self._cluster.config.get_int("producer.id.expiration.ms")
        now_ms = self._cluster.clock.now_ms()
        for partition in self._cluster.topics.partitions():
            partition.log.producer_states.expire(now_ms, expiration)

    def _due(self, setting: str) -> bool:
        now = self._cluster.clock.monotonic()
        last = self._last.setdefault(setting, now)
        if now - last < self._cluster.config.get_int(setting) / 1000:
            return False
        self._last[setting] = now
        return True
