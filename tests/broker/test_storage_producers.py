"""Sequences, epochs, duplicates, expiry: Kafka's ProducerStateManager rules."""

from __future__ import annotations

import pytest
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.storage.log import PartitionLog
from tests.broker.batches import NOW, batch
from tests.broker.test_storage_log import make_log, records


def append(log: PartitionLog, sequence: int, *, epoch: int = 0, count: int = 1, producer_id: int = 7) -> int:
    return log.append_as_client(
        batch(records(count), producer_id=producer_id, epoch=epoch, sequence=sequence)
    ).base_offset


def refused(log: PartitionLog, sequence: int, *, epoch: int = 0, count: int = 1) -> ErrorCode:
    with pytest.raises(KafkaError) as caught:
        append(log, sequence, epoch=epoch, count=count)
    return caught.value.code


def test_given_an_unknown_producer_when_it_starts_anywhere_then_accepted() -> None:
    log = make_log()
    assert append(log, 1234, epoch=3) == 0
    assert append(log, 1235, epoch=3) == 1


def test_given_a_known_producer_when_a_sequence_is_skipped_then_out_of_order() -> None:
    log = make_log()
    append(log, 0)
    assert refused(log, 2) is ErrorCode.out_of_order_sequence_number


def test_given_a_repeated_batch_when_within_the_last_five_then_its_first_offset_is_answered() -> None:
    log = make_log()
    offsets = [append(log, sequence, count=2) for sequence in range(0, 12, 2)]
    for sequence in range(2, 12, 2):
        assert append(log, sequence, count=2) == offsets[sequence // 2]
    assert refused(log, 0, count=2) is ErrorCode.out_of_order_sequence_number
    assert log.log_end_offset == 12


def test_given_a_stale_epoch_when_appended_then_fenced() -> None:
    log = make_log()
    append(log, 0, epoch=2)
    assert refused(log, 1, epoch=1) is ErrorCode.invalid_producer_epoch


def test_given_a_new_epoch_when_it_does_not_start_at_zero_then_out_of_order() -> None:
    log = make_log()
    append(log, 0, epoch=2)
    assert refused(log, 1, epoch=3) is ErrorCode.out_of_order_sequence_number
    assert append(log, 0, epoch=3) == 1


def test_given_the_last_sequence_when_it_wraps_then_zero_follows() -> None:
    log = make_log()
    append(log, 2**31 - 2, count=2)
    assert append(log, 0) == 2
    log = make_log()
    append(log, 2**31 - 1, count=3)  # wraps inside the batch: 2^31-1, 0, 1
    assert append(log, 2) == 3


def test_given_a_marker_of_a_new_epoch_when_the_former_epoch_writes_then_fenced() -> None:
    log = make_log()
    append(log, 0)
    log.append_marker(7, 1, commit=True)
    assert refused(log, 1) is ErrorCode.invalid_producer_epoch
    assert refused(log, 5, epoch=1) is ErrorCode.out_of_order_sequence_number
    assert append(log, 0, epoch=1) == 2


def test_given_markers_when_epochs_are_old_then_refused() -> None:
    log = make_log()
    log.append_marker(7, 3, commit=True, coordinator_epoch=4)
    with pytest.raises(KafkaError) as caught:
        log.append_marker(7, 2, commit=True, coordinator_epoch=4)
    assert caught.value.code is ErrorCode.invalid_producer_epoch
    with pytest.raises(KafkaError) as caught:
        log.append_marker(7, 3, commit=True, coordinator_epoch=3)
    assert caught.value.code is ErrorCode.transaction_coordinator_fenced


def test_given_an_open_transaction_when_a_plain_batch_comes_then_refused() -> None:
    log = make_log()
    log.append_as_client(batch(producer_id=7, epoch=0, sequence=0, transactional=True))
    assert log.producer_states.has_ongoing(7)
    assert refused(log, 1) is ErrorCode.invalid_txn_state


def test_given_old_record_timestamps_when_expiry_runs_then_only_producers_without_open_transactions_go() -> None:
    log = make_log()
    for producer, stamp, transactional in ((1, NOW - 10_000, False), (2, NOW, False), (3, NOW - 10_000, True)):
        log.append_as_client(
            batch(producer_id=producer, epoch=0, sequence=0, timestamp=stamp, transactional=transactional)
        )
    assert log.producer_states.expire(NOW, 5_000) == 1
    assert sorted(log.producer_states.entries) == [2, 3]
    assert append(log, 77, producer_id=1) == 3


def test_given_open_and_aborted_transactions_when_restarted_then_both_are_known() -> None:
    log = make_log()
    log.append_as_client(batch(producer_id=1, epoch=0, sequence=0, transactional=True))
    log.append_marker(1, 0, commit=False)
    log.append_as_client(batch(producer_id=2, epoch=0, sequence=0, transactional=True))
    for close in (True, False):
        if close:
            log.close()
        log = make_log(log.files)
        assert log.last_stable_offset == 2
        assert log.producer_states.aborted == [(1, 0, 1)]
        assert log.producer_states.has_ongoing(2, 0)
