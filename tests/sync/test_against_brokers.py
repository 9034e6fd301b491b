"""Admin and TopicSync against real Kafka and the bundled broker: topics, settings, growth, groups, refusals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from replicator.config.models import LinkConfig, SyncConfig, TopicsConfig
from replicator.errors import AuthenticationError, ReplicatorError, UnreachableError
from replicator.ledger.client_errors import RefusedError
from replicator.ledger.entry import encode_entry, encode_key
from replicator.ledger.lanes import control_topic, ledger_topic
from replicator.ledger.topic import ensure_topics, refuse_missing_ledger
from replicator.states import Reason
from replicator.sync.admin import EARLIEST, LATEST, Admin, ConfigSource, ListedOffset, Topic, TopicSpec, at_timestamp
from replicator.sync.ledger_follower import LedgerFollower
from replicator.sync.topics import TopicPlan, TopicSync
from tests.ledger.test_entry import ENTRY
from tests.support.bundled import BundledCluster
from tests.support.kafka import KafkaCluster
from tests.support.ports import free_ports

Cluster = KafkaCluster | BundledCluster
QUIET = SyncConfig(heartbeats=False)  # those of other tests on the same clusters are none of this one's


def admin_of(cluster: Cluster) -> Admin:
    return Admin(dict(cluster.client_config), cluster.name)


@pytest.fixture(scope="module")
def bundled_source() -> Iterator[BundledCluster]:
    with BundledCluster(name="source") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def bundled_target() -> Iterator[BundledCluster]:
    with BundledCluster(name="target") as cluster:
        yield cluster


@pytest.fixture(params=["bundled", pytest.param("kafka", marks=pytest.mark.kafka)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def source_cluster(request: pytest.FixtureRequest, kind: str) -> Cluster:
    cluster: Cluster = request.getfixturevalue(f"{kind}_source")
    return cluster


@pytest.fixture
def target_cluster(request: pytest.FixtureRequest, kind: str) -> Cluster:
    cluster: Cluster = request.getfixturevalue(f"{kind}_target")
    return cluster


@pytest.fixture
def tag() -> str:
    return uuid4().hex[:8]


def own(settings: object) -> dict[str, str | None]:
    assert isinstance(settings, dict)
    return {key: config.value for key, config in settings.items() if config.source is ConfigSource.TOPIC}


async def test_given_two_clusters_when_synced_then_copies_appear_with_settings_and_grow(
    source_cluster: Cluster, target_cluster: Cluster, tag: str
) -> None:
    source, target = admin_of(source_cluster), admin_of(target_cluster)
    link = LinkConfig(
        name=tag, source="us", target="eu", lanes=4, topics=TopicsConfig(include=(f"{tag}.*",)), sync=QUIET
    )
    long_name = f"{tag}-{'n' * 238}"
    created = await source.create_topics(
        [
            TopicSpec(f"{tag}-a", 3, 1, {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.3"}),
            TopicSpec(f"{tag}-b", 2, 1, {"message.timestamp.type": "LogAppendTime", "max.message.bytes": "3000000"}),
            TopicSpec(long_name, 1, 1),
        ]
    )
    assert set(created.values()) == {None}
    await refuse_missing_ledger(link, source, target)
    await ensure_topics(link, target)
    await ensure_topics(link, target)
    sync = TopicSync(link, source, target)

    plan = await sync.plan()
    assert await sync.apply(plan) == {}
    assert await sync.apply(plan) == {}  # twice is harmless

    after = await settled(sync)
    assert {name: pair.partitions for name, pair in after.pairs.items()} == {f"{tag}-a": 3, f"{tag}-b": 2}
    assert after.problems[long_name].reason is Reason.TOPIC_NAME_INVALID
    settings = await target.describe_configs([f"us.{tag}-a", f"us.{tag}-b", ledger_topic(tag)])
    assert own(settings[f"us.{tag}-a"]) == {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.3",
        "message.timestamp.after.max.ms": str((1 << 63) - 1),
    }
    assert own(settings[f"us.{tag}-b"])["max.message.bytes"] == "3000000"
    assert "message.timestamp.type" not in own(settings[f"us.{tag}-b"])
    assert own(settings[ledger_topic(tag)])["cleanup.policy"] == "compact"

    assert await source.create_partitions({f"{tag}-b": 5}) == {f"{tag}-b": None}
    assert await sync.apply(await sync.plan()) == {}
    assert (await settled(sync)).pairs[f"{tag}-b"].partitions == 5
    described = (await target.describe_topics([ledger_topic(tag), control_topic(tag)])).values()
    assert [topic.partitions for topic in described if isinstance(topic, Topic)] == [4, 1]


async def settled(sync: TopicSync) -> TopicPlan:
    """The plan once there's nothing left to do: brokers hear of new topics a moment after they were created."""
    async with asyncio.timeout(10):
        while not (plan := await sync.plan()).empty:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return plan


