"""The dashboards of one topic of a link, and of the workers."""

from __future__ import annotations

from dashboards.overview_and_link import JOB, RATE, J
from dashboards.panels import dashboard, graph, number, table, variable

T = '{job=~"$job",link="$link",topic="$topic"}'
W = '{job=~"$job",instance=~"$instance"}'
WORKER = "{{instance}} {{worker}}"

TOPIC = dashboard(
    "replicator-topic",
    "Topic",
    "One topic of a link, by partition. With service.metrics_partitions set, lines are the topic's sums, and only the "
    "partitions that are worst off have lines of their own.",
    [
        JOB,
        variable("link", 'label_values(replicator_lanes_configured{job=~"$job"}, link)', "Link", many=False),
        variable(
            "topic", 'label_values(replicator_records_total{job=~"$job",link="$link"}, topic)', "Topic", many=False
        ),
    ],
    [
        ("Now", [
            number("Oldest record waiting", "s", "Age of the oldest record that isn't on the target yet.",
                   f"max(replicator_lag_seconds{T})", warn=60, bad=300, width=6),
            number("Records waiting", "short", "Source offsets that aren't on the target yet.",
                   f"sum(replicator_lag_records{T})", width=6),
            number("Partitions not copied", "none", "Partitions in another state than COPYING.",
                   'count(replicator_partition_state{job=~"$job",link="$link",topic="$topic",state!="COPYING"} == 1) '
                   "or vector(0)", bad=1, width=6),
            number("Authorization failures", "none", "Times in the last hour that a cluster refused what it needs.",
                   f"sum(increase(replicator_authorization_failures_total{T}[1h])) or vector(0)", bad=1, width=6),
        ]),
        ("Rate and lag", [
            graph("Records copied", "si:rec/s", "Acknowledged by the target, of all partitions.",
                  (f"sum(rate(replicator_records_total{T}{RATE}))", "copied"),
                  (f"sum(rate(replicator_looped_records_total{T}{RATE}))", "looped")),
            graph("Bytes copied", "Bps", "As written on the target, of all partitions.",
                  (f"sum(rate(replicator_bytes_total{T}{RATE}))", "copied")),
            graph("Records waiting, by partition", "short", "Source offsets that aren't on the target yet; the twenty "
                  "worst.",
                  (f"topk(20, max by (partition) (replicator_lag_records{T}))", "{{partition}}"),
                  (f"topk(20, max by (partition) (replicator_worst_partition_lag_records{T}))", "{{partition}}")),
            graph("Oldest record waiting, by partition", "s", "Age of the oldest record that isn't on the target yet; "
                  "the twenty worst.",
                  (f"topk(20, max by (partition) (replicator_lag_seconds{T}))", "{{partition}}"),
                  (f"topk(20, max by (partition) (replicator_worst_partition_lag_seconds{T}))", "{{partition}}")),
            graph("Records waiting, by leg", "short", "Source to Replicator: not read yet. Replicator to target: read, "
                  "and not acknowledged yet.",
                  (f"sum(replicator_unread_records{T})", "source to Replicator"),
                  (f"sum(replicator_lag_records{T}) - sum(replicator_unread_records{T})", "Replicator to target"),
                  stacked=True),
            graph("Oldest unread record, by partition", "s", "Age at most of the oldest record that isn't read yet; "
                  "the twenty worst.",
                  (f"topk(20, max by (partition) (replicator_unread_seconds{T}))", "{{partition}}")),
            graph("Growth of the source", "si:rec/s", "Offsets that the source's partitions gained, per second: beside "
                  "Records copied, whether copying keeps up.",
                  (f"sum(deriv(replicator_source_end_offset{T}[5m]))", "source")),
            graph("Produce requests sent again", "reqps", "After an error that heals, or a lost answer.",
                  (f"sum(rate(replicator_retries_total{T}{RATE}))", "retries")),
        ]),
        ("Partitions", [
            table("Positions", "Offsets of each partition.", "partition", [
                ("Source end", "none", f"max by (partition) (replicator_source_end_offset{T})"),
                ("Next to copy", "none", f"max by (partition) (replicator_source_next_offset{T})"),
                ("Target", "none", f"max by (partition) (replicator_target_next_offset{T})"),
                ("Records waiting", "short", f"max by (partition) (replicator_lag_records{T})"),
                ("Oldest record", "s", f"max by (partition) (replicator_lag_seconds{T})"),
            ], width=14),
            graph("Partitions by state and reason", "none", "`replicator status` gives each its next command.",
                  (f"count by (state, reason) (replicator_partition_state{T} == 1)", "{{state}} {{reason}}"),
                  width=10, stacked=True),
            graph("Record batches by way", "si:batch/s", "Passed through undecoded, rebuilt or dropped, with the "
                  "reason.",
                  (f"sum by (way, reason) (rate(replicator_batches_total{T}{RATE}))", "{{way}} {{reason}}"),
                  width=24, stacked=True),
        ]),
    ],
)  # fmt: skip

