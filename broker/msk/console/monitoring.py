"""What a replicator does just now, by the names of MSK Replicator's metrics, from what its process shows Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

_MOST_KEPT = 1000


class Monitoring:
    """Remembers the last sample of each replicator, so that bytes become a rate."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._last: dict[str, tuple[float, float]] = {}  # by ARN: when, and how many bytes there had been

    def read(self, arn: str, text: str | None) -> dict[str, Any]:
        """The figures; None where they aren't known. `problem` says why there are none."""
        if text is None:
            self._last.pop(arn, None)
            nothing = dict.fromkeys(("ReplicationLatency", "ReplicatorThroughput", "MessageLag", "ReplicationFailures"))
            return nothing | {
                "topics": None,
                "problem": "The replicator's process doesn't answer; it is being started.",
            }
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        now, total = self._monotonic(), sum(_values(samples, "replicator_bytes_total"))
        before = self._last.get(arn)
        if len(self._last) >= _MOST_KEPT:
            self._last.clear()
        self._last[arn] = now, total
        rate = None
        if before is not None and now > before[0]:
            rate = max(0.0, total - before[1]) / (now - before[0])
        latency = max(_values(samples, "replicator_partition_latency_seconds"), default=None)
        topics = {sample.labels.get("topic") for sample in samples if sample.name == "replicator_bytes_total"}
        return {
            "ReplicationLatency": None if latency is None else latency * 1000,
            "ReplicatorThroughput": rate,
            "MessageLag": sum(_values(samples, "replicator_unread_records")),
            "ReplicationFailures": sum(_values(samples, "replicator_faults_total")),
            "topics": len(topics),
            "problem": None,
        }


def _values(samples: Iterable[Sample], name: str) -> list[float]:
    return [sample.value for sample in samples if sample.name == name]
