"""Comparing two streams of records, in bounded memory, so that each difference gets its right name.

Equal records are the rule and cost one comparison. At a difference both sides are read ahead, by a bounded window, to
find where they meet again. A record is told by all that a consumer sees of it: key, value, headers and timestamp.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from replicator.dr.checksum import Checksum
from replicator.dr.report import Difference, DifferenceKind

Header = tuple[str, bytes | None]
T = TypeVar("T")
_NEXT_FEW = 50
_AT_ONCE = 8  # records of up to some megabytes


@dataclass(slots=True)  # not frozen: that would make each one, of millions, three times as dear
class Record:
    """One record as a consumer sees it, not to be changed. `timestamp_ms` -1: it has none."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    timestamp_ms: int

    def same_as(self, other: Record) -> bool:
        """Equal in everything but the offset."""
        return (
            self.value == other.value
            and self.key == other.key
            and self.timestamp_ms == other.timestamp_ms
            and self.headers == other.headers
        )

    def fingerprint(self) -> int:
        """A 64-bit number for look-ups; equal records have equal ones."""
        return hash((self.key, self.value, self.headers, self.timestamp_ms))

    def differing_fields(self, other: Record) -> tuple[str, ...]:
        """The names of the fields that aren't equal."""
        pairs = {
            "key": (self.key, other.key),
            "value": (self.value, other.value),
            "headers": (self.headers, other.headers),
            "timestamp": (self.timestamp_ms, other.timestamp_ms),
        }
        return tuple(name for name, (mine, theirs) in pairs.items() if mine != theirs)

    def size(self) -> int:
        """Bytes held, roughly."""
        held = len(self.key or b"") + len(self.value or b"") + 200
        return held + sum(len(name) + len(value or b"") for name, value in self.headers)


@dataclass(frozen=True)
class Limits:
    """What a comparison may hold in memory and list, per partition."""

    window_records: int = 2_000
    window_bytes: int = 32 << 20
    remembered: int = 100_000  # fingerprints of records seen, to tell duplicates and reordering
    listed: int = 20  # differences shown
    give_up_after: int = 10_000  # differences counted


