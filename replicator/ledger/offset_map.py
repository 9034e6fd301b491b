"""The offset map of a source partition: which source offset is which target offset, and the other way round.

Invariants:
- A: stretches are strictly increasing on both sides and never overlap (rule E).
- B: parts may repeat each other (a crash between a chunk and its entry leaves that): what is known already is passed
  over, so that the order and number of parts don't matter.
- C: a translated position is the exact one, or before it by at most `error_bound`; never behind it: a consumer that
  moves reads again rather than miss a record.

Where a stretch isn't exact (thinned), the gaps in it are taken to come first on the side that is asked about: of all
ways in which its records may lie between its ends, this one gives the earliest answer for every offset.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Self

from replicator.ledger.map_chunks import Runs, Stretch, decode_runs
from replicator.ledger.map_tail import TAIL_RUNS, MapOrderError, MapTail

__all__ = ["TAIL_RUNS", "MapCache", "MapOrderError", "MapTail", "OffsetMap"]

CACHE_BYTES = 64 << 20  # maps of 2.8 million runs
UNBOUNDED = 1 << 63
_MAP_BYTES = 1024  # of memory for a map besides its runs


class OffsetMap:
    """Answers for one source partition. Two bisections wide, 24 bytes of memory per exact run."""

    __slots__ = ("_runs", "_source_end", "_target_end")

    def __init__(self) -> None:
        self._runs = Runs()
        self._source_end = self._target_end = 0

    @classmethod
    def from_parts(cls, chunks: Iterable[tuple[int, bytes]], tail: bytes) -> Self:
        """The map of these chunks (number, value), in any order, and the tail of the entry.

        Give no chunks whose number isn't below the entry's: they may be left over from a topic of the same name that
        was deleted. LedgerFormatError for what can't be read.
        """
        made = cls()
        for _, value in sorted(chunks):
            made.take(value)
        made.take(tail)
        return made

    def take(self, value: bytes) -> None:
        """Learn what another chunk or a newer tail says. LedgerFormatError if it can't be read: nothing is changed."""
        self.take_runs(decode_runs(value))

    def take_runs(self, runs: Runs) -> None:
        """`take` of what has been decoded. `runs` are in order themselves."""
        if not runs:
            return
        mine = self._runs
        start = runs.sources[0], runs.targets[0]
        if (
            start[0] >= self._source_end
            and start[1] >= self._target_end
            and start != (self._source_end, self._target_end)
        ):
            mine.extend(runs)
            last = mine[len(mine) - 1]
            self._source_end, self._target_end = last.source_end, last.target_end
        else:
            self._take_again(min(bisect_left(mine.sources, start[0]), bisect_left(mine.targets, start[1])), runs)

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Stretch]:
        return iter(self._runs)

    @property
    def runs(self) -> int:
        """How many runs (or stretches of thinned ones) it has."""
        return len(self._runs)

    @property
    def bytes(self) -> int:
        """The memory it takes, about."""
        runs = self._runs
        return _MAP_BYTES + 8 * (3 * len(runs.sources) + 2 * len(runs.source_gaps))

    @property
    def exact(self) -> bool:
        """Whether every answer is."""
        return not self._runs.source_gaps

    @property
    def source_start(self) -> int:
        """The source offset of the first copied record that it knows; 0 without any."""
        return self._runs.sources[0] if self._runs.sources else 0

    @property
    def target_start(self) -> int:
        """The target offset of the first copied record that it knows; 0 without any."""
        return self._runs.targets[0] if self._runs.targets else 0

    @property
    def source_end(self) -> int:
        """The source offset behind the last copied record that it knows; 0 without any."""
        return self._source_end

    @property
    def target_end(self) -> int:
        """The target offset behind the last copied record that it knows; 0 without any."""
        return self._target_end

    def to_target(self, source_offset: int) -> int | None:
        """Where the first record at or after this source offset is; None: it isn't copied, as far as is known here."""
        runs = self._runs
        return _translate(runs.sources, runs.targets, runs.lengths, runs.source_gaps, runs.target_gaps, source_offset)

    def to_source(self, target_offset: int) -> int | None:
        """Where the first copied record at or after this target offset came from; None: behind what is known here."""
        runs = self._runs
        return _translate(runs.targets, runs.sources, runs.lengths, runs.target_gaps, runs.source_gaps, target_offset)

    def run_end(self, offset: int, *, of_target: bool) -> int | None:
        """Where the exact run ends that has a record at this offset of the target (or source); None if none has."""
        froms = self._runs.targets if of_target else self._runs.sources
        index = bisect_right(froms, offset) - 1
        if index < 0 or (index < len(self._runs.source_gaps) and self._inexact(index)):
            return None
        end = froms[index] + self._runs.lengths[index]
        return end if offset < end else None

    def run_start(self, offset: int, *, of_target: bool) -> int | None:
        """Where the first record behind this offset is, which no run has; `UNBOUNDED` if none is known. None: what is
        around the offset isn't known exactly, or not at all."""
        froms = self._runs.targets if of_target else self._runs.sources
        index = bisect_right(froms, offset) - 1
        if index < 0 or (index < len(self._runs.source_gaps) and self._inexact(index)):
            return None
        return froms[index + 1] if index + 1 < len(froms) else UNBOUNDED

    def _inexact(self, index: int) -> bool:
        return bool(self._runs.source_gaps[index] or self._runs.target_gaps[index])

    def error_bound(self, source_offset: int) -> int:
        """By how many offsets `to_target` of this source offset may be too early; 0: exact."""
        return self._bound(bisect_right(self._runs.sources, source_offset) - 1, source_offset, 0)

    def error_bound_reverse(self, target_offset: int) -> int:
        """By how many offsets `to_source` of this target offset may be too early; 0: exact."""
        return self._bound(bisect_right(self._runs.targets, target_offset) - 1, target_offset, 1)

    def _bound(self, index: int, offset: int, side: int) -> int:
        if not 0 <= index < len(self._runs.source_gaps):
            return 0
        at = self._runs[index]
        behind = offset >= (at.source_end, at.target_end)[side]  # there the next stretch begins
        return 0 if behind else at.source_gap + at.target_gap

    def _take_again(self, known: int, runs: Runs) -> None:
        """Merge `runs` with the stretches from index `known` on, which they may repeat."""
        mine = self._runs
        both = [mine[index] for index in range(known, len(mine))] + list(runs)
        both.sort()
        mine.truncate(known)
        self._source_end = self._target_end = 0
        if known:
            last = mine[known - 1]
            self._source_end, self._target_end = last.source_end, last.target_end
        for stretch in both:
            self._push(stretch)

    def _push(self, stretch: Stretch) -> None:
        """Add what is new in it: what lies behind everything before, on both sides."""
        new = _behind(stretch, self._source_end, self._target_end)
        if new is None:
            return
        mine = self._runs
        exact = not new.source_gap and not new.target_gap and len(mine.source_gaps) < len(mine)
        if exact and (new.source, new.target) == (self._source_end, self._target_end):
            mine.lengths[-1] += new.length
        else:
            mine.append(new)
        self._source_end, self._target_end = new.source_end, new.target_end


