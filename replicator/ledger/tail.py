"""What stands on the target behind a ledger entry, as far as the new owner's marker; and how much of it is copied.

A partition in fenced writing may be further than its entry says. Its batches are plain idempotent ones, so their
headers tell how far: within one producer epoch sequences count records. No record is decoded here, and only the
stretches that hold together are kept, so that a tail of any length takes little memory.

Invariants:
- A: `copied_since` counts what the last batch of each producer epoch says, whatever has become of those before it.
- B: what can't be known is a fault: a number from here is either exact or not given.
- C: the batch right before the entry's position is looked at as well: a log that was cut below it (an unclean election)
  and has grown again, be it by markers alone, doesn't pass for whole.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from replicator.flow.partition import SEQUENCE_MASK
from replicator.ledger.entry import Entry
from replicator.states import PartitionFault, Reason
from replicator.wire import batch as v2
from replicator.wire.producer_id import ProducerIdAndEpoch

MAX_SPANS = 100_000  # 15 MB; a partition that nobody else writes to has one for each producer epoch
_MOST = 1 << 30  # records since one entry: half the range of sequences, so that going back shows


class Span(NamedTuple):
    """Batches of one producer epoch that follow one another, both on the target and in sequence."""

    producer: ProducerIdAndEpoch
    sequence: int
    target: int
    length: int  # in offsets and sequences; records that compaction has removed count
    gap: bool  # offsets are missing between the span before (or where the tail begins) and this one


class Place(NamedTuple):
    """Copied records `first` to `first + length`, counted from the entry on, are at `target` and behind it."""

    first: int
    target: int
    length: int


@dataclass(frozen=True, slots=True)
class Copied:
    """How many records were copied since the entry, and where those of them are that are still there."""

    count: int
    places: tuple[Place, ...]
    complete: bool  # whether all of them are still there


class TailGoneError(PartitionFault):
    """What was copied since the entry can't be counted, as nothing that is left says anything about it."""


class Tail:
    """One partition's tail. Give it the headers of the batches from `position` on, in log order.

    It ends with the owner's first marker; with `to_end` (a former owner of another producer id isn't fenced by it) at
    the end of the log, if the marker was seen before: say so with `ends_at`. In a `shared` log others write as well.
    """

    def __init__(
        self,
        entry: Entry,
        owner: ProducerIdAndEpoch,
        producers: Collection[int],
        *,
        to_end: bool = False,
        shared: bool = False,
    ) -> None:
        self.start = max(entry.target_next, 0)
        self.next_offset = self.start
        self.marker = -1  # offset of the owner's marker, -1: not seen yet
        self.done = False  # nothing that counts can follow
        self.spans: list[Span] = []
        self.full = True  # no batch of ours has lost records
        self.gap_at_end = False  # offsets are missing behind the last span
        self.foreign = 0  # batches that no producer of the lane has written
        self.max_timestamp = -1  # of the last batch of ours
        self._entry = entry
        self._owner = owner
        self._producers = producers
        self._to_end = to_end
        self._shared = shared
        # Who accepts a gap goes on from wherever the target ends, as another producer than wrote there last.
        accepted = bool(entry.gaps) and entry.gaps[-1].at_ms == entry.written_ms
        self._looked_back = self.start == 0 or accepted

    @property
    def position(self) -> int:
        """Where to read on from."""
        return self.next_offset if self._looked_back else self.start - 1

    def begin_at(self, log_start: int) -> None:
        """The log doesn't reach further back than this."""
        self._looked_back = True
        if log_start > self.next_offset:
            self.next_offset = log_start
            self.gap_at_end = True

    def ends_at(self, log_end: int) -> None:
        """The log ended here when what was given so far was read."""
        self.done = self.done or (self.marker >= 0 and self.next_offset >= log_end)

    def take(self, header: v2.BatchHeader) -> None:
        """The next batch. PartitionFault if it shows that the log was cut, or is a piece too many to be remembered."""
        end = header.base_offset + header.last_offset_delta + 1
        if header.base_offset < self.start <= end and not self._looked_back:
            self._check_before(header, end)
        self._looked_back = True
        if self.done or end <= self.next_offset:
            return
        if header.base_offset > self.next_offset:
            self.gap_at_end = True
        self.next_offset = end
        if header.attributes & v2.CONTROL:
            if (header.producer_id, header.producer_epoch) == self._owner:
                self.marker = header.base_offset
                self.done = not self._to_end
        elif header.producer_id not in self._producers:
            self.foreign += 1
        elif not header.attributes & v2.TRANSACTIONAL:
            self._add(header)

    def _check_before(self, header: v2.BatchHeader, end: int) -> None:
        """The batch before the tail is what was there when the entry was written, as far as that can be told."""
        entry = self._entry
        who = header.producer_id, header.producer_epoch
        own = entry.producer_id, entry.producer_epoch
        plain = not header.attributes & (v2.CONTROL | v2.TRANSACTIONAL)
        next_sequence = (header.base_sequence + header.last_offset_delta + 1) & SEQUENCE_MASK
        if (
            (end > self.start and (who[0] in self._producers or not self._shared))  # entries stand between batches
            or (who == self._owner and self._owner != own)
            or (who[0] == own[0] and who[1] > own[1])
            or (who == own and plain and next_sequence != entry.next_sequence)
            or (who[0] not in self._producers and entry.next_sequence and not entry.gaps and not self._shared)
        ):
            raise PartitionFault(
                Reason.TARGET_TRUNCATED,
                f"{entry.target_topic}-{entry.partition} was written up to offset {entry.target_next}, and was cut "
                f"below that since: the batch at offset {header.base_offset} isn't what stood there.",
                offset=entry.source_next,
            )

    def _add(self, header: v2.BatchHeader) -> None:
        length = header.last_offset_delta + 1
        self.full = self.full and header.record_count == length
        self.max_timestamp = header.max_timestamp
        producer = ProducerIdAndEpoch(header.producer_id, header.producer_epoch)
        last = self.spans[-1] if self.spans else None
        if (
            last is not None
            and last.producer == producer
            and last.target + last.length == header.base_offset
            and (last.sequence + last.length) & SEQUENCE_MASK == header.base_sequence
        ):
            self.spans[-1] = last._replace(length=last.length + length)
            return
        if len(self.spans) == MAX_SPANS:
            raise PartitionFault(
                Reason.RECOVERY_AMBIGUOUS,
                f"Behind the ledger's last entry the target is in more than {MAX_SPANS} pieces, up to offset "
                f"{header.base_offset}.",
                offset=header.base_offset,
            )
        self.spans.append(Span(producer, header.base_sequence, header.base_offset, length, self.gap_at_end))
        self.gap_at_end = False


