from __future__ import annotations

from typing import Any, cast

import pytest

from replicator.config.models import ClusterConfig, LinkConfig, Settings, SyncConfig
from replicator.errors import AuthorizationError, ReplicatorError
from replicator.sync.heartbeats import Heartbeats
from replicator.sync.plan import Why
from replicator.wire import kafka_errors as codes
from replicator.wire.kafka_errors import BrokerError
from tests.sync.fake_admin import FakeAdmin

LINK = LinkConfig(name="l", source="us", target="eu")


class Client:
    """Of a cluster without topics, or of one that refuses."""

    def __init__(self, failure: ReplicatorError | None = None) -> None:
        self.failure = failure
        self.watched: list[str] = []

    def watch(self, topics: list[str]) -> None:
        self.watched += topics

    async def refresh(self) -> None:
        if self.failure is not None:
            raise self.failure

    def leader(self, topic: str, partition: int) -> None:
        return None


def rig(source: FakeAdmin, target: FakeAdmin, client: Client) -> Heartbeats:
    return Heartbeats(LINK, cast(Any, (source, client)), cast(Any, (target, client)), lambda: 1)


async def test_given_no_topics_when_applied_then_both_clusters_have_mirrormakers_once() -> None:
    source, target = FakeAdmin("us", brokers=5), FakeAdmin("eu", brokers=2)
    heartbeats = rig(source, target, Client())
    plan = await heartbeats.plan()
    assert [change.what for change in plan.changes] == ["on cluster eu", "on cluster us"]
    assert await heartbeats.apply(plan) == ()
    for admin, factor in ((source, 3), (target, 2)):
        made = admin.topics["heartbeats"]
        assert (made.partitions, made.replication_factor) == (1, factor)
        assert admin.own["heartbeats"] == {"cleanup.policy": "compact"}
    assert (await heartbeats.plan()).changes == ()
    assert await heartbeats.apply(plan) == ()


async def test_given_a_source_that_may_only_be_read_when_planned_then_it_says_so_and_the_target_has_its_own() -> None:
    source, target = FakeAdmin("us"), FakeAdmin("eu")
    source.refuse["heartbeats"] = AuthorizationError("create topic heartbeats: not authorized")
    heartbeats = rig(source, target, Client())
    (held,) = await heartbeats.apply(await heartbeats.plan())
    assert held.why is Why.NOT_AUTHORIZED
    assert "grant Create, Describe and Write on topic heartbeats" in held.detail
    assert "heartbeats" in target.topics


async def test_given_writes_that_are_refused_when_beating_then_it_is_held_until_they_are_not() -> None:
    source, target = FakeAdmin("us"), FakeAdmin("eu")
    client = Client(BrokerError(codes.TOPIC_AUTHORIZATION_FAILED, "write"))
    heartbeats = rig(source, target, client)
    await heartbeats.apply(await heartbeats.plan())
    for pulse in heartbeats.pulses:
        await pulse.beat()
    assert [held.why for held in (await heartbeats.plan()).held] == [Why.NOT_AUTHORIZED] * 2
    client.failure = None
    for pulse in heartbeats.pulses:
        await pulse.beat()
    assert (await heartbeats.plan()).held == ()


@pytest.mark.parametrize(("wanted", "sent"), [((True, True), [True, False]), ((False, True), [False, True])])
def test_given_several_links_between_the_same_clusters_then_one_sends_heartbeats(
    wanted: tuple[bool, bool], sent: list[bool]
) -> None:
    cluster = ClusterConfig(bootstrap_servers="h:1")
    links = tuple(
        LINK.model_copy(update={"name": f"l{n}", "sync": SyncConfig(heartbeats=on)}) for n, on in enumerate(wanted)
    )
    opposite = LINK.model_copy(update={"name": "back", "source": "eu", "target": "us"})
    settings = Settings(clusters={"us": cluster, "eu": cluster}, links=(*links, opposite))
    assert [link.sync.heartbeats for link in settings.links] == [*sent, True]
