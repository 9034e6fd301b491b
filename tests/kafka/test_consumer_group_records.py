"""What coordinators write of consumer groups: Kafka's records are read as Kafka means them, and ours are the same."""

from __future__ import annotations

import pytest

from broker.groups import consumer_records
from broker.groups.consumer_records import GROUP, ConsumerKey, GroupSnapshot, difference
from broker.groups.internal_topic import partition_of
from tests.kafka.consumer_member import LEAVING_FOR_A_WHILE, ConsumerMember, settle
from tests.kafka.scene import Scene, unique
from tests.support.waiting import wait_for

OFFSETS = "__consumer_offsets"


def stored(scene: Scene, group: str) -> dict[ConsumerKey, bytes | None]:
    """The group's records in the order of their last writing; a null value deletes."""
    answer = scene.client.call("metadata", 12, topics=[{"name": OFFSETS}]).topics[0]
    partition = partition_of(group, len(answer.partitions))
    end = scene.list_offset(OFFSETS, -1, partition=partition).offset
    found: dict[ConsumerKey, bytes | None] = {}
    offset = 0
    while offset < end:
        for batch in scene.batches(OFFSETS, offset, partition=partition):
            offset = batch.last_offset + 1
            for _, key, value in batch.records:
                decoded = None if batch.is_control else consumer_records.decode_key(key or b"")
                if decoded is not None and decoded.group_id == group:
                    found.pop(decoded, None)
                    found[decoded] = value
    return found


def read_back(records: dict[ConsumerKey, bytes | None]) -> GroupSnapshot:
    """The group that the records describe."""
    snapshot = GroupSnapshot()
    for key, value in records.items():
        snapshot = consumer_records.apply(snapshot, key, value)
    return snapshot


@pytest.fixture
def members(scene: Scene) -> list[ConsumerMember]:
    """Three settled members of all kinds: static with an assignor, by name, by pattern."""
    group, topic = unique("g"), scene.topic(7)
    made = [
        ConsumerMember(scene, group, topic, member_id="static", instance="one", assignor="range"),
        ConsumerMember(scene, group, topic, member_id="plain"),
        ConsumerMember(scene, group, topic, member_id="pattern", regex=f"{topic}.?"),
    ]
    for member in made:
        member.join()
    wait_for(lambda: settle(*made) or made[2].owned, within=10, what="the topic of the pattern")
    settle(*made)
    return made


def test_given_a_group_when_its_records_are_read_back_then_they_are_the_group(
    scene: Scene, members: list[ConsumerMember]
) -> None:
    found = members[0].describe()
    snapshot = read_back(stored(scene, members[0].group))
    assert (snapshot.epoch, snapshot.target_epoch) == (found.group_epoch, found.assignment_epoch)
    assert set(snapshot.members) == {"static", "plain", "pattern"}
    for row in found.members:
        member = snapshot.members[row.member_id]
        assert (member.instance_id, member.client_id, member.client_host) == (
            row.instance_id,
            row.client_id,
            row.client_host,
        )
        assert (member.epoch, member.regex, member.rebalance_timeout_ms) == (
            row.member_epoch,
            row.subscribed_topic_regex,
            10_000,
        )
        assert member.topics == frozenset(row.subscribed_topic_names)
        for kept, shown in (
            (member.assigned, row.assignment),
            (snapshot.targets[row.member_id], row.target_assignment),
        ):
            assert kept == {(topic.topic_id, index) for topic in shown.topic_partitions for index in topic.partitions}
    assert snapshot.members["static"].assignor == "range"
    assert [each.topics for each in snapshot.regexes.values()] == [frozenset({members[0].topic})]


def test_given_a_group_when_written_anew_by_our_code_then_the_bytes_are_the_same(
    scene: Scene, members: list[ConsumerMember]
) -> None:
    members[0].leave(LEAVING_FOR_A_WHILE)
    members[1].leave()
    records = {key: value for key, value in stored(scene, members[0].group).items() if value is not None}
    snapshot = read_back(records)
    ours = {
        consumer_records.decode_key(key): value
        for key, value in difference(members[0].group, GroupSnapshot(), snapshot)
    }
    assert ours.keys() == records.keys()
    assert snapshot.members["static"].epoch == LEAVING_FOR_A_WHILE
    for key, value in records.items():
        if key.kind == consumer_records.REGEX:
            continue  # holds a version of Kafka's metadata, which we have none of
        if key.kind == GROUP:
            assert value[:6] == ours[key][:6]  # type: ignore[index] # the epoch; the hash is everybody's own
        else:
            assert ours[key] == value, key


def test_given_a_group_when_deleted_then_nothing_of_it_is_left(scene: Scene, members: list[ConsumerMember]) -> None:
    for member in members:
        member.leave()
    group = members[0].group
    deleted = members[0].client.call("delete_groups", 2, groups_names=[group]).results[0]
    assert deleted.error_code == 0
    assert set(stored(scene, group).values()) == {None}
