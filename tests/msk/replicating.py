"""Replicators for tests: requests, and processes without a process."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass, field
from typing import Any

import pytest

from broker.msk.clusters.topic_admin import TopicInfo
from broker.msk.replicators.process import Launch, ProcessFailed, Tools
from tests.msk.world import ACCOUNT, World, create
from tests.support.waiting import wait_for

ROLE = f"arn:aws:iam::{ACCOUNT}:role/Replication"
VPC = {"SubnetIds": ["subnet-0aaa", "subnet-0bbb"], "SecurityGroupIds": ["sg-0aaa"]}
POLICY_ACTIONS = ["kafka:CreateVpcConnection", "kafka:GetBootstrapBrokers", "kafka:DescribeClusterV2"]


def msk(arn: str, **changes: Any) -> dict[str, Any]:
    """A cluster of MSK's in a request."""
    return {"AmazonMskCluster": {"MskClusterArn": arn}, "VpcConfig": copy.deepcopy(VPC)} | changes


def request(source: str, target: str, name: str = "orders-copy", **changes: Any) -> dict[str, Any]:
    """CreateReplicator's input for all topics and groups. `changes` are of the whole; those of `topics`, `groups` and
    `info` go into these blocks."""
    topics = {"TopicsToReplicate": [".*"]} | changes.pop("topics", {})
    groups = {"ConsumerGroupsToReplicate": [".*"]} | changes.pop("groups", {})
    info = {
        "SourceKafkaClusterArn": source,
        "TargetKafkaClusterArn": target,
        "TargetCompressionType": "NONE",
        "TopicReplication": topics,
        "ConsumerGroupReplication": groups,
    } | changes.pop("info", {})
    return {
        "ReplicatorName": name,
        "KafkaClusters": [msk(source), msk(target)],
        "ReplicationInfoList": [{key: value for key, value in info.items() if value is not None}],
        "ServiceExecutionRoleArn": ROLE,
    } | changes


def replicator(kafka: Any, *args: str, **changes: Any) -> str:
    """Create a replicator and wait until it is RUNNING; its ARN."""
    arn = str(kafka.create_replicator(**request(*args, **changes))["ReplicatorArn"])
    wait_state(kafka, arn, "RUNNING")
    return arn


def wait_state(kafka: Any, arn: str, state: str, within: float = 60) -> dict[str, Any]:
    """Wait until a replicator is in a state; its description."""

    def there() -> dict[str, Any] | None:
        found = kafka.describe_replicator(ReplicatorArn=arn)
        if found["ReplicatorState"] == "FAILED" != state:
            pytest.fail(f"FAILED: {found['StateInfo']}")
        return dict(found) if found["ReplicatorState"] == state else None

    found = wait_for(there, within=within, what=f"{arn} is {state}")
    assert found is not None
    return found


def wait_gone(kafka: Any, arn: str, within: float = 60) -> None:
    """Wait until a replicator isn't there any more."""

    def gone() -> bool:
        return all(one["ReplicatorArn"] != arn for one in kafka.list_replicators()["Replicators"])

    wait_for(gone, within=within, what=f"{arn} is gone")


@dataclass
class FakeProcess:
    """A replicator that has started as soon as it is asked to."""

    launch: Launch
    text: str  # the file as it was at the start
    fail_with: ProcessFailed | None = None
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    code: int = 0
    process: Any = None
    healthy: bool = True

    @property
    def running(self) -> bool:
        """Until it is stopped."""
        return not self.gone.is_set()

    async def ready(self) -> None:
        """At once, or not at all."""
        if self.fail_with is not None:
            raise self.fail_with

    async def answers(self, path: str) -> bool:
        """Whether it is well."""
        return self.healthy

    async def ended(self) -> int:
        """Wait for the end."""
        await self.gone.wait()
        return self.code

    async def stop(self) -> None:
        """End."""
        self.gone.set()

    def last_words(self) -> str:
        """Nothing much."""
        return "gone"


class FakeReplicators:
    """Stands for `Tools`; what was started and applied is kept."""

    def __init__(self) -> None:
        self.started: list[FakeProcess] = []
        self.applied: list[str] = []
        self.fail_with: ProcessFailed | None = None
        self.apply_fails = self.delete_fails = False
        self.deleted_topics: list[str] = []
        self.target: list[str] = []
        self.source: dict[str, list[str]] = {"topics": [], "groups": []}

    def install(self, world: World) -> None:
        """Let a control plane use it; before its first replicator."""
        tools = Tools(
            start=self._start,
            apply=self._apply,
            list_source=self._list,
            delete_topic=self._delete_topic,
            list_topics=self._topics,
        )  # type: ignore[arg-type]
        world.plane.service.replicators.tools = tools

    async def _start(self, launch: Launch) -> FakeProcess:
        made = FakeProcess(launch, launch.file.read_text(), self.fail_with)
        self.started.append(made)
        return made

    async def _apply(self, launch: Launch) -> None:
        if self.apply_fails:
            raise ProcessFailed("nobody answers")
        self.applied.append(launch.file.read_text())

    async def _delete_topic(self, admin: Any, name: str) -> None:
        if self.delete_fails:
            raise OSError("the target doesn't answer")
        self.deleted_topics.append(name)

    async def _topics(self, admin: Any) -> list[TopicInfo]:
        return [TopicInfo(name, ()) for name in self.target]

    async def _list(self, launch: Launch) -> dict[str, list[str]]:
        return self.source


def pair(kafka: Any) -> tuple[str, str]:
    """Two clusters of one region."""
    return create(kafka, "us-cluster"), create(kafka, "eu-cluster")
