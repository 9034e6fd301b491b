"""WireAdmin answers as Admin does, of both brokers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from confluent_kafka.admin import NewTopic

from replicator.config.models import ClusterConfig
from replicator.errors import AuthorizationError, ReplicatorError
from replicator.sync.admin import Admin, Topic, TopicSpec
from replicator.sync.metadata_topics import MetadataTopics
from replicator.sync.wire_admin import WireAdmin
from replicator.wire.cluster import ClusterClient
from tests.e2e.pairs import KAFKA
from tests.e2e.rig import AnyCluster, records
from tests.support.bundled import BundledCluster
from tests.support.copying import produce

TOPIC, EMPTY, NOBODYS = "wire-admin", "wire-admin-empty", "wire-admin-nobodys"


@pytest.fixture(params=["bundled", KAFKA])
def cluster(request: pytest.FixtureRequest) -> AnyCluster:
    name = "bundled_one" if request.param == "bundled" else "kafka_target"
    found: AnyCluster = request.getfixturevalue(name)
    return found


@pytest.fixture(scope="module")
def bundled_one() -> object:
    with BundledCluster(name="one") as cluster:
        yield cluster


@asynccontextmanager
async def both(cluster: AnyCluster) -> AsyncIterator[tuple[Admin, WireAdmin]]:
    config = ClusterConfig(bootstrap_servers=cluster.bootstrap, security=cluster.security)
    client = ClusterClient("eu", config, "wire-admin")
    admin = Admin(dict(cluster.client_config), "eu")
    try:
        yield admin, WireAdmin(dict(cluster.client_config), client, MetadataTopics(client))
    finally:
        await client.close()


def known(answers: dict[str, Topic | ReplicatorError]) -> dict[str, tuple[object, ...]]:
    return {
        name: (type(answer),)
        if isinstance(answer, ReplicatorError)
        else (answer.topic_id, answer.partitions, answer.replication_factor)
        for name, answer in answers.items()
    }


async def test_given_topics_then_both_say_the_same_of_them(cluster: AnyCluster) -> None:
    async with both(cluster) as (admin, wire):
        specs = [TopicSpec(TOPIC, 3, 1, {"cleanup.policy": "compact"}), TopicSpec(EMPTY, 1, 1)]
        assert await wire.create_topics(specs) == {TOPIC: None, EMPTY: None}
        produce(cluster.client_config, TOPIC, 1, records(7))
        names = [TOPIC, EMPTY, NOBODYS]
        places = [(TOPIC, 0), (TOPIC, 1), (EMPTY, 0)]
        assert (
            await wire.log_spans(places) == await admin.log_spans(places) == {places[0]: 0, places[1]: 7, places[2]: 0}
        )
        assert await wire.log_spans([]) == {}
        assert known(await wire.describe_topics(names)) == known(await admin.describe_topics(names))
        listed, described = await wire.list_topics(), await admin.list_topics()
        assert {TOPIC, EMPTY} <= listed.keys()
        assert listed.keys() == described.keys()
        assert await wire.describe_configs([TOPIC, EMPTY]) == await admin.describe_configs([TOPIC, EMPTY])
        here = await wire.describe_cluster()
        assert here == await admin.describe_cluster()
        node = here.brokers[0].id
        assert await wire.describe_broker(node) == await admin.describe_broker(node)


@pytest.mark.slow
async def test_given_a_topic_that_we_may_not_see_then_both_say_so() -> None:
    with BundledCluster(name="guarded", authorizer=True) as cluster:
        guarded = cluster.admin()
        async with both(cluster) as (admin, wire):
            guarded.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(10)
            for answers in (await admin.describe_topics([TOPIC]), await wire.describe_topics([TOPIC])):
                assert isinstance(answers[TOPIC], AuthorizationError)
                assert "describe topic" in str(answers[TOPIC])
            (refused,) = (await wire.describe_configs([TOPIC])).values()
            assert isinstance(refused, AuthorizationError)
            assert await wire.list_topics() == {}
