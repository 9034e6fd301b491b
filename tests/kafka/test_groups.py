"""Classic consumer groups: membership, rebalances, positions, administration."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from tests.kafka.scene import READ_COMMITTED, Scene, unique
from tests.support.rawclient import RawClient, read_batches, retry
from tests.support.waiting import wait_for

NONE = ErrorCode.none
JOIN = 9


def subscription(*topics: str) -> bytes:
    names = b"".join(struct.pack(">h", len(topic)) + topic.encode() for topic in topics)
    return struct.pack(">hi", 0, len(topics)) + names + struct.pack(">i", -1)


class Member:
    """A consumer on a connection of its own, driven by hand."""

    def __init__(
        self, scene: Scene, group: str, *, instance: str | None = None, topics: Sequence[str] = ("t",)
    ) -> None:
        self.client = scene.group_coordinator(group)
        self.group = group
        self.instance = instance
        self.member_id = ""
        self.generation = -1
        self.protocols = [{"name": "range", "metadata": subscription(*topics)}]

    def send_join(self, *, session_ms: int = 10_000, rebalance_ms: int = 20_000, **changes: Any) -> None:
        fields = {
            "group_id": self.group,
            "session_timeout": session_ms,
            "rebalance_timeout": rebalance_ms,
            "member_id": self.member_id,
            "group_instance_id": self.instance,
            "protocol_type": "consumer",
            "protocols": self.protocols,
        }
        self.client.send("join_group", JOIN, **{**fields, **changes})

    def receive_join(self) -> Any:
        answer = self.client.receive("join_group", JOIN)
        if answer.error_code in (NONE, ErrorCode.member_id_required):
            self.member_id = answer.member_id
        if answer.error_code == NONE:
            self.generation = answer.generation_id
        return answer

    def join(self, **changes: Any) -> Any:
        """Join, with the second round that KIP-394 asks for."""
        self.send_join(**changes)
        answer = self.receive_join()
        if answer.error_code == ErrorCode.member_id_required:
            self.send_join(**changes)
            answer = self.receive_join()
        return answer

    def send_sync(self, assignments: dict[str, bytes] | None = None, *, generation: int | None = None) -> None:
        rows = [{"member_id": key, "assignment": value} for key, value in (assignments or {}).items()]
        self.client.send(
            "sync_group",
            5,
            group_id=self.group,
            generation_id=self.generation if generation is None else generation,
            member_id=self.member_id,
            group_instance_id=self.instance,
            protocol_type="consumer",
            protocol_name="range",
            assignments=rows,
        )

    def receive_sync(self) -> tuple[int, bytes]:
        answer = self.client.receive("sync_group", 5)
        return int(answer.error_code), bytes(answer.assignment)

    def sync(self, assignments: dict[str, bytes] | None = None, *, generation: int | None = None) -> tuple[int, bytes]:
        self.send_sync(assignments, generation=generation)
        return self.receive_sync()

    def heartbeat(self, *, member_id: str | None = None, generation: int | None = None) -> int:
        answer = self.client.call(
            "heartbeat",
            4,
            group_id=self.group,
            generation_id=self.generation if generation is None else generation,
            member_id=self.member_id if member_id is None else member_id,
            group_instance_id=self.instance,
        )
        return int(answer.error_code)

    def leave(self) -> int:
        row = {"member_id": self.member_id, "group_instance_id": self.instance}
        return int(self.client.call("leave_group", 5, group_id=self.group, members=[row]).members[0].error_code)

    def stable(self, **changes: Any) -> Member:
        """Alone in the group, with an assignment."""
        answer = self.join(**changes)
        assert answer.error_code == NONE, answer
        assert self.sync({self.member_id: b"all"}) == (0, b"all")
        return self


def describe(client: RawClient, group: str, version: int = 6) -> Any:
    return client.call("describe_groups", version, groups=[group]).groups[0]


def test_given_a_new_member_when_it_joins_then_it_gets_an_id_a_generation_and_its_assignment(scene: Scene) -> None:
    member = Member(scene, unique("g"))
    member.send_join()
    first = member.receive_join()
    assert (first.error_code, first.generation_id) == (ErrorCode.member_id_required, -1)
    member.send_join()
    joined = member.receive_join()
    assert (joined.error_code, joined.generation_id, joined.leader) == (NONE, 1, member.member_id)
    assert (joined.protocol_type, joined.protocol_name, joined.skip_assignment) == ("consumer", "range", False)
    assert [(row.member_id, row.metadata) for row in joined.members] == [(member.member_id, subscription("t"))]
    assert member.sync({member.member_id: b"mine"}) == (0, b"mine")
    assert member.heartbeat() == 0
    assert member.sync() == (0, b"mine")  # again, from anybody who missed it


def test_given_two_members_when_they_rebalance_then_only_the_leader_sees_both(scene: Scene) -> None:
    a = Member(scene, unique("g")).stable()
    b = Member(scene, a.group)
    b.send_join()
    assert b.receive_join().error_code == ErrorCode.member_id_required
    b.send_join()
    wait_for(lambda: a.heartbeat() == ErrorCode.rebalance_in_progress, within=5, what="the leader told to rejoin")
    a.send_join()
    leader, follower = a.receive_join(), b.receive_join()
    assert (leader.generation_id, follower.generation_id) == (2, 2)
    assert leader.leader == follower.leader == a.member_id
    assert {row.member_id for row in leader.members} == {a.member_id, b.member_id}
    assert follower.members == ()
    b.send_sync()
    assert a.sync({a.member_id: b"0", b.member_id: b"1"}) == (0, b"0")
    assert b.receive_sync() == (0, b"1")
    found = describe(a.client, a.group)
    assert (found.group_state, found.protocol_type, found.protocol_data) == ("Stable", "consumer", "range")
    assert {(row.member_id, row.member_assignment) for row in found.members} == {
        (a.member_id, b"0"),
        (b.member_id, b"1"),
    }
    assert b.leave() == 0
    wait_for(lambda: a.heartbeat() == ErrorCode.rebalance_in_progress, within=5, what="a rebalance after the leave")
    assert a.join().generation_id == 3
    assert b.heartbeat() == ErrorCode.unknown_member_id


def test_given_a_silent_member_when_its_session_ends_then_it_is_out(scene: Scene) -> None:
    member = Member(scene, unique("g")).stable(session_ms=6000)
    state = wait_for(
        lambda: found if (found := describe(member.client, member.group)).group_state == "Empty" else None,
        within=15,
        what="the session's end",
    )
    assert state.members == ()
    assert member.heartbeat() == ErrorCode.unknown_member_id


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"group_id": ""}, ErrorCode.invalid_group_id),
        ({"session_timeout": 1}, ErrorCode.invalid_session_timeout),
        ({"session_timeout": 2_000_000_000}, ErrorCode.invalid_session_timeout),
        ({"member_id": "nobody"}, ErrorCode.unknown_member_id),
        ({"protocols": []}, ErrorCode.inconsistent_group_protocol),
        ({"protocol_type": ""}, ErrorCode.inconsistent_group_protocol),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_given_a_bad_join_when_sent_then_it_is_refused(scene: Scene, changes: dict[str, Any], code: ErrorCode) -> None:
    member = Member(scene, unique("g"))
    member.send_join(**changes)
    assert member.receive_join().error_code == code


def test_given_a_stable_group_when_strangers_and_stale_members_call_then_they_are_told(scene: Scene) -> None:
    member = Member(scene, unique("g")).stable()
    assert member.heartbeat(generation=9) == ErrorCode.illegal_generation
    assert member.heartbeat(member_id="nobody") == ErrorCode.unknown_member_id
    assert member.sync(generation=9)[0] == ErrorCode.illegal_generation
    stranger = Member(scene, member.group)
    stranger.protocols = [{"name": "roundrobin", "metadata": b""}]
    stranger.send_join()
    assert stranger.receive_join().error_code == ErrorCode.inconsistent_group_protocol
    stranger.member_id = "nobody"
    assert stranger.leave() == ErrorCode.unknown_member_id


def test_given_a_static_member_when_it_comes_back_then_it_keeps_its_place_and_fences_its_former_self(
    scene: Scene,
) -> None:
    group = unique("g")
    member = Member(scene, group, instance="one").stable()
    again = Member(scene, group, instance="one")
    joined = again.join()
    assert (joined.error_code, joined.generation_id, joined.skip_assignment) == (NONE, 1, True)
    assert again.member_id != member.member_id
    assert member.heartbeat() == ErrorCode.fenced_instance_id
    assert member.sync()[0] == ErrorCode.fenced_instance_id
    assert again.sync() == (0, b"all")
    by_instance = {"member_id": "", "group_instance_id": "one"}
    left = again.client.call("leave_group", 5, group_id=group, members=[by_instance]).members[0]
    assert left.error_code == NONE
    assert describe(again.client, group).group_state == "Empty"


# --- positions -------------------------------------------------------------------------------------------------------


def commit(
    client: RawClient,
    group: str,
    topic: str,
    offset: int,
    *,
    partition: int = 0,
    member: Member | None = None,
    **how: Any,
) -> int:
    row = {"partition_index": partition, "committed_offset": offset, "committed_leader_epoch": how.pop("epoch", -1)}
    row["committed_metadata"] = how.pop("metadata", "")
    fields = {"member_id": "", "generation_id_or_member_epoch": -1}
    if member is not None:
        fields = {"member_id": member.member_id, "generation_id_or_member_epoch": member.generation}
    version = how.pop("version", 9)
    answer = client.call(
        "offset_commit", version, **{"group_id": group, **fields, **how}, topics=[{"name": topic, "partitions": [row]}]
    )
    return int(answer.topics[0].partitions[0].error_code)


def fetch(client: RawClient, group: str, topic: str, partition: int = 0, *, stable: bool = False) -> Any:
    asked = [{"group_id": group, "member_epoch": -1, "topics": [{"name": topic, "partition_indexes": [partition]}]}]
    answer = client.call("offset_fetch", 9, groups=asked, require_stable=stable).groups[0]
    assert answer.error_code == NONE, answer
    return answer.topics[0].partitions[0]


def test_given_a_simple_consumer_when_it_commits_then_everything_comes_back(scene: Scene) -> None:
    topic, group = scene.topic(2), unique("g")
    client = scene.group_coordinator(group)
    assert fetch(client, group, topic).committed_offset == -1
    assert commit(client, group, topic, 5, epoch=3, metadata="note") == NONE
    row = fetch(client, group, topic)
    assert (row.committed_offset, row.committed_leader_epoch, row.metadata) == (5, 3, "note")
    assert commit(client, group, topic, 2) == NONE
    assert fetch(client, group, topic).committed_offset == 2
    everything = client.call(
        "offset_fetch", 9, groups=[{"group_id": group, "member_epoch": -1, "topics": None}]
    ).groups[0]
    assert [(t.name, [p.partition_index for p in t.partitions]) for t in everything.topics] == [(topic, [0])]
    old = client.call("offset_fetch", 7, group_id=group, topics=None)
    assert old.topics[0].partitions[0].committed_offset == 2
    assert commit(client, group, "no-such-topic", 1) == ErrorCode.unknown_topic_or_partition
    assert commit(client, group, topic, 1, partition=9) == ErrorCode.unknown_topic_or_partition
    assert commit(client, group, topic, 1, metadata="x" * 5000) == ErrorCode.offset_metadata_too_large


def test_given_a_group_with_members_when_others_commit_then_they_are_refused(scene: Scene) -> None:
    topic = scene.topic()
    member = Member(scene, unique("g"), topics=[topic]).stable()
    client, group = member.client, member.group
    assert commit(client, group, topic, 1, member=member) == NONE
    assert commit(client, group, topic, 2) == ErrorCode.unknown_member_id
    member.generation += 1
    assert commit(client, group, topic, 2, member=member) == ErrorCode.illegal_generation
    member.generation -= 1
    assert fetch(client, group, topic).committed_offset == 1
    nowhere = unique("g")
    strange = {"member_id": "m", "generation_id_or_member_epoch": 4}
    other = scene.group_coordinator(nowhere)
    assert commit(other, nowhere, topic, 1, **strange) == ErrorCode.group_id_not_found
    assert commit(other, nowhere, topic, 1, version=8, **strange) == ErrorCode.illegal_generation


def test_given_a_rebalance_when_a_member_commits_then_it_depends_on_the_phase(scene: Scene) -> None:
    topic = scene.topic()
    a = Member(scene, unique("g"), topics=[topic]).stable()
    b = Member(scene, a.group, topics=[topic])
    b.send_join()
    b.receive_join()
    b.send_join()
    wait_for(lambda: a.heartbeat() == ErrorCode.rebalance_in_progress, within=5, what="the rebalance")
    assert commit(a.client, a.group, topic, 1, member=a) == NONE  # still preparing: the last chance before it rejoins
    a.send_join()
    a.receive_join()
    b.receive_join()
    assert commit(a.client, a.group, topic, 2, member=a) == ErrorCode.rebalance_in_progress


def test_given_offsets_in_a_transaction_when_it_ends_then_they_count_only_if_committed(scene: Scene) -> None:
    topic, group = scene.topic(), unique("g")
    client, producer = scene.group_coordinator(group), scene.transactional()

    def send(offset: int, version: int = 3) -> int:
        row = {"partition_index": 0, "committed_offset": offset, "committed_leader_epoch": -1, "committed_metadata": ""}
        answer = client.call(
            "txn_offset_commit",
            version,
            transactional_id=producer.name,
            group_id=group,
            producer_id=producer.producer_id,
            producer_epoch=producer.epoch,
            generation_id=-1,
            member_id="",
            topics=[{"name": topic, "partitions": [row]}],
        )
        return int(answer.topics[0].partitions[0].error_code)

    def add() -> int:
        answer = retry(
            lambda: producer.client.call(
                "add_offsets_to_txn",
                3,
                transactional_id=producer.name,
                producer_id=producer.producer_id,
                producer_epoch=producer.epoch,
                group_id=group,
            ),
            lambda done: done.error_code,
            [ErrorCode.concurrent_transactions],
        )
        return int(answer.error_code)

    assert send(1) == ErrorCode.invalid_txn_state
    for offset, done in ((5, True), (9, False)):
        assert add() == NONE
        assert send(offset) == NONE
        assert fetch(client, group, topic, stable=True).error_code == ErrorCode.unstable_offset_commit
        assert producer.end(commit=done) == NONE
        producer.until_complete()
        wait_for(lambda: fetch(client, group, topic, stable=True).error_code == NONE, within=5, what="the marker")
        assert fetch(client, group, topic).committed_offset == 5
    assert send(7, version=5) == NONE  # adds the group's partition by itself
    assert producer.end(commit=True, version=5) == NONE
    wait_for(lambda: fetch(client, group, topic).committed_offset == 7, within=5, what="the third transaction")
    producer.epoch -= 1
    assert send(8, version=5) == ErrorCode.invalid_producer_epoch


# --- administration --------------------------------------------------------------------------------------------------


def test_given_groups_when_listed_and_deleted_then_only_empty_ones_go(scene: Scene) -> None:
    topic = scene.topic()
    member = Member(scene, unique("g")).stable()
    simple = unique("s")
    client = scene.group_coordinator(simple)
    assert commit(client, simple, topic, 3) == NONE
    listed = {row.group_id: row for row in client.call("list_groups", 5).groups}
    assert (listed[member.group].group_state, listed[member.group].protocol_type) == ("Stable", "consumer")
    assert listed[member.group].group_type.lower() == "classic"
    assert listed[simple].group_state == "Empty"
    only = {row.group_id for row in client.call("list_groups", 5, states_filter=["stable"]).groups}
    assert member.group in only
    assert simple not in only

    def delete(group: str) -> int:
        return int(client.call("delete_groups", 2, groups_names=[group]).results[0].error_code)

    assert delete(member.group) == ErrorCode.non_empty_group
    assert delete(simple) == NONE
    assert delete(simple) == ErrorCode.group_id_not_found
    assert fetch(client, simple, topic).committed_offset == -1
    missing = describe(client, simple)
    assert (missing.error_code, missing.group_state) == (ErrorCode.group_id_not_found, "Dead")
    assert describe(client, simple, version=5).error_code == NONE


def test_given_a_subscription_when_offsets_are_deleted_then_its_topics_are_kept(scene: Scene) -> None:
    topic, other = scene.topic(), scene.topic()
    member = Member(scene, unique("g"), topics=[topic]).stable()
    for name in (topic, other):
        assert commit(member.client, member.group, name, 4, member=member) == NONE

    def delete(group: str, name: str) -> tuple[int, int]:
        asked = [{"name": name, "partitions": [{"partition_index": 0}]}]
        answer = member.client.call("offset_delete", 0, group_id=group, topics=asked)
        rows = [row.error_code for each in answer.topics for row in each.partitions]
        return int(answer.error_code), int(rows[0]) if rows else -1

    assert delete(member.group, topic) == (0, ErrorCode.group_subscribed_to_topic)
    assert delete(member.group, other) == (0, 0)
    assert fetch(member.client, member.group, topic).committed_offset == 4
    assert fetch(member.client, member.group, other).committed_offset == -1
    assert delete(unique("nobody"), topic)[0] == ErrorCode.group_id_not_found


def test_given_committed_positions_when_the_topic_is_deleted_then_they_go_with_it(scene: Scene) -> None:
    topic, group = scene.topic(), unique("g")
    client = scene.group_coordinator(group)
    assert commit(client, group, topic, 3) == NONE
    scene.client.call("delete_topics", 6, topics=[{"name": topic}], timeout=5000)
    wait_for(lambda: fetch(client, group, topic).committed_offset == -1, within=5, what="the position's end")


def test_given_the_offsets_topic_when_it_is_read_then_records_are_kafkas(scene: Scene) -> None:
    topic, group = scene.topic(), unique("g")
    client = scene.group_coordinator(group)
    assert commit(client, group, topic, 41, epoch=2, metadata="note") == NONE
    key = (
        struct.pack(">hh", 1, len(group)) + group.encode() + struct.pack(">h", len(topic)) + topic.encode() + b"\0" * 4
    )
    partitions = len(scene.client.call("metadata", 12, topics=[{"name": "__consumer_offsets"}]).topics[0].partitions)
    found = [
        value
        for partition in range(partitions)
        for each in read_batches(
            scene.fetch("__consumer_offsets", partition=partition, isolation_level=READ_COMMITTED).records
        )
        for _, stored, value in each.records
        if stored == key
    ]
    assert len(found) == 1
    assert found[0] is not None
    version, offset, epoch, length = struct.unpack_from(">hqiB", found[0])
    assert (version, offset, epoch, found[0][15 : 14 + length]) == (4, 41, 2, b"note")


def test_given_the_wrong_key_type_when_a_coordinator_is_asked_then_it_is_refused(scene: Scene) -> None:
    answer = scene.client.call("find_coordinator", 4, key_type=9, coordinator_keys=["x"])
    assert answer.coordinators[0].error_code == ErrorCode.invalid_request
    single = scene.client.call("find_coordinator", 3, key_type=0, key=unique("g"))
    assert (single.error_code, f"{single.host}:{single.port}") == (NONE, scene.bootstrap)
