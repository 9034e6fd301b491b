"""Work that the broker does by itself, by the clock: retention, compaction, expiry of producers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker.storage.compaction import cleaning, needs_cleaning
from broker.storage.log import PartitionLog
from broker.storage.retention import apply_retention

if TYPE_CHECKING:
    from broker.cluster import Cluster

STEPS_AT_ONCE = 20  # batches cleaned before clients get their turn


class Maintenance:
    """Keeps the intervals that Kafka's background threads keep."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._last: dict[str, float] = {}
        self._cleaning: asyncio.Task[None] | None = None

    def tick(self) -> None:
        """Do what is due."""
        if self._due("log.retention.check.interval.ms"):
            self.retain()
        if self._due("producer.id.expiration.check.interval.ms"):
            self.expire_producers()
        if self._due("log.cleaner.backoff.ms") and self._cluster.config.get_bool("log.cleaner.enable"):
            self._start_cleaning()

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

    def _start_cleaning(self) -> None:
        if self._cleaning is not None and not self._cleaning.done():
            return
        dirty = [p.log for p in self._cluster.topics.partitions() if needs_cleaning(p.log)]
        if dirty:
            self._cleaning = self._cluster.spawn(self._clean(dirty), "log-cleaner")

    async def _clean(self, logs: list[PartitionLog]) -> None:
        for log in logs:
            for step, _ in enumerate(cleaning(log)):
                if step % STEPS_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _due(self, setting: str) -> bool:
        now = self._cluster.clock.monotonic()
        last = self._last.setdefault(setting, now)
        if now - last < self._cluster.config.get_int(setting) / 1000:
            return False
        self._last[setting] = now
        return True
