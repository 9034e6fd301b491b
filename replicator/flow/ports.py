"""What a partition needs of what is around it: its link, its lane's transaction, its connection, its offset map."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Protocol

from replicator.errors import ReplicatorError
from replicator.flow.batch import Batch
from replicator.states import Reason

if TYPE_CHECKING:
    from replicator.flow.partition import PartitionFlow


NATIVE = ""  # the origin of what clients of the source wrote


class Origins(Protocol):
    """Where records of the source were written first, by the producer ids of their batches (`ledger.provenance`)."""

    def of(self, producer_id: int) -> str | None:
        """The id of the cluster, `NATIVE` if it is the source; None if that has to be found out."""

    def passes(self, origin: str) -> bool:
        """Whether records of this origin are to be copied."""


class Surroundings(Protocol):
    """What a partition needs of its link: the two sides, the clocks, and where to report."""

    def fetch_again(self, flow: PartitionFlow) -> None:
        """Fetch position or fetchability changed."""

    def write_again(self, flow: PartitionFlow) -> None:
        """There may be something to send."""

    def find_target_leader(self, flow: PartitionFlow) -> None:
        """The target's metadata is out of date for this partition."""

    def replace_producer(self, flow: PartitionFlow) -> None:
        """Call `adopt_producer` with a fresh producer id, soon."""

    def find_origins(self, flow: PartitionFlow, producers: Collection[int]) -> None:
        """Find out what these producers write, then call `try_fetching`."""

    def changed(self, flow: PartitionFlow) -> None:
        """The ledger entry of this partition is out of date."""

    def faulted(self, flow: PartitionFlow, reason: Reason) -> None:
        """Count a fault."""


class Gate(Protocol):
    """A way of writing exactly once, as the partitions of a lane see it (`flow.transaction`, `flow.fenced`)."""

    @property
    def transactional(self) -> bool:
        """Whether batches are parts of a transaction."""

    @property
    def origin(self) -> str:
        """Where the records were written first that go through it."""

    @property
    def transactional_id(self) -> str | None:
        """The transactional id that requests with its batches name, None outside of transactions."""

    def admits(self, flow: PartitionFlow, *, again: bool) -> bool:
        """Whether the partition may send now; `again`: what it has sent before."""

    def ask(self, flow: PartitionFlow) -> None:
        """It has something to send, and wants to be admitted."""

    def sent(self, flow: PartitionFlow, batch: Batch) -> None:
        """A batch is on its way."""

    def acknowledged(self, batch: Batch) -> None:
        """A batch is in the target's log."""

    def settled(self, flow: PartitionFlow) -> None:
        """Something of the partition was answered."""

    def forgotten(self, timestamp_ms: int) -> bool:
        """Whether brokers may have forgotten a producer whose last record was of this time."""

    def fail(self, error: ReplicatorError) -> None:
        """The lane can't go on like this: it recovers anew."""


class Runs(Protocol):
    """Where it is noted which source offsets went to which target offsets: the offset map."""

    def add(self, source_start: int, target_start: int, length: int) -> None:
        """Contiguous on both sides."""

    def add_offsets(self, offsets: Sequence[int], target_start: int) -> None:
        """With holes on the source."""


class Outlet(Protocol):
    """Where a partition's batches leave: one connection to one broker."""

    def offer(self, flow: PartitionFlow) -> None:
        """The partition may have something to send."""
