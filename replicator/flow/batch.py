"""One batch on its way to the target."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from replicator.flow.backpressure import Lease

PASSED = "passed"


class Outcome(IntEnum):
    """What is known of a batch that was sent."""

    WAITING = 0  # not sent yet, or to be sent again
    SENT = 1
    ACKNOWLEDGED = 2
    FAILED = 3


class Batch:
    """A staged batch: bytes that the writer may stamp once, and what they stand for on the source.

    `data` is a writable view, either into the fetch response or of its own; `lease` keeps that counted.
    `source_base` is the offset of the first record, `source_next` where to go on behind the last one; in between the
    offsets are contiguous unless `offsets` lists them. `way` is PASSED or the reason for the rebuild; `origin` is where
    the records were written first (`ports.Origins`).
    """

    __slots__ = (
        "code", "data", "lease", "max_timestamp", "message", "offsets", "origin", "outcome", "record_count", "sequence",
        "size", "source_base", "source_epoch", "source_next", "target_base", "uncertain", "way",
    )  # fmt: skip

    def __init__(
        self,
        data: memoryview,
        record_count: int,
        source_base: int,
        source_next: int,
        max_timestamp: int,
        way: str,
        *,
        offsets: Sequence[int] | None = None,
        source_epoch: int = -1,
        lease: Lease | None = None,
    ) -> None:
        self.data = data
        self.size = len(data)  # in bytes
        self.record_count = record_count
        self.source_base = source_base
        self.source_next = source_next
        self.source_epoch = source_epoch
        self.max_timestamp = max_timestamp
        self.way = way
        self.offsets = offsets
        self.origin = ""
        self.lease = lease
        self.sequence = -1  # -1: not stamped
        self.outcome = Outcome.WAITING
        self.code = 0
        self.message = ""
        self.target_base = -1
        self.uncertain = False  # sent, and an answer was lost: it may be in the log, whatever later answers say

    def release(self) -> None:
        """Its bytes aren't needed any more."""
        lease, self.lease = self.lease, None
        if lease is not None:
            lease.release()

    def detach(self) -> None:
        """Take the bytes out of the fetch response, so that a batch that has to wait doesn't hold all of it."""
        lease = self.lease
        if lease is not None and not lease.parked:
            self.data = memoryview(bytearray(self.data))
            self.lease = lease.another(len(self.data), parked=True)
            lease.release()
