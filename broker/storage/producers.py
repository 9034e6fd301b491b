"""What a partition remembers about its producers: sequences, epochs and open transactions.

The rules are those of Kafka's ProducerStateManager and ProducerAppendInfo (4.1):
- a producer that isn't known may start at any sequence; a new epoch must start at 0;
- up to five last batches are remembered to answer duplicates with success, one of them across a restart;
- a producer is forgotten when the *record* timestamp of its last batch is too old, unless its transaction is open.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.storage.batch import BatchHeader

BATCHES_TO_RETAIN = 5
NO_EPOCH = -1


class BatchMetadata(NamedTuple):
    """One remembered batch of a producer."""

    first_sequence: int
    last_sequence: int
    last_offset: int
    offset_delta: int
    timestamp: int

    @property
    def first_offset(self) -> int:
        return self.last_offset - self.offset_delta


@dataclass(slots=True)
class ProducerEntry:
    """The state of one producer id in one partition."""

    producer_id: int
    epoch: int = NO_EPOCH
    coordinator_epoch: int = -1
    last_timestamp: int = -1
    transaction_first_offset: int | None = None
    batches: deque[BatchMetadata] = field(default_factory=lambda: deque(maxlen=BATCHES_TO_RETAIN))

    @property
    def last_sequence(self) -> int:
        return self.batches[-1].last_sequence if self.batches else -1

    @property
    def last_offset(self) -> int:
        return self.batches[-1].last_offset if self.batches else -1

    def move_to_epoch(self, epoch: int) -> None:
        """Take over a higher epoch; its sequences start anew."""
        if epoch != self.epoch:
            self.batches.clear()
            self.epoch = epoch


class AbortedTransaction(NamedTuple):
    """A range of a producer's records that read_committed readers leave out."""

    producer_id: int
    first_offset: int
    last_offset: int


