"""Transactions: coordinator, fences, epochs, markers, and what read_committed readers see."""

from __future__ import annotations

import pytest
from kio.schema.errors import ErrorCode

from tests.kafka.scene import READ_COMMITTED, READ_UNCOMMITTED, Scene, Transactional, unique, values
from tests.support.rawclient import batch

NONE = ErrorCode.none
PRODUCE_ABORTABLE = 11  # the version that knows TRANSACTION_ABORTABLE


def test_given_a_committed_transaction_when_read_then_a_marker_ends_it(scene: Scene) -> None:
    topic, producer = scene.topic(), scene.transactional()
    producer.run(topic, b"a", b"b")
    data, marker = scene.batches(topic)
    assert (data.producer_id, data.epoch, data.sequence, data.count) == (producer.producer_id, producer.epoch, 0, 2)
    assert data.attributes & 0x10
    assert (marker.is_control, marker.marker, marker.base_offset, marker.sequence) == (True, "commit", 2, -1)
    assert (marker.producer_id, marker.epoch) == (producer.producer_id, producer.epoch)
    assert values(scene.batches(topic, isolation_level=READ_COMMITTED)) == [b"a", b"b"]


def test_given_an_aborted_transaction_when_read_committed_then_its_range_is_listed(scene: Scene) -> None:
    topic, producer = scene.topic(), scene.transactional()
    scene.write(topic, b"plain")
    producer.run(topic, b"a", b"b", commit=False)
    producer.run(topic, b"c")
    committed = scene.fetch(topic, isolation_level=READ_COMMITTED)
    assert [(item.producer_id, item.first_offset) for item in committed.aborted_transactions] == [
        (producer.producer_id, 1)
    ]
    assert [each.marker for each in scene.batches(topic) if each.is_control] == ["abort", "commit"]
    assert scene.fetch(topic).aborted_transactions in (None, ())
    behind = scene.fetch(topic, 4, isolation_level=READ_COMMITTED)
    assert behind.aborted_transactions == ()


def test_given_an_open_transaction_when_read_committed_then_nothing_from_it_on_is_seen(scene: Scene) -> None:
    topic, producer = scene.topic(), scene.transactional()
    scene.write(topic, b"before")
    assert producer.add(topic) == NONE
    assert producer.send(topic, b"open").error_code == NONE
    scene.write(topic, b"after")
    assert scene.end(topic, isolation=READ_UNCOMMITTED) == 3
    assert scene.end(topic, isolation=READ_COMMITTED) == 1
    row = scene.fetch(topic, isolation_level=READ_COMMITTED)
    assert (row.high_watermark, row.last_stable_offset) == (3, 1)
    assert values(scene.batches(topic, isolation_level=READ_COMMITTED)) == [b"before"]
    assert len(scene.batches(topic)) == 3
    assert producer.end(commit=True) == NONE
    scene.until_end(topic, 4)
    assert values(scene.batches(topic, isolation_level=READ_COMMITTED)) == [b"before", b"open", b"after"]


def test_given_a_second_instance_when_it_initialises_then_the_first_is_fenced(scene: Scene) -> None:
    topic, first = scene.topic(), scene.transactional()
    first.run(topic, b"a")
    second = scene.transactional(first.name)
    assert (second.producer_id, second.epoch) == (first.producer_id, first.epoch + 1)
    assert first.add(topic) == ErrorCode.producer_fenced
    assert first.add(topic, version=1) == ErrorCode.invalid_producer_epoch
    assert first.end(commit=True) == ErrorCode.producer_fenced
    second.run(topic, b"b")
    late = batch([b"late"], producer_id=first.producer_id, epoch=first.epoch, sequence=1)
    assert scene.produce(topic, late).error_code == ErrorCode.invalid_producer_epoch
    assert values(scene.batches(topic)) == [b"a", b"b"]


def test_given_an_open_transaction_when_another_instance_initialises_then_it_is_aborted(scene: Scene) -> None:
    topic, first = scene.topic(), scene.transactional()
    assert first.add(topic) == NONE
    assert first.send(topic, b"lost").error_code == NONE
    epoch = first.epoch
    second = scene.transactional(first.name)
    assert second.epoch == epoch + 2  # one to fence, one for the newcomer
    assert scene.end(topic, isolation=READ_COMMITTED) == 2
    assert [each.marker for each in scene.batches(topic) if each.is_control] == ["abort"]
    marker = scene.batches(topic)[1]
    assert marker.epoch == epoch + 1
    assert first.send(topic, b"late").error_code == ErrorCode.invalid_producer_epoch


