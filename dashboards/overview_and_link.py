"""The dashboards of all links and of one."""

from __future__ import annotations

from dashboards.panels import dashboard, graph, number, table, variable

J = '{job=~"$job"}'
L = '{job=~"$job",link="$link"}'
RATE = "[$__rate_interval]"
JOB = variable("job", "label_values(replicator_ready, job)", "Job")
LINK_DASHBOARD = "/d/replicator-link?var-link=${__value.text}&${datasource:queryparam}&${job:queryparam}"
TOPIC_DASHBOARD = (
    "/d/replicator-topic?var-link=${link}&var-topic=${__value.text}&${datasource:queryparam}&${job:queryparam}"
)

OVERVIEW = dashboard(
    "replicator-overview",
    "Overview",
    "All links at a glance: is everything copied, how far behind, what is stopped.",
    [JOB],
    [
        ("Now", [
            number("Workers ready", "none", "Workers that have joined and whose lanes have all recovered.",
                   f"sum(replicator_ready{J}) or vector(0)", bad=1, low_is_bad=True),
            number("Lanes not run", "none", "Lanes that no worker runs now: their partitions aren't copied.",
                   f"sum(max by (job, link) (replicator_lanes_configured{J}) - sum by (job, link) "
                   '(replicator_lanes{job=~"$job",state="running"}))', bad=1),
            number("Partitions stopped", "none", "Partitions in state FAULTED; dashboard Link shows why.",
                   f"sum(replicator_faulted_partitions{J}) or vector(0)", bad=1),
            number("Oldest record waiting", "s", "Age of the oldest record that isn't on its target yet: what would be "
                   "lost of a link, in time, if its source were lost now.",
                   f"max(replicator_lag_seconds{J})", warn=60, bad=300),
            number("Records waiting", "short", "Source offsets that aren't on their target yet.",
                   f"sum(replicator_lag_records{J})"),
            number("Not kept in step", "none", "Topics, settings, ACLs and groups that are held back for a reason; "
                   "groups that are in use on the target don't count.",
                   'sum(replicator_sync_held{job=~"$job",reason!~"ACTIVE|NO_AUTHORIZER"}) or vector(0)', warn=1),
        ]),
        ("Links", [
            table("Links", "A line per link; a click opens it.", "link", [
                ("Records/s", "short", f"sum by (link) (rate(replicator_records_total{J}{RATE}))"),
                ("Bytes/s", "Bps", f"sum by (link) (rate(replicator_bytes_total{J}{RATE}))"),
                ("Records waiting", "short", f"sum by (link) (replicator_lag_records{J})"),
                ("Oldest record", "s", f"max by (link) (replicator_lag_seconds{J})"),
                ("p99 latency", "s", "histogram_quantile(0.99, sum by (link, le) "
                 f"(rate(replicator_latency_seconds_bucket{J}{RATE})))"),
                ("Partitions", "none", f"sum by (link) (replicator_partitions{J})"),
                ("Stopped", "none", f"sum by (link) (replicator_faulted_partitions{J}) "
                 f"or 0 * sum by (link) (replicator_partitions{J})"),
                ("Lanes run", "none", 'sum by (link) (replicator_lanes{job=~"$job",state="running"})'),
            ], link=LINK_DASHBOARD),
            graph("Records copied", "si:rec/s", "Records that the target acknowledged, per second.",
                  (f"sum by (link) (rate(replicator_records_total{J}{RATE}))", "{{link}}")),
            graph("Bytes copied", "Bps", "Bytes of record batches, as written on the target.",
                  (f"sum by (link) (rate(replicator_bytes_total{J}{RATE}))", "{{link}}")),
            graph("Oldest record waiting", "s", "Age of the oldest record that isn't on the target yet. A gap in the "
                  "line: nobody knows.", (f"max by (link) (replicator_lag_seconds{J})", "{{link}}")),
            graph("Records waiting", "short", "Source offsets that aren't on the target yet.",
                  (f"sum by (link) (replicator_lag_records{J})", "{{link}}")),
            graph("Latency, 99th percentile", "s", "From a record's timestamp to the target's acknowledgement, of what "
                  "was copied in each interval.",
                  ("histogram_quantile(0.99, sum by (link, le) "
                   f"(rate(replicator_latency_seconds_bucket{J}{RATE})))", "{{link}}")),
            graph("Partitions stopped", "none", "By link and reason.",
                  (f"sum by (link, reason) (replicator_faulted_partitions{J})", "{{link}} {{reason}}")),
        ]),
    ],
)  # fmt: skip

