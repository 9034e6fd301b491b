"""What the coordinator knows about one transactional id."""

from __future__ import annotations

import enum
from collections.abc import Set
from dataclasses import dataclass

MAX_EPOCH = 2**15 - 1
NO_ID = -1
NO_EPOCH = -1

TopicPartition = tuple[str, int]


class TransactionState(enum.Enum):
    """Kafka's names with the numbers that the log stores."""

    EMPTY = ("Empty", 0)
    ONGOING = ("Ongoing", 1)
    PREPARE_COMMIT = ("PrepareCommit", 2)
    PREPARE_ABORT = ("PrepareAbort", 3)
    COMPLETE_COMMIT = ("CompleteCommit", 4)
    COMPLETE_ABORT = ("CompleteAbort", 5)
    DEAD = ("Dead", 6)
    PREPARE_EPOCH_FENCE = ("PrepareEpochFence", 7)

    @property
    def text(self) -> str:
        """The name that DescribeTransactions shows."""
        return self.value[0]

    @property
    def number(self) -> int:
        """The number in TransactionLogValue."""
        return self.value[1]


PREPARED = (TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT)
COMPLETE = (TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT)


@dataclass(frozen=True, slots=True)
class Transaction:
    """An immutable snapshot; the coordinator replaces it after the next one was written to its log.

    `last_epoch` is what a producer that missed an answer may still present. `bumps_epoch` says that the last end of a
    transaction gave it a new epoch (KIP-890), be it the client's or a fence; Kafka stores it. Times in ms, -1 is never.
    """

    transactional_id: str
    producer_id: int
    producer_epoch: int = NO_EPOCH
    last_epoch: int = NO_EPOCH
    previous_producer_id: int = NO_ID
    next_producer_id: int = NO_ID
    timeout_ms: int = 0
    state: TransactionState = TransactionState.EMPTY
    partitions: Set[TopicPartition] = frozenset()
    started_ms: int = -1
    updated_ms: int = -1
    bumps_epoch: bool = False

    @property
    def epoch_exhausted(self) -> bool:
        """Whether only the epoch that is reserved for fencing is left (Short.MAX_VALUE is never given out)."""
        return self.producer_epoch >= MAX_EPOCH - 1