def copied_since(entry: Entry, tail: Tail) -> Copied:
    """How many records were copied since `entry`, by what is left of them.

    PartitionFault(RECOVERY_AMBIGUOUS) where that can't be told: the last batch of a producer epoch may be gone, or
    sequences don't follow one another as those of one writer do. TailGoneError where maybe nothing was copied.
    """
    own = ProducerIdAndEpoch(entry.producer_id, entry.producer_epoch)
    places: list[Place] = []
    writers: list[ProducerIdAndEpoch] = []
    complete = tail.full
    count = base = reached = first = 0
    for span in tail.spans:
        who = span.producer
        if not writers or who != writers[-1]:
            if who in writers or (who == own and writers):
                raise _ambiguous(entry, f"producer {_name(who)} writes at offset {span.target}, behind a later one")
            if span.gap and who != own:
                last = writers[-1] if writers else own
                raise _ambiguous(
                    entry, f"offsets before {span.target} are gone, and with them maybe the last of {_name(last)}"
                )
            writers.append(who)
            base, reached = count, 0
            first = entry.next_sequence if who == own else 0
        at = (span.sequence - first) & SEQUENCE_MASK
        if at < reached or at + span.length > _MOST or (at > reached and not span.gap):
            raise _ambiguous(
                entry,
                f"at offset {span.target} producer {_name(who)} goes on with sequence {span.sequence}, "
                f"{(first + reached) & SEQUENCE_MASK} was to follow",
            )
        complete = complete and at == reached
        places.append(Place(base + at, span.target, span.length))
        reached = at + span.length
        count = base + reached
    if tail.gap_at_end:
        fault = _ambiguous(
            entry, f"offsets before {tail.next_offset} are gone, and with them maybe the last copied ones"
        )
        if places:
            raise fault
        raise TailGoneError(fault.reason, fault.detail, topic=entry.topic, partition=entry.partition)
    return Copied(count, tuple(places), complete)


def _name(producer: ProducerIdAndEpoch) -> str:
    return f"{producer.producer_id} (epoch {producer.epoch})"


def _ambiguous(entry: Entry, why: str) -> PartitionFault:
    return PartitionFault(
        Reason.RECOVERY_AMBIGUOUS,
        f"The ledger's last entry has got to offset {entry.source_next} of the source and {entry.target_next} of "
        f"{entry.target_topic}-{entry.partition}; what was copied since can't be counted: {why}.",
        topic=entry.topic,
        partition=entry.partition,
        offset=entry.source_next,
    )
