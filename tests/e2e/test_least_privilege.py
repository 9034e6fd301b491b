"""A principal that may do what `check` asked for, and nothing else: everything that a link does works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
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

from tests.support.granting import AsOther, Cluster, commit, create_acls, guarded, make, obey, super_config
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


def missing(installation: Installation, link: str) -> list[dict[str, Any]]:
    done = installation.run("check", "--link", link, "-o", "json")
    found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return [finding for finding in found if finding["level"] != "ok"]


def grant_what_is_missing(installation: Installation, link: str, *clusters: Cluster) -> None:
    for _ in range(3):
        obey(missing(installation, link), *clusters)
    assert missing(installation, link) == []


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

    grant_what_is_missing(installation, "us-to-eu", source, target)

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
        for verb in ("verify", "lag", "groups", "topics", "translate us.orders:0:7 --reverse", "apply", "resume --all"):
            done = installation.run(*verb.split())
            shown = done.stdout + done.stderr
            assert "uthoriz" not in shown, f"{verb}: {shown}"
            assert done.returncode in (0, 1), f"{verb}: {shown}"
        logs = worker.log() + heir.log()
    assert "AUTHORIZATION" not in logs.upper(), [line for line in logs.splitlines() if "AUTHORIZATION" in line.upper()]
    assert "transactions, where fenced writing would be cheaper" not in logs


def test_given_links_of_two_principals_that_keep_names_both_ways_when_they_run_then_nothing_is_refused(
    tmp_path: Path,
) -> None:
    with guarded("both-us") as us, guarded("both-eu") as eu:
        names = ("us-to-eu", "eu-to-us")
        links = [
            {
                "name": f"{source}-to-{target}",
                "source": source,
                "target": target,
                "topics": {"include": ["shared"], "naming": "identical"},
                "lanes": 2,
                "sync": {"every": 1, "heartbeats": True, "checkpoints": True},
            }
            for source, target in (("us", "eu"), ("eu", "us"))
        ]
        installations = (
            Installation(tmp_path / "one", {"us": us, "eu": eu}, links),
            Installation(tmp_path / "other", {"us": AsOther(us), "eu": AsOther(eu)}, links),
        )
        for cluster in (us, eu):
            make(cluster, "shared")
            produce(cluster, "shared", 100)
            commit(cluster, "shop", "shared", 10)
        for installation, name in zip(installations, names, strict=True):
            grant_what_is_missing(installation, name, us, eu)

        def state(number: int) -> Any:
            done = installations[number].run("status", "-o", "json", "--link", names[number])
            (link,) = json.loads(done.stdout)["links"]
            return link

        def copied() -> bool:
            lags = [row["lag"] for number in (0, 1) for row in state(number)["partitions"] if row["topic"] == "shared"]
            ends = [cluster_end(cluster) for cluster in (us, eu)]
            assert lags == [0, 0], lags
            assert min(ends) >= 200, ends
            return True

        with (
            installations[0].worker("--link", names[0]) as one,
            installations[1].worker("--link", names[1]) as other,
        ):
            one.wait_ready()
            other.wait_ready()
            wait_for(copied, within=40, every=0.3, what="both are copied")
            said = json.dumps([state(0), state(1)])
            assert "NOT_AUTHORIZED" not in said, said
            logs = one.log() + other.log()
        assert "AUTHORIZATION" not in logs.upper(), [line for line in logs.splitlines() if "AUTHORI" in line.upper()]
        assert [missing(each, name) for each, name in zip(installations, names, strict=True)] == [[], []]


def cluster_end(cluster: Cluster) -> int:
    consumer = Consumer({**super_config(cluster), "group.id": "end"})
    try:
        return int(consumer.get_watermark_offsets(TopicPartition("shared", 0), timeout=10)[1])
    finally:
        consumer.close()
