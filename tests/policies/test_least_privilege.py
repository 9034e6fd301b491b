"""The whole of a link under policies/replicator-source.json and -target.json, and nothing of them to spare.

One pair of clusters for all: what is allowed changes while they, and a worker, run. Nothing is copied until `fresh` has
asked `check` about each action once; then a worker copies, and features fail one after the other, and go on.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

from tests.support.policed import ACCOUNT, REPLICATOR, ROLE, Policed
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
EACH = [(name, sid, action) for name in (SOURCE, TARGET) for sid, action in each_action(name)]
CONNECT = "kafka-cluster:Connect"


class World:
    """The clusters, what is allowed on them, and what can be done to a link there."""

    def __init__(self, us: Policed, eu: Policed, installation: Installation) -> None:
        self.us, self.eu, self.installation = us, eu, installation
        values = {"Region": "us-east-1", "Account": ACCOUNT, "Link": "us-to-eu", "SourceAlias": "us", "Groups": "shop"}
        for side, cluster in (("Source", us), ("Target", eu)):
            values |= {f"{side}ClusterName": cluster.name, f"{side}ClusterUuid": f"uuid-of-{cluster.name}"}
        source = document(SOURCE, {**values, "Topics": "orders"})["Statement"]
        later = document(SOURCE, {**values, "Topics": "later*"})["Statement"][1]
        assert later["Sid"] == "ReadTopics"
        for statement in source:  # one pattern a placeholder: two take a list
            if statement["Sid"] == "ReadTopics":
                statement["Resource"] = [statement["Resource"], later["Resource"]]
        self.documents = {SOURCE: source, TARGET: document(TARGET, values)["Statement"]}
        self.clusters = {SOURCE: us, TARGET: eu}
        self._numbers = itertools.count(1)
        for name, statements in self.documents.items():
            self.clusters[name].allow(ROLE, statements)

    @contextmanager
    def lacking(self, name: str, sid: str, action: str) -> Iterator[None]:
        """For a while, one action of one statement of one document isn't allowed."""
        statements = self.documents[name]
        self.clusters[name].allow(ROLE, without(statements, sid, action))
        try:
            yield
        finally:
            self.clusters[name].allow(ROLE, statements)

    def findings(self) -> list[dict[str, Any]]:
        """What `check` isn't content with."""
        done = self.installation.run("check", "-o", "json")
        found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
        return [finding for finding in found if finding["level"] != "ok"]

    def told(self) -> str:
        """What `status`, `plan` and `groups` say."""
        return "\n".join(self.installation.run(verb, "-o", "json").stdout for verb in ("status", "plan", "groups"))

    # ---- what makes a link do something

    def topic(self) -> None:
        name = f"later-{next(self._numbers)}"
        self.us.admin().create_topics([NewTopic(name, 1, 1)])[name].result(20)

    def records(self) -> None:
        producer = Producer(self.us.client())
        for _ in range(20):
            producer.produce("orders", b"x", partition=0)
        assert producer.flush(20) == 0

    def partition(self) -> None:
        admin = self.us.admin()
        count = len(admin.list_topics("orders", timeout=10).topics["orders"].partitions)
        admin.create_partitions([NewPartitions("orders", count + 1)])["orders"].result(20)

    def setting(self) -> None:
        value = str(10**9 + next(self._numbers))
        entry = ConfigEntry("retention.ms", value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, "orders", incremental_configs=[entry])
        self.us.admin().incremental_alter_configs([resource])[resource].result(20)

    def acl(self) -> None:
        literal, allow = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
        reader = f"User:reader-{next(self._numbers)}"
        wanted = AclBinding(ResourceType.TOPIC, "orders", literal, reader, "*", AclOperation.READ, allow)
        self.us.admin().create_acls([wanted])[wanted].result(20)

    def position(self) -> None:
        offsets = [TopicPartition("orders", 0, next(self._numbers))]
        wanted = ConsumerGroupTopicPartitions("shop", offsets)
        self.us.admin().alter_consumer_group_offsets([wanted])["shop"].result(20)

    def nothing(self) -> None:
        """It happens by itself."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("least-privilege")
    with Policed(directory, "first") as us, Policed(directory, "second") as eu:
        installation = Installation(directory / "link", {"us": us, "eu": eu}, [LINK])
        made = World(us, eu, installation)
        us.admin().create_topics([NewTopic("orders", 2, 1)])["orders"].result(20)
        made.records()
        made.position()
        made.acl()
        yield made


Answers = dict[tuple[str, str, str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def fresh(world: World) -> Answers:
    """What `check` says without each action, and with all of them, before anything is copied."""
    answers: Answers = {("", "", ""): world.findings()}
    for name, sid, action in EACH:
        if action != CONNECT:
            with world.lacking(name, sid, action):
                answers[name, sid, action] = world.findings()
    return answers


@pytest.fixture(scope="module")
def worker(world: World, fresh: Answers) -> Iterator[Worker]:
    """A worker under exactly the two documents."""
    with world.installation.worker() as made:
        made.wait_ready()
        yield made


def test_given_both_documents_when_check_looks_then_nothing_is_missing(fresh: Answers) -> None:
    assert fresh["", "", ""] == []


@pytest.mark.parametrize(("name", "sid", "action"), [each for each in EACH if each[2] != CONNECT])
def test_given_one_action_less_when_check_looks_then_it_names_action_and_feature(
    fresh: Answers, name: str, sid: str, action: str
) -> None:
    named = [each for each in fresh[name, sid, action] if action in each["next_step"] and each["why"]]
    assert named, fresh[name, sid, action]


def test_given_both_documents_when_a_link_runs_then_everything_works_and_nothing_is_denied(
    world: World, worker: Worker
) -> None:
    there = world.eu.admin()
    world.topic()
    for cause in (world.records, world.partition, world.setting, world.acl, world.position):
        cause()

    def copied() -> bool:
        ends = {at: found["lag"] for at, found in world.installation.status().items() if at[0] != "heartbeats"}
        assert len(ends) >= 4, ends
        assert set(ends.values()) == {0}, ends
        return True

    def in_step() -> bool:
        listed = there.list_topics(timeout=10).topics
        assert {"us.orders", "us.heartbeats", "us.checkpoints.internal", "heartbeats"} <= listed.keys()
        assert "shop" in {group.group_id for group in there.list_consumer_groups().result(20).valid}
        assert json.loads(world.installation.run("plan", "-o", "json").stdout)["links"][0]["changes"] == []
        return True

    wait_for(copied, within=40, every=0.3, what="everything is copied")
    wait_for(in_step, within=40, every=0.5, what="everything is in step")
    assert "uthoriz" not in worker.log() + world.told()
    for cluster in (world.us, world.eu):
        denied = [line for line in cluster.log().splitlines() if f"User:{REPLICATOR}" in line and " denied " in line]
        assert [line for line in denied if "GROUP 'replicator." not in line] == []  # of clients that are no members


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
    world: World, worker: Worker, feature: str
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