def _behind(stretch: Stretch, source_end: int, target_end: int) -> Stretch | None:
    """The part of a stretch that lies behind both of these offsets; None if nothing does."""
    source_over, target_over = source_end - stretch.source, target_end - stretch.target
    if source_over <= 0 and target_over <= 0:
        return stretch
    source, target, length, source_gap, target_gap = stretch
    if not source_gap and not target_gap:
        over = max(source_over, target_over)
        return None if over >= length else Stretch(source + over, target + over, length - over)
    # Of the records in it at most as many are cut off as there are offsets cut off on either side. Counting too few of
    # those that are left counts too many gaps, which errs towards earlier answers.
    source, target = max(source, source_end), max(target, target_end)
    source_span, target_span = stretch.source_end - source, stretch.target_end - target
    if source_span <= 0 or target_span <= 0:
        return None
    length = max(1, min(length - min(max(source_over, 0), max(target_over, 0)), source_span, target_span))
    return Stretch(source, target, length, source_span - length, target_span - length)


def _translate(
    froms: array[int], tos: array[int], lengths: array[int], gaps: array[int], other_gaps: array[int], offset: int
) -> int | None:
    index = bisect_right(froms, offset) - 1
    if index < 0:
        return tos[0] if tos else None
    over = offset - froms[index]
    length = lengths[index]
    if index < len(gaps):
        gap = gaps[index]
        if over < length + gap:
            return tos[index] + max(0, over - gap)
    elif over < length:
        return tos[index] + over
    index += 1
    return tos[index] if index < len(tos) else None


class MapCache:
    """Maps that were loaded, by link, topic and partition: the ones asked for last, up to a number of bytes."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._maps: OrderedDict[tuple[str, str, int], OffsetMap] = OrderedDict()
        self._sizes: dict[tuple[str, str, int], int] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._maps)

    @property
    def bytes(self) -> int:
        """The memory that its maps took when they were put."""
        return self._bytes

    def get(self, link: str, topic: str, partition: int) -> OffsetMap | None:
        """The map, if it is here."""
        key = link, topic, partition
        found = self._maps.get(key)
        if found is not None:
            self._maps.move_to_end(key)
        return found

    def put(self, link: str, topic: str, partition: int, loaded: OffsetMap) -> None:
        """Keep this map, and let those go that were asked for the longest ago. One that alone is too large isn't kept.

        Put it again after it has learned more.
        """
        key = link, topic, partition
        self.drop(link, topic, partition)
        size = loaded.bytes
        if size > self._max_bytes:
            return
        while self._bytes + size > self._max_bytes:
            self.drop(*next(iter(self._maps)))
        self._maps[key] = loaded
        self._sizes[key] = size
        self._bytes += size

    def drop(self, link: str, topic: str, partition: int) -> None:
        """Forget a map: its lane is somebody else's, or its topic was made anew."""
        if self._maps.pop((link, topic, partition), None) is not None:
            self._bytes -= self._sizes.pop((link, topic, partition))
