"""What the archive counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class Counters:
    """One registry of its own, so that two archives in a process don't mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.records = Counter("archive_records", "Records in objects", ["topic"], registry=self.registry)
        self.dead_letters = Counter(
            "archive_dead_letters", "Records that can't be decoded", ["topic"], registry=self.registry
        )
        self.objects = Counter("archive_objects", "Objects written", ["topic"], registry=self.registry)
        self.overtaken = Counter(
            "archive_overtaken", "Objects that another process wrote first", registry=self.registry
        )
        self.commit_failures = Counter(
            "archive_commit_failures", "Commits to the group that failed", registry=self.registry
        )
        self.buffered_bytes = Gauge("archive_buffered_bytes", "Memory of objects being filled", registry=self.registry)
