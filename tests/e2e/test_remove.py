"""A link that is removed leaves nothing behind but its copies, and takes nothing that isn't its own."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import Result
from confluent_kafka.admin import ResourceType
from typer.testing import CliRunner

from replicator.cli.main import app
from replicator.config.load import load
from replicator.dr.desk import Desk
from tests.e2e.pairs import BUNDLED, LONG_KAFKA
from tests.e2e.rig import AnyCluster, delete_topic, grant
from tests.e2e.test_acls import CLUSTER, DESCRIBE, OURS, READ, Listed, add, binding, guarded, others
from tests.support.checker import read_partition
from tests.support.copying import create
from tests.support.groups import commit
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(170)]


def verb(installation: Installation, name: str, *arguments: str) -> Result:
    """`replicator NAME`, in this process: that is quicker."""
    return CliRunner().invoke(app, [name, "-c", str(installation.file), *arguments])


There = tuple[set[str], set[str], Listed]


def there(cluster: AnyCluster) -> There:
    """Topics, groups and ACLs."""
    admin = cluster.admin()
    groups = {group.group_id for group in admin.list_consumer_groups().result(15).valid}
    return set(admin.list_topics(timeout=15).topics), groups, others(cluster)


def gone(before: There, after: There) -> There:
    """What there was before and isn't now; nothing is new."""
    assert not any(new - old for old, new in zip(before, after, strict=True))
    topics, groups, acls = (old - new for old, new in zip(before, after, strict=True))
    return topics, groups, acls  # type: ignore[return-value]


@pytest.mark.parametrize("kind", [BUNDLED, LONG_KAFKA])
def test_given_two_links_when_one_is_removed_then_exactly_its_own_topics_groups_and_acls_go(
    kind: str, tmp_path: Path
) -> None:
    with guarded(kind, "source") as source, guarded(kind, "target") as target:
        grant(source, *CLUSTER, OURS)
        grant(target, *CLUSTER, OURS)
        for cluster in (source, target):
            for resource in (ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID):
                grant(cluster, resource, "*", OURS)
        create(source.admin(), "orders")
        create(source.admin(), "bills")
        add(source, [binding("orders", "alice", READ), binding("bills", "bob", DESCRIBE)])
        by_hand = binding("us.orders", "carol", READ)
        add(target, [by_hand])
        both = {"source": "us", "target": "eu", "lanes": 2, "sync": {"every": 1, "heartbeats": True}}
        links = [{"name": name, "topics": {"include": [topic]}, **both} for name, topic in
                 (("l", "orders"), ("l.reader", "bills"))]  # fmt: skip
        installation = Installation(tmp_path, {"us": source, "eu": target}, links)
        run = partial(verb, installation)
        with installation.worker() as worker:
            worker.wait_ready()
            wait_for(lambda: len(others(target)) == 3, within=30, every=0.3, what="both links have created an ACL")
            refused = run("remove", "--link", "l", "--yes")
            assert refused.exit_code == 4
            assert "link l: workers run: replicator-l-" in refused.output
            worker.terminate(within=15)
        commit(target, "replicator.l.verify", {("us.orders", 0): 0})
        commit(target, "shop", {("us.orders", 0): 0})

        def ended() -> bool:
            return run("remove", "--link", "l", "--dry-run").exit_code == 0

        wait_for(ended, within=20, every=0.5, what="the group has no members any more")
        before, at_source = there(target), there(source)
        shown = json.loads(run("remove", "--link", "l", "--dry-run", "-o", "json").stdout)
        (item,) = shown["links"]
        settings = load(installation.file)
        with Desk(settings, settings.link("l"), "failover", "--all", by="alice@ops"):
            refused = run("remove", "--link", "l", "--yes")
            assert refused.exit_code == 4
            assert "alice@ops is at work on it" in refused.output
        assert there(target) == before

        delete_topic(target, "__replicator_l_ledger")  # as an earlier call did that was interrupted
        done = run("remove", "--link", "l", "--yes", "--save-audit", str(tmp_path / "audit.json"))
        assert done.exit_code == 0, done.output
        wait_for(lambda: "__replicator_l_control" not in there(target)[0], within=15, what="metadata follow")
        topics, groups, acls = gone(before, there(target))
        assert topics == {f"__replicator_l_{name}" for name in ("ledger", "map", "control")} == set(item["topics"])
        assert groups <= {"replicator.l", "replicator.l.verify"}
        assert groups == {each["group"] for each in item["groups"] if each["cluster"] == "eu"}
        assert "replicator.l.verify" in groups
        assert acls == {("us.orders", "LITERAL", "User:alice", "READ", "ALLOW")}
        named = {(acl["name"], acl["principal"]) for acl in item["acls"]} - {("us.", OURS)}  # ours follow as others do
        assert named == {("us.orders", "User:alice")}
        assert there(source) == at_source
        assert read_partition(target.client_config, "us.orders", 0) == []
        trail = json.loads((tmp_path / "audit.json").read_text())["audit"]
        assert [(row["verb"], row["result"]) for row in trail] == [
            ("remove", "begun"),
            ("failover", "ok"),
            ("remove", "refused"),
        ]
        again = run("remove", "--link", "l", "--yes")
        assert (again.exit_code, "l: nothing is left of it." in again.stdout) == (0, True), again.output


def test_given_names_kept_in_both_directions_then_a_link_that_the_other_needs_is_not_removed_alone(
    tmp_path: Path,
) -> None:
    topics = {"include": ["orders"], "naming": "identical"}
    links = [
        {"name": "there", "source": "us", "target": "eu", "topics": topics},
        {"name": "back", "source": "eu", "target": "us", "topics": topics},
    ]

    class Nowhere:
        security: ClassVar[dict[str, str]] = {"protocol": "PLAINTEXT"}

        def __init__(self, bootstrap: str) -> None:
            self.bootstrap = bootstrap

    run = partial(verb, Installation(tmp_path, {"us": Nowhere("127.0.0.1:1"), "eu": Nowhere("127.0.0.1:2")}, links))
    refused = run("remove", "--link", "there", "--yes")
    assert refused.exit_code == 4
    assert "link there: link back tells by this link's ledger what not to copy back to us" in refused.output
    assert run("remove", "--yes").exit_code == 2
