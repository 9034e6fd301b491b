"""The transaction coordinator on a clock of its own: epochs, expiry, timeouts, and what survives a restart."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kio.schema.errors import ErrorCode

from broker.clock import ManualClock
from broker.errors import KafkaError
from broker.transactions import records
from broker.transactions.coordinator import TransactionCoordinator, TransactionSettings
from broker.transactions.metadata import MAX_EPOCH, Transaction, TransactionState
from tests.broker.fakes import ListLog

DAY = 24 * 3600


class World:
    """A coordinator whose markers are written when the test says so."""

    def __init__(self, log: ListLog | None = None, ids: itertools.count[int] | None = None) -> None:
        self.clock = ManualClock()
        self.log = log or ListLog("__transaction_state")
        self.ids = ids or itertools.count(4000)
        self.due: list[Transaction] = []
        self.coordinator = TransactionCoordinator(
            clock=self.clock,
            transactions_log=self.log,
            settings=TransactionSettings,
            new_producer_id=lambda: next(self.ids),
            begin_markers=self.due.append,
        )

    def init(self, expected: tuple[int, int] | None = None, timeout_ms: int = 60_000) -> tuple[int, int]:
        return self.coordinator.init_producer("x", timeout_ms, expected)

    def nearly_exhausted(self) -> tuple[int, int]:
        """A producer with the last epoch that is given out."""
        self.init()
        known = self.coordinator.transactions["x"]
        self.coordinator.transactions["x"] = replace(known, producer_epoch=MAX_EPOCH - 2)
        producer = self.init()
        assert producer == (known.producer_id, MAX_EPOCH - 1)
        return producer

    def begin(self, producer: tuple[int, int], *partitions: int) -> None:
        self.coordinator.add_partitions("x", *producer, frozenset(("t", p) for p in partitions or (0,)))

    def end(self, producer: tuple[int, int], *, commit: bool = True, bumps_epoch: bool = False) -> tuple[int, int]:
        return self.coordinator.end("x", *producer, commit=commit, bumps_epoch=bumps_epoch)

    def write_markers(self) -> list[Transaction]:
        written, self.due = list(self.due), self.due
        self.due.clear()
        for transaction in written:
            self.coordinator.complete(transaction.transactional_id)
        return written

    def restarted(self) -> World:
        world = World(self.log, self.ids)
        world.clock = self.clock
        world.coordinator.load()
        return world

    @property
    def state(self) -> TransactionState:
        return self.coordinator.transactions["x"].state


def refused(code: ErrorCode) -> pytest.RaisesExc[KafkaError]:
    return pytest.RaisesExc(KafkaError, check=lambda error: error.code is code)


def test_given_markers_outstanding_when_anything_is_asked_then_concurrent_transactions() -> None:
    world = World()
    producer = world.init()
    world.begin(producer)
    world.end(producer)
    for ask in (world.init, lambda: world.begin(producer), lambda: world.end(producer)):
        with refused(ErrorCode.concurrent_transactions):
            ask()
    (transaction,) = world.write_markers()
    assert (transaction.producer_id, transaction.producer_epoch) == producer
    assert transaction.partitions == {("t", 0)}
    assert world.state is TransactionState.COMPLETE_COMMIT
    assert world.init() == (producer[0], 1)


def test_given_a_transaction_that_is_too_old_when_time_passes_then_it_is_aborted_with_a_fencing_epoch() -> None:
    world = World()
    producer = world.init(timeout_ms=5000)
    world.begin(producer)
    world.clock.advance(5)
    world.coordinator.abort_timed_out()
    assert world.state is TransactionState.ONGOING
    world.clock.advance(0.001)
    world.coordinator.abort_timed_out()
    (transaction,) = world.write_markers()
    assert (transaction.state, transaction.producer_epoch) == (TransactionState.PREPARE_ABORT, 1)
    with refused(ErrorCode.producer_fenced):
        world.end(producer)
    assert world.init() == (producer[0], 2)


def test_given_an_idle_id_when_it_expires_then_the_next_producer_has_another_id() -> None:
    world = World()
    producer = world.init()
    world.begin(producer)
    world.clock.advance(8 * DAY)
    world.coordinator.expire_ids()
    assert world.state is TransactionState.ONGOING  # never while a transaction is open
    world.end(producer)
    world.write_markers()
    world.clock.advance(7 * DAY - 1)
    world.coordinator.expire_ids()
    assert "x" in world.coordinator.transactions
    world.clock.advance(1)
    world.coordinator.expire_ids()
    assert "x" not in world.coordinator.transactions
    assert "x" not in world.restarted().coordinator.transactions
    assert world.init() == (producer[0] + 1, 0)


def test_given_an_empty_transaction_once_a_day_when_time_passes_then_the_id_lives_on() -> None:
    world = World()
    producer = world.init()
    for _ in range(20):
        world.clock.advance(DAY)
        world.begin(producer)
        world.end(producer)
        world.write_markers()
        world.coordinator.expire_ids()
    assert world.init() == (producer[0], 1)


def test_given_epochs_that_run_out_when_initialising_then_a_new_id_begins() -> None:
    world = World()
    producer = world.nearly_exhausted()
    world.begin(producer)
    with refused(ErrorCode.concurrent_transactions):
        world.init()  # fences with the epoch that was kept for it
    (transaction,) = world.write_markers()
    assert transaction.producer_epoch == MAX_EPOCH
    assert world.init() == (4001, 0)


def test_given_epochs_that_run_out_when_every_transaction_bumps_then_end_answers_a_new_id() -> None:
    world = World()
    producer = world.nearly_exhausted()
    world.begin(producer)
    successor = world.end(producer, bumps_epoch=True)
    assert successor == (4001, 0)
    (transaction,) = world.write_markers()
    assert (transaction.producer_id, transaction.producer_epoch) == (4000, MAX_EPOCH)
    assert world.end(producer, bumps_epoch=True) == successor  # the answer got lost
    world.begin(successor)


@pytest.mark.parametrize("commit", [True, False])
def test_given_a_crash_after_prepare_when_restarted_then_the_markers_are_written_then(commit: bool) -> None:
    world = World()
    producer = world.init()
    world.begin(producer, 0, 3)
    world.end(producer, commit=commit)
    world = world.restarted()
    (transaction,) = world.write_markers()
    assert transaction.partitions == {("t", 0), ("t", 3)}
    expected = TransactionState.COMPLETE_COMMIT if commit else TransactionState.COMPLETE_ABORT
    assert world.state is expected
    assert world.init() == (producer[0], 1)


def test_given_a_crash_while_ongoing_when_restarted_then_the_producer_goes_on() -> None:
    world = World()
    producer = world.init()
    world.begin(producer)
    world = world.restarted()
    world.begin(producer, 1)
    assert world.end(producer) == producer
    assert world.due[0].partitions == {("t", 0), ("t", 1)}


def test_given_a_log_that_fails_when_writing_then_nothing_has_changed() -> None:
    class Broken(ListLog):
        broken = False

        def append(self, *args: object, **kwargs: object) -> int:
            if self.broken:
                raise KafkaError(ErrorCode.coordinator_not_available)
            return super().append(*args, **kwargs)  # type: ignore[arg-type]

    log = Broken("__transaction_state")
    world = World(log)
    producer = world.init()
    world.begin(producer)
    log.broken = True
    for ask in (lambda: world.begin(producer, 1), lambda: world.end(producer)):
        with refused(ErrorCode.coordinator_not_available):
            ask()
    log.broken = False
    assert world.state is TransactionState.ONGOING
    assert world.end(producer) == producer
    assert world.due[0].partitions == {("t", 0)}


@given(
    st.builds(
        Transaction,
        transactional_id=st.just("x"),
        producer_id=st.integers(0, 2**62),
        producer_epoch=st.integers(0, MAX_EPOCH),
        last_epoch=st.integers(-1, MAX_EPOCH),
        previous_producer_id=st.integers(-1, 2**62),
        next_producer_id=st.integers(-1, 2**62),
        timeout_ms=st.integers(1, 2**31 - 1),
        state=st.sampled_from([state for state in TransactionState if state is not TransactionState.EMPTY]),
        partitions=st.frozensets(st.tuples(st.sampled_from(["t", "ü", "x" * 249]), st.integers(0, 5))),
        started_ms=st.integers(-1, 2**60),
        updated_ms=st.integers(0, 2**60),
        bumps_epoch=st.booleans(),
    )
)
def test_given_any_transaction_when_stored_then_it_is_read_back(transaction: Transaction) -> None:
    assert records.decode("x", records.encode(transaction)) == transaction


@given(st.binary(max_size=60))
def test_given_garbage_when_read_then_it_is_a_value_error_or_a_transaction(data: bytes) -> None:
    try:
        records.decode("x", data)
    except (ValueError, KeyError):
        return
