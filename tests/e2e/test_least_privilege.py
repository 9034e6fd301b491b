"""A principal that may do what `check` asked for, and nothing else: everything that a link does works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourcePatternType,
    ResourceType,
)

from tests.support.granting import Cluster, commit, create_acls, guarded, make, obey, super_config
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(240)]

LINK: dict[str, Any] = {
    "name": "us-to-eu",
    "source": "us",
    "target": "eu",
    "topics": {"include": ["orders", "gone"]},
    "groups": {"include": ["shop"]},
    "delete_topics": True,
    "delete_groups": True,
    "lanes": 2,
    "sync": {"every": 1, "heartbeats": True, "checkpoints": True},
}


@pytest.fixture(params=["bundled", pytest.param("kafka", marks=pytest.mark.kafka)])
def clusters(request: pytest.FixtureRequest) -> Iterator[tuple[Cluster, Cluster]]:
    with ExitStack() as stack:
        yield (
            stack.enter_context(guarded("frugal-source", request.param)),
            stack.enter_context(guarded("frugal-target", request.param)),
        )


def produce(cluster: Cluster, topic: str, count: int) -> None:
    producer = Producer(super_config(cluster))
    for number in range(count):
        producer.produce(topic, b"%d" % number, partition=0)
    assert producer.flush(20) == 0


def set_config(cluster: Cluster, topic: str, key: str, value: str) -> None:
    admin = AdminClient(super_config(cluster))
    entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(20)


def readers(topic: str) -> AclBinding:
    literal, allow = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
    return AclBinding(ResourceType.TOPIC, topic, literal, "User:reader", "*", AclOperation.READ, allow)


def test_given_what_check_asks_for_and_no_more_when_a_link_runs_then_nothing_is_refused(
    clusters: tuple[Cluster, Cluster], tmp_path: Path
) -> None:
    source, target = clusters
    there = AdminClient(super_config(target))
    here = AdminClient(super_config(source))
    for topic in ("orders", "gone"):
        make(source, topic)
        produce(source, topic, 100)
    create_acls(source, [readers("orders")])
    commit(source, "shop", "orders", 50)
    installation = Installation(tmp_path, {"us": source, "eu": target}, [LINK])

    def check() -> list[dict[str, Any]]:
        done = installation.run("check", "-o", "json")
        found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
        return [finding for finding in found if finding["level"] != "ok"]

    for _ in range(3):
        obey(check(), source, target)
    assert check() == []

    def ends(topic: str) -> int:
        return sum(
            partition["target_next"] or 0 for (name, _), partition in installation.status().items() if name == topic
        )

    def lag(topic: str) -> int:
        return sum(partition["lag"] for (name, _), partition in installation.status().items() if name == topic)

    def config_of_copy() -> str:
        resource = ConfigResource(ResourceType.TOPIC, "us.orders")
        return str(there.describe_configs([resource])[resource].result(20)["retention.ms"].value)

    def copies() -> dict[str, int]:
        return {name: len(topic.partitions) for name, topic in there.list_topics(timeout=10).topics.items()}

    def acls() -> set[str]:
        copied = readers("us.orders")
        wanted = AclBindingFilter(
            ResourceType.TOPIC, "us.orders", ResourcePatternType.LITERAL, copied.principal, "*", AclOperation.READ,
            AclPermissionType.ALLOW,
        )  # fmt: skip
        return {acl.name for acl in there.describe_acls(wanted).result(20)}

    with installation.worker() as worker:
        worker.wait_ready()
        wait_for(lambda: ends("orders") >= 100 and lag("orders") == 0, within=40, every=0.3, what="orders are copied")
        set_config(source, "orders", "retention.ms", "7654321000")
        here.create_partitions([NewPartitions("orders", 2)])["orders"].result(20)
        here.delete_topics(["gone"])["gone"].result(20)
        wait_for(lambda: config_of_copy() == "7654321000", within=30, every=0.3, what="a setting is copied")
        wait_for(lambda: copies().get("us.orders") == 2, within=30, every=0.3, what="a partition is added")
        wait_for(lambda: "us.gone" not in copies(), within=30, every=0.3, what="a copy is deleted")
        wait_for(lambda: acls() == {"us.orders"}, within=30, every=0.3, what="an ACL is copied")
        wait_for(lambda: "us.checkpoints.internal" in copies(), within=30, every=0.3, what="checkpoints are written")
        wait_for(lambda: "us.heartbeats" in copies(), within=30, every=0.3, what="heartbeats are copied")
        wait_for(
            lambda: "shop" in {group.group_id for group in there.list_consumer_groups().result(20).valid},
            within=30, every=0.3, what="a group's positions are written",
        )  # fmt: skip
        produce(source, "orders", 100)
        worker.kill()
    produce(source, "orders", 100)
    with installation.worker() as heir:
        heir.wait_ready()
        wait_for(lambda: lag("orders") == 0, within=40, every=0.3, what="the heir has copied what was left")
        here.delete_consumer_groups(["shop"])["shop"].result(20)
        wait_for(
            lambda: "shop" not in {group.group_id for group in there.list_consumer_groups().result(20).valid},
            within=30, every=0.3, what="the group's positions are deleted",
        )  # fmt: skip
        said = installation.run("status", "-o", "json").stdout + installation.run("plan", "-o", "json").stdout
        assert "NOT_AUTHORIZED" not in said, said
        logs = worker.log() + heir.log()
    assert "AUTHORIZATION" not in logs.upper(), [line for line in logs.splitlines() if "AUTHORIZATION" in line.upper()]
    assert "transactions, where fenced writing would be cheaper" not in logs
