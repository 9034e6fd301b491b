"""Every metric that Replicator offers, in one place: name, kind, unit, labels, one sentence.

A name that isn't here doesn't exist: `telemetry.prometheus` builds its families from this list, and tests compare it
with the exposition, with `docs/metrics.md` (made from it by `telemetry.document`), and with every expression of the
dashboards and rules. Units are in the names (`_seconds`, `_bytes`), as Prometheus asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LINK = ("link",)
PARTITION = ("link", "topic", "partition")

Unit = Literal["records", "bytes", "seconds", "batches", "requests", "partitions", "lanes", "offset", "time", "times",
               "positions", "changes", "points", "lines", "resources", "files", "yes/no"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Metric:
    """One family; a counter's samples carry the suffix `_total`, which the name leaves out.

    The unit `time` is seconds since 1970, so that `time() - metric` is an age; `yes/no` is 1 or 0.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    unit: Unit
    labels: tuple[str, ...]
    help: str

    @property
    def samples(self) -> tuple[str, ...]:
        """The names that its samples have."""
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",)}
        return tuple(self.name + suffix for suffix in suffixes.get(self.kind, ("",)))


@dataclass(frozen=True, slots=True)
class Section:
    """Metrics that belong together; `about` introduces them to readers."""

    title: str
    about: str
    metrics: tuple[Metric, ...]


# ---- copying

RECORDS = Metric("replicator_records", "counter", "records", PARTITION, "Records acknowledged by the target cluster.")
BYTES = Metric(
    "replicator_bytes", "counter", "bytes", PARTITION,
    "Bytes of record batches acknowledged by the target, as written.",
)  # fmt: skip
READ_BYTES = Metric(
    "replicator_read_bytes", "counter", "bytes", PARTITION,
    "Bytes of record batches that came from the source, those that aren't copied or are read again included.",
)  # fmt: skip
BATCHES = Metric(
    "replicator_batches", "counter", "batches", (*PARTITION, "way", "reason"),
    "Record batches by way: passed through undecoded, rebuilt (with the reason), or dropped (control, aborted, empty, "
    "looped).",
)  # fmt: skip
LOOPED_RECORDS = Metric(
    "replicator_looped_records", "counter", "records", PARTITION,
    "Records of the source that were read and not copied, since a link had brought them there (identical naming).",
)  # fmt: skip
LOOPED_BYTES = Metric(
    "replicator_looped_bytes", "counter", "bytes", PARTITION,
    "Bytes of the record batches behind replicator_looped_records.",
)  # fmt: skip
RETRIES = Metric("replicator_retries", "counter", "requests", PARTITION, "Produce requests that were sent again.")
LATENCY = Metric(
    "replicator_latency_seconds", "histogram", "seconds", LINK,
    "From the timestamp of a batch's newest record to the target's acknowledgement of the batch.",
)  # fmt: skip
LATENCY_NOW = Metric(
    "replicator_partition_latency_seconds", "gauge", "seconds", PARTITION,
    "The latency of what readers of the target saw last, of all in the last minute; absent if there was nothing.",
)  # fmt: skip
THROTTLED = Metric(
    "replicator_source_throttled_seconds", "counter", "seconds", LINK,
    "Time that the source's brokers told this worker to wait, because of a quota, before it reads on.",
)  # fmt: skip
TARGET_THROTTLED = Metric(
    "replicator_target_throttled_seconds", "counter", "seconds", LINK,
    "Time that the target's brokers told this worker to wait, because of a quota, before it writes on.",
)  # fmt: skip
BANDWIDTH = Metric(
    "replicator_bandwidth_limit_bytes", "gauge", "bytes", LINK,
    "What this worker may read a second for the link, by the lanes that it owns; absent without `bandwidth`.",
)  # fmt: skip
BANDWIDTH_WAITED = Metric(
    "replicator_bandwidth_waited_seconds", "counter", "seconds", LINK,
    "Time that this worker's reading waited because of `bandwidth`, over all its fetch loops.",
)  # fmt: skip

# ---- lag

