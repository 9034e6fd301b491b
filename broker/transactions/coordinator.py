"""The transaction coordinator, as Kafka 4.1 behaves with `transaction.version` 2 (KIP-890).

    Empty ──add partitions──▶ Ongoing ──end──▶ PrepareCommit | PrepareAbort
      ▲                          ▲                           │ markers written
      └───── InitProducerId ─────┴──────── CompleteCommit | CompleteAbort

- Every change is written to `__transaction_state` before it counts.
- EndTxn is answered once the Prepare state is written; the markers follow by themselves. While they do, the
  transactional id is busy: CONCURRENT_TRANSACTIONS.
- Clients that send EndTxn v5 get a new epoch with each transaction; older ones keep theirs.
- InitProducerId during a transaction fences (epoch + 1), aborts, and has the client ask again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, replace

from kio.schema.errors import ErrorCode

from broker.clock import Clock
from broker.errors import KafkaError
from broker.groups.internal_topic import CoordinatorLog
from broker.transactions import records
from broker.transactions.metadata import (
    COMPLETE,
    MAX_EPOCH,
    NO_EPOCH,
    NO_ID,
    PREPARED,
    TopicPartition,
    Transaction,
    TransactionState,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TransactionSettings:
    """The broker's `transaction*` properties, in ms."""

    max_timeout_ms: int = 900_000
    id_expiration_ms: int = 7 * 24 * 60 * 60 * 1000