async def leaders_of(admin: Admin, topic: str, partitions: int) -> None:
    async with asyncio.timeout(10):
        while len(await admin.log_spans((topic, p) for p in range(partitions))) < partitions:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_given_a_ledger_when_followed_then_each_reading_is_up_to_date(target_cluster: Cluster, tag: str) -> None:
    admin = admin_of(target_cluster)
    link = LinkConfig(name=tag, source="us", target="eu", lanes=4)
    await ensure_topics(link, admin)
    follower = LedgerFollower(dict(target_cluster.client_config), link, admin)
    try:
        await leaders_of(admin, ledger_topic(tag), 4)
        assert await follower.entries() == {}
        producer = Producer(target_cluster.client_config)
        for source_next in range(5):
            entry = replace(ENTRY, source_next=source_next)
            producer.produce(ledger_topic(tag), encode_entry(entry), encode_key("orders", 3), 2)
            assert producer.flush(10) == 0
            assert (await follower.entries()).keys() == {("orders", 3)}
        assert (await follower.entries())["orders", 3].source_next == 4
    finally:
        await follower.close()


async def test_given_a_topic_when_asked_and_changed_then_the_answers_are_typed_and_errors_are_its_own(
    source_cluster: Cluster, tag: str
) -> None:
    admin = admin_of(source_cluster)
    cluster = await admin.describe_cluster()
    assert len(cluster.brokers) == 1
    assert cluster.cluster_id
    answers = await admin.create_topics([TopicSpec(tag, 2, 1), TopicSpec(tag + "-x", 1, 9), TopicSpec("no/name", 1, 1)])
    assert answers[tag] is None
    refused = answers[tag + "-x"]
    assert isinstance(refused, RefusedError)
    assert refused.name == "INVALID_REPLICATION_FACTOR"
    assert isinstance(answers["no/name"], RefusedError)
    topic = (await admin.list_topics())[tag]
    assert (topic.partitions, topic.replication_factor, topic.internal) == (2, 1, False)
    assert topic.topic_id != UUID(int=0)
    assert list(await admin.describe_topics([tag, "nowhere"])) == [tag]

    assert await admin.incremental_alter_configs({tag: {"retention.ms": "5000"}}) == {tag: None}
    assert own((await admin.describe_configs([tag]))[tag]) == {"retention.ms": "5000"}
    assert await admin.incremental_alter_configs({tag: {"retention.ms": None}}) == {tag: None}
    assert own((await admin.describe_configs([tag]))[tag]) == {}
    assert isinstance((await admin.describe_configs(["nowhere"]))["nowhere"], ReplicatorError)

    producer = Producer(source_cluster.client_config)
    now_ms = int(time.time() * 1000)  # older ones could be deleted by retention
    for time_ms in (now_ms, now_ms + 1000, now_ms + 2000):
        producer.produce(tag, b"x", partition=0, timestamp=time_ms)
    assert producer.flush(10) == 0
    found = await admin.list_offsets({(tag, 0): LATEST, (tag, 1): EARLIEST, ("nowhere", 0): LATEST})
    assert [at.offset for at in found.values() if isinstance(at, ListedOffset)] == [3, 0]
    assert isinstance(found["nowhere", 0], RefusedError)
    at_2 = (await admin.list_offsets({(tag, 0): at_timestamp(now_ms + 500)}))[tag, 0]
    assert isinstance(at_2, ListedOffset)
    assert (at_2.offset, at_2.timestamp) == (1, now_ms + 1000)
    assert await admin.log_spans([(tag, 0), (tag, 1)]) == {(tag, 0): 3, (tag, 1): 0}

    assert await admin.delete_topics([tag]) == {tag: None}