LAG_RECORDS = Metric(
    "replicator_lag_records", "gauge", "records", PARTITION,
    "Source to target: source offsets that aren't on the target yet; absent while unknown.",
)  # fmt: skip
LAG_SECONDS = Metric(
    "replicator_lag_seconds", "gauge", "seconds", PARTITION,
    "Source to target: age of the oldest record that isn't on the target yet, 0 if there is none; absent while "
    "unknown.",
)  # fmt: skip
UNREAD_RECORDS = Metric(
    "replicator_unread_records", "gauge", "records", PARTITION,
    "Source to Replicator: source offsets that haven't been read yet; absent while unknown.",
)  # fmt: skip
UNREAD_SECONDS = Metric(
    "replicator_unread_seconds", "gauge", "seconds", PARTITION,
    "Source to Replicator: age at most of the oldest record that hasn't been read yet, 0 if there is none; absent "
    "while unknown.",
)  # fmt: skip
WORST_LAG_RECORDS = Metric(
    "replicator_worst_partition_lag_records", "gauge", "records", PARTITION,
    "As replicator_lag_records, of the partitions that are worst off; only with service.metrics_partitions.",
)  # fmt: skip
WORST_LAG_SECONDS = Metric(
    "replicator_worst_partition_lag_seconds", "gauge", "seconds", PARTITION,
    "As replicator_lag_seconds, of the partitions that are worst off; only with service.metrics_partitions.",
)  # fmt: skip
SOURCE_END = Metric(
    "replicator_source_end_offset", "gauge", "offset", PARTITION, "End of the source partition that readers may see."
)
SOURCE_NEXT = Metric("replicator_source_next_offset", "gauge", "offset", PARTITION, "Next source offset to copy.")
TARGET_NEXT = Metric(
    "replicator_target_next_offset", "gauge", "offset", PARTITION, "Target offset after the last copied record."
)

# ---- states and errors

PARTITION_STATE = Metric(
    "replicator_partition_state", "gauge", "yes/no", (*PARTITION, "state", "reason"),
    "1 for the state the partition is in now.",
)  # fmt: skip
PARTITIONS = Metric(
    "replicator_partitions", "gauge", "partitions", ("link", "state"),
    "Partitions owned by this worker, by state; PENDING: not started, as the topic can't be created or taken over yet.",
)  # fmt: skip
FAULTED = Metric(
    "replicator_faulted_partitions", "gauge", "partitions", ("link", "reason"),
    "Partitions owned by this worker that are faulted now, by reason.",
)  # fmt: skip
FAULTS = Metric(
    "replicator_faults", "counter", "times", ("link", "reason"),
    "Times a partition was stopped or held up, by reason.",
)  # fmt: skip
AUTHORIZATION_FAILURES = Metric(
    "replicator_authorization_failures", "counter", "times", ("link", "topic"),
    "Times that a cluster refused what copying the source topic needs; only of topics where that has happened.",
)  # fmt: skip

CLUSTER = ("link", "cluster")
CLUSTER_REACHABLE = Metric(
    "replicator_cluster_reachable", "gauge", "yes/no", CLUSTER,
    "1 if the cluster has answered a question of this worker in the last 30 s; absent before the first was asked.",
)  # fmt: skip
AUTHENTICATION_FAILURES = Metric(
    "replicator_authentication_failures", "counter", "times", CLUSTER,
    "Connections that a cluster refused because of credentials or TLS, or that its own proof failed on.",
)  # fmt: skip

# ---- keeping in step

SYNCER = ("link", "syncer")
SYNC_ROUNDS = Metric(
    "replicator_sync_rounds", "counter", "times", (*SYNCER, "result"),
    "Rounds in which a syncer looked at both clusters, by result: ok, or failed because a cluster didn't answer.",
)  # fmt: skip
SYNC_LAST = Metric(
    "replicator_sync_last_success_timestamp_seconds", "gauge", "time", SYNCER,
    "When a syncer's last round ended that didn't fail; absent before the first one.",
)  # fmt: skip
SYNC_CHANGES = Metric(
    "replicator_sync_changes", "counter", "changes", SYNCER,
    "Differences on the target that a syncer found and set out to change.",
)  # fmt: skip
SYNC_HELD = Metric(
    "replicator_sync_held", "gauge", "resources", (*SYNCER, "reason"),
    "What isn't kept in step now, by reason: topics, settings, ACLs, groups; `replicator status` names them.",
)  # fmt: skip
GROUPS = Metric(
    "replicator_groups", "gauge", "resources", LINK, "Consumer groups of the source whose positions are kept in step."
)
GROUP_SYNC_FAILURES = Metric(
    "replicator_group_sync_failures", "gauge", "resources", LINK,
    "Groups whose positions can't be written now, since a cluster refuses it or doesn't know how; 1 at least while "
    "whole rounds fail.",
)  # fmt: skip
GROUP_POSITIONS = Metric(
    "replicator_group_positions_written", "counter", "positions", LINK,
    "Positions of consumer groups that were written on the target.",
)  # fmt: skip

