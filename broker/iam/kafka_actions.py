"""The `kafka-cluster:*` actions of IAM access control, and the resources that policies call them on.

Source: AWS MSK developer guide, "Semantics of IAM authorization policy actions and resources" (`kafka-actions`). Each
action stands for one operation of Kafka's on one kind of resource. Nothing is included in anything else: who may read a
topic may not describe it, which is why the guide lists required actions. What Kafka knows beside these (CLUSTER_ACTION,
two-phase commit, settings of groups) nobody is allowed by policy, and topics are created by right on the topic alone.
"""

from __future__ import annotations

import re

CONNECT = "kafka-cluster:Connect"

ACTIONS: dict[tuple[str, str], str] = {
    ("CLUSTER", "DESCRIBE"): "DescribeCluster",
    ("CLUSTER", "ALTER"): "AlterCluster",
    ("CLUSTER", "DESCRIBE_CONFIGS"): "DescribeClusterDynamicConfiguration",
    ("CLUSTER", "ALTER_CONFIGS"): "AlterClusterDynamicConfiguration",
    ("CLUSTER", "IDEMPOTENT_WRITE"): "WriteDataIdempotently",
    ("TOPIC", "CREATE"): "CreateTopic",
    ("TOPIC", "DESCRIBE"): "DescribeTopic",
    ("TOPIC", "ALTER"): "AlterTopic",
    ("TOPIC", "DELETE"): "DeleteTopic",
    ("TOPIC", "DESCRIBE_CONFIGS"): "DescribeTopicDynamicConfiguration",
    ("TOPIC", "ALTER_CONFIGS"): "AlterTopicDynamicConfiguration",
    ("TOPIC", "READ"): "ReadData",
    ("TOPIC", "WRITE"): "WriteData",
    ("GROUP", "DESCRIBE"): "DescribeGroup",
    ("GROUP", "READ"): "AlterGroup",
    ("GROUP", "DELETE"): "DeleteGroup",
    ("TRANSACTIONAL_ID", "DESCRIBE"): "DescribeTransactionalId",
    ("TRANSACTIONAL_ID", "WRITE"): "AlterTransactionalId",
}
"""By Kafka's resource type and operation."""

REQUIRED: dict[str, tuple[str, ...]] = {
    "DescribeCluster": ("Connect",),
    "AlterCluster": ("Connect", "DescribeCluster"),
    "DescribeClusterDynamicConfiguration": ("Connect",),
    "AlterClusterDynamicConfiguration": ("Connect", "DescribeClusterDynamicConfiguration"),
    "WriteDataIdempotently": ("Connect", "WriteData"),
    "CreateTopic": ("Connect",),
    "DescribeTopic": ("Connect",),
    "AlterTopic": ("Connect", "DescribeTopic"),
    "DeleteTopic": ("Connect", "DescribeTopic"),
    "DescribeTopicDynamicConfiguration": ("Connect",),
    "AlterTopicDynamicConfiguration": ("Connect", "DescribeTopicDynamicConfiguration"),
    "ReadData": ("Connect", "DescribeTopic", "AlterGroup"),
    "WriteData": ("Connect", "DescribeTopic"),
    "DescribeGroup": ("Connect",),
    "AlterGroup": ("Connect", "DescribeGroup"),
    "DeleteGroup": ("Connect", "DescribeGroup"),
    "DescribeTransactionalId": ("Connect",),
    "AlterTransactionalId": ("Connect", "DescribeTransactionalId", "WriteData"),
}
"""What the guide wants beside each action, without the prefix."""

_CLUSTER_ARN = re.compile(r"(arn:aws[a-z-]*:kafka:[a-z0-9-]*:\d{12}):cluster/([^/]+)/([^/]+)")


class ClusterArns:
    """The ARNs of a cluster and of what is in it."""

    def __init__(self, cluster_arn: str) -> None:
        """ValueError if it isn't the ARN of a cluster."""
        match = _CLUSTER_ARN.fullmatch(cluster_arn)
        if match is None:
            raise ValueError(f"{cluster_arn!r} isn't arn:aws:kafka:REGION:ACCOUNT:cluster/NAME/UUID")
        self.cluster = cluster_arn
        self._head, self._tail = match[1], f"{match[2]}/{match[3]}"

    @property
    def account(self) -> str:
        """Whose the cluster is."""
        return self._head.rpartition(":")[2]

    def resource(self, kind: str, name: str) -> str:
        """The ARN of a topic, group or transactional id; of the cluster itself for CLUSTER."""
        if kind == "CLUSTER":
            return self.cluster
        return f"{self._head}:{kind.lower().replace('_', '-')}/{self._tail}/{name}"


def action_of(kind: str, operation: str) -> str | None:
    """The action for an operation on a kind of resource, as Kafka names them; None: there is none."""
    name = ACTIONS.get((kind, operation))
    return f"kafka-cluster:{name}" if name is not None else None
