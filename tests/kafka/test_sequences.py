"""Idempotent producers: what sequences and epochs a partition takes, refuses, and takes for duplicates."""

from __future__ import annotations

import pytest
from kio.schema.errors import ErrorCode

from tests.kafka.scene import Scene
from tests.support.rawclient import batch

WRAP = 2**31 - 1


def send(scene: Scene, topic: str, producer_id: int, sequence: int, epoch: int = 0, count: int = 1) -> tuple[int, int]:
    """(error code, base offset) of an idempotent batch."""
    values = [b"%d/%d" % (sequence, index) for index in range(count)]
    data = batch(values, producer_id=producer_id, epoch=epoch, sequence=sequence, timestamp=1_700_000_000_000)
    done = scene.produce(topic, data)
    return int(done.error_code), int(done.base_offset)


def topic_without_retention(scene: Scene) -> str:
    return scene.topic(retention_ms="-1")


def test_given_sequences_in_order_when_produced_then_all_are_taken(scene: Scene) -> None:
    topic, producer_id = topic_without_retention(scene), scene.producer_id()
    assert [send(scene, topic, producer_id, s, count=3) for s in (0, 3, 6)] == [(0, 0), (0, 3), (0, 6)]


@pytest.mark.parametrize("sequence", [0, 2, 5, 7, 100])
def test_given_a_gap_or_a_step_back_when_produced_then_out_of_order(scene: Scene, sequence: int) -> None:
    topic, producer_id = topic_without_retention(scene), scene.producer_id()
    assert send(scene, topic, producer_id, 0, count=6) == (0, 0)
    assert send(scene, topic, producer_id, sequence)[0] == ErrorCode.out_of_order_sequence_number
    assert send(scene, topic, producer_id, 6) == (0, 6)


def test_given_one_of_the_last_five_batches_when_repeated_then_its_offset_comes_back(scene: Scene) -> None:
    topic, producer_id = topic_without_retention(scene), scene.producer_id()
    for sequence in range(7):
        assert send(scene, topic, producer_id, sequence) == (0, sequence)
    for sequence in range(2, 7):
        assert send(scene, topic, producer_id, sequence) == (0, sequence)
    for sequence in (0, 1):
        assert send(scene, topic, producer_id, sequence)[0] == ErrorCode.out_of_order_sequence_number
    assert scene.end(topic) == 7


def test_given_a_repeated_batch_of_another_length_when_produced_then_out_of_order(scene: Scene) -> None:
    topic, producer_id = topic_without_retention(scene), scene.producer_id()
    assert send(scene, topic, producer_id, 0, count=2) == (0, 0)
    assert send(scene, topic, producer_id, 0, count=1)[0] == ErrorCode.out_of_order_sequence_number
    assert send(scene, topic, producer_id, 0, count=3)[0] == ErrorCode.out_of_order_sequence_number


@pytest.mark.parametrize("sequence", [0, 1, 77, WRAP])
def test_given_a_producer_that_is_not_known_when_it_starts_anywhere_then_it_is_taken(
    scene: Scene, sequence: int
) -> None:
    topic, producer_id = topic_without_retention(scene), scene.producer_id()
    assert send(scene, topic, producer_id, sequence, epoch=3) == (0, 0)
    assert send(scene, topic, producer_id, (sequence + 1) & WRAP, epoch=3) == (0, 1)


def test_given_sequences_at_their_end_when_they_wrap_then_zero_follows(scene: Scene) -> None:
    topic, producer_id = topic_without_retention(scene), scene.producer_id()
    assert send(scene, topic, producer_id, WRAP - 1, count=4) == (0, 0)  # WRAP-1, WRAP, 0, 1
    assert send(scene, topic, producer_id, 2) == (0, 4)
    assert send(scene, topic, producer_id, WRAP - 1, count=4) == (0, 0)


def test_given_epochs_when_they_change_then_older_ones_are_fenced_and_newer_ones_start_at_zero(scene: Scene) -> None:
    topic, producer_id = topic_without_retention(scene), scene.producer_id()
    assert send(scene, topic, producer_id, 0, epoch=4) == (0, 0)
    assert send(scene, topic, producer_id, 1, epoch=3)[0] == ErrorCode.invalid_producer_epoch
    assert send(scene, topic, producer_id, 1, epoch=5)[0] == ErrorCode.out_of_order_sequence_number
    assert send(scene, topic, producer_id, 0, epoch=5) == (0, 1)
    assert send(scene, topic, producer_id, 0, epoch=4)[0] == ErrorCode.invalid_producer_epoch
    assert send(scene, topic, producer_id, 1, epoch=5) == (0, 2)


def test_given_two_producers_when_they_write_to_one_partition_then_each_has_its_own_sequences(scene: Scene) -> None:
    topic, a, b = topic_without_retention(scene), scene.producer_id(), scene.producer_id()
    assert a != b
    assert [send(scene, topic, p, s) for p, s in ((a, 0), (b, 0), (a, 1), (b, 1))] == [(0, n) for n in range(4)]


def test_given_active_producers_when_described_then_epoch_and_last_sequence_are_told(scene: Scene) -> None:
    topic, producer_id = topic_without_retention(scene), scene.producer_id()
    send(scene, topic, producer_id, 0, epoch=2, count=5)
    asked = [{"name": topic, "partition_indexes": [0, 9]}]
    known, unknown = scene.client.call("describe_producers", 0, topics=asked).topics[0].partitions
    assert unknown.error_code == ErrorCode.unknown_topic_or_partition
    (state,) = known.active_producers
    assert (state.producer_id, state.producer_epoch, state.last_sequence) == (producer_id, 2, 4)
    assert (state.last_timestamp, state.current_txn_start_offset) == (1_700_000_000_000, -1)


def test_given_records_deleted_when_the_producer_goes_on_then_its_state_is_still_known(scene: Scene) -> None:
    topic, producer_id = topic_without_retention(scene), scene.producer_id()
    assert send(scene, topic, producer_id, 0, count=3) == (0, 0)
    asked = [{"name": topic, "partitions": [{"partition_index": 0, "offset": 3}]}]
    scene.client.call("delete_records", 2, topics=asked, timeout=5000)
    assert send(scene, topic, producer_id, 9)[0] == ErrorCode.out_of_order_sequence_number
    assert send(scene, topic, producer_id, 3) == (0, 3)
