"""What MirrorMaker 2's own integration suite asserts, asserted of this program: the same, or stricter.

One worker runs five links between two clusters for all tests; each has topics and groups of its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from replicator.sync.mm2_formats import Checkpoint, decode_checkpoint
from tests.e2e.pairs import KAFKA, LONG_BUNDLED
from tests.e2e.rig import AnyCluster
from tests.support.bundled import BundledCluster
from tests.support.checker import Seen, read_partition
from tests.support.copying import create, produce, remove_heartbeats
from tests.support.groups import commit, committed
from tests.support.kafka import KafkaCluster
from tests.support.mirrormaker import mirror_client
from tests.support.replicator import Installation, Worker
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SOON_S = 20.0
LONG_TLS = pytest.param("tls", marks=[pytest.mark.kafka, pytest.mark.soak])  # both clusters over TLS, with SCRAM


class World:
    """Clusters `self.us` and `self.eu`, whose aliases are unique to this module, and what runs between them."""

    def __init__(self, us: AnyCluster, eu: AnyCluster, directory: Path) -> None:
        mark = os.urandom(2).hex()
        self.us, self.eu = us, eu
        self.a, self.b, self.prefix = f"us{mark}", f"eu{mark}", f"mb{mark}-"
        self.clusters: dict[str, AnyCluster] = {self.a: us, self.b: eu}
        sync = {"every": 1, "heartbeats": True, "checkpoints": True}
        special = [f"{self.prefix}{kind}-.*" for kind in ("latest", "defaults", "same")]
        groups = {"include": [f"{self.prefix}.*"]}
        common: dict[str, Any] = {"lanes": 2, "sync": sync, "groups": groups}

        def link(name: str, source: str, target: str, include: str, exclude: list[str], **more: Any) -> dict[str, Any]:
            topics = {"include": [include], "exclude": exclude, **more.pop("topics", {})}
            return {
                "name": f"{self.prefix}{name}",
                "source": source,
                "target": target,
                "topics": topics,
                **common,
                **more,
            }

        quiet = {"every": 1, "checkpoints": True}
        every = rf"(.*\.)?{self.prefix}.*"
        self.links = [
            link("there", self.a, self.b, every, special),
            link("back", self.b, self.a, every, special),
            link("latest", self.a, self.b, special[0], [], topics={"start": "latest"}, sync=quiet),
            link("defaults", self.a, self.b, special[1], [], use_defaults_from="source", sync=quiet),
            link("same", self.a, self.b, special[2], [], topics={"naming": "identical"}, sync=quiet),
        ]
        self.early = self.topic("latest-topic")
        produce(us.client_config, self.early, 0, numbered(5))
        self.installation = Installation(directory, self.clusters, self.links)
        self.worker: Worker | None = None

    def topic(self, name: str, partitions: int = 1, *, on: AnyCluster | None = None, **config: str) -> str:
        """A new topic's full name."""
        full = f"{self.prefix}{name}"
        create((on or self.us).admin(), full, partitions, {key.replace("_", "."): v for key, v in config.items()})
        return full

    def group(self, name: str) -> str:
        return f"{self.prefix}{name}"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with self.installation.worker() as self.worker:
            self.worker.wait_ready()
            yield
            self.worker.terminate(within=10)


@pytest.fixture(
    scope="module",
    params=[KAFKA, LONG_TLS, LONG_BUNDLED],
)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        if request.param == "bundled":
            pair: Any = [stack.enter_context(BundledCluster(name=name)) for name in ("us", "eu")]
        elif request.param == "tls":
            pair = [stack.enter_context(KafkaCluster(name=name, security="scram_tls")) for name in ("us", "eu")]
        else:
            pair = request.getfixturevalue("kafka_source"), request.getfixturevalue("kafka_target")
        made = World(pair[0], pair[1], tmp_path_factory.mktemp("behaviours"))
        stack.callback(lambda: [remove_heartbeats(cluster.admin()) for cluster in pair])
        stack.enter_context(made.running())
        yield made


def plaintext(cluster: AnyCluster) -> str:
    """Where a client finds it that can't log in."""
    return cluster.internal if isinstance(cluster, KafkaCluster) else cluster.bootstrap


def numbered(count: int, start: int = 0) -> list[Seen]:
    return [Seen(n, b"k%d" % n, b"v%d" % n, (), 1_790_000_000_000 + n) for n in range(start, start + count)]


def values(cluster: AnyCluster, topic: str, partition: int = 0) -> list[bytes | None]:
    if topic not in cluster.admin().list_topics(timeout=10).topics:
        return []
    return [record.value for record in read_partition(cluster.client_config, topic, partition)]


