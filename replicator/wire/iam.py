"""What operations of Kafka's are called among the IAM actions of Amazon MSK.

Brokers refuse in Kafka's words, whichever of ACLs and policies is in force, so messages name both. Source: AWS MSK
developer guide, "Semantics of IAM authorization policy actions and resources".
"""

from __future__ import annotations

TOPIC, GROUP, TRANSACTIONAL_ID, CLUSTER = "topic", "group", "transactional id", "cluster"

ACTIONS = {
    (TOPIC, "Create"): "CreateTopic",
    (TOPIC, "Describe"): "DescribeTopic",
    (TOPIC, "DescribeConfigs"): "DescribeTopicDynamicConfiguration",
    (TOPIC, "Read"): "ReadData",
    (TOPIC, "Write"): "WriteData",
    (TOPIC, "Alter"): "AlterTopic",
    (TOPIC, "AlterConfigs"): "AlterTopicDynamicConfiguration",
    (TOPIC, "Delete"): "DeleteTopic",
    (GROUP, "Describe"): "DescribeGroup",
    (GROUP, "Read"): "AlterGroup",
    (GROUP, "Delete"): "DeleteGroup",
    (TRANSACTIONAL_ID, "Describe"): "DescribeTransactionalId",
    (TRANSACTIONAL_ID, "Write"): "AlterTransactionalId",
    (CLUSTER, "Describe"): "DescribeCluster",
    (CLUSTER, "Alter"): "AlterCluster",
    (CLUSTER, "DescribeConfigs"): "DescribeClusterDynamicConfiguration",
    (CLUSTER, "IdempotentWrite"): "WriteDataIdempotently",
}
"""By kind of resource and operation, without the prefix."""


def in_iam(resource: str, *operations: str) -> str:
    """`in IAM: kafka-cluster:DescribeTopic and kafka-cluster:ReadData`."""
    actions = [f"kafka-cluster:{ACTIONS[resource, operation]}" for operation in operations]
    return "in IAM: " + (" and ".join([", ".join(actions[:-1]), actions[-1]]) if len(actions) > 1 else actions[0])