# ---- drills

DRILL_LAST = Metric(
    "replicator_drill_last_timestamp_seconds", "gauge", "time", LINK, "When the link's last drill began."
)
DRILL_OK = Metric(
    "replicator_drill_success", "gauge", "yes/no", LINK, "1 if the link's last drill succeeded, 0 if it failed."
)
DRILL_LAST_GOOD = Metric(
    "replicator_drill_last_success_timestamp_seconds", "gauge", "time", LINK,
    "When the last drill began that succeeded; absent before the first one.",
)  # fmt: skip
DRILL_RTO = Metric(
    "replicator_drill_rto_seconds", "gauge", "seconds", LINK,
    "How long the clients of the last drill could write nowhere (recovery time).",
)  # fmt: skip
DRILL_RPO_RECORDS = Metric(
    "replicator_drill_rpo_records", "gauge", "records", LINK,
    "Records of the last drill that the copy hadn't when it was used (recovery point).",
)  # fmt: skip
DRILL_RPO_SECONDS = Metric(
    "replicator_drill_rpo_seconds", "gauge", "seconds", LINK, "How old the oldest of replicator_drill_rpo_records was."
)

# ---- workers

READY = Metric(
    "replicator_ready", "gauge", "yes/no", (), "1 once this worker has joined and all its lanes have recovered."
)
LANES = Metric(
    "replicator_lanes", "gauge", "lanes", ("link", "state"),
    "Lanes owned by this worker, by state: running, or recovering (their partitions aren't copied yet).",
)  # fmt: skip
LANES_CONFIGURED = Metric(
    "replicator_lanes_configured", "gauge", "lanes", LINK,
    "Lanes that the link has, over all workers (lanes in its configuration).",
)  # fmt: skip
CONTROLLER = Metric(
    "replicator_controller", "gauge", "yes/no", LINK,
    "1 if this worker owns the link's lane 0: it creates topics and runs the syncers.",
)  # fmt: skip
MEMORY = Metric(
    "replicator_memory_in_use_bytes", "gauge", "bytes", (), "Bytes fetched and not yet acknowledged by the target."
)
MEMORY_LIMIT = Metric(
    "replicator_memory_limit_bytes", "gauge", "bytes", (),
    "Bound of replicator_memory_in_use_bytes (service.memory_bytes).",
)  # fmt: skip
BUILD = Metric("replicator_build", "info", "yes/no", ("version", "python"), "Version of Replicator and of Python.")
WORKER_UP = Metric(
    "replicator_worker_up", "gauge", "yes/no", (),
    "1 if the worker process answered the parent that asked for its metrics.",
)  # fmt: skip
WORKER_RESTARTS = Metric(
    "replicator_worker_restarts", "counter", "times", (),
    "Times that the parent started the worker process again because it had ended.",
)  # fmt: skip

# ---- what is sent elsewhere

CLOUDWATCH_SENT = Metric(
    "replicator_cloudwatch_sent", "counter", "points", (), "Data points that CloudWatch has taken; with "
    "service.cloudwatch.",
)  # fmt: skip
CLOUDWATCH_DROPPED = Metric(
    "replicator_cloudwatch_dropped", "counter", "points", ("why",),
    "Data points that CloudWatch will never have: the queue was full, or they were refused.",
)  # fmt: skip
CLOUDWATCH_FAILURES = Metric(
    "replicator_cloudwatch_failures",
    "counter",
    "requests",
    (),
    "PutMetricData requests that failed; most are repeated.",
)
LOGS_SENT = Metric(
    "replicator_logs_sent", "counter", "lines", ("destination",),
    "Log lines that a destination of service.log_delivery has taken.",
)  # fmt: skip
LOGS_DROPPED = Metric(
    "replicator_logs_dropped", "counter", "lines", ("destination",),
    "Log lines that a destination will never have: its buffer was full, or they were refused. stderr has them.",
)  # fmt: skip
LOGS_FAILURES = Metric(
    "replicator_logs_failures", "counter", "requests", ("destination",),
    "Deliveries that failed; they are repeated while the buffer has room.",
)  # fmt: skip