def test_given_a_fence_when_a_partition_is_only_added_then_its_marker_fences_plain_batches_too(scene: Scene) -> None:
    """An empty transaction of the next epoch fences a partition against idempotent batches of the former one."""
    topic, first = scene.topic(retention_ms="-1"), scene.transactional()
    assert first.add(topic) == NONE
    assert first.end(commit=True) == NONE
    scene.until_end(topic, 1, isolation=READ_UNCOMMITTED)

    def plain(owner: Transactional, sequence: int) -> int:
        data = batch([b"x"], producer_id=owner.producer_id, epoch=owner.epoch, sequence=sequence)
        return int(scene.produce(topic, data).error_code)

    assert [plain(first, sequence) for sequence in range(3)] == [0, 0, 0]
    second = scene.transactional(first.name)
    assert plain(first, 3) == 0  # not fenced before the marker is there
    end = scene.end(topic)
    assert second.add(topic) == NONE
    assert second.end(commit=True) == NONE
    scene.until_end(topic, end + 1, isolation=READ_UNCOMMITTED)
    assert plain(first, 4) == ErrorCode.invalid_producer_epoch
    assert plain(second, 5) == ErrorCode.out_of_order_sequence_number
    assert plain(second, 0) == 0
    assert scene.end(topic, isolation=READ_COMMITTED) == end + 2


@pytest.mark.parametrize("version", [4, 5])
def test_given_versions_of_end_txn_when_a_transaction_ends_then_only_v5_bumps_the_epoch(
    scene: Scene, version: int
) -> None:
    topic, producer = scene.topic(), scene.transactional()
    epochs = []
    for number in range(3):
        assert producer.add(topic) == NONE
        assert producer.send(topic, b"%d" % number).error_code == NONE
        assert producer.end(commit=True, version=version) == NONE
        producer.until_complete()
        epochs.append(producer.epoch)
    assert epochs == ([0, 0, 0] if version == 4 else [1, 2, 3])
    assert values(scene.batches(topic, isolation_level=READ_COMMITTED)) == [b"0", b"1", b"2"]
    assert [each.epoch for each in scene.batches(topic) if each.is_control] == epochs


def test_given_an_end_that_is_repeated_when_complete_then_it_succeeds_and_the_opposite_fails(scene: Scene) -> None:
    topic, producer = scene.topic(), scene.transactional()
    producer.run(topic, b"a")
    producer.until_complete()
    assert producer.end(commit=True) == NONE
    assert producer.end(commit=False) == ErrorCode.invalid_txn_state
    assert producer.end(commit=True, epoch=producer.epoch + 1) == ErrorCode.producer_fenced
    assert producer.init() == NONE
    assert producer.end(commit=True) == ErrorCode.invalid_txn_state
    assert producer.end(commit=False) == ErrorCode.invalid_txn_state
    assert producer.end(commit=False, version=5) == NONE  # clients of that version may abort what they never began


def test_given_a_producer_that_recovers_when_it_presents_its_epoch_then_it_gets_the_next(scene: Scene) -> None:
    producer = scene.transactional()
    assert producer.init(expected=True) == NONE
    assert producer.epoch == 1
    producer.epoch = 0
    assert producer.init(expected=True) == NONE  # the answer got lost: the same epoch again
    assert producer.epoch == 1
    assert producer.init(expected=True) == NONE
    producer.epoch = 0
    assert producer.init(expected=True) == ErrorCode.producer_fenced
    assert producer.init(expected=True, version=3) == ErrorCode.invalid_producer_epoch
    producer.producer_id += 1000
    assert producer.init(expected=True) == ErrorCode.producer_fenced


@pytest.mark.parametrize(
    ("timeout_ms", "code"),
    [(1, 0), (900_000, 0), (0, 50), (-1, 50), (900_001, 50)],
)
def test_given_transaction_timeouts_when_initialising_then_the_brokers_maximum_holds(
    scene: Scene, timeout_ms: int, code: int
) -> None:
    producer = scene.transactional()
    assert producer.init(timeout_ms=timeout_ms) == code


def test_given_wrong_ids_when_calling_the_coordinator_then_invalid_producer_id_mapping(scene: Scene) -> None:
    topic, producer = scene.topic(), scene.transactional()
    assert producer.add("no-such-topic") == ErrorCode.unknown_topic_or_partition
    producer.producer_id += 1000
    assert producer.add(topic) == ErrorCode.invalid_producer_id_mapping
    assert producer.end(commit=True) == ErrorCode.invalid_producer_id_mapping
    producer.name = unique("never-seen")
    assert producer.end(commit=True) == ErrorCode.invalid_producer_id_mapping
    answer = producer.client.call("describe_transactions", 0, transactional_ids=[producer.name]).transaction_states[0]
    assert answer.error_code == ErrorCode.transactional_id_not_found
    bad = {"transaction_timeout": 1000, "transactional_id": "", "producer_id": -1, "producer_epoch": -1}
    assert scene.client.call("init_producer_id", 4, **bad).error_code == ErrorCode.invalid_request
    half = {"transaction_timeout": 1000, "transactional_id": None, "producer_id": 5, "producer_epoch": -1}
    assert scene.client.call("init_producer_id", 4, **half).error_code == ErrorCode.invalid_request


