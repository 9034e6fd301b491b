"""What is known of the target log that a partition is written to: its position, and what of it came from where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from replicator.errors import ReplicatorError
from replicator.flow.batch import Batch
from replicator.flow.ports import Runs
from replicator.states import PartitionFault, Reason

if TYPE_CHECKING:
    from replicator.flow.partition import PartitionFlow

log = structlog.get_logger(__name__)


class TargetLog:
    """Takes the acknowledged batches of one partition, in order. `next` is the position behind them, -1 unknown.

    A position that goes back means that the target lost records (rule H). One that jumps ahead, in a log that nobody
    else should write (`exclusive`), means that somebody does.
    """

    __slots__ = ("_exclusive", "_flow", "_marked", "_marker_due", "_runs", "_strangers_seen", "_taken_twice", "next")

    def __init__(self, flow: PartitionFlow, next_offset: int, *, exclusive: bool, runs: Runs | None) -> None:
        self.next = next_offset
        self._flow = flow
        self._exclusive = exclusive
        self._runs = runs
        self._marked = False  # the last thing counted is a marker
        self._marker_due = False
        self._taken_twice = False
        self._strangers_seen = False

    def lost(self, batch: Batch) -> bool:
        """Whether this acknowledgement can't be, unless the log was cut."""
        return 0 <= batch.target_base < self.next

    def takes(self, batch: Batch) -> PartitionFault | None:
        """This batch is in it, behind all before; the fault if it doesn't fit into the offset map."""
        base, count = batch.target_base, batch.record_count
        self._marked = False
        if base >= 0:
            if base > self.next >= 0:
                self._jumped(base)
            self._taken_twice = False
            self.next = base + count
        elif self.next >= 0:
            self.next += count
        if self._runs is None or self.next < 0:
            return None
        try:
            if batch.offsets is None:
                self._runs.add(batch.source_base, self.next - count, count)
            else:
                self._runs.add_offsets(batch.offsets, self.next - count)
        except ReplicatorError as error:
            flow = self._flow
            return PartitionFault(
                Reason.INTERNAL_ERROR, str(error), topic=flow.topic, partition=flow.partition, offset=batch.source_base
            )
        return None

    def marked(self) -> None:
        """A transaction ended: its marker takes the next offset."""
        if self.next >= 0:
            self.next += 1
            self._marked = True

    def overtakes_marker(self) -> None:
        """What comes next is outside of transactions: the marker counted last may come before or behind it."""
        if self._marked:
            self.next -= 1
            self._marked, self._marker_due = False, True

    def taken_twice(self) -> None:
        """What was in flight may be in it twice: the next position says nothing about strangers."""
        self._taken_twice = True

    def _jumped(self, base: int) -> None:
        if self._marker_due and base == self.next + 1:
            self._marker_due = False
        elif self._exclusive and not self._taken_twice and not self._strangers_seen:
            self._strangers_seen = True
            log.warning(
                "somebody else writes to the target topic",
                target_topic=self._flow.target_topic, partition=self._flow.partition,
                from_offset=self.next, to_offset=base - 1,
                next_step="grant Write on it to the replicator alone",
            )  # fmt: skip
