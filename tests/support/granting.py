"""Clusters on which only what was granted is allowed; and ACLs made as `replicator check` says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from tests.support.bundled import BundledCluster
from tests.support.kafka import USERNAME, KafkaCluster
from tests.support.waiting import wait_for

Cluster = BundledCluster | KafkaCluster

PRINCIPAL = f"User:{USERNAME}"
THE_CLUSTER = "kafka-cluster"
_USERS = {USERNAME: "its-secret", "other": "other-secret", "admin": "admin-secret"}
_SWITCHES = {
    "--topic": ResourceType.TOPIC,
    "--group": ResourceType.GROUP,
    "--transactional-id": ResourceType.TRANSACTIONAL_ID,
    "--cluster": ResourceType.BROKER,  # librdkafka's word for it
}


def guarded(name: str, kind: str = "bundled") -> Cluster:
    """A cluster in which `PRINCIPAL`, as whom Replicator comes, may do nothing yet."""
    if kind == "kafka":
        return KafkaCluster(security="plain", authorizer=True, name=name)
    supers = {"super.users": "User:admin"}
    return BundledCluster(users=_USERS, properties=supers, arguments=("--authorizer", "acl"), name=name)


class AsOther:
    """A bundled cluster as another principal reaches it, who may do nothing there yet either."""

    def __init__(self, cluster: Cluster) -> None:
        self.bootstrap = cluster.bootstrap
        self.security = {**cluster.security, "username": "other", "password": _USERS["other"]}


def super_config(cluster: Cluster) -> dict[str, str]:
    """librdkafka's settings for somebody who may do everything there."""
    if isinstance(cluster, KafkaCluster):
        return {"bootstrap.servers": cluster.internal}
    return {**cluster.client_config, "sasl.username": "admin", "sasl.password": _USERS["admin"]}


def make(cluster: Cluster, topic: str, partitions: int = 1) -> None:
    """Create a topic."""
    admin = AdminClient(super_config(cluster))
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(20)


def commit(cluster: Cluster, group: str, topic: str, offset: int = 0) -> None:
    """Give a group a position in the topic's first partition."""
    admin = AdminClient(super_config(cluster))
    wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, offset)])

    def done() -> bool:
        answer = admin.alter_consumer_group_offsets([wanted])[group].result(20)
        error = answer.topic_partitions[0].error
        return error is None or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART  # a topic that nobody has

    wait_for(done, within=30, every=0.3, what=f"{group} has a position in {topic}")


def create_acls(cluster: Cluster, acls: Sequence[AclBinding]) -> None:
    """Make these ACLs, each once."""
    admin = AdminClient(super_config(cluster))
    for future in admin.create_acls(list(dict.fromkeys(acls))).values() if acls else ():
        future.result(20)


def operation(name: str) -> AclOperation:
    """By Kafka's name for it: `DescribeConfigs`."""
    return AclOperation[re.sub(r"(?<=.)(?=[A-Z])", "_", name).upper()]


def granted_by(command: str) -> list[AclBinding]:
    """The ACLs that a call of kafka-acls.sh would make."""
    words = iter(shlex.split(command))
    assert next(words) == "kafka-acls.sh"
    options: dict[str, list[str]] = {}
    for word in words:
        options.setdefault(word, []).append("" if word in ("--add", "--cluster") else next(words))
    prefixed = options.get("--resource-pattern-type") == ["prefixed"]
    pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
    allow = AclPermissionType.ALLOW
    return [
        AclBinding(kind, name or THE_CLUSTER, pattern, principal, "*", operation(each), allow)
        for switch, kind in _SWITCHES.items()
        for name in options.get(switch, ())
        for each in options["--operation"]
        for principal in options["--allow-principal"]
    ]


def obey(findings: Sequence[dict[str, Any]], *clusters: Cluster) -> int:
    """Grant what `check` says should be granted; how many commands that were."""
    commands = [finding["command"] for finding in findings if finding["command"]]
    for cluster in clusters:
        mine = [command for command in commands if f" {cluster.bootstrap} " in command]
        create_acls(cluster, [acl for command in mine for acl in granted_by(command)])
    return len(commands)


@contextmanager
def denied(cluster: Cluster, kind: ResourceType, name: str, what: AclOperation) -> Iterator[None]:
    """For a while, `PRINCIPAL` mayn't do this, whatever was granted."""
    literal, deny = ResourcePatternType.LITERAL, AclPermissionType.DENY
    create_acls(cluster, [AclBinding(kind, name, literal, PRINCIPAL, "*", what, deny)])
    yield
    admin = AdminClient(super_config(cluster))
    rule = AclBindingFilter(kind, name, literal, PRINCIPAL, "*", what, deny)
    for future in admin.delete_acls([rule]).values():
        future.result(20)