@pytest.mark.parametrize(("version", "code"), [(9, 48), (11, 120)])
def test_given_a_partition_that_was_not_added_when_produced_then_the_write_is_refused(
    scene: Scene, version: int, code: int
) -> None:
    topic, producer = scene.topic(), scene.transactional()
    assert producer.send(topic, b"a", version=version).error_code == code
    assert scene.end(topic) == 0


def test_given_produce_v12_when_a_partition_was_not_added_then_it_is_added_by_itself(scene: Scene) -> None:
    topic, producer = scene.topic(), scene.transactional()
    assert producer.send(topic, b"a", version=12).error_code == NONE
    assert producer.state() == "Ongoing"
    assert producer.end(commit=True, version=5) == NONE
    scene.until_end(topic, 2)


def test_given_an_open_transaction_when_a_plain_batch_of_its_producer_comes_then_it_is_refused(scene: Scene) -> None:
    topic, producer = scene.topic(), scene.transactional()
    assert producer.add(topic) == NONE
    assert producer.send(topic, b"a").error_code == NONE
    stray = batch([b"stray"], producer_id=producer.producer_id, epoch=producer.epoch, sequence=1)
    assert scene.produce(topic, stray).error_code == ErrorCode.invalid_txn_state
    assert producer.end(commit=True) == NONE
    scene.until_end(topic, 2)


def test_given_a_transaction_that_takes_too_long_when_its_timeout_passes_then_it_is_aborted_and_fenced(
    scene: Scene,
) -> None:
    topic, producer = scene.topic(), scene.transactional()
    assert producer.init(timeout_ms=200) == NONE
    assert producer.add(topic) == NONE
    assert producer.send(topic, b"slow").error_code == NONE
    scene.until_end(topic, 2, isolation=READ_COMMITTED)
    assert producer.end(commit=True) == ErrorCode.producer_fenced
    assert scene.batches(topic)[1].marker == "abort"


def test_given_open_and_ended_transactions_when_listed_then_state_and_partitions_are_told(scene: Scene) -> None:
    topic, producer = scene.topic(2), scene.transactional()
    assert producer.state() == "Empty"
    assert producer.add(topic, 1) == NONE
    described = producer.client.call("describe_transactions", 0, transactional_ids=[producer.name])
    (row,) = described.transaction_states
    assert (row.transaction_state, row.producer_id, row.producer_epoch) == ("Ongoing", producer.producer_id, 0)
    assert [(each.topic, each.partitions) for each in row.topics] == [(topic, (1,))]
    listed = producer.client.call(
        "list_transactions",
        1,
        state_filters=["Ongoing"],
        producer_id_filters=[producer.producer_id],
        duration_filter=-1,
    )
    assert [each.transactional_id for each in listed.transaction_states] == [producer.name]
    long = producer.client.call(
        "list_transactions", 1, producer_id_filters=[producer.producer_id], duration_filter=60_000
    )
    assert long.transaction_states == ()
    odd = producer.client.call("list_transactions", 1, state_filters=["Nonsense"], duration_filter=-1)
    assert odd.unknown_state_filters == ("Nonsense",)
    assert producer.end(commit=False) == NONE
    producer.until_complete()
    assert producer.state() == "CompleteAbort"


def test_given_several_partitions_when_one_is_unknown_then_none_is_added(scene: Scene) -> None:
    topic, producer = scene.topic(), scene.transactional()
    done = producer.client.call(
        "add_partitions_to_txn",
        3,
        v3_and_below_transactional_id=producer.name,
        v3_and_below_producer_id=producer.producer_id,
        v3_and_below_producer_epoch=producer.epoch,
        v3_and_below_topics=[{"name": topic, "partitions": [0, 5]}],
    ).results_by_topic_v3_and_below[0]
    codes = {row.partition_index: row.partition_error_code for row in done.results_by_partition}
    assert codes == {0: ErrorCode.operation_not_attempted, 5: ErrorCode.unknown_topic_or_partition}
    assert producer.state() == "Empty"


def test_given_many_transactions_when_ended_at_once_then_the_last_stable_offset_passes_them_all(scene: Scene) -> None:
    topic = scene.topic()
    producers = [scene.transactional() for _ in range(4)]
    for number, producer in enumerate(producers):
        assert producer.add(topic) == NONE
        assert producer.send(topic, b"%d" % number).error_code == NONE
    assert scene.end(topic, isolation=READ_COMMITTED) == 0
    for number, producer in enumerate(reversed(producers)):
        assert producer.end(commit=number % 2 == 0) == NONE
    scene.until_end(topic, 8)
    aborted = scene.fetch(topic, isolation_level=READ_COMMITTED).aborted_transactions
    assert {row.first_offset for row in aborted} == {0, 2}
