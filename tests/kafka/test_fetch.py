"""Fetch, fetch sessions, ListOffsets, leader epochs, DeleteRecords."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import pytest
from kio.schema.errors import ErrorCode

from tests.kafka.scene import Scene, values
from tests.support.rawclient import batch, read_batches


def test_given_a_log_when_fetched_inside_a_batch_then_the_whole_batch_comes(scene: Scene) -> None:
    topic = scene.topic()
    scene.write(topic, b"a", b"b", b"c")
    scene.write(topic, b"d")
    assert [each.base_offset for each in scene.batches(topic, 1)] == [0, 3]
    assert [each.base_offset for each in scene.batches(topic, 3)] == [3]
    row = scene.fetch(topic, 4)
    assert (row.error_code, row.high_watermark, row.log_start_offset, bytes(row.records or b"")) == (0, 4, 0, b"")


@pytest.mark.parametrize("offset", [5, -1, 2**40])
def test_given_an_offset_outside_when_fetched_then_out_of_range(scene: Scene, offset: int) -> None:
    topic = scene.topic()
    scene.write(topic, b"a")
    row = scene.fetch(topic, offset)
    assert row.error_code == ErrorCode.offset_out_of_range
    assert row.high_watermark == -1


def test_given_byte_limits_when_fetched_then_the_first_batch_comes_all_the_same(scene: Scene) -> None:
    topic = scene.topic()
    for _ in range(5):
        scene.write(topic, b"x" * 1000)
    assert len(scene.batches(topic, partition_max_bytes=1)) == 1
    assert len(scene.batches(topic, max_bytes=1)) == 1
    assert len(scene.batches(topic, partition_max_bytes=2300)) == 2
    assert len(scene.batches(topic)) == 5


def test_given_nothing_to_read_when_waiting_then_an_append_ends_the_wait(scene: Scene) -> None:
    topic = scene.topic()
    began = time.monotonic()
    assert bytes(scene.fetch(topic, max_wait=300, min_bytes=1).records or b"") == b""
    assert 0.25 < time.monotonic() - began < 3
    row = {
        "partition": 0,
        "fetch_offset": 0,
        "partition_max_bytes": 1 << 20,
        "current_leader_epoch": -1,
        "last_fetched_epoch": -1,
    }
    with scene.connect() as waiting:
        waiting.send(
            "fetch",
            12,
            replica_id=-1,
            max_wait=10_000,
            min_bytes=1,
            max_bytes=1 << 20,
            session_epoch=-1,
            topics=[{"topic": topic, "partitions": [row]}],
        )
        began = time.monotonic()
        scene.write(topic, b"wake up")
        answer = waiting.receive("fetch", 12)
    assert time.monotonic() - began < 5
    assert values(read_batches(answer.responses[0].partitions[0].records)) == [b"wake up"]


def test_given_leader_epochs_when_fetched_then_old_and_future_ones_are_refused(scene: Scene) -> None:
    topic = scene.topic()
    scene.write(topic, b"a")
    assert scene.fetch(topic, current_leader_epoch=0).error_code == ErrorCode.none
    assert scene.fetch(topic, current_leader_epoch=7).error_code == ErrorCode.unknown_leader_epoch
    row = scene.fetch(topic, 1, last_fetched_epoch=0)
    assert row.error_code == ErrorCode.none
    assert row.diverging_epoch.end_offset == -1


def test_given_topic_ids_when_fetched_then_unknown_ones_are_told(scene: Scene) -> None:
    topic = scene.topic()
    scene.write(topic, b"a")

    def fetch(version: int, topic_id: object) -> Any:
        row = {
            "partition": 0,
            "fetch_offset": 0,
            "partition_max_bytes": 1 << 20,
            "current_leader_epoch": -1,
            "last_fetched_epoch": -1,
        }
        request: dict[str, Any] = {
            "topics": [{"topic_id": topic_id, "partitions": [row]}],
            "max_bytes": 1 << 20,
            "session_epoch": -1,
        }
        if version < 15:
            request["replica_id"] = -1
        answer = scene.client.call("fetch", version, **request)
        return answer.responses[0].partitions[0]

    topic_id = scene.topic_id(topic)
    for version in (13, 15, 16, 17):
        assert values(read_batches(fetch(version, topic_id).records)) == [b"a"]
    assert fetch(13, uuid4()).error_code == ErrorCode.unknown_topic_id
    assert scene.fetch("no-such-topic").error_code == ErrorCode.unknown_topic_or_partition
    assert scene.fetch(topic, partition=9).error_code == ErrorCode.unknown_topic_or_partition


class Session:
    """An incremental fetch session (KIP-227), driven by hand."""

    def __init__(self, scene: Scene, topic: str) -> None:
        self.scene, self.topic = scene, topic
        self.session_id = 0
        self.epoch = 0

    def fetch(self, offsets: dict[int, int], forget: tuple[int, ...] = ()) -> tuple[int, dict[int, list[bytes | None]]]:
        """(error code, values by partition of what the answer contains)."""
        rows = [
            {
                "partition": p,
                "fetch_offset": o,
                "partition_max_bytes": 1 << 20,
                "current_leader_epoch": -1,
                "last_fetched_epoch": -1,
            }
            for p, o in offsets.items()
        ]
        answer = self.scene.client.call(
            "fetch",
            12,
            replica_id=-1,
            max_wait=0,
            min_bytes=0,
            max_bytes=1 << 20,
            session_id=self.session_id,
            session_epoch=self.epoch,
            topics=[{"topic": self.topic, "partitions": rows}] if rows else [],
            forgotten_topics_data=[{"topic": self.topic, "partitions": forget}] if forget else [],
        )
        if answer.error_code == 0 and self.epoch >= 0:
            self.session_id = answer.session_id
            self.epoch += 1
        found = {
            row.partition_index: values(read_batches(row.records)) for t in answer.responses for row in t.partitions
        }
        return int(answer.error_code), found


def test_given_a_session_when_nothing_changes_then_partitions_are_left_out(scene: Scene) -> None:
    topic = scene.topic(3)
    scene.write(topic, b"a", partition=0)
    session = Session(scene, topic)
    assert session.fetch({0: 0, 1: 0, 2: 0}) == (0, {0: [b"a"], 1: [], 2: []})
    assert session.session_id > 0
    assert session.fetch({0: 1}) == (0, {})
    scene.write(topic, b"b", partition=2)
    assert session.fetch({}) == (0, {2: [b"b"]})
    assert session.fetch({}) == (0, {2: [b"b"]})  # until the position moves on
    assert session.fetch({2: 1}) == (0, {})


def test_given_a_session_when_a_partition_is_forgotten_then_it_is_not_served(scene: Scene) -> None:
    topic = scene.topic(2)
    session = Session(scene, topic)
    assert session.fetch({0: 0, 1: 0})[0] == 0
    assert session.fetch({}, forget=(0,)) == (0, {})
    scene.write(topic, b"a", partition=0)
    scene.write(topic, b"b", partition=1)
    assert session.fetch({}) == (0, {1: [b"b"]})
    assert session.fetch({0: 0, 1: 1}) == (0, {0: [b"a"]})


def test_given_a_session_when_its_id_or_epoch_is_wrong_then_the_whole_fetch_fails(scene: Scene) -> None:
    topic = scene.topic()
    session = Session(scene, topic)
    assert session.fetch({0: 0})[0] == 0
    session.epoch += 1
    assert session.fetch({})[0] == ErrorCode.invalid_fetch_session_epoch
    session.epoch -= 1
    session.session_id += 1
    assert session.fetch({})[0] == ErrorCode.fetch_session_id_not_found
    session.session_id -= 1
    assert session.fetch({})[0] == 0
    session.epoch = -1
    assert session.fetch({})[0] == 0  # closes the session
    session.epoch = 3
    assert session.fetch({})[0] == ErrorCode.fetch_session_id_not_found


def test_given_timestamps_when_offsets_are_listed_then_the_first_record_at_or_after_is_found(scene: Scene) -> None:
    topic = scene.topic(retention_ms="-1")
    base = 1_700_000_000_000
    for number in range(5):
        assert scene.produce(topic, batch([b"x"], timestamp=base + number * 1000)).error_code == 0
    for asked, offset, timestamp in (
        (base, 0, base),
        (base + 1, 1, base + 1000),
        (base + 4000, 4, base + 4000),
        (base - 5, 0, base),
    ):
        row = scene.list_offset(topic, asked)
        assert (row.error_code, row.offset, row.timestamp) == (0, offset, timestamp)
    newest = scene.list_offset(topic, -3)
    assert (newest.offset, newest.timestamp) == (4, base + 4000)
    assert scene.list_offset(topic, -2).offset == 0
    assert scene.list_offset(topic, -1).offset == 5
    assert scene.list_offset(topic, -1, partition=9).error_code == ErrorCode.unknown_topic_or_partition


def test_given_leader_epochs_when_their_end_is_asked_then_the_log_end_comes_for_the_current_one(scene: Scene) -> None:
    topic = scene.topic()
    scene.write(topic, b"a", b"b")

    def end_of(epoch: int, current: int = -1) -> tuple[int, int, int]:
        row = {"partition": 0, "current_leader_epoch": current, "leader_epoch": epoch}
        answer = scene.client.call(
            "offset_for_leader_epoch", 4, replica_id=-1, topics=[{"topic": topic, "partitions": [row]}]
        )
        found = answer.topics[0].partitions[0]
        return int(found.error_code), int(found.leader_epoch), int(found.end_offset)

    assert end_of(0) == (0, 0, 2)
    assert end_of(5) == (0, -1, -1)
    assert end_of(0, current=9)[0] == ErrorCode.unknown_leader_epoch


def test_given_records_deleted_when_reading_then_the_log_starts_later(scene: Scene) -> None:
    topic = scene.topic()
    for value in (b"a", b"b", b"c"):
        scene.write(topic, value)

    def delete(offset: int) -> tuple[int, int]:
        asked = [{"name": topic, "partitions": [{"partition_index": 0, "offset": offset}]}]
        row = scene.client.call("delete_records", 2, topics=asked, timeout=5000).topics[0].partitions[0]
        return int(row.error_code), int(row.low_watermark)

    assert delete(2) == (0, 2)
    assert delete(1) == (0, 2)
    assert scene.list_offset(topic, -2).offset == 2
    assert scene.fetch(topic, 1).error_code == ErrorCode.offset_out_of_range
    assert values(scene.batches(topic, 2)) == [b"c"]
    assert delete(9)[0] == ErrorCode.offset_out_of_range
    assert delete(-1) == (0, 3)
    assert scene.list_offset(topic, -2).offset == 3