@pytest.fixture
def group(source_cluster: Cluster, tag: str) -> Iterator[str]:
    consumer = Consumer({**source_cluster.client_config, "group.id": tag, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition("__consumer_offsets", 0, 7)], asynchronous=False)
    yield tag
    consumer.close()


async def test_given_a_group_when_asked_then_its_state_and_positions_are_told(
    source_cluster: Cluster, group: str
) -> None:
    admin = admin_of(source_cluster)
    assert group in await admin.list_groups()
    described = await admin.describe_groups([group, "nobody"])
    assert {name: getattr(answer, "state", None) for name, answer in described.items()} == {
        group: "EMPTY",
        "nobody": "DEAD",
    }
    assert await admin.committed_offsets(group) == {("__consumer_offsets", 0): 7}


async def test_given_nobody_at_the_address_when_asked_then_the_error_names_cluster_and_cause() -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    admin = Admin({"bootstrap.servers": address, "log_level": 0}, "us", timeout_s=1)
    with pytest.raises(UnreachableError, match=rf"cluster us: .*{address}.*refused"):
        await admin.list_topics()


async def test_given_a_node_that_is_down_when_offsets_are_asked_then_only_its_partitions_have_none() -> None:
    with BundledCluster(nodes=2) as cluster:
        admin = Admin(dict(cluster.client_config), "us", timeout_s=1)
        assert await admin.create_topics([TopicSpec("t", 4, 1)]) == {"t": None}
        await leaders_of(admin, "t", 4)
        cluster.kill_node(1)
        for _ in range(2):  # at first librdkafka believes in the old leader, then it knows that there is none
            found = await admin.list_offsets(dict.fromkeys((("t", p) for p in range(4)), LATEST))
            assert (
                sorted(type(answer).__name__ for answer in found.values())
                == ["ListedOffset"] * 2 + ["NoLeaderError"] * 2
            )
            assert (await admin.list_topics())["t"].partitions == 4
        assert len(await admin.log_spans(("t", p) for p in range(4))) == 2


@pytest.mark.kafka
@pytest.mark.slow
async def test_given_a_controller_that_is_down_when_settings_are_asked_then_the_next_one_answers() -> None:
    with KafkaCluster(3) as cluster:
        admin = Admin(dict(cluster.client_config), "us", timeout_s=2)
        assert await admin.create_topics([TopicSpec("t", 1, 3)]) == {"t": None}
        nodes = sorted(broker.id for broker in (await admin.describe_cluster()).brokers)
        cluster.kill_node(nodes.index(admin._client.list_topics(timeout=5).controller_id))
        deadline = time.monotonic() + 15  # without a new client it would be a minute, all of it with a busy core
        while True:
            try:
                assert "t" in await admin.describe_configs(["t"])
                break
            except UnreachableError:
                assert time.monotonic() < deadline


@pytest.mark.kafka
async def test_given_a_wrong_password_when_asked_then_it_is_an_authentication_error_without_the_password() -> None:
    with KafkaCluster(security="plain", name="locked") as cluster:
        right = Admin(dict(cluster.client_config), "us")
        assert (await right.describe_cluster()).brokers
        wrong = Admin(cluster.client_config | {"sasl.password": "guessed"}, "us")
        for ask in (wrong.describe_cluster, wrong.list_topics):
            with pytest.raises(AuthenticationError, match="cluster us") as caught:
                await ask()
            assert "guessed" not in str(caught.value)