def checkpoints(world: World, group: str) -> list[Checkpoint]:
    """What was ever written of a group of `us`, in order."""
    topic = f"{world.a}.checkpoints.internal"
    if topic not in world.eu.admin().list_topics(timeout=10).topics:
        return []
    records = read_partition(world.eu.client_config, topic, 0)
    return [found for record in records if (found := decode_checkpoint(record.key, record.value)).group == group]


def until(what: str, expected: object, found: Any, within: float = SOON_S) -> None:
    def equal() -> bool:
        now = found()
        assert now == expected, f"{now!r:.500} instead of {expected!r:.500}"
        return True

    wait_for(equal, within=within, every=0.2, what=what)


def config(cluster: AnyCluster, topic: str, key: str) -> str | None:
    admin, resource = cluster.admin(), ConfigResource(ResourceType.TOPIC, topic)
    held: str | None = admin.describe_configs([resource])[resource].result(15)[key].value
    return held


def alter(cluster: AnyCluster, topic: str, key: str, value: str | None) -> None:
    operation = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
    entry = ConfigEntry(key, value, incremental_operation=operation)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = cluster.admin()
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(15)


def consume(cluster: AnyCluster, group: str, topic: str, count: int) -> list[bytes]:
    """The next records that a member of the group gets, committed."""
    consumer = Consumer(
        {**cluster.client_config, "group.id": group, "auto.offset.reset": "error", "enable.auto.commit": False}
    )
    consumer.subscribe([topic])
    found: list[bytes] = []
    try:
        wait_for(
            lambda: found.extend(m.value() or b"" for m in consumer.consume(count, 0.5) if not m.error()) or found,
            within=SOON_S, what=f"{group} reads {topic}",
        )  # fmt: skip
        consumer.commit(asynchronous=False)
    finally:
        consumer.close()
    return found


def test_replication_in_both_directions_with_settings_and_topics_created_later(world: World) -> None:
    ours = world.topic("both-a", 3, retention_bytes="123456", min_insync_replicas="1")
    theirs = world.topic("both-b", 2, on=world.eu)
    for partition in range(3):
        produce(world.us.client_config, ours, partition, numbered(10, 100 * partition))
    produce(world.eu.client_config, theirs, 1, numbered(10))
    for partition in range(3):
        expected = [b"v%d" % n for n in range(100 * partition, 100 * partition + 10)]
        until("copied there", expected, lambda p=partition: values(world.eu, f"{world.a}.{ours}", p))
    until("copied back", [b"v%d" % n for n in range(10)], lambda: values(world.us, f"{world.b}.{theirs}", 1))
    assert config(world.eu, f"{world.a}.{ours}", "retention.bytes") == "123456"
    later = world.topic("later")
    produce(world.us.client_config, later, 0, numbered(3))
    until("a new topic", [b"v0", b"v1", b"v2"], lambda: values(world.eu, f"{world.a}.{later}"))
    names = set(world.us.admin().list_topics(timeout=10).topics) | set(world.eu.admin().list_topics(timeout=10).topics)
    assert not {name for name in names if name.startswith((f"{world.a}.{world.b}.", f"{world.b}.{world.a}."))}


@pytest.mark.kafka
def test_mirror_client_answers_as_of_a_target_of_mirrormaker(world: World) -> None:
    topic, group = world.topic("client", 2), world.group("client")
    produce(world.us.client_config, topic, 0, numbered(20))
    until("copied", 20, lambda: len(values(world.eu, f"{world.a}.{topic}")))
    commit(world.us, group, {(topic, 0): 7, (topic, 1): 0})
    until("checkpoints", 2, lambda: len(checkpoints(world, group)))
    heartbeats = f"{world.a}.heartbeats"
    until("heartbeats", True, lambda: heartbeats in world.eu.admin().list_topics(timeout=10).topics)
    found = mirror_client(plaintext(world.eu), world.a, world.b, "nobody", group=group)
    assert world.a in found["upstreamClusters"]
    assert {"heartbeats", heartbeats} <= set(found["heartbeatTopics"])
    assert f"{world.a}.checkpoints.internal" in found["checkpointTopics"]
    assert {f"{world.a}.{topic}", heartbeats} <= set(found["remoteTopics"])
    assert found["replicationHops"] == {world.a: 1, world.b: -1, "nobody": -1}
    positions = {f"{world.a}.{topic}-0": 7, f"{world.a}.{topic}-1": 0}
    assert found["remoteConsumerOffsets"] == found["translateOffsets"] == positions
    back = mirror_client(plaintext(world.us), world.b)
    assert back["replicationHops"] == {world.b: 1}