LINK = dashboard(
    "replicator-link",
    "Link",
    "One link: its rates, both legs of its lag, its latency, what is stopped, what is kept in step.",
    [JOB, variable("link", 'label_values(replicator_lanes_configured{job=~"$job"}, link)', "Link", many=False)],
    [
        ("Now", [
            number("Oldest record waiting", "s", "Age of the oldest record that isn't on the target yet.",
                   f"max(replicator_lag_seconds{L})", warn=60, bad=300),
            number("Records waiting", "short", "Source offsets that aren't on the target yet.",
                   f"sum(replicator_lag_records{L})"),
            number("Partitions stopped", "none", "Partitions in state FAULTED.",
                   f"sum(replicator_faulted_partitions{L}) or vector(0)", bad=1),
            number("Partitions", "none", "Partitions that workers own.", f"sum(replicator_partitions{L})"),
            number("Lanes not run", "none", "Lanes that no worker runs now: their partitions aren't copied.",
                   f"max(replicator_lanes_configured{L}) - "
                   'sum(replicator_lanes{job=~"$job",link="$link",state="running"})', bad=1),
            number("Controllers", "none", "Workers that create topics and run the syncers: 1, but for moments.",
                   f"sum(replicator_controller{L})", bad=1, low_is_bad=True),
        ]),
        ("Rate and lag", [
            graph("Records", "si:rec/s", "Copied: acknowledged by the target. Looped: read and not copied, as a link "
                  "had brought them there.",
                  (f"sum(rate(replicator_records_total{L}{RATE}))", "copied"),
                  (f"sum(rate(replicator_looped_records_total{L}{RATE}))", "looped")),
            graph("Bytes", "Bps", "Copied: as written on the target. Looped: see Records.",
                  (f"sum(rate(replicator_bytes_total{L}{RATE}))", "copied"),
                  (f"sum(rate(replicator_looped_bytes_total{L}{RATE}))", "looped")),
            graph("Records waiting, by leg", "short", "Source to Replicator: not read yet. Replicator to target: read, "
                  "and not acknowledged yet.",
                  (f"sum(replicator_unread_records{L})", "source to Replicator"),
                  (f"sum(replicator_lag_records{L}) - sum(replicator_unread_records{L})", "Replicator to target"),
                  stacked=True),
            graph("Oldest record waiting", "s", "Of what isn't on the target yet, and of what isn't read yet.",
                  (f"max(replicator_lag_seconds{L})", "source to target"),
                  (f"max(replicator_unread_seconds{L})", "source to Replicator")),
            graph("Latency", "s", "From a record's timestamp to the target's acknowledgement.",
                  *((f"histogram_quantile({q}, sum by (le) (rate(replicator_latency_seconds_bucket{L}{RATE})))", name)
                    for q, name in ((0.5, "half within"), (0.95, "95 % within"), (0.99, "99 % within")))),
            table("Topics that are furthest behind", "Ten of them; a click opens one.", "topic", [
                ("Oldest record", "s", f"topk(10, max by (topic) (replicator_lag_seconds{L}))"),
                ("Records waiting", "short", f"topk(10, sum by (topic) (replicator_lag_records{L}))"),
            ], link=TOPIC_DASHBOARD, width=12),
        ]),
        ("States and errors", [
            graph("Partitions by state", "none", "Partitions that workers own.",
                  (f"sum by (state) (replicator_partitions{L})", "{{state}}"), stacked=True),
            graph("Partitions stopped, by reason", "none", "In state FAULTED now; `replicator status` names them.",
                  (f"sum by (reason) (replicator_faulted_partitions{L})", "{{reason}}"), stacked=True),
            graph("Errors by reason", "none", "Times that a partition was stopped or held up, in each interval.",
                  (f"sum by (reason) (increase(replicator_faults_total{L}{RATE}))", "{{reason}}")),
            graph("Authorization failures by topic", "none", "Times that a cluster refused what a topic needs, in each "
                  "interval.",
                  (f"sum by (topic) (increase(replicator_authorization_failures_total{L}{RATE}))", "{{topic}}")),
            graph("Produce requests sent again", "reqps", "After an error that heals, or a lost answer.",
                  (f"sum(rate(replicator_retries_total{L}{RATE}))", "retries")),
            graph("Throttled by the source", "percentunit", "Part of the time that workers had to wait for a quota, "
                  "summed over workers.",
                  (f"sum(rate(replicator_source_throttled_seconds_total{L}{RATE}))", "waiting")),
        ]),
        ("Record batches", [
            graph("By way", "si:batch/s", "Passed through undecoded, which is cheap; rebuilt; dropped.",
                  (f"sum by (way) (rate(replicator_batches_total{L}{RATE}))", "{{way}}"), stacked=True),
            graph("Rebuilt and dropped, by reason", "si:batch/s", "Why they weren't passed through.",
                  ('sum by (way, reason) (rate(replicator_batches_total{job=~"$job",link="$link",way!="passed"}'
                   f"{RATE}))", "{{way}}: {{reason}}")),
        ]),
        ("Kept in step", [
            graph("Time since the last round", "s", "Of each syncer: how old what it knows is.",
                  (f"time() - max by (syncer) (replicator_sync_last_success_timestamp_seconds{L})", "{{syncer}}")),
            graph("Held back", "none", "What isn't kept in step, by reason; `replicator status` names it.",
                  (f"sum by (syncer, reason) (replicator_sync_held{L})", "{{syncer}}: {{reason}}")),
            graph("Positions of groups written", "si:pos/s", "On the target.",
                  (f"sum(rate(replicator_group_positions_written_total{L}{RATE}))", "positions")),
            graph("Changes", "none", "Differences that syncers found and set out to change, in each interval.",
                  (f"sum by (syncer) (increase(replicator_sync_changes_total{L}{RATE}))", "{{syncer}}")),
            graph("Rounds", "si:round/s", "By syncer and result; failed: a cluster didn't answer.",
                  (f"sum by (syncer, result) (rate(replicator_sync_rounds_total{L}{RATE}))", "{{syncer}} {{result}}")),
        ]),
    ],
)  # fmt: skip