class TransactionCoordinator:
    """Transactions by transactional id. `begin_markers` is called with each transaction whose markers are due."""

    def __init__(
        self,
        *,
        clock: Clock,
        transactions_log: CoordinatorLog,
        settings: Callable[[], TransactionSettings],
        new_producer_id: Callable[[], int],
        begin_markers: Callable[[Transaction], None],
    ) -> None:
        self.transactions: dict[str, Transaction] = {}
        self.log = transactions_log
        self._clock = clock
        self._settings = settings
        self._new_producer_id = new_producer_id
        self._begin_markers = begin_markers

    # --- InitProducerId ---------------------------------------------------------------------------------------------

    def new_idempotent_producer(self) -> tuple[int, int]:
        """A producer id without transactional id, and epoch 0."""
        return self._new_producer_id(), 0

    def check_timeout(self, timeout_ms: int) -> None:
        """Raise KafkaError INVALID_TRANSACTION_TIMEOUT above `transaction.max.timeout.ms`."""
        if not 0 < timeout_ms <= self._settings().max_timeout_ms:
            raise KafkaError(ErrorCode.invalid_transaction_timeout)

    def init_producer(
        self, transactional_id: str, timeout_ms: int, expected: tuple[int, int] | None = None
    ) -> tuple[int, int]:
        """Producer id and epoch for the transactional id; fences its former producer.

        `expected` is the id and epoch a producer that recovers by itself still has. Raises KafkaError, among others
        CONCURRENT_TRANSACTIONS while a former transaction is being ended: ask again.
        """
        if not transactional_id:
            raise KafkaError(ErrorCode.invalid_request)
        self.check_timeout(timeout_ms)
        current = self.transactions.get(transactional_id)
        if current is None:
            # Kept before its first epoch is written, so that a failed write doesn't cost another id.
            current = Transaction(transactional_id, self._new_producer_id(), timeout_ms=timeout_ms)
            self.transactions[transactional_id] = current
        if expected is not None and not self._may_continue(current, *expected):
            raise KafkaError(ErrorCode.producer_fenced)
        if current.state in PREPARED:
            raise KafkaError(ErrorCode.concurrent_transactions)
        if current.state is TransactionState.ONGOING:
            self._fence_and_abort(current)
            raise KafkaError(ErrorCode.concurrent_transactions)
        renewed = self._next_epoch(current, timeout_ms, expected)
        self._write(renewed)
        return renewed.producer_id, renewed.producer_epoch

    @staticmethod
    def _may_continue(current: Transaction, producer_id: int, epoch: int) -> bool:
        return (
            current.producer_epoch == NO_EPOCH
            or producer_id == current.producer_id
            or (producer_id == current.previous_producer_id and epoch >= MAX_EPOCH - 1)
        )

    def _next_epoch(self, current: Transaction, timeout_ms: int, expected: tuple[int, int] | None) -> Transaction:
        now = self._clock.now_ms()
        empty = replace(
            current,
            state=TransactionState.EMPTY,
            partitions=frozenset(),
            timeout_ms=timeout_ms,
            started_ms=-1,
            updated_ms=now,
            next_producer_id=NO_ID,
            previous_producer_id=current.producer_id,
            bumps_epoch=False,
        )
        expected_epoch = None if expected is None else expected[1]
        if current.epoch_exhausted and expected_epoch in (None, current.producer_epoch):
            return replace(
                empty,
                producer_id=self._new_producer_id(),
                producer_epoch=0,
                last_epoch=NO_EPOCH if expected is None else current.producer_epoch,
            )
        if expected_epoch is None:
            return replace(empty, producer_epoch=current.producer_epoch + 1, last_epoch=NO_EPOCH)
        if current.producer_epoch in (NO_EPOCH, expected_epoch):
            return replace(empty, producer_epoch=current.producer_epoch + 1, last_epoch=current.producer_epoch)
        if expected_epoch == current.last_epoch:  # the answer to the same question got lost
            return replace(empty, producer_epoch=current.producer_epoch, last_epoch=current.last_epoch)
        raise KafkaError(ErrorCode.producer_fenced)

    # --- AddPartitionsToTxn, AddOffsetsToTxn, implicit adds ---------------------------------------------------------

    def add_partitions(
        self, transactional_id: str, producer_id: int, producer_epoch: int, partitions: Set[TopicPartition]
    ) -> None:
        """Take partitions into the transaction, starting it if need be. Raises KafkaError."""
        current = self._current(transactional_id, producer_id, producer_epoch)
        if current.state in PREPARED:
            raise KafkaError(ErrorCode.concurrent_transactions)
        ongoing = current.state is TransactionState.ONGOING
        if ongoing and partitions <= current.partitions:
            return
        now = self._clock.now_ms()
        self._write(
            replace(
                current,
                state=TransactionState.ONGOING,
                partitions=current.partitions | partitions if ongoing else frozenset(partitions),
                started_ms=current.started_ms if ongoing else now,
                updated_ms=now,
                bumps_epoch=False,
            )
        )

    def verify(
        self, transactional_id: str, producer_id: int, producer_epoch: int, partition: TopicPartition
    ) -> ErrorCode:
        """Whether the producer may write to the partition as part of its transaction."""
        try:
            current = self._current(transactional_id, producer_id, producer_epoch)
        except KafkaError as error:
            return error.code
        if current.state in PREPARED:
            return ErrorCode.concurrent_transactions
        return ErrorCode.none if partition in current.partitions else ErrorCode.transaction_abortable

    def _current(self, transactional_id: str, producer_id: int, producer_epoch: int) -> Transaction:
        if not transactional_id:
            raise KafkaError(ErrorCode.invalid_request)
        current = self.transactions.get(transactional_id)
        if current is None or current.producer_id != producer_id:
            raise KafkaError(ErrorCode.invalid_producer_id_mapping)
        if current.producer_epoch != producer_epoch:
            raise KafkaError(ErrorCode.producer_fenced)
        return current

    # --- EndTxn -----------------------------------------------------------------------------------------------------

    def end(
        self, transactional_id: str, producer_id: int, producer_epoch: int, *, commit: bool, bumps_epoch: bool
    ) -> tuple[int, int]:
        """End the transaction; returns the producer id and epoch to go on with. Raises KafkaError."""
        if not transactional_id:
            raise KafkaError(ErrorCode.invalid_request)
        current = self.transactions.get(transactional_id)
        if current is None:
            raise KafkaError(ErrorCode.invalid_producer_id_mapping)
        retried_overflow = (
            bumps_epoch
            and current.previous_producer_id == producer_id
            and producer_epoch == MAX_EPOCH - 1
            and current.producer_epoch == 0
        )
        retried = retried_overflow or (bumps_epoch and current.producer_epoch == producer_epoch + 1)
        if current.producer_id != producer_id and not retried_overflow:
            raise KafkaError(ErrorCode.invalid_producer_id_mapping)
        if producer_epoch != current.producer_epoch and not (retried and current.state in (*PREPARED, *COMPLETE)):
            raise KafkaError(ErrorCode.producer_fenced)
        if current.state in PREPARED:
            raise KafkaError(ErrorCode.concurrent_transactions)
        if current.state is TransactionState.ONGOING:
            return self._prepare(current, commit=commit, bumps_epoch=bumps_epoch)
        done = TransactionState.COMPLETE_COMMIT if commit else TransactionState.COMPLETE_ABORT
        if current.state is done and (retried or not bumps_epoch):
            return current.producer_id, current.producer_epoch
        if bumps_epoch and not commit and not retried:
            # Such a client may abort what it never began: an epoch of its own for the next one all the same.
            return self._prepare(
                replace(current, partitions=frozenset(), started_ms=self._clock.now_ms()),
                commit=False,
                bumps_epoch=True,
            )
        raise KafkaError(ErrorCode.invalid_txn_state)

    def _prepare(self, current: Transaction, *, commit: bool, bumps_epoch: bool) -> tuple[int, int]:
        bumped = replace(
            current,
            state=TransactionState.PREPARE_COMMIT if commit else TransactionState.PREPARE_ABORT,
            updated_ms=self._clock.now_ms(),
            bumps_epoch=bumps_epoch,
        )
        if bumps_epoch:
            bumped = replace(
                bumped,
                next_producer_id=self._new_producer_id() if current.epoch_exhausted else NO_ID,
                producer_epoch=current.producer_epoch + 1,
                last_epoch=current.producer_epoch,
            )
        self._write(bumped)
        self._begin_markers(bumped)
        after = self._completed(bumped)
        return after.producer_id, after.producer_epoch

    def _fence_and_abort(self, current: Transaction) -> None:
        """Nobody has the bumped epoch, so that nobody can write to this transaction any more."""
        fenced = replace(
            current,
            state=TransactionState.PREPARE_ABORT,
            producer_epoch=current.producer_epoch + 1,
            last_epoch=current.producer_epoch,
            updated_ms=self._clock.now_ms(),
            bumps_epoch=True,
        )
        self._write(fenced)
        self._begin_markers(fenced)

    def complete(self, transactional_id: str) -> None:
        """All markers of the prepared transaction are written. Raises KafkaError when the log can't take it now."""
        current = self.transactions.get(transactional_id)
        if current is not None and current.state in PREPARED:
            self._write(self._completed(current))

    def _completed(self, prepared: Transaction) -> Transaction:
        done = replace(
            prepared,
            state=(
                TransactionState.COMPLETE_COMMIT
                if prepared.state is TransactionState.PREPARE_COMMIT
                else TransactionState.COMPLETE_ABORT
            ),
            partitions=frozenset(),
            updated_ms=self._clock.now_ms(),
            next_producer_id=NO_ID,
        )
        if prepared.next_producer_id != NO_ID:
            return replace(
                done,
                producer_id=prepared.next_producer_id,
                previous_producer_id=prepared.producer_id,
                producer_epoch=0,
                last_epoch=prepared.producer_epoch,
            )
        return done

    # --- by the clock -----------------------------------------------------------------------------------------------

    def abort_timed_out(self) -> None:
        """Fence producers whose transactions have been open for longer than their timeout."""
        now = self._clock.now_ms()
        for current in list(self.transactions.values()):
            if current.state is TransactionState.ONGOING and current.started_ms + current.timeout_ms < now:
                self._quietly(self._fence_and_abort, current)

    def expire_ids(self) -> None:
        """Forget transactional ids that weren't used for `transactional.id.expiration.ms`."""
        horizon = self._clock.now_ms() - self._settings().id_expiration_ms
        for current in list(self.transactions.values()):
            idle = current.state is TransactionState.EMPTY or current.state in COMPLETE
            if idle and current.updated_ms <= horizon:
                self._quietly(self._forget, current)

    def _forget(self, current: Transaction) -> None:
        name = current.transactional_id
        if current.updated_ms >= 0:  # otherwise nothing was ever written
            self.log.append(self.log.partition_for(name), [(records.encode_key(name), None)])
        del self.transactions[name]

    @staticmethod
    def _quietly(act: Callable[[Transaction], None], current: Transaction) -> None:
        try:
            act(current)
        except KafkaError as error:  # the next round tries again
            log.warning("transactional id %s: %s", current.transactional_id, error)

    # --- start ------------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Rebuild everything from the log and go on with the markers of prepared transactions."""
        for partition in self.log.partitions():
            for entry in self.log.replay(partition):
                try:
                    name = records.decode_key(entry.key or b"")
                    if name is None:
                        continue
                    if entry.value is None:
                        self.transactions.pop(name, None)
                    else:
                        self.transactions[name] = records.decode(name, entry.value)
                except (ValueError, KeyError) as error:
                    log.warning("skipping record %d of %s-%d: %s", entry.offset, self.log.topic, partition, error)
        for current in self.in_states(PREPARED):
            self._begin_markers(current)

    def in_states(self, states: Iterable[TransactionState]) -> list[Transaction]:
        """All transactions in one of the states."""
        wanted = set(states)
        return [current for current in self.transactions.values() if current.state in wanted]

    def _write(self, transaction: Transaction) -> None:
        name = transaction.transactional_id
        self.log.append(self.log.partition_for(name), [(records.encode_key(name), records.encode(transaction))])
        self.transactions[name] = transaction
