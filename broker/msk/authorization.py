"""Whether the caller may: IAM's `kafka:*` actions on the resource that the request names, with tag conditions.

An operation's action is `kafka:` and its name. The resource is the ARN in the request's path, or `*` where there is
none. The topics API needs `kafka-cluster:*` actions instead, on the cluster and on the topic (AWS developer guide,
"Topic Operations").
Conditions see aws:PrincipalArn, aws:PrincipalAccount, aws:SourceIp, aws:SecureTransport, aws:CurrentTime,
aws:UserAgent, aws:RequestTag/KEY and aws:TagKeys (of the body's tags, or the query's tagKeys), and aws:ResourceTag/KEY.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from broker.iam.patterns import Context
from broker.iam.policy import Decision, Verdict
from broker.msk.errors import access_denied
from broker.msk.registry import Caller
from broker.msk.replicators.needs import create_needs

ARN_LABELS = ("clusterArn", "resourceArn", "arn", "replicatorArn", "clusterOperationArn")

TOPIC_ACTIONS = {
    "ListTopics": ("DescribeTopic",),
    "DescribeTopic": ("DescribeTopic", "DescribeTopicDynamicConfiguration"),
    "DescribeTopicPartitions": ("DescribeTopic", "DescribeTopicDynamicConfiguration"),
    "CreateTopic": ("CreateTopic",),
    "DeleteTopic": ("DescribeTopic", "DeleteTopic"),
    "UpdateTopic": ("DescribeTopic", "AlterTopic", "AlterTopicDynamicConfiguration"),
}


class Judge(Protocol):
    """Evaluates the policies of a caller and that of the resource, if it has one."""

    def __call__(self, caller: Caller, action: str, resource: str, context: Context, policy: str | None) -> Verdict:
        """What they say together."""
        ...


def resource_of(labels: Mapping[str, str]) -> str:
    """The ARN that a request is about, by its path's labels."""
    return next((labels[name] for name in ARN_LABELS if name in labels), "*")


def request_context(
    *,
    caller: Caller,
    now: datetime,
    source_address: str,
    secure: bool,
    user_agent: str,
    body: Mapping[str, Any],
    query: Mapping[str, list[str]],
    resource_tags: Mapping[str, str] | None,
) -> dict[str, str | list[str]]:
    """What conditions can see of a request. The body hasn't been checked yet: what isn't text is passed over."""
    context: dict[str, str | list[str]] = {
        "aws:PrincipalArn": caller.arn,
        "aws:PrincipalAccount": caller.account,
        "aws:SourceIp": source_address,
        "aws:SecureTransport": "true" if secure else "false",
        "aws:CurrentTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "aws:UserAgent": user_agent,
        "iam:PassedToService": "kafka.amazonaws.com",  # to whom roles are passed, where one is
    }
    tags = body.get("tags")
    given = {k: v for k, v in tags.items() if isinstance(v, str)} if isinstance(tags, Mapping) else {}
    keys = [*given, *query.get("tagKeys", [])]
    context |= {f"aws:RequestTag/{key}": value for key, value in given.items()}
    if keys:
        context["aws:TagKeys"] = keys
    context |= {f"aws:ResourceTag/{key}": value for key, value in (resource_tags or {}).items()}
    return context


def needs(
    operation: str, labels: Mapping[str, str], body: Mapping[str, Any], region: str, account: str
) -> list[tuple[str, str]]:
    """The actions that a request takes, each with its resource."""
    if operation == "CreateReplicator":
        return create_needs(body, region, account)
    resource = resource_of(labels)
    if operation == "CreateVpcConnection":  # asked of the cluster, whose policy may let other accounts
        target = body.get("targetClusterArn")
        resource = target if isinstance(target, str) else "*"
    if operation not in TOPIC_ACTIONS:
        return [(f"kafka:{operation}", resource)]
    name = labels.get("topicName") or body.get("topicName")
    topic = f"{resource.replace(':cluster/', ':topic/', 1)}/{name if isinstance(name, str) else '*'}"
    return [("kafka-cluster:Connect", resource), *((f"kafka-cluster:{one}", topic) for one in TOPIC_ACTIONS[operation])]


def require(judge: Judge, caller: Caller, action: str, resource: str, context: Context, policy: str | None) -> None:
    """Raises FrontDoorError (AccessDeniedException, 403) unless policies allow the caller the action."""
    verdict = judge(caller, action, resource, context, policy)
    if not verdict.allowed:
        raise access_denied(caller.arn, action, resource, explicit=verdict.decision is Decision.EXPLICIT_DENY)
