"""The log behind a coordinator: `__consumer_offsets` or `__transaction_state`.

The topic is made when it is first needed. A key's partition decides which node coordinates it: the partition's leader.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

Pair = tuple[bytes, bytes | None]


def java_hash(text: str) -> int:
    """`String.hashCode` of Java, between -2^31 and 2^31 - 1."""
    value = 0
    data = text.encode("utf-16-be", "surrogatepass")
    for at in range(0, len(data), 2):
        value = (value * 31 + (data[at] << 8 | data[at + 1])) & 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


def partition_of(key: str, count: int) -> int:
    """Which of `count` partitions a key belongs to: Kafka's formula, which takes the absolute value of -2^31 as 0."""
    value = java_hash(key)
    return 0 if value == -(1 << 31) else abs(value) % count


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of a coordinator's log, or the end of a transaction in it (then without key and value)."""

    offset: int
    key: bytes | None = None
    value: bytes | None = None
    producer_id: int = -1
    transactional: bool = False
    ends_transaction: bool | None = None

    @property
    def transactional_producer(self) -> int | None:
        """The producer whose transaction the record belongs to."""
        return self.producer_id if self.transactional else None


class CoordinatorLog(Protocol):
    """What a coordinator needs of its log."""

    topic: str

    def partition_for(self, key: str) -> int:
        """The partition that the key's records go to."""

    def partitions(self) -> Iterable[int]:
        """The partitions that exist already; none before the topic is made."""

    def append(self, partition: int, pairs: Sequence[Pair], *, producer: tuple[int, int] | None = None) -> int:
        """Write the pairs as one batch, inside the producer's transaction if given; returns the base offset.

        Raises KafkaError when the log can't take it.
        """

    def replay(self, partition: int) -> Iterator[Entry]:
        """Everything the partition holds, in order."""
