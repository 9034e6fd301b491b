"""ACLs of copies follow the source's; what isn't allowed is named."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from tests.e2e.pairs import KAFKA, LONG_BUNDLED
from tests.e2e.rig import AnyCluster, grant
from tests.e2e.test_settings import alter, becomes
from tests.support.bundled import BundledCluster
from tests.support.copying import create
from tests.support.kafka import USERNAME, KafkaCluster
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

OURS = f"User:{USERNAME}"
LITERAL, PREFIXED = ResourcePatternType.LITERAL, ResourcePatternType.PREFIXED
ALLOW, DENY = AclPermissionType.ALLOW, AclPermissionType.DENY
READ, WRITE, ALL, DESCRIBE = AclOperation.READ, AclOperation.WRITE, AclOperation.ALL, AclOperation.DESCRIBE
CLUSTER = (ResourceType.BROKER, "kafka-cluster")

Listed = set[tuple[str, str, str, str, str]]


def binding(name: str, user: str, operation: Any, pattern: Any = LITERAL, permission: Any = ALLOW) -> AclBinding:
    return AclBinding(ResourceType.TOPIC, name, pattern, f"User:{user}", "*", operation, permission)


def add(cluster: AnyCluster, bindings: Iterable[AclBinding]) -> None:
    admin = cluster.admin()
    for future in admin.create_acls(list(bindings)).values():
        future.result(15)


def remove(cluster: AnyCluster, gone: AclBinding) -> None:
    admin = cluster.admin()
    fields = gone.restype, gone.name, gone.resource_pattern_type, gone.principal, gone.host, gone.operation
    for future in admin.delete_acls([AclBindingFilter(*fields, gone.permission_type)]).values():
        assert len(future.result(15)) == 1


def others(cluster: AnyCluster) -> Listed:
    """The ACLs on topics of everybody but ourselves."""
    admin = cluster.admin()
    everything = AclBindingFilter(
        ResourceType.TOPIC, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
    )
    return {
        (b.name, b.resource_pattern_type.name, b.principal, b.operation.name, b.permission_type.name)
        for b in admin.describe_acls(everything).result(15)
        if b.principal != OURS
    }


def has(cluster: AnyCluster, wanted: Listed) -> None:
    def same() -> bool:
        assert others(cluster) == wanted
        return True

    wait_for(same, within=30, every=0.3, what="the ACLs are as they should be")


def held(installation: Installation) -> list[dict[str, str]]:
    (link,) = json.loads(installation.run("status", "-o", "json").stdout)["links"]
    return [item for sync in link["syncs"] for item in sync["held"]]


def guarded(kind: str, name: str) -> AnyCluster:
    if kind == "bundled":
        return BundledCluster(name=name, authorizer=True)
    return KafkaCluster(name=name, security="plain", authorizer=True)  # its StandardAuthorizer


@pytest.mark.parametrize("kind", [KAFKA, LONG_BUNDLED])
def test_given_two_guarded_clusters_then_acls_of_copies_follow_and_what_is_not_allowed_is_named(
    kind: str, tmp_path: Path
) -> None:
    with guarded(kind, "source") as source, guarded(kind, "target") as target:
        for name in ("orders", "orders-b", "secret"):
            create(source.admin(), name)
        for operation in (READ, AclOperation.DESCRIBE_CONFIGS):
            grant(source, ResourceType.TOPIC, "orders", OURS, operation, prefixed=True)
        grant(target, ResourceType.TOPIC, "__replicator_", OURS, prefixed=True)
        grant(target, ResourceType.TOPIC, "us.", OURS, prefixed=True)
        grant(target, ResourceType.GROUP, "replicator.", OURS, prefixed=True)
        grant(target, ResourceType.TRANSACTIONAL_ID, "replicator.l.", OURS, prefixed=True)
        add(target, [binding("us.orders-b", USERNAME, AclOperation.ALTER_CONFIGS, permission=DENY)])
        by_hand = binding("us.orders", "carol", READ)
        add(target, [by_hand])
        add(
            source,
            [
                binding("orders", "alice", ALL),
                binding("orders", "bob", WRITE),
                binding("orders", "carol", READ),
                binding("orders", "mallory", READ, permission=DENY),
                binding("ord", "team", DESCRIBE, PREFIXED),
                binding("secret", "alice", READ),
                binding("*", "auditor", READ),
            ],
        )
        carol = ("us.orders", "LITERAL", "User:carol", "READ", "ALLOW")
        alice = ("us.orders", "LITERAL", "User:alice", "READ", "ALLOW")
        wanted = {
            carol,
            alice,
            ("us.orders", "LITERAL", "User:mallory", "READ", "DENY"),
            ("us.ord", "PREFIXED", "User:team", "DESCRIBE", "ALLOW"),
            ("us.", "PREFIXED", "User:auditor", "READ", "ALLOW"),
        }
        link = {"name": "l", "source": "us", "target": "eu", "lanes": 2, "sync": {"every": 1}}
        installation = Installation(tmp_path, {"us": source, "eu": target}, [link])
        with installation.worker() as worker:
            worker.wait_ready()

            def named() -> bool:
                said = " ".join(item["detail"] for item in held(installation) if item["why"] == "NOT_AUTHORIZED")
                assert f"grant Describe on cluster us to {OURS}" in said, said
                assert f"grant Describe on cluster eu to {OURS}" in said, said
                return True

            wait_for(named, within=30, every=0.5, what="status names the grants")
            grant(source, *CLUSTER, OURS, DESCRIBE)
            for operation in (DESCRIBE, AclOperation.ALTER):
                grant(target, *CLUSTER, OURS, operation)
            has(target, wanted)

            for name in ("orders", "orders-b"):
                alter(source, name, {"retention.ms": "77000000"})
            becomes(target, {"us.orders": {"retention.ms": "77000000"}})

            def refused() -> bool:
                (item,) = held(installation)
                assert (item["resource"], item["why"]) == ("us.orders-b", "NOT_AUTHORIZED")
                assert f"grant AlterConfigs on topic us.orders-b of cluster eu to {OURS}" in item["detail"]
                return True

            wait_for(refused, within=20, every=0.3, what="the one topic alone is named")
            worker.kill()
        remove(source, binding("orders", "alice", ALL))
        remove(source, binding("orders", "carol", READ))
        remove(target, binding("us.orders-b", USERNAME, AclOperation.ALTER_CONFIGS, permission=DENY))
        planned = json.loads(installation.run("plan", "-o", "json").stdout)["links"][0]["changes"]
        assert {(c["kind"], c["resource"], c["before"], c["after"]) for c in planned} == {
            ("acl", "topic us.orders", "ALLOW", None),
            ("config", "us.orders-b", "-1", "77000000"),
        }
        with installation.worker() as worker:
            began = time.monotonic()
            has(target, wanted - {alice})  # carol's was there before, and stays
            print(f"deleted by the next controller after {time.monotonic() - began:.1f} s")
            becomes(target, {"us.orders-b": {"retention.ms": "77000000"}}, within=20)
            wait_for(lambda: held(installation) == [], within=20, every=0.5, what="nothing is held back")
            assert "Traceback" not in worker.log()
