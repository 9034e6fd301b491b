"""Fenced writing: plain idempotent batches of the lane's own producer, which a new owner fences before it goes on.

No transaction, no markers and no waiting: an entry may lag behind what was written, and the sequences in the target's
tail say by how much (`ledger.recovery`). Whatever makes that uncertain ends the lane's run, and recovery finds out.
"""

from __future__ import annotations

from collections.abc import Callable

from replicator.errors import ReplicatorError
from replicator.flow.batch import Batch
from replicator.flow.partition import PartitionFlow
from replicator.flow.ports import NATIVE
from replicator.flow.ways import Ways

ENTRIES_AFTER_BYTES = 32 << 20  # a new owner has to read as much of the target's tails


class FencedWriting:
    """The gate of a lane's partitions in fenced writing (`flow.ports.Gate`).

    `running` says whether the lane's run goes on, `entries_due` is called when much was written since the last entries,
    `fail` when the lane must recover anew.
    """

    transactional = False
    origin = NATIVE
    transactional_id: str | None = None

    def __init__(
        self,
        ways: Ways,
        *,
        running: Callable[[], bool],
        entries_due: Callable[[], None],
        fail: Callable[[ReplicatorError], None],
    ) -> None:
        self.fail = fail
        self._running = running
        self._ways = ways
        self._entries_due = entries_due
        self._bytes = 0

    def admits(self, flow: PartitionFlow, *, again: bool) -> bool:
        """Whether the partition may send now: what is too old for this way waits for the change."""
        return self._running() and (again or self._ways.fits(flow))

    def ask(self, flow: PartitionFlow) -> None:
        """It has something to send: in this way, if it fits."""
        self._ways.reconsider(flow)

    def sent(self, flow: PartitionFlow, batch: Batch) -> None:
        """Nothing waits for that."""

    def acknowledged(self, batch: Batch) -> None:
        """A batch is in the target's log, for everybody to read."""
        self._bytes += batch.size
        if self._bytes >= ENTRIES_AFTER_BYTES:
            self._bytes = 0
            self._entries_due()

    def settled(self, flow: PartitionFlow) -> None:
        """Something was answered: the change that is due may be possible now."""
        if not flow.unresolved:
            self._ways.reconsider(flow)

    def forgotten(self, timestamp_ms: int) -> bool:
        """Whether brokers may have forgotten a producer whose last record was of this time."""
        return self._ways.forgotten(timestamp_ms)