# ---- the process: prometheus_client makes these

PROCESS = (
    Metric("process_cpu_seconds", "counter", "seconds", (), "Total user and system CPU time spent in seconds."),
    Metric("process_resident_memory_bytes", "gauge", "bytes", (), "Resident memory size in bytes."),
    Metric("process_virtual_memory_bytes", "gauge", "bytes", (), "Virtual memory size in bytes."),
    Metric("process_start_time_seconds", "gauge", "time", (), "Start time of the process since unix epoch in seconds."),
    Metric("process_open_fds", "gauge", "files", (), "Number of open file descriptors."),
    Metric("process_max_fds", "gauge", "files", (), "Maximum number of open file descriptors."),
)

# ---- the HTTP API

HTTP_REFUSED = Metric(
    "replicator_http_refused", "counter", "requests", ("why",),
    "Requests to the HTTP API that were refused: no token, a wrong one, a role that may only view, a foreign page.",
)  # fmt: skip

SECTIONS = (
    Section(
        "Copying",
        "What reached the target. Counts begin anew when a partition moves to another worker, which `rate()` and "
        "`increase()` allow for.",
        (RECORDS, BYTES, READ_BYTES, BATCHES, LOOPED_RECORDS, LOOPED_BYTES, RETRIES, LATENCY, LATENCY_NOW, THROTTLED,
         TARGET_THROTTLED, BANDWIDTH, BANDWIDTH_WAITED),
    ),
    Section(
        "Lag",
        "How far behind, in two legs: what isn't read yet (`unread`), and what isn't on the target yet (`lag`, which "
        "includes the former). Of a partition that is stopped and isn't known to be behind, nobody knows how far it "
        "is behind: it has no lag rather than 0.",
        (LAG_RECORDS, LAG_SECONDS, UNREAD_RECORDS, UNREAD_SECONDS, WORST_LAG_RECORDS, WORST_LAG_SECONDS,
         SOURCE_END, SOURCE_NEXT, TARGET_NEXT),
    ),
    Section(
        "States and errors",
        "What doesn't run, and why. The reasons are those of `replicator status`.",
        (PARTITION_STATE, PARTITIONS, FAULTED, FAULTS, AUTHORIZATION_FAILURES, CLUSTER_REACHABLE,
         AUTHENTICATION_FAILURES),
    ),
    Section(
        "Keeping in step",
        "Topics, settings, ACLs, consumer groups, and MirrorMaker 2's checkpoints and heartbeats. One worker of a link "
        "does this, its controller; only that worker has these metrics.",
        (SYNC_ROUNDS, SYNC_LAST, SYNC_CHANGES, SYNC_HELD, GROUPS, GROUP_SYNC_FAILURES, GROUP_POSITIONS),
    ),
    Section(
        "Drills",
        "What `replicator drill` has shown last. Only the link's controller has these metrics.",
        (DRILL_LAST, DRILL_OK, DRILL_LAST_GOOD, DRILL_RTO, DRILL_RPO_RECORDS, DRILL_RPO_SECONDS),
    ),
    Section(
        "Workers",
        "With `replicator run --workers N`, one address answers for N processes: each sample has the label `worker`.",
        (READY, LANES, LANES_CONFIGURED, CONTROLLER, MEMORY, MEMORY_LIMIT, BUILD, WORKER_UP, WORKER_RESTARTS),
    ),
    Section(
        "Sent elsewhere",
        "What `service.cloudwatch` and `service.log_delivery` do ([docs/cloudwatch.md](cloudwatch.md)); absent without "
        "them.",
        (CLOUDWATCH_SENT, CLOUDWATCH_DROPPED, CLOUDWATCH_FAILURES, LOGS_SENT, LOGS_DROPPED, LOGS_FAILURES),
    ),
    Section("HTTP", "Of the address that is scraped, whoever is behind it.", (HTTP_REFUSED,)),
    Section("Process", "Of each worker process, under the names that all Python services use.", PROCESS),
)  # fmt: skip


CATALOGUE = tuple(metric for section in SECTIONS for metric in section.metrics if metric not in PROCESS)
"""Those that Replicator itself makes."""