@dataclass
class Counts:
    """The outcome, by kind; `differences` are the first ones."""

    records: int = 0
    missing: int = 0
    unexpected: int = 0
    duplicates: int = 0
    reordered: int = 0
    changed: int = 0
    compacted: int = 0
    complete: bool = True
    source_checksum: str = ""
    target_checksum: str = ""
    differences: list[Difference] = field(default_factory=list)

    def total(self) -> int:
        """All differences."""
        return self.missing + self.unexpected + self.duplicates + self.reordered + self.changed


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a comparison that has found no difference so far can go on: the next offsets, and what came before."""

    source_next: int
    target_next: int
    records: int
    folded: bytes


class Comparison:
    """Compares two streams once, from `since` on. `compacted`: either topic is, so that a record may be gone from one
    side alone, if that side has a later one of the same key, or if it was a tombstone. `reached` is told now and then
    how far it is, as long as it hasn't found a difference."""

    def __init__(
        self,
        source: Iterator[Record],
        target: Iterator[Record],
        *,
        limits: Limits | None = None,
        compacted: bool = False,
        open_target: bool = False,
        since: Checkpoint | None = None,
        reached: Callable[[Checkpoint], None] = lambda at: None,
    ) -> None:
        self._limits = limits or Limits()
        self._source = _Window(source, self._limits)
        self._target = _Window(target, self._limits)
        self._compacted = compacted
        self._open_target = open_target  # the target's end isn't known: what follows the source's end is no difference
        self._seen: OrderedDict[int, int] = OrderedDict()  # fingerprint -> source offset, of records matched
        self._missing: OrderedDict[int, Difference] = OrderedDict()  # fingerprint -> of records missing so far
        # By key, of records that one side lacks, perhaps because it has been compacted:
        self._gone: dict[DifferenceKind, OrderedDict[bytes | None, Record]] = {
            "missing": OrderedDict(),
            "unexpected": OrderedDict(),
        }
        self.counts = Counts(records=since.records if since else 0)
        self._reached = reached
        # One checksum while both sides are equal, and one for each from the first difference on.
        checksum = Checksum(since.records, since.folded) if since else Checksum()
        self._ours = self._theirs = checksum

    def run(self) -> Counts:
        """Read both streams to their ends, or until there are too many differences."""
        counts = self.counts
        while counts.total() < self._limits.give_up_after:
            source, target = self._source.first(), self._target.first()
            if source is None and (target is None or self._open_target):
                break
            if source is not None and target is not None and source.same_as(target):
                counts.records += 1
                self._matched(source)
                self._count_pair(source, target)
                self._source.pop()
                self._target.pop()
            elif target is None:
                self._take_missing()
            elif source is None:
                self._take_extra()
            else:
                self._resynchronise(source, target)
        else:
            counts.complete = False
        self._settle_compacted()
        counts.source_checksum, counts.target_checksum = self._ours.hexdigest(), self._theirs.hexdigest()
        return counts

    def _count_pair(self, source: Record, target: Record) -> None:
        whole = self._ours.update(source)
        if self._ours is not self._theirs:
            self._theirs.update(target)
        elif whole and not self._compacted:  # what compaction took is only known at the end
            at = source.offset + 1, target.offset + 1
            self._reached(Checkpoint(*at, self.counts.records, self._ours.folded))

    def _part(self) -> None:
        if self._ours is self._theirs:
            self._theirs = self._ours.copy()

    # ---- one difference --------------------------------------------------------------------------------------------

    def _resynchronise(self, source: Record, target: Record) -> None:
        print_of_target = target.fingerprint()
        if print_of_target in self._seen or print_of_target in self._missing:
            self._take_extra()
            return
        ahead_in_source = self._source.find(target)
        ahead_in_target = self._target.find(source)
        if ahead_in_source is not None and (ahead_in_target is None or ahead_in_source <= ahead_in_target):
            for _ in range(ahead_in_source):
                self._take_missing()
        elif ahead_in_target is not None:
            for _ in range(ahead_in_target):
                self._take_extra()
        elif self._is_same_place(source, target):
            fields = source.differing_fields(target)
            self._note("changed", source.offset, target.offset, fields=fields)
            self.counts.changed += 1
            self._matched(source)
            self._part()
            self._ours.update(source)
            self._theirs.update(target)
            self._source.pop()
            self._target.pop()
        else:
            self._take_missing()

    def _is_same_place(self, source: Record, target: Record) -> bool:
        """Whether two unequal records are one record that was changed, rather than one lost and another one added."""
        if source.key == target.key and source.value == target.value:
            return True
        if self._compacted and source.key != target.key:
            return False
        mine, theirs = self._source.next_few(), self._target.next_few()
        if len(mine) == len(theirs) < _NEXT_FEW:
            return True
        return any(one.same_as(other) for one, other in zip(mine[1:], theirs[1:], strict=False))

    def _take_missing(self) -> None:
        record = self._source.pop()
        self._part()
        self._ours.update(record)
        self._superseded("unexpected", record.key)
        if self._compacted:
            self._set_aside("missing", record)
            return
        self.counts.missing += 1
        difference = self._note("missing", record.offset, -1, detail=_describe(record))
        _remember(self._missing, record.fingerprint(), difference, self._limits.remembered)

    def _take_extra(self) -> None:
        record = self._target.pop()
        self._part()
        self._theirs.update(record)
        number = record.fingerprint()
        self._superseded("missing", record.key)
        if number in self._seen:
            self.counts.duplicates += 1
            self._note("duplicate", self._seen[number], record.offset)
        elif number in self._missing:
            earlier = self._missing.pop(number)
            self.counts.missing -= 1
            self.counts.reordered += 1
            if earlier in self.counts.differences:
                self.counts.differences.remove(earlier)
            self._note("reordered", earlier.source_offset, record.offset)
        elif self._compacted:
            self._set_aside("unexpected", record)
        else:
            self.counts.unexpected += 1
            self._note("unexpected", -1, record.offset, detail=_describe(record))

    def _matched(self, record: Record) -> None:
        _remember(self._seen, record.fingerprint(), record.offset, self._limits.remembered)
        if self._compacted:
            self._superseded("missing", record.key)
            self._superseded("unexpected", record.key)

    # ---- compaction ------------------------------------------------------------------------------------------------

    def _set_aside(self, kind: DifferenceKind, record: Record) -> None:
        """One side lacks `record`: no difference if a later one of its key shows that compaction took it."""
        self._superseded(kind, record.key)
        waiting = self._gone[kind]
        waiting[record.key] = record
        if len(waiting) > self._limits.remembered:
            self._judge_gone(kind, waiting.popitem(last=False)[1])

    def _superseded(self, kind: DifferenceKind, key: bytes | None) -> None:
        if self._compacted and self._gone[kind].pop(key, None) is not None:
            self.counts.compacted += 1

    def _settle_compacted(self) -> None:
        for kind, waiting in self._gone.items():
            for record in waiting.values():
                self._judge_gone(kind, record)

    def _judge_gone(self, kind: DifferenceKind, record: Record) -> None:
        if record.value is None:  # a tombstone is itself removed in the end
            self.counts.compacted += 1
        elif kind == "missing":
            self.counts.missing += 1
            self._note("missing", record.offset, -1, detail=_describe(record))
        else:
            self.counts.unexpected += 1
            self._note("unexpected", -1, record.offset, detail=_describe(record))

    def _note(
        self, kind: DifferenceKind, source: int, target: int, *, fields: tuple[str, ...] = (), detail: str = ""
    ) -> Difference:
        found = Difference(kind=kind, source_offset=source, target_offset=target, fields=fields, detail=detail)
        if len(self.counts.differences) < self._limits.listed:
            self.counts.differences.append(found)
        return found


