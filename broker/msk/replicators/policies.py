"""The policies around a replicator: what a source's cluster policy must let the service do, whom the service execution
role must trust, and what such a role may do.
"""

from __future__ import annotations

from typing import Any

from broker.iam.policy import PolicyDocument, Question, decide, may_assume
from broker.msk.records import ClusterRecord
from replicator.ledger.lanes import INTERNAL_PREFIX

SERVICE = "kafka.amazonaws.com"
POLICY_ACTIONS = ("kafka:CreateVpcConnection", "kafka:GetBootstrapBrokers", "kafka:DescribeClusterV2")
_TOPIC_ACTIONS = (
    "CreateTopic", "DescribeTopic", "ReadData", "WriteData", "AlterTopic",
    "DescribeTopicDynamicConfiguration", "AlterTopicDynamicConfiguration",
)  # fmt: skip

TRUST: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": SERVICE}, "Action": "sts:AssumeRole"}],
}

# AWS's managed policy AWSMSKReplicatorExecutionRole, as its actions are documented.
EXECUTION_POLICY: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "ClusterPermissions",
            "Effect": "Allow",
            "Action": [f"kafka-cluster:{name}" for name in (
                "Connect", "DescribeCluster", "AlterCluster", *_TOPIC_ACTIONS, "AlterGroup", "DescribeGroup",
                "WriteDataIdempotently",
            )],
            "Resource": ["*"],
        }
    ],
}  # fmt: skip


def own_needs(account: str) -> dict[str, Any]:
    """What links keep for themselves: internal topics, their workers' group, transactional ids. The service's own
    replicators have other ones, so a role that is enough there is enough here: sessions get this beside their role's
    policies. Data topics and consumer groups are the role's matter alone."""

    def arns(kind: str, name: str) -> list[str]:
        return [f"arn:{partition}:kafka:*:{account}:{kind}/*/*/{name}" for partition in ("aws", "aws-cn", "aws-us-gov")]

    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "InternalTopics",
                "Effect": "Allow",
                "Action": [f"kafka-cluster:{name}" for name in _TOPIC_ACTIONS],
                "Resource": arns("topic", f"{INTERNAL_PREFIX}*"),
            },
            {
                "Sid": "WorkersAndTransactions",
                "Effect": "Allow",
                "Action": [f"kafka-cluster:{verb}{what}" for what in ("Group", "TransactionalId")
                           for verb in ("Describe", "Alter")],
                "Resource": arns("group", "replicator.*") + arns("transactional-id", "replicator.*"),
            },
            {
                "Sid": "ClusterSettings",
                "Effect": "Allow",
                "Action": "kafka-cluster:DescribeClusterDynamicConfiguration",
                "Resource": "*",
            },
        ],
    }  # fmt: skip


def allows_service(document: PolicyDocument, action: str, record: ClusterRecord) -> bool:
    """Whether a cluster policy lets the service do this to the cluster."""
    context = {"aws:SourceAccount": record.account, "aws:PrincipalIsAWSService": "true"}
    return decide(Question(action, record.arn, SERVICE, context), identity=(), resource=(document,)).allowed


def trusts_service(trust: dict[str, Any], account: str) -> bool:
    """Whether a role's trust policy lets the service assume it on behalf of the account."""
    return bool(trust) and may_assume(
        PolicyDocument.parse(trust, kind="trust"), SERVICE, {"aws:SourceAccount": account}
    )
