"""The whole of a link under policies/replicator-source.json and -target.json, and nothing of them to spare.

One pair of clusters for all. Of each action there is a role that lacks it: nothing is copied until `fresh` has examined
the link as each of them. Then a worker copies; features fail one after the other while it runs, and go on.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from replicator.config.load import load
from replicator.examine.finding import Finding, Level
from replicator.examine.findings import examine
from tests.support.policed import ACCOUNT, REGION, As, Policed, principal, write_profiles
from tests.support.policies import document, each_action, without
from tests.support.replicator import Installation, Worker
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

LINK: dict[str, Any] = {
    "name": "us-to-eu",
    "source": "us",
    "target": "eu",
    "topics": {"include": ["orders", "later.*"]},
    "groups": {"include": ["shop"]},
    "lanes": 2,
    "sync": {"every": 1, "heartbeats": True, "checkpoints": True},
}
SOURCE, TARGET = "replicator-source", "replicator-target"
WORKER = "Replicator"
ROLES = {
    f"{name}-without-{action.removeprefix('kafka-cluster:')}-of-{sid}": (name, sid, action)
    for name in (SOURCE, TARGET)
    for sid, action in each_action(name)
}
"""Of each action of each statement a role that may do all the rest."""


class World:
    """The clusters, what is allowed on them, and what can be done to a link there."""

    def __init__(self, us: Policed, eu: Policed, directory: Path) -> None:
        self.us, self.eu = us, eu
        self._directory = directory
        values = {"Region": REGION, "Account": ACCOUNT, "Link": "us-to-eu", "SourceAlias": "us", "Groups": "shop"}
        for side, cluster in (("Source", us), ("Target", eu)):
            values |= {f"{side}ClusterName": cluster.name, f"{side}ClusterUuid": cluster.uuid}
        source = document(SOURCE, {**values, "Topics": "orders"})["Statement"]
        later = document(SOURCE, {**values, "Topics": "later*"})["Statement"][1]
        assert later["Sid"] == "ReadTopics"
        for statement in source:  # one pattern a placeholder: two take a list
            if statement["Sid"] == "ReadTopics":
                statement["Resource"] = [statement["Resource"], later["Resource"]]
        self.documents = {SOURCE: source, TARGET: document(TARGET, values)["Statement"]}
        self.clusters = {SOURCE: us, TARGET: eu}
        self._numbers = itertools.count(1)
        self.here, self.there = us.admin(), eu.admin()
        for name, statements in self.documents.items():
            lacking = {
                role: without(statements, sid, action) if name == wanting else statements
                for role, (wanting, sid, action) in ROLES.items()
            }
            self.clusters[name].allow({WORKER: statements, **lacking})
        self.installation = self.install(WORKER)

    def install(self, role: str) -> Installation:
        """The link, as this role."""
        return Installation(self._directory / role, {"us": As(self.us, role), "eu": As(self.eu, role)}, [LINK])

    @contextmanager
    def lacking(self, name: str, sid: str, action: str) -> Iterator[None]:
        """For a while, one action of one statement of one document isn't allowed to the worker."""
        statements = self.documents[name]
        self.clusters[name].allow({WORKER: without(statements, sid, action)})
        try:
            yield
        finally:
            self.clusters[name].allow({WORKER: statements})

    async def findings(self) -> dict[str, list[Finding]]:
        """By role, what `check` isn't content with. At the same time: each waits for seconds for clients to log in."""
        settings = [load(self.install(role).file) for role in (WORKER, *ROLES)]
        found = await asyncio.gather(*(examine(each, each.links) for each in settings))
        return {
            role: [finding for finding in some if finding.level is not Level.OK]
            for role, some in zip((WORKER, *ROLES), found, strict=True)
        }

    def told(self) -> str:
        """What `status`, `plan` and `groups` say."""
        return "\n".join(self.installation.run(verb, "-o", "json").stdout for verb in ("status", "plan", "groups"))

    # ---- what makes a link do something

    def topic(self) -> None:
        name = f"later-{next(self._numbers)}"
        self.here.create_topics([NewTopic(name, 1, 1)])[name].result(20)

    def records(self) -> None:
        producer = Producer(self.us.client_config)
        for _ in range(20):
            producer.produce("orders", b"x", partition=0)
        assert producer.flush(20) == 0

    def partition(self) -> None:
        admin = self.here
        count = len(admin.list_topics("orders", timeout=10).topics["orders"].partitions)
        admin.create_partitions([NewPartitions("orders", count + 1)])["orders"].result(20)

    def setting(self) -> None:
        value = str(10**9 + next(self._numbers))
        entry = ConfigEntry("retention.ms", value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, "orders", incremental_configs=[entry])
        self.here.incremental_alter_configs([resource])[resource].result(20)

    def acl(self) -> None:
        literal, allow = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
        reader = f"User:reader-{next(self._numbers)}"
        wanted = AclBinding(ResourceType.TOPIC, "orders", literal, reader, "*", AclOperation.READ, allow)
        for future in self.here.create_acls([wanted]).values():
            future.result(20)

    def position(self) -> None:
        offsets = [TopicPartition("orders", 0, next(self._numbers))]
        wanted = ConsumerGroupTopicPartitions("shop", offsets)
        self.here.alter_consumer_group_offsets([wanted])["shop"].result(20)

    def nothing(self) -> None:
        """It happens by itself."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("least-privilege")
    write_profiles(directory / "profiles", [WORKER, *ROLES])
    with pytest.MonkeyPatch.context() as patch, Policed(directory, "first") as us, Policed(directory, "second") as eu:
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(directory / "profiles"))
        patch.setenv("AWS_CONFIG_FILE", str(directory / "none"))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        made = World(us, eu, directory)
        made.here.create_topics([NewTopic("orders", 2, 1)])["orders"].result(20)
        made.records()
        made.position()
        made.acl()
        yield made


@pytest.fixture(scope="module")
def fresh(world: World) -> dict[str, list[Finding]]:
    """What `check` says by role, before anything is copied."""
    return asyncio.run(world.findings())


@pytest.fixture(scope="module")
def worker(world: World, fresh: dict[str, list[Finding]]) -> Iterator[Worker]:
    """A worker under exactly the two documents."""
    with world.installation.worker() as made:
        made.wait_ready()
        yield made


@pytest.fixture(scope="module")
def copied(world: World, worker: Worker) -> list[str]:
    """Everything that a link does is done. What was denied to the worker meanwhile, and what it told."""
    world.topic()
    for cause in (world.records, world.partition, world.setting, world.acl, world.position):
        cause()

    def ends() -> bool:
        found = {at: each["lag"] for at, each in world.installation.status().items() if at[0] != "heartbeats"}
        assert len(found) >= 4, found
        assert set(found.values()) == {0}, found
        return True

    def in_step() -> bool:
        listed = world.there.list_topics(timeout=10).topics
        assert {"us.orders", "us.heartbeats", "us.checkpoints.internal", "heartbeats"} <= listed.keys()
        assert "shop" in {group.group_id for group in world.there.list_consumer_groups().result(20).valid}
        assert json.loads(world.installation.run("plan", "-o", "json").stdout)["links"][0]["changes"] == []
        return True

    wait_for(ends, within=40, every=0.3, what="everything is copied")
    wait_for(in_step, within=40, every=0.3, what="everything is in step")
    lines = [line for cluster in (world.us, world.eu) for line in cluster.log().splitlines()]
    denied = [line for line in lines if f"User:{principal(WORKER)} " in line and " denied " in line]
    unhappy = [line for line in (worker.log() + world.told()).splitlines() if "uthoriz" in line or "AUTHORIZ" in line]
    return [line for line in denied if "GROUP 'replicator." not in line] + unhappy  # of clients that are no members


def test_given_both_documents_when_check_looks_then_nothing_is_missing(fresh: dict[str, list[Finding]]) -> None:
    assert fresh[WORKER] == []


@pytest.mark.parametrize("role", ROLES)
def test_given_one_action_less_when_check_looks_then_it_names_the_action(
    fresh: dict[str, list[Finding]], role: str
) -> None:
    *_, action = ROLES[role]
    assert [found for found in fresh[role] if action in f"{found.what} {found.why} {found.next_step}"], fresh[role]


def test_given_both_documents_when_a_link_runs_then_everything_works_and_nothing_is_denied(copied: list[str]) -> None:
    assert copied == []


Case = tuple[str, str, str, Callable[[World], None]]
FEATURES: dict[str, Case] = {
    "records are read": (SOURCE, "ReadTopics", "ReadData", World.records),
    "topics are seen": (SOURCE, "ReadTopics", "DescribeTopic", World.nothing),
    "settings are read": (SOURCE, "ReadTopics", "DescribeTopicDynamicConfiguration", World.setting),
    "positions are read": (SOURCE, "SeeGroups", "DescribeGroup", World.position),
    "ACLs are read": (SOURCE, "SeeAcls", "DescribeCluster", World.acl),
    "heartbeats are written": (SOURCE, "SendHeartbeats", "WriteData", World.nothing),
    "copies are created": (TARGET, "WriteCopies", "CreateTopic", World.topic),
    "copies are seen": (TARGET, "WriteCopies", "DescribeTopic", World.nothing),
    "copies grow": (TARGET, "WriteCopies", "AlterTopic", World.partition),
    "settings are copied": (TARGET, "WriteCopies", "AlterTopicDynamicConfiguration", World.setting),
    "settings of copies are read": (TARGET, "WriteCopies", "DescribeTopicDynamicConfiguration", World.setting),
    "records are written": (TARGET, "WriteCopies", "WriteData", World.records),
    "groups are seen there": (TARGET, "MoveGroups", "DescribeGroup", World.position),
    "groups are moved": (TARGET, "MoveGroups", "AlterGroup", World.position),
    "ACLs are copied": (TARGET, "CopyAcls", "AlterCluster", World.acl),
}


@pytest.mark.parametrize("feature", FEATURES)
def test_given_one_action_less_while_a_link_runs_then_its_feature_fails_with_the_actions_name_and_goes_on_later(
    world: World, worker: Worker, copied: list[str], feature: str
) -> None:
    name, sid, short, cause = FEATURES[feature]
    action = f"kafka-cluster:{short}"
    before = len(worker.log())
    with world.lacking(name, sid, action):
        cause(world)

        def said() -> bool:
            assert action in worker.log()[before:], worker.log()[before:][-1500:]
            return True

        wait_for(said, within=30, every=0.2, what=f"{feature}: the worker names {action}")
    assert worker.running