class ProducerStates:
    """All producers of one partition."""

    def __init__(self) -> None:
        self.entries: dict[int, ProducerEntry] = {}
        self.aborted: list[AbortedTransaction] = []
        self._ongoing: dict[int, int] = {}

    @property
    def first_unstable_offset(self) -> int | None:
        """Where the oldest open transaction begins, or None."""
        return next(iter(self._ongoing), None)

    def has_ongoing(self, producer_id: int, epoch: int | None = None) -> bool:
        """Whether this producer has an open transaction in this partition (of this epoch, if given)."""
        entry = self.entries.get(producer_id)
        if entry is None or entry.transaction_first_offset is None:
            return False
        return epoch is None or entry.epoch == epoch

    def find_duplicate(self, header: BatchHeader) -> BatchMetadata | None:
        """The remembered batch that this one repeats, if any."""
        entry = self.entries.get(header.producer_id)
        if entry is None or entry.epoch != header.producer_epoch:
            return None
        first, last = header.base_sequence, header.last_sequence
        return next((b for b in entry.batches if b.first_sequence == first and b.last_sequence == last), None)

    def check(self, header: BatchHeader, where: str) -> None:
        """Refuse what Kafka refuses of a client's batch; duplicates must have been looked for before.

        Raises KafkaError: INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER or INVALID_TXN_STATE.
        """
        entry = self.entries.get(header.producer_id)
        if entry is None:
            return
        if header.producer_epoch < entry.epoch:
            raise KafkaError(
                ErrorCode.invalid_producer_epoch,
                f"Epoch of producer {header.producer_id} in {where} is {header.producer_epoch}, "
                f"which is smaller than the last seen epoch {entry.epoch}",
            )
        if header.producer_epoch != entry.epoch:
            if header.base_sequence != 0 and entry.epoch != NO_EPOCH:
                raise KafkaError(
                    ErrorCode.out_of_order_sequence_number,
                    f"Invalid sequence number for new epoch of producer {header.producer_id} in {where}: "
                    f"{header.producer_epoch} (request epoch), {header.base_sequence} (seq. number), "
                    f"{entry.epoch} (current producer epoch)",
                )
        elif header.base_sequence != (entry.last_sequence + 1) & 0x7FFFFFFF:
            raise KafkaError(
                ErrorCode.out_of_order_sequence_number,
                f"Out of order sequence number for producer {header.producer_id} in {where}: "
                f"{header.base_sequence} (incoming seq. number), {entry.last_sequence} (current end sequence number)",
            )
        if entry.transaction_first_offset is not None and not header.is_transactional:
            raise KafkaError(
                ErrorCode.invalid_txn_state,
                f"Expected transactional write from producer {header.producer_id} in {where}",
            )

    def check_marker(self, producer_id: int, epoch: int, coordinator_epoch: int) -> None:
        """Refuse the marker of a former producer epoch or of a former coordinator."""
        entry = self.entries.get(producer_id)
        if entry is None:
            return
        if epoch < entry.epoch:
            raise KafkaError(
                ErrorCode.invalid_producer_epoch, f"marker of epoch {epoch}, the last seen epoch is {entry.epoch}"
            )
        if coordinator_epoch < entry.coordinator_epoch:
            raise KafkaError(
                ErrorCode.transaction_coordinator_fenced,
                f"coordinator epoch {coordinator_epoch}, the last seen one is {entry.coordinator_epoch}",
            )

    def apply_data(self, header: BatchHeader, base_offset: int) -> None:
        """Remember a data batch that now stands at `base_offset`."""
        if header.producer_id < 0:
            return
        entry = self._entry(header.producer_id)
        entry.move_to_epoch(header.producer_epoch)
        entry.last_timestamp = header.max_timestamp
        last_offset = base_offset + header.last_offset_delta
        entry.batches.append(
            BatchMetadata(
                header.base_sequence, header.last_sequence, last_offset, header.last_offset_delta, header.max_timestamp
            )
        )
        if header.is_transactional and entry.transaction_first_offset is None:
            entry.transaction_first_offset = base_offset
            self._ongoing[base_offset] = header.producer_id

    def apply_marker(
        self, producer_id: int, epoch: int, coordinator_epoch: int, commit: bool, offset: int, timestamp: int
    ) -> None:
        """End the producer's transaction by the marker at `offset`."""
        entry = self._entry(producer_id)
        entry.move_to_epoch(epoch)
        entry.coordinator_epoch = coordinator_epoch
        entry.last_timestamp = timestamp
        first = entry.transaction_first_offset
        if first is not None:
            self._ongoing.pop(first, None)
            if not commit:
                self.aborted.append(AbortedTransaction(producer_id, first, offset))
        entry.transaction_first_offset = None

    def aborted_between(self, start_offset: int, end_offset: int) -> list[AbortedTransaction]:
        """Aborted transactions that reach into `[start_offset, end_offset)`."""
        first = bisect_left(self.aborted, start_offset, key=lambda item: item.last_offset)  # they are in marker order
        return [item for item in self.aborted[first:] if item.first_offset < end_offset]

    def expire(self, now_ms: int, expiration_ms: int) -> int:
        """Forget idle producers; returns how many."""
        expired = [
            producer_id
            for producer_id, entry in self.entries.items()
            if entry.transaction_first_offset is None and now_ms - entry.last_timestamp >= expiration_ms
        ]
        for producer_id in expired:
            del self.entries[producer_id]
        return len(expired)

    def forget_below(self, log_start_offset: int) -> None:
        """Drop aborted transactions that ended before the log starts."""
        self.aborted = [t for t in self.aborted if t.last_offset >= log_start_offset]

    def forget_all_but_last_batches(self) -> None:
        """What a restart does: snapshots keep one batch per producer."""
        for entry in self.entries.values():
            while len(entry.batches) > 1:
                entry.batches.popleft()

    def is_last_batch(self, producer_id: int, last_offset: int) -> bool:
        """Whether the cleaner must keep this batch, emptied, because the producer's sequence ends with it."""
        entry = self.entries.get(producer_id)
        return entry is not None and entry.last_offset == last_offset

    def snapshot(self) -> bytes:
        """A text that `restore` reads: one (the last) batch per producer, like Kafka's snapshot files."""
        rows = []
        for entry in self.entries.values():
            last = entry.batches[-1] if entry.batches else None
            rows.append(
                {
                    "producer_id": entry.producer_id,
                    "epoch": entry.epoch,
                    "coordinator_epoch": entry.coordinator_epoch,
                    "last_timestamp": entry.last_timestamp,
                    "transaction_first_offset": entry.transaction_first_offset,
                    "last_batch": list(last) if last else None,
                }
            )
        return json.dumps({"producers": rows, "aborted": [list(t) for t in self.aborted]}).encode()

    @classmethod
    def restore(cls, text: bytes) -> ProducerStates:
        """The state that `snapshot` wrote. Raises ValueError or KeyError when the text is damaged."""
        states = cls()
        content: dict[str, Any] = json.loads(text)
        for row in content["producers"]:
            entry = states._entry(row["producer_id"])
            entry.epoch = row["epoch"]
            entry.coordinator_epoch = row["coordinator_epoch"]
            entry.last_timestamp = row["last_timestamp"]
            entry.transaction_first_offset = row["transaction_first_offset"]
            if row["last_batch"]:
                entry.batches.append(BatchMetadata(*row["last_batch"]))
        open_transactions = (e for e in states.entries.values() if e.transaction_first_offset is not None)
        for entry in sorted(open_transactions, key=lambda e: e.transaction_first_offset or 0):
            states._ongoing[entry.transaction_first_offset or 0] = entry.producer_id
        states.aborted = [AbortedTransaction(*row) for row in content["aborted"]]
        return states

    def _entry(self, producer_id: int) -> ProducerEntry:
        entry = self.entries.get(producer_id)
        if entry is None:
            entry = self.entries[producer_id] = ProducerEntry(producer_id)
        return entry