def test_failover_and_failback_go_on_at_exactly_the_next_record(world: World) -> None:
    topic, group = world.topic("failover"), world.group("failover")
    produce(world.us.client_config, topic, 0, numbered(100))
    remote = f"{world.a}.{topic}"
    commit(world.us, group, {(topic, 0): 40})
    until("the group is there", {(remote, 0): 40}, lambda: committed(world.eu, group))
    assert consume(world.eu, group, remote, 30) == [b"v%d" % n for n in range(40, 70)]
    until("it is back", {(topic, 0): 70}, lambda: committed(world.us, group))
    assert consume(world.us, group, topic, 30) == [b"v%d" % n for n in range(70, 100)]


def test_checkpoints_of_an_empty_partition_are_zero(world: World) -> None:
    topic, group = world.topic("empty-partition", 2), world.group("empty-partition")
    produce(world.us.client_config, topic, 0, numbered(10))
    commit(world.us, group, {(topic, 0): 10, (topic, 1): 0})
    remote = f"{world.a}.{topic}"
    until("both partitions", {(remote, 0): 10, (remote, 1): 0}, lambda: committed(world.eu, group))
    expected = {(remote, 0): 10, (remote, 1): 0}
    until(
        "and checkpoints", expected, lambda: {(c.topic, c.partition): c.downstream for c in checkpoints(world, group)}
    )


def test_one_way_offset_sync_delivers_nothing_again_and_goes_on_for_a_new_topic(world: World) -> None:
    first, group = world.topic("one-way", 2), world.group("one-way")
    for partition in range(2):
        produce(world.us.client_config, first, partition, numbered(50))
    commit(world.us, group, {(first, 0): 13, (first, 1): 50})
    expected = {(f"{world.a}.{first}", 0): 13, (f"{world.a}.{first}", 1): 50}
    until("exact", expected, lambda: committed(world.eu, group))
    second = world.topic("one-way-too")
    produce(world.us.client_config, second, 0, numbered(10))
    commit(world.us, group, {(second, 0): 9})
    expected[f"{world.a}.{second}", 0] = 9
    until("and of the new topic", expected, lambda: committed(world.eu, group))


def test_no_offset_syncs_topic_is_created_anywhere(world: World) -> None:
    for cluster in (world.us, world.eu):
        names = cluster.admin().list_topics(timeout=10).topics
        assert not [
            name for name in names if name.startswith("mm2-offset-syncs") and (world.a in name or world.b in name)
        ]


def test_no_checkpoint_of_a_topic_that_is_not_mirrored(world: World) -> None:
    topic, group = world.topic("x-mirrored"), world.group("not-mirrored")
    other = f"other-{topic}"
    create(world.us.admin(), other)
    for name in (topic, other):
        produce(world.us.client_config, name, 0, numbered(5))
    commit(world.us, group, {(other, 0): 3})
    commit(world.us, group, {(topic, 0): 4})
    until("of the mirrored one", {(f"{world.a}.{topic}", 0): 4}, lambda: committed(world.eu, group))
    until("alone", {f"{world.a}.{topic}"}, lambda: {at.topic for at in checkpoints(world, group)})


def test_checkpoints_behind_the_flow_advance_and_follow_a_rewind(world: World) -> None:
    topic, group = world.topic("behind"), world.group("behind")
    produce(world.us.client_config, topic, 0, numbered(2000))
    until("copied", 2000, lambda: len(values(world.eu, f"{world.a}.{topic}")))
    for offset in (100, 400, 1900, 250):
        commit(world.us, group, {(topic, 0): offset})
        until(f"at {offset}", offset, lambda: next((at.downstream for at in reversed(checkpoints(world, group))), None))
    assert [at.downstream for at in checkpoints(world, group)] == [100, 400, 1900, 250]
    until("so is the group", {(f"{world.a}.{topic}", 0): 250}, lambda: committed(world.eu, group))


def test_topic_settings_drift_is_corrected_and_excluded_ones_are_left_alone(world: World) -> None:
    topic = world.topic("drift", retention_bytes="1000")
    remote = f"{world.a}.{topic}"
    until("created", True, lambda: remote in world.eu.admin().list_topics(timeout=10).topics)
    alter(world.eu, remote, "retention.bytes", "77")
    alter(world.eu, remote, "unclean.leader.election.enable", "true")
    until("corrected", "1000", lambda: config(world.eu, remote, "retention.bytes"))
    assert config(world.eu, remote, "unclean.leader.election.enable") == "true"


