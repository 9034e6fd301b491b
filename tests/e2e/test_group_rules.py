"""What happens to groups' positions besides copying: users, members, restarts, the way back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, ResourceType

from tests.e2e.group_scene import Group, GroupScene
from tests.e2e.pairs import BUNDLED, LONG_BUNDLED, LONG_KAFKA, LONG_OLD, on
from tests.e2e.rig import AnyCluster, Pair, grant
from tests.support.bundled import BundledCluster
from tests.support.checker import Seen, count_readable, read_partition
from tests.support.copying import create, produce
from tests.support.kafka import USERNAME, KafkaCluster
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

NEW_PROTOCOL = {"group.protocol": "consumer"}


def eventually(what: str, condition: Callable[[], object], within: float = 20) -> None:
    wait_for(lambda: bool(condition()), within=within, every=0.2, what=what)


def shown(scene: GroupScene, group: str, *, link: str | None = None) -> dict[str, Any]:
    """The group's only position, as `replicator groups` says."""
    done = scene.installation.run("groups", f"{scene.name}-{group}", "--link", link or scene.name, "-o", "json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["links"][0]["groups"]
    (position,) = found["positions"]
    return dict(position)


def member(cluster: AnyCluster, group: str, topic: str, **more: str) -> Consumer:
    """A consumer that is in the group."""
    config = {"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({**cluster.client_config, **config, **more})
    consumer.subscribe([topic])

    def assigned() -> bool:
        consumer.poll(0.2)
        return bool(consumer.assignment())

    wait_for(assigned, within=30, what="the consumer has joined")
    return consumer


@on(BUNDLED, LONG_KAFKA)
def test_given_users_members_and_restarts_then_only_what_is_ours_is_written(pair: Pair, tmp_path: Path) -> None:
    scene = GroupScene(*pair, tmp_path, f"rules-{tmp_path.parent.name[-4:]}")
    scene.partitions = {scene.plain: 1}
    scene.fill_plain(1000)
    here, there = (scene.plain, 0), (f"us.{scene.plain}", 0)
    with scene.installation.worker() as worker:
        worker.wait_ready()
        scene.commit("a", {here: 700})
        eventually("a position is written", lambda: scene.committed("a") == {there: 700})
        assert shown(scene, "a")["synced"]

        scene.commit("a", {here: 300})
        eventually("a rewind follows", lambda: scene.committed("a") == {there: 300})

        scene.commit("a", {there: 555}, there=True)
        scene.commit("a", {here: 400})
        eventually("it shows", lambda: shown(scene, "a")["why"] == "DIVERGED")
        scene.commit("b", {here: 10})
        eventually("others go on", lambda: scene.committed("b") == {there: 10})
        assert scene.committed("a") == {there: 555}
        scene.forget("a", there)
        eventually("a deleted position follows again", lambda: scene.committed("a") == {there: 400})

        consumer = member(scene.target, f"{scene.name}-b", there[0])
        scene.commit("b", {here: 20})
        eventually("members are seen", lambda: shown(scene, "b")["why"] == "ACTIVE")
        consumer.close()
        eventually("it follows when they are gone", lambda: scene.committed("b") == {there: 20}, 30)
        worker.kill()
    scene.commit("a", {here: 600})
    scene.commit("b", {there: 77}, there=True)
    scene.commit("b", {here: 30})
    with scene.installation.worker() as worker:
        worker.wait_ready(within=60)
        eventually("what was ours is known for ours", lambda: scene.committed("a") == {there: 600}, 30)
        eventually("what was moved meanwhile is, too", lambda: shown(scene, "b")["why"] == "DIVERGED")
        assert scene.committed("b") == {there: 77}
    text = scene.installation.run("groups").stdout
    assert "DIVERGED" in text
    assert "exact" in text


@on(LONG_BUNDLED, LONG_KAFKA, LONG_OLD)
def test_given_links_both_ways_when_a_consumer_moves_over_and_back_then_it_reads_each_record_once(
    pair: Pair, tmp_path: Path
) -> None:
    name = f"back-{tmp_path.parent.name[-4:]}"
    scene = GroupScene(*pair, tmp_path, name)
    back = {
        "name": f"{name}-back", "source": "eu", "target": "us", "lanes": 2, "topics": {"include": [f"{name}-.*"]},
        "groups": {"include": [f"{name}-.*"]}, "sync": {"every": 1},
    }  # fmt: skip
    scene.add_link(back)
    scene.partitions = {scene.plain: 1, scene.txn: 1}
    scene.fill_plain(500)
    scene.write_txn(500, partitions=1)
    here, there = [(topic, 0) for topic in scene.partitions], [(f"us.{topic}", 0) for topic in scene.partitions]
    group = f"{scene.name}-mover"
    read: list[tuple[str, bytes]] = []
    with scene.installation.worker() as worker:
        worker.wait_ready()
        scene.installation.wait_until_copied(2, link=name)
        read += consume(scene.source, group, here, 130)
        eventually("the other side knows", lambda: scene.in_step("mover", here, there))
        read += consume(scene.target, group, there, 170)
        eventually("the first side follows", lambda: scene.in_step("mover", here, there, since=read))
        read += consume(scene.source, group, here, 10_000)
    expected = [
        (topic, record.value) for topic, _ in here for record in read_partition(pair[0].client_config, topic, 0)
    ]
    assert sorted((topic.removeprefix("us."), value) for topic, value in read) == sorted(expected)


def consume(cluster: AnyCluster, group: str, places: list[tuple[str, int]], count: int) -> list[tuple[str, bytes]]:
    """Read up to so many records of each from where the group is, and commit that."""
    consumer = Consumer(
        {
            **cluster.client_config,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    found: list[tuple[str, bytes]] = []
    for topic, partition in places:
        at = TopicPartition(topic, partition)
        (committed,) = consumer.committed([at], timeout=20)
        at.offset = max(0, committed.offset)
        consumer.assign([at])
        taken = 0
        while taken < count:
            message = consumer.poll(20)
            assert message is not None
            if message.error() is not None:
                break
            found.append((topic, message.value() or b""))
            taken += 1
            at.offset = message.offset() + 1
        consumer.commit(offsets=[at], asynchronous=False)
    consumer.close()
    return found


@pytest.mark.kafka
@pytest.mark.soak
def test_given_groups_of_the_new_protocol_then_they_are_read_and_written_the_same_way(
    kafka_source: KafkaCluster, kafka_target: KafkaCluster, tmp_path: Path
) -> None:
    scene = GroupScene(kafka_source, kafka_target, tmp_path, f"new-{tmp_path.parent.name[-4:]}")
    scene.partitions = {scene.plain: 1}
    scene.fill_plain(300)
    here, there = (scene.plain, 0), (f"us.{scene.plain}", 0)
    with scene.installation.worker() as worker:
        worker.wait_ready()
        name = f"{scene.name}-new"
        reader = member(scene.source, name, here[0], **NEW_PROTOCOL)
        reader.commit(offsets=[TopicPartition(*here, 120)], asynchronous=False)
        eventually("a new group is copied", lambda: scene.committed("new") == {there: 120})
        other = member(scene.target, name, there[0], **NEW_PROTOCOL)  # a simple group becomes one of the new protocol
        reader.commit(offsets=[TopicPartition(*here, 200)], asynchronous=False)
        eventually("members are seen", lambda: shown(scene, "new")["why"] == "ACTIVE")
        other.close()
        eventually("it follows when they are gone", lambda: scene.committed("new") == {there: 200}, 30)
        reader.close()


@pytest.mark.kafka
@pytest.mark.soak
def test_given_a_group_and_a_topic_that_are_not_granted_then_these_say_what_to_grant_and_the_rest_goes_on(
    kafka_source: KafkaCluster, tmp_path: Path
) -> None:
    with KafkaCluster(name="guarded", security="plain", authorizer=True) as target:
        scene = GroupScene(kafka_source, target, tmp_path, f"acl-{tmp_path.parent.name[-4:]}", delivery="at_least_once")
        who = f"User:{USERNAME}"
        grant(target, ResourceType.TOPIC, "__replicator_", who, prefixed=True)
        grant(target, ResourceType.GROUP, "replicator.", who, prefixed=True)
        grant(target, ResourceType.TOPIC, f"us.{scene.name}-", who, AclOperation.WRITE, prefixed=True)
        grant(target, ResourceType.TOPIC, f"us.{scene.name}-", who, AclOperation.CREATE, prefixed=True)
        grant(target, ResourceType.TOPIC, f"us.{scene.name}-", who, AclOperation.DESCRIBE, prefixed=True)
        grant(target, ResourceType.TOPIC, f"us.{scene.plain}", who, AclOperation.READ)
        grant(target, ResourceType.GROUP, f"{scene.name}-allowed", who)
        scene.partitions = {scene.plain: 1, scene.txn: 1}
        scene.fill_plain(100)
        scene.write_txn(100, partitions=1)
        places = [(topic, 0) for topic in scene.partitions]
        with scene.installation.worker() as worker:
            worker.wait_ready()
            for group in ("allowed", "forbidden"):
                scene.commit(group, {(topic, 0): 50 for topic in scene.partitions})

            def positions(group: str) -> Group:
                return dict(of_admin(target, f"{scene.name}-{group}"))

            eventually("what may be written is", lambda: (f"us.{scene.plain}", 0) in positions("allowed"), 30)
            said = ""

            def held() -> bool:
                nonlocal said
                said = scene.installation.run("status").stdout
                return "NOT_AUTHORIZED" in said and "forbidden" in said and f"topic us.{scene.txn}" in said

            eventually("status says what to grant", held, 30)
            assert f"grant Describe on group {scene.name}-forbidden to {who}" in said
            assert f"grant Read on topic us.{scene.txn} to {who}" in said
            assert positions("forbidden") == {}
            grant(target, ResourceType.GROUP, f"{scene.name}-forbidden", who)
            grant(target, ResourceType.TOPIC, f"us.{scene.txn}", who, AclOperation.READ)
            for group in ("allowed", "forbidden"):
                eventually("it heals", lambda group=group: len(positions(group)) == len(places), 30)


def of_admin(cluster: KafkaCluster, group: str) -> Group:
    """A group's positions as a super user sees them."""
    admin = AdminClient({"bootstrap.servers": cluster.internal, "log_level": 0})
    found = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(30)
    return {(at.topic, at.partition): at.offset for at in found.topic_partitions if at.offset >= 0}


@pytest.mark.soak
def test_given_coordinators_that_move_and_a_target_that_is_away_then_everything_converges_without_a_restart(
    tmp_path: Path,
) -> None:
    with BundledCluster(name="us") as us, BundledCluster(3, name="eu", persistent=True) as eu:
        scene = GroupScene(us, eu, tmp_path, "away", delete_groups=True)
        scene.partitions = {scene.plain: 1}
        scene.fill_plain(200)
        here, there = (scene.plain, 0), (f"us.{scene.plain}", 0)
        names = [f"g{number}" for number in range(12)]

        def all_at(offset: int) -> bool:
            wrong = [name for name in names if scene.committed(name) != {there: offset}]
            assert not wrong, wrong
            return True

        with scene.installation.worker() as worker:
            worker.wait_ready()
            for offset, trouble in ((10, None), (20, 0), (30, 2)):
                for name in names:
                    scene.commit(name, {here: offset})
                if trouble is not None:
                    eu.kill_node(trouble)
                eventually(f"all are at {offset}", lambda offset=offset: all_at(offset), 40)
                if trouble is not None:
                    eu.start_node(trouble)
            eu.kill()
            for name in names:
                scene.commit(name, {here: 40})
            admin = us.admin()
            admin.delete_consumer_groups([f"{scene.name}-g0"])[f"{scene.name}-g0"].result(10)
            eu.start_again()
            names.remove("g0")
            eventually("all are where they moved meanwhile", lambda: all_at(40), 60)
            eventually("one that is gone goes", lambda: scene.committed("g0") == {}, 30)
            assert worker.running


@on(BUNDLED, LONG_KAFKA)
def test_given_an_open_transaction_over_positions_then_these_wait_for_its_end(pair: Pair, tmp_path: Path) -> None:
    scene = GroupScene(*pair, tmp_path, f"open-{tmp_path.parent.name[-4:]}")
    scene.partitions = {scene.plain: 1}
    scene.fill_plain(200)
    here, there = (scene.plain, 0), (f"us.{scene.plain}", 0)
    with scene.installation.worker() as worker:
        worker.wait_ready()
        name = f"{scene.name}-t"
        consumer = member(scene.source, name, here[0])
        producer = Producer({**scene.source.client_config, "transactional.id": name})
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce(here[0], b"more", partition=0)
        producer.flush(20)
        producer.send_offsets_to_transaction([TopicPartition(*here, 150)], consumer.consumer_group_metadata(), 20)
        scene.commit("u", {here: 20})
        eventually("others are written meanwhile", lambda: scene.committed("u") == {there: 20})
        assert scene.committed("t") == {}
        producer.commit_transaction(20)
        eventually("it is written when it's decided", lambda: scene.committed("t") == {there: 150})
        consumer.close()


@on(LONG_BUNDLED, LONG_KAFKA)
def test_given_one_name_in_both_directions_then_a_group_that_moves_over_misses_nothing(
    pair: Pair, tmp_path: Path
) -> None:
    name = f"same-{tmp_path.parent.name[-4:]}"
    only = {"include": [f"{name}-.*"], "naming": "identical"}
    scene = GroupScene(*pair, tmp_path, name, topics=only)
    back = {"name": f"{name}-back", "source": "eu", "target": "us", "lanes": 2, "topics": only, "sync": {"every": 1}}
    scene.add_link({**back, "groups": {"include": [f"{name}-.*"]}})
    scene.partitions = {scene.plain: 1}
    scene.fill_plain(100)
    create(scene.target.admin(), scene.plain)
    at = scene.plain, 0
    with scene.installation.worker() as worker:
        worker.wait_ready()
        for start in range(100, 1000, 100):  # natives of both sides in both logs, in another order on each
            scene.write_plain(50, start=start)
            more = [Seen(0, b"%d" % n, b"%d" % n, (), n) for n in range(start + 50, start + 100)]
            produce(scene.target.client_config, *at, more)
        eventually("both have all", lambda: {count_readable(c.client_config, *at) for c in pair} == {1000}, 60)
        here, there = (read_partition(cluster.client_config, *at) for cluster in pair)
        for offset in (0, 150, 333, 500, 777, 999, here[-1].offset + 1):
            group = f"at{offset}"
            scene.commit(group, {at: offset})
            eventually(f"{group} is there", lambda group=group: scene.committed(group), 30)
            unread = {record.value for record in here if record.offset >= offset}
            held = scene.committed(group)[at]
            assert unread <= {record.value for record in there if record.offset >= held}
            shown_ = shown(scene, group)
            assert shown_["smaller_of_two"]
            assert shown_["target_offset"] == shown_["translated"] == held
            if len({int(value or b"") % 100 < 50 for value in unread}) == 2:  # of both sides
                # No further back than it has to be: the record there is one that it hasn't read.
                first = next(record.value for record in there if record.offset >= held)
                assert first in unread, (offset, held, first)
            assert scene.committed(group, there=False) == {at: offset}, "the way back has moved it"
