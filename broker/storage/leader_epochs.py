"""Which leader epoch wrote which offsets (KIP-101), so that readers can find where histories part."""

from __future__ import annotations

from typing import NamedTuple


class EpochStart(NamedTuple):
    """An epoch and the first offset it wrote."""

    epoch: int
    start_offset: int


class LeaderEpochs:
    """Epochs and start offsets, both strictly increasing."""

    def __init__(self) -> None:
        self.entries: list[EpochStart] = []

    @property
    def latest(self) -> int:
        """The newest epoch, or -1."""
        return self.entries[-1].epoch if self.entries else -1

    def assign(self, epoch: int, start_offset: int) -> None:
        """Note that `epoch` writes from `start_offset`; a former epoch that wrote nothing is forgotten."""
        if self.entries and epoch <= self.entries[-1].epoch:
            return
        while self.entries and self.entries[-1].start_offset >= start_offset:
            self.entries.pop()
        self.entries.append(EpochStart(epoch, start_offset))

    def end_offset(self, epoch: int, log_end_offset: int) -> tuple[int, int]:
        """(largest known epoch up to `epoch`, one past its last offset), or (-1, -1)."""
        if not self.entries or epoch < 0 or epoch > self.latest:
            return -1, -1
        if epoch == self.latest:
            return epoch, log_end_offset
        following = next(entry for entry in self.entries if entry.epoch > epoch)
        earlier = [entry for entry in self.entries if entry.epoch <= epoch]
        if not earlier:
            return epoch, following.start_offset  # Kafka: an epoch older than all we know ends where the first begins
        return earlier[-1].epoch, following.start_offset

    def epoch_of(self, offset: int) -> int:
        """The epoch that wrote `offset`, or -1."""
        return max((entry.epoch for entry in self.entries if entry.start_offset <= offset), default=-1)

    def truncate_end(self, offset: int) -> None:
        """Forget epochs that began at or after `offset`."""
        self.entries = [entry for entry in self.entries if entry.start_offset < offset]

    def truncate_start(self, offset: int) -> None:
        """Let the epoch that covers `offset` begin there and forget older ones."""
        kept = [entry for entry in self.entries if entry.start_offset > offset]
        covering = [entry for entry in self.entries if entry.start_offset <= offset]
        if covering:
            kept.insert(0, EpochStart(covering[-1].epoch, offset))
        self.entries = kept