class _Window:
    """A stream with a bounded look ahead."""

    def __init__(self, records: Iterator[Record], limits: Limits) -> None:
        self._records = records
        self._limits = limits
        self._ahead: deque[Record] = deque()

    def first(self) -> Record | None:
        """The next record, without taking it."""
        if not self._ahead:
            self._ahead.extend(islice(self._records, _AT_ONCE))
            if not self._ahead:
                return None
        return self._ahead[0]

    def pop(self) -> Record:
        """Take the record that `first` showed."""
        return self._ahead.popleft()

    def find(self, wanted: Record) -> int | None:
        """How many records ahead an equal one is, within the window."""
        self._read_ahead(self._limits.window_records)
        for index, record in enumerate(self._ahead):
            if record.same_as(wanted):
                return index
        return None

    def next_few(self) -> list[Record]:
        """The first ones of the window."""
        return list(islice(self._ahead, _NEXT_FEW))

    def _read_ahead(self, records: int) -> None:
        held = sum(record.size() for record in self._ahead)
        while len(self._ahead) < records and held < self._limits.window_bytes:
            record = next(self._records, None)
            if record is None:
                return
            self._ahead.append(record)
            held += record.size()


def _remember(memory: OrderedDict[int, T], number: int, what: T, most: int) -> None:
    memory[number] = what
    if len(memory) > most:
        memory.popitem(last=False)


def _describe(record: Record) -> str:
    """Enough to find it again, without its value: that may be anything."""
    key = "null" if record.key is None else repr(record.key[:60])
    size = "null" if record.value is None else f"{len(record.value)} bytes"
    return f"key {key}, value {size}, {len(record.headers)} headers, timestamp {record.timestamp_ms}"
