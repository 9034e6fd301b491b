"""A member of a consumer group (KIP-848) driven by hand, one heartbeat at a time."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from kio.schema.errors import ErrorCode

from tests.kafka.scene import Scene, unique
from tests.support.waiting import wait_for

JOINING, LEAVING, LEAVING_FOR_A_WHILE = 0, -1, -2


class ConsumerMember:
    """What it owns is what it was assigned last; `beat` says everything, `ping` only who it is."""

    def __init__(
        self,
        scene: Scene,
        group: str,
        topic: str,
        *,
        member_id: str = "",
        instance: str | None = None,
        assignor: str | None = None,
        regex: str | None = None,
    ) -> None:
        self.scene = scene
        self.client = scene.group_coordinator(group)
        self.group = group
        self.topic = topic
        self.member_id = member_id or unique("m")
        self.instance = instance
        self.assignor = assignor
        self.regex = regex
        self.topics: Sequence[str] | None = [topic] if regex is None else None
        self.epoch = JOINING
        self.owned: list[int] = []

    @cached_property
    def topic_id(self) -> uuid.UUID:
        """The topic's id."""
        return self.scene.topic_id(self.topic)

    def send(self, version: int = 1, **changes: Any) -> Any:
        """A full heartbeat with these fields changed; the answer, whatever it is."""
        fields: dict[str, Any] = {
            "group_id": self.group,
            "member_id": self.member_id,
            "member_epoch": self.epoch,
            "instance_id": self.instance,
            "rebalance_timeout": 10_000,
            "subscribed_topic_names": self.topics,
            "server_assignor": self.assignor,
            "topic_partitions": self.partitions(self.owned),
        }
        if version > 0:
            fields["subscribed_topic_regex"] = self.regex
        return self.client.call("consumer_group_heartbeat", version, **{**fields, **changes})

    def partitions(self, indexes: Sequence[int]) -> list[dict[str, Any]]:
        """Partitions of the topic as the request has them."""
        return [{"topic_id": self.topic_id, "partitions": list(indexes)}] if indexes else []

    def join(self) -> Any:
        """Join with nothing in hand."""
        self.epoch, self.owned = JOINING, []
        return self.beat()

    def beat(self, *, clings: bool = False, **changes: Any) -> Any:
        """A full heartbeat; what is no longer assigned is given up at once, unless the member clings to it."""
        answer = self.send(**changes)
        if answer.error_code == ErrorCode.none:
            self.epoch = answer.member_epoch
            assigned = [index for row in answer.assignment.topic_partitions for index in row.partitions]
            self.owned = sorted({*assigned, *(self.owned if clings else ())})
        return answer

    def ping(self) -> Any:
        """A heartbeat that says nothing new."""
        none = {"rebalance_timeout": -1, "subscribed_topic_names": None, "server_assignor": None}
        return self.send(**none, topic_partitions=None, instance_id=self.instance)

    def leave(self, epoch: int = LEAVING) -> Any:
        """Leave for good or for a while."""
        self.owned = []
        return self.send(member_epoch=epoch, rebalance_timeout=-1, subscribed_topic_names=None, topic_partitions=None)

    def describe(self) -> Any:
        """The group as ConsumerGroupDescribe shows it."""
        return self.client.call("consumer_group_describe", 1, group_ids=[self.group]).groups[0]


def settle(*members: ConsumerMember, rounds: int = 4) -> None:
    """Heartbeats of everybody until nothing moves any more."""
    for _ in range(rounds):
        for member in members:
            assert member.beat().error_code == ErrorCode.none


GROUP_RESOURCE = 32


def set_group(scene: Scene, group: str, **values: str | None) -> Any:
    """Set or (None) remove settings of the group, named with _ for dots; the row of the answer."""
    changes = [
        {"name": name.replace("_", "."), "config_operation": 0 if value is not None else 1, "value": value}
        for name, value in values.items()
    ]
    resource = {"resource_type": GROUP_RESOURCE, "resource_name": group, "configs": changes}
    return scene.client.call("incremental_alter_configs", 1, resources=[resource]).responses[0]


def group_settings(scene: Scene, group: str) -> dict[str, tuple[str, int]]:
    """The settings of the group that its consumers know of, as `(value, source)`."""
    resource = {"resource_type": GROUP_RESOURCE, "resource_name": group, "configuration_keys": None}
    (row,) = scene.client.call("describe_configs", 4, resources=[resource]).results
    assert row.error_code == ErrorCode.none, row
    found = {each.name: (each.value, each.config_source) for each in row.configs}
    return {name: value for name, value in found.items() if name.startswith("consumer.")}


def with_short_session(scene: Scene, group: str, session_ms: int = 3000) -> None:
    """Give the group another session timeout and wait until its coordinator knows."""
    short = {"consumer_session_timeout_ms": str(session_ms), "consumer_heartbeat_interval_ms": "300"}
    assert set_group(scene, group, **short).error_code == ErrorCode.none
    wait_for(
        lambda: group_settings(scene, group)["consumer.session.timeout.ms"][0] == str(session_ms),
        within=5,
        what="the group's settings",
    )
