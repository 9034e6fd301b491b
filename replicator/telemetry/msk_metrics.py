"""MSK Replicator's CloudWatch metrics: name, dimensions, unit, statistic, meaning, and what they are in `/metrics`.

Source: Amazon MSK Developer Guide, "MSK Replicator metrics reference" (`msk-replicator-metrics-ref`). The namespace
there is `AWS/Kafka`, which nobody but Amazon may write to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

REPLICATOR, TOPIC, CLUSTER = "ReplicatorName", "Topic", "ClusterAlias"

_LINK = ((REPLICATOR,),)
_LINK_AND_TOPIC = ((REPLICATOR,), (REPLICATOR, TOPIC))
_OF_CLUSTER = ((REPLICATOR, CLUSTER),)


@dataclass(frozen=True, slots=True)
class MskMetric:
    """One of them. `statistic` is the one that is right over several workers, for the period that they send in."""

    name: str
    dimensions: tuple[tuple[str, ...], ...]
    unit: Literal["Milliseconds", "Count", "Bytes/Second"]
    statistic: Literal["Maximum", "Sum"]
    meaning: str
    prometheus: tuple[str, ...]  # names of the catalogue


LATENCY = MskMetric(
    "ReplicationLatency", _LINK_AND_TOPIC, "Milliseconds", "Maximum",
    "From a record's timestamp until readers of the target see it, the largest of the period. There is no point when "
    "nothing was copied: with MSK Replicator it drops to 0 then, which looks the same as a topic that is broken.",
    ("replicator_partition_latency_seconds", "replicator_latency_seconds"),
)  # fmt: skip
MESSAGE_LAG = MskMetric(
    "MessageLag", _LINK_AND_TOPIC, "Count", "Sum",
    "Records of the source that Replicator hasn't read yet. No point while that isn't known.",
    ("replicator_unread_records",),
)  # fmt: skip
THROUGHPUT = MskMetric(
    "ReplicatorThroughput", _LINK_AND_TOPIC, "Bytes/Second", "Sum",
    "Bytes that the target has acknowledged, a second.", ("replicator_bytes",),
)  # fmt: skip
BYTES_IN = MskMetric(
    "ReplicatorBytesInPerSec", _LINK, "Bytes/Second", "Sum",
    "Bytes read from the source, a second, those that aren't copied included (what a link had brought there).",
    ("replicator_read_bytes",),
)  # fmt: skip
FAILURE = MskMetric(
    "ReplicatorFailure", _LINK, "Count", "Sum",
    "Times that a partition was stopped or held up: too large a record, a timestamp out of range, no permission …",
    ("replicator_faults",),
)  # fmt: skip
FAILURES = MskMetric(
    "ReplicationFailures", _LINK, "Count", "Sum",
    "The same: the troubleshooting pages of MSK Replicator call it so.", ("replicator_faults",),
)  # fmt: skip
AUTH_ERROR = MskMetric(
    "AuthError", _OF_CLUSTER, "Count", "Sum",
    "Connections a second that the cluster refused because of credentials or TLS.",
    ("replicator_authentication_failures",),
)  # fmt: skip
THROTTLE_TIME = MskMetric(
    "ThrottleTime", _OF_CLUSTER, "Milliseconds", "Maximum",
    "How long the cluster's brokers made a fetch (source) or a produce request (target) wait because of a quota, on "
    "average.",
    ("replicator_source_throttled_seconds", "replicator_target_throttled_seconds"),
)  # fmt: skip
PING = MskMetric(
    "KafkaClusterPingSuccessCount", _OF_CLUSTER, "Count", "Sum",
    "1 while the cluster answers the worker that owns lane 0. 0, or no point at all: it doesn't, or nobody owns it.",
    ("replicator_cluster_reachable",),
)  # fmt: skip
GROUPS = MskMetric(
    "ConsumerGroupCount", _LINK, "Count", "Sum", "Consumer groups whose positions are kept in step.",
    ("replicator_groups",),
)  # fmt: skip
GROUP_FAILURE = MskMetric(
    "ConsumerGroupOffsetSyncFailure", _LINK, "Count", "Sum",
    "Groups whose positions can't be written: a cluster refuses it, or doesn't answer. Should be 0.",
    ("replicator_group_sync_failures",),
)  # fmt: skip

MSK_METRICS = (
    LATENCY, MESSAGE_LAG, THROUGHPUT, BYTES_IN, FAILURE, FAILURES, AUTH_ERROR, THROTTLE_TIME, PING, GROUPS,
    GROUP_FAILURE,
)  # fmt: skip
