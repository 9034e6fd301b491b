"""Every metric that Replicator offers, in one place: name, kind, labels, one sentence.

A name that isn't here doesn't exist: `telemetry.prometheus` builds its families from this list, and a test compares
the two. Units are in the names (`_seconds`, `_bytes`), as Prometheus asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PARTITION = ("link", "topic", "partition")


@dataclass(frozen=True, slots=True)
class Metric:
    """One family; a counter's samples carry the suffix `_total`, which the name leaves out."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    labels: tuple[str, ...]
    help: str


RECORDS = Metric("replicator_records", "counter", PARTITION, "Records acknowledged by the target cluster.")
BYTES = Metric(
    "replicator_bytes", "counter", PARTITION, "Bytes of record batches acknowledged by the target, as written."
)
BATCHES = Metric(
    "replicator_batches",
    "counter",
    (*PARTITION, "way", "reason"),
    "Record batches by way: passed through undecoded, rebuilt (with the reason), or dropped (control, aborted, empty, "
    "looped).",
)
LOOPED_RECORDS = Metric(
    "replicator_looped_records",
    "counter",
    PARTITION,
    "Records of the source that were read and not copied, since a link had brought them there (identical naming).",
)
LOOPED_BYTES = Metric(
    "replicator_looped_bytes", "counter", PARTITION, "Bytes of the record batches behind replicator_looped_records."
)
RETRIES = Metric("replicator_retries", "counter", PARTITION, "Produce requests that were sent again.")
LAG_RECORDS = Metric(
    "replicator_lag_records", "gauge", PARTITION, "Source offsets that aren't on the target yet; absent while unknown."
)
LAG_SECONDS = Metric(
    "replicator_lag_seconds",
    "gauge",
    PARTITION,
    "Age of the oldest record that isn't on the target yet, 0 if there is none; absent while unknown.",
)
SOURCE_END = Metric(
    "replicator_source_end_offset", "gauge", PARTITION, "End of the source partition that readers may see."
)
SOURCE_NEXT = Metric("replicator_source_next_offset", "gauge", PARTITION, "Next source offset to copy.")
TARGET_NEXT = Metric("replicator_target_next_offset", "gauge", PARTITION, "Target offset after the last copied record.")
PARTITION_STATE = Metric(
    "replicator_partition_state", "gauge", (*PARTITION, "state", "reason"), "1 for the state the partition is in now."
)
WORST_LAG_RECORDS = Metric(
    "replicator_worst_partition_lag_records",
    "gauge",
    PARTITION,
    "As replicator_lag_records, of the partitions that are worst off; only with service.metrics_partitions.",
)
WORST_LAG_SECONDS = Metric(
    "replicator_worst_partition_lag_seconds",
    "gauge",
    PARTITION,
    "As replicator_lag_seconds, of the partitions that are worst off; only with service.metrics_partitions.",
)
PARTITIONS = Metric("replicator_partitions", "gauge", ("link", "state"), "Partitions owned by this worker, by state.")
LATENCY = Metric(
    "replicator_latency_seconds",
    "histogram",
    ("link",),
    "From the timestamp of a batch's newest record to the target's acknowledgement of the batch.",
)
FAULTS = Metric(
    "replicator_faults", "counter", ("link", "reason"), "Times a partition was stopped or held up, by reason."
)
MEMORY = Metric("replicator_memory_in_use_bytes", "gauge", (), "Bytes fetched and not yet acknowledged by the target.")
MEMORY_LIMIT = Metric(
    "replicator_memory_limit_bytes", "gauge", (), "Bound of replicator_memory_in_use_bytes (service.memory_bytes)."
)
READY = Metric("replicator_ready", "gauge", (), "1 once this worker has joined and all its lanes have recovered.")
BUILD = Metric("replicator_build", "info", ("version", "python"), "Version of Replicator and of Python.")
WORKER_UP = Metric(
    "replicator_worker_up", "gauge", (), "1 if the worker process answered the parent that asked for its metrics."
)

CATALOGUE = (
    RECORDS,
    BYTES,
    BATCHES,
    LOOPED_RECORDS,
    LOOPED_BYTES,
    RETRIES,
    LAG_RECORDS,
    LAG_SECONDS,
    SOURCE_END,
    SOURCE_NEXT,
    TARGET_NEXT,
    PARTITION_STATE,
    WORST_LAG_RECORDS,
    WORST_LAG_SECONDS,
    PARTITIONS,
    LATENCY,
    FAULTS,
    MEMORY,
    MEMORY_LIMIT,
    READY,
    BUILD,
    WORKER_UP,
)