def test_target_defaults_hold_where_the_source_has_no_setting_of_its_own(world: World) -> None:
    topic = world.topic("target-default", segment_bytes="2097152")
    remote = f"{world.a}.{topic}"
    until("copied", "2097152", lambda: topic and remote in world.eu.admin().list_topics(timeout=10).topics
          and config(world.eu, remote, "segment.bytes"))  # fmt: skip
    alter(world.us, topic, "segment.bytes", None)
    default = config(world.eu, "heartbeats", "segment.bytes")
    until("the target's default", default, lambda: config(world.eu, remote, "segment.bytes"))


def test_source_defaults_replace_settings_of_the_target_and_excluded_ones_stay(world: World) -> None:
    topic = world.topic("defaults-topic")
    remote = f"{world.a}.{topic}"
    until("created", True, lambda: remote in world.eu.admin().list_topics(timeout=10).topics)
    default = config(world.us, topic, "segment.bytes")
    alter(world.eu, remote, "segment.bytes", "2097152")
    alter(world.eu, remote, "unclean.leader.election.enable", "true")
    until("the source's default", default, lambda: config(world.eu, remote, "segment.bytes"))
    assert config(world.eu, remote, "unclean.leader.election.enable") == "true"


def test_from_latest_copies_only_what_comes_after_the_start(world: World) -> None:
    produce(world.us.client_config, world.early, 0, numbered(4, start=5))
    until("the new ones", [b"v5", b"v6", b"v7", b"v8"], lambda: values(world.eu, f"{world.a}.{world.early}"))


def test_identity_names_stay_and_positions_are_exact(world: World) -> None:
    topic, group = world.topic("same-topic", 2), world.group("identity")
    produce(world.us.client_config, topic, 0, numbered(30))
    until("copied", [b"v%d" % n for n in range(30)], lambda: values(world.eu, topic))
    commit(world.us, group, {(topic, 0): 11})
    until("the group", {(topic, 0): 11}, lambda: committed(world.eu, group))


def test_transactional_producers_only_committed_records_and_positions_behind_markers(world: World) -> None:
    topic, group = world.topic("transactions"), world.group("transactions")
    producer = Producer({**world.us.client_config, "transactional.id": topic})
    producer.init_transactions(30)
    for number in range(6):
        producer.begin_transaction()
        for part in range(3):
            producer.produce(topic, b"%d.%d" % (number, part), partition=0)
        # librdkafka may ask to abort before its partition was let into the transaction, while the broker still ends the
        # one before: it then refuses (INVALID_TXN_STATE), and the producer is lost.
        assert producer.flush(30) == 0
        producer.abort_transaction(30) if number % 3 == 2 else producer.commit_transaction(30)
    kept = [b"%d.%d" % (n, part) for n in range(6) if n % 3 != 2 for part in range(3)]
    remote = f"{world.a}.{topic}"
    until("committed ones", kept, lambda: values(world.eu, remote))
    source = read_partition(world.us.client_config, topic, 0)
    commit(world.us, group, {(topic, 0): source[7].offset})
    until("the group", True, lambda: bool(committed(world.eu, group)))
    copied = {record.value: record.offset for record in read_partition(world.eu.client_config, remote, 0)}
    position = committed(world.eu, group)[remote, 0]
    assert copied[source[6].value] < position <= copied[source[7].value]


@pytest.mark.soak
def test_restart_goes_on_without_a_record_or_checkpoint_twice(world: World) -> None:
    topic, group = world.topic("restart"), world.group("restart")
    produce(world.us.client_config, topic, 0, numbered(20))
    commit(world.us, group, {(topic, 0): 10})
    until("synced", {(f"{world.a}.{topic}", 0): 10}, lambda: committed(world.eu, group))
    until("with a checkpoint", [10], lambda: [at.downstream for at in checkpoints(world, group)])
    assert world.worker is not None
    world.worker.terminate(within=10)
    with world.installation.worker() as second:
        second.wait_ready()
        produce(world.us.client_config, topic, 0, numbered(20, start=20))
        until("once", [b"v%d" % n for n in range(40)], lambda: values(world.eu, f"{world.a}.{topic}"))
        commit(world.us, group, {(topic, 0): 30})
        until("on", [10, True], lambda: [checkpoints(world, group)[0].downstream, len(checkpoints(world, group)) == 2])
        second.terminate(within=10)
    world.worker = world.installation.worker().start().wait_ready()
