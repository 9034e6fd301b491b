"""`check` finds every permission that a link lacks, without changing anything, and says how to grant it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import Result
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.cli.test_check_clusters import config, reach, run, told
from tests.support.granting import (
    THE_CLUSTER,
    Cluster,
    commit,
    denied,
    granted_by,
    guarded,
    make,
    obey,
    operation,
    super_config,
)

LINK: dict[str, Any] = {"topics": {"include": ["orders"]}, "groups": {"include": ["shop.*"]}, "delete_topics": True}


class Scene(NamedTuple):
    """A link for which everything was granted that `check` had asked for, and nothing else."""

    source: Cluster
    target: Cluster
    file: str
    first: Result  # what `check` said when nothing was granted
    before: object
    after: object


def state(cluster: Cluster) -> tuple[object, ...]:
    """What `check` could have changed."""
    admin = AdminClient(super_config(cluster))
    topics = {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=10).topics.items()}
    anything = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
    )
    acls = sorted(str(acl) for acl in admin.describe_acls(anything).result(20))
    groups = sorted(group.group_id for group in admin.list_consumer_groups().result(20).valid)
    return topics, acls, groups


def issues(file: str) -> list[dict[str, Any]]:
    return [finding for finding in told(run("check", file, "-o", "json"))["findings"] if finding["level"] != "ok"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with guarded("permissions-source") as source, guarded("permissions-target") as target:
        make(source, "orders")
        make(target, "us.orders")
        commit(source, "shop", "orders")
        commit(source, "shop-elsewhere", "payments")
        file = config(tmp_path_factory.mktemp("permissions"), reach(source), reach(target), **LINK)
        before = state(source), state(target)
        first = run("check", file)
        after = state(source), state(target)
        rounds = 0
        while obey(issues(file), source, target) > 0:
            rounds += 1
            assert rounds <= 2, issues(file)
        yield Scene(source, target, file, first, before, after)


def test_given_no_permission_at_all_then_each_one_is_asked_for_and_nothing_is_changed(scene: Scene) -> None:
    assert scene.after == scene.before
    assert scene.first.exit_code == 1
    for words in (
        "Describe isn't allowed on topic orders, so that it can't be known what else is",
        "grant Describe, DescribeConfigs and Read on topic orders to User:replicator (in IAM: kafka-cluster:Describe",
        "--operation Create --operation Describe --operation DescribeConfigs --operation Read --operation Write "
        "--topic __replicator_us-to-eu_ --resource-pattern-type prefixed",
        "Describe isn't allowed on group replicator.us-to-eu",
        "--transactional-id replicator.us-to-eu. --resource-pattern-type prefixed",
        "sync.acls: ACLs couldn't be kept in step",
        "--operation Describe --operation DescribeConfigs --operation Alter --cluster",
        "or set `sync.heartbeats: false`",
        "4 problems, ",
    ):
        assert words in scene.first.stdout, words


def test_given_all_that_was_asked_for_then_check_is_content_and_asks_for_nothing_more(scene: Scene) -> None:
    result = run("check", scene.file)
    assert result.exit_code == 0, result.stdout
    assert "the principals may do all that the link needs" in result.stdout
    assert "1 groups of us have positions in topics of the link" in result.stdout
    assert result.stdout.rstrip().endswith("Everything that the links need is there.")
    assert issues(scene.file) == []


TOPIC, GROUP, CLUSTER = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.BROKER
LEDGER, OWN_GROUP, CHECKPOINTS = "__replicator_us-to-eu_ledger", "replicator.us-to-eu", "us.checkpoints.internal"
CASES = (
    ("us", TOPIC, "orders", "Read", "problem", "records couldn't be read"),
    ("us", TOPIC, "orders", "DescribeConfigs", "warning", "sync.configs: settings couldn't be compared"),
    ("us", TOPIC, "heartbeats", "Write", "warning", "sync.heartbeats: heartbeats couldn't be written"),
    ("us", TOPIC, "heartbeats", "Create", "warning", "sync.heartbeats: heartbeats couldn't be written"),
    ("us", GROUP, "shop", "Describe", "warning", "sync.groups: positions couldn't be read"),
    ("us", CLUSTER, THE_CLUSTER, "Describe", "warning", "sync.acls: ACLs couldn't be compared"),
    ("eu", TOPIC, "us.orders", "Write", "problem", "records couldn't be written"),
    ("eu", TOPIC, "us.orders", "Read", "problem", "what it had written last couldn't be found out; sync.groups: posit"),
    ("eu", TOPIC, "us.orders", "Alter", "warning", "partitions that are added on the source"),
    ("eu", TOPIC, "us.orders", "AlterConfigs", "warning", "sync.configs: settings couldn't be kept in step"),
    ("eu", TOPIC, "us.orders", "Delete", "warning", "delete_topics: copies of deleted topics would stay"),
    ("eu", TOPIC, LEDGER, "Create", "problem", "the link couldn't keep its positions"),
    ("eu", TOPIC, LEDGER, "Write", "problem", "the link couldn't keep its positions"),
    ("eu", TOPIC, CHECKPOINTS, "Read", "warning", "sync.checkpoints: checkpoints couldn't be written"),
    ("eu", GROUP, "shop", "Read", "warning", "sync.groups: positions couldn't be written"),
    ("eu", GROUP, OWN_GROUP, "Read", "problem", "workers share their work through it"),
    ("eu", CLUSTER, THE_CLUSTER, "Alter", "warning", "sync.acls: ACLs couldn't be kept in step"),
    ("eu", CLUSTER, THE_CLUSTER, "DescribeConfigs", "warning", "how long its brokers remember producers"),
)


@pytest.mark.parametrize(
    ("side", "kind", "name", "what", "level", "why"), CASES, ids=[f"{case[3]}-{case[2]}-{case[0]}" for case in CASES]
)
def test_given_one_permission_less_then_it_is_named_with_what_it_is_for(
    scene: Scene, side: str, kind: ResourceType, name: str, what: str, level: str, why: str
) -> None:
    cluster = scene.source if side == "us" else scene.target
    with denied(cluster, kind, name, operation(what)):
        (found,) = issues(scene.file)
    assert (found["level"], found["where"]) == (level, f"cluster {side}")
    assert found["what"].startswith(f"{what} isn't allowed on ")
    assert ("the cluster" if kind is CLUSTER else name) in found["what"]
    assert why in found["why"]
    assert f"grant {what} on " in found["next_step"]
    assert {acl.operation for acl in granted_by(found["command"])} == {operation(what)}
    assert found["exit_code"] == (1 if level == "problem" else 0)


def test_given_features_that_are_off_then_nothing_is_asked_for_them(scene: Scene, tmp_path: Path) -> None:
    off = {"acls": False, "configs": False, "groups": False, "checkpoints": False, "heartbeats": False}
    link = {**LINK, "delete_topics": False, "writing": "transactions", "sync": off}
    file = config(tmp_path, reach(scene.source), reach(scene.target), **link)
    source, target = scene.source, scene.target
    with (
        denied(source, CLUSTER, THE_CLUSTER, AclOperation.ALL),
        denied(source, TOPIC, "heartbeats", AclOperation.ALL),
        denied(source, GROUP, "shop", AclOperation.ALL),
        denied(target, CLUSTER, THE_CLUSTER, AclOperation.ALL),
        denied(target, TOPIC, "heartbeats", AclOperation.ALL),
        denied(target, TOPIC, "us.checkpoints.internal", AclOperation.ALL),
        denied(target, TOPIC, "us.orders", AclOperation.READ),
        denied(target, TOPIC, "us.orders", AclOperation.ALTER_CONFIGS),
        denied(target, TOPIC, "us.orders", AclOperation.DELETE),
        denied(target, GROUP, "shop", AclOperation.ALL),
    ):
        assert issues(file) == []
        assert issues(scene.file) != []


def test_given_a_group_that_the_settings_name_and_that_is_hidden_then_it_is_asked_for(
    scene: Scene, tmp_path: Path
) -> None:
    link = {**LINK, "groups": {"include": ["till"]}}
    found = issues(config(tmp_path, reach(scene.source), reach(scene.target), **link))
    assert [(each["where"], each["what"].split(",")[0]) for each in found] == [
        ("cluster us", "Describe isn't allowed on group till"),
        ("cluster eu", "Describe isn't allowed on group till"),
    ]


def test_given_names_kept_in_both_directions_then_the_other_links_ledgers_must_be_readable(
    scene: Scene, tmp_path: Path
) -> None:
    quiet = {"heartbeats": False, "checkpoints": False}
    identical = {"topics": {"include": ["orders"], "naming": "identical"}, "sync": quiet, "lanes": 1}
    document = Path(config(tmp_path, reach(scene.source), reach(scene.target), **identical))
    text = document.read_text().replace(
        "links:", "links:\n- {name: back, source: eu, target: us, sync: {heartbeats: false}}"
    )
    document.write_text(text)
    found = told(run("check", str(document), "--link", "us-to-eu", "-o", "json"))["findings"]
    (ledger,) = [each for each in found if "__replicator_back_ledger" in each["what"]]
    assert (ledger["level"], ledger["where"]) == ("problem", "cluster us")
    assert "what a link has brought couldn't be told from what clients wrote" in ledger["why"]
    assert "positions of groups in what came from there couldn't" in ledger["why"]
    assert "--topic __replicator_ --resource-pattern-type prefixed" in ledger["command"]