WORKERS = dashboard(
    "replicator-workers",
    "Workers",
    "The processes: what they use, what they own, whether they stay up.",
    [JOB, variable("instance", 'label_values(replicator_ready{job=~"$job"}, instance)', "Instance")],
    [
        ("Now", [
            number("Workers ready", "none", "Workers that have joined and whose lanes have all recovered.",
                   f"sum(replicator_ready{W}) or vector(0)", bad=1, low_is_bad=True, width=6),
            number("Workers not ready", "none", "Their /readyz says what they wait for.",
                   f"count(replicator_ready{W} == 0) or vector(0)", bad=1, width=6),
            number("Workers that don't answer", "none", "Children that didn't answer their parent.",
                   f"count(replicator_worker_up{W} == 0) or vector(0)", bad=1, width=6),
            number("Starts", "none", "Times in the last hour that a parent started a worker again.",
                   f"sum(increase(replicator_worker_restarts_total{W}[1h])) or vector(0)", warn=1, bad=3, width=6),
        ]),
        ("Resources", [
            graph("CPU", "percentunit", "Of one core; a worker can use one.",
                  (f"rate(process_cpu_seconds_total{W}{RATE})", WORKER)),
            graph("Memory", "bytes", "Resident memory of the process.",
                  (f"process_resident_memory_bytes{W}", WORKER)),
            graph("Memory of records under way", "bytes", "Fetched and not yet acknowledged by the target; at the "
                  "limit the worker reads no more until the target has acknowledged some.",
                  (f"replicator_memory_in_use_bytes{W}", WORKER),
                  (f"max(replicator_memory_limit_bytes{W})", "limit")),
            graph("Open files and connections", "none", "File descriptors of the process.",
                  (f"process_open_fds{W}", WORKER)),
        ]),
        ("Work", [
            graph("Records copied", "si:rec/s", "Records that the target acknowledged, by worker.",
                  (f"sum by (instance, worker) (rate(replicator_records_total{W}{RATE}))", WORKER), stacked=True),
            graph("Bytes copied", "Bps", "As written on the target, by worker.",
                  (f"sum by (instance, worker) (rate(replicator_bytes_total{W}{RATE}))", WORKER), stacked=True),
            graph("Lanes", "none", "Owned by each worker, by state.",
                  (f"sum by (instance, worker, state) (replicator_lanes{W})", WORKER + " {{state}}"), stacked=True),
            graph("Partitions", "none", "Owned by each worker, by state.",
                  (f"sum by (instance, worker, state) (replicator_partitions{W})", WORKER + " {{state}}"),
                  stacked=True),
            graph("Controller", "none", "Which worker runs the syncers of each link.",
                  (f"replicator_controller{W} == 1", "{{link}}: " + WORKER)),
            graph("Uptime", "s", "Time since the process started; it drops when a worker starts again.",
                  (f"time() - process_start_time_seconds{W}", WORKER)),
            table("Versions", "How many workers run each version.", "version", [
                ("Workers", "none", f"count by (version) (replicator_build_info{J})"),
            ], height=6),
        ]),
    ],
)  # fmt: skip
