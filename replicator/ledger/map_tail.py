"""The newest part of a partition's offset map, while it is being copied.

Invariants:
- A: runs follow one another strictly, on both sides; what would go back or overlap is refused, never mended.
- B: a run is open as long as the next records continue it on both sides; only closed runs are put into chunks, so
  that a chunk never says less than the truth about its own range.
- C: at every instant `encoded()` and the chunks numbered below `chunks` together hold every run. What `flush` gave out
  leaves the tail only with `flushed`. A crash in between leaves a chunk that the tail repeats, or one numbered
  `chunks` or above, which whoever restarts from the entry writes anew.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from replicator.errors import ReplicatorError
from replicator.ledger.map_chunks import decode_runs, put_head, put_stretch

TAIL_RUNS = 64  # in an entry: about 150 bytes, so that what has just been copied is translated without the map topic
TAIL_KEEP = 16  # stay after a flush
CHUNK_BYTES = 2048  # a chunk is written again and again until it has so many: about a thousand runs in one record


class MapOrderError(ReplicatorError):
    """A run that isn't strictly after those that the map has: the map would no longer be a function (rule E)."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk that isn't full yet: written to the topic, and to be written again with more runs."""

    number: int
    first: tuple[int, int]
    ends: tuple[int, int]
    body: bytes

    @property
    def value(self) -> bytes:
        return bytes(put_head(0, 0, self.first, self.ends) + self.body)


@dataclass(frozen=True, slots=True)
class _Flush:
    """What `flush` gave out and `flushed` has not confirmed."""

    written: tuple[tuple[int, bytes], ...]
    runs: int
    open_chunk: _Chunk | None

    @property
    def next_number(self) -> int:
        return self.written[-1][0] + 1


class MapTail:
    """Takes the runs of one partition as they are acknowledged. Belongs to one event loop.

    A commit that failed is forgotten by making another one from the last entry, or by going back to a `copy`.
    """

    __slots__ = (
        "_body",
        "_chunks",
        "_flush",
        "_lengths",
        "_marks",
        "_open",
        "_source_end",
        "_sources",
        "_target_end",
        "_targets",
    )

    def __init__(self, chunks: int = 0, encoded: bytes = b"") -> None:
        """As an entry has it: the number of the next chunk, and the tail. LedgerFormatError if that can't be read."""
        runs = decode_runs(encoded)
        if runs.source_gaps or chunks < 0:
            raise ValueError("not the tail of an offset map")
        self._chunks = chunks
        self._sources, self._targets, self._lengths = runs.sources, runs.targets, runs.lengths
        self._source_end = self._target_end = 0
        if runs:
            last = runs[len(runs) - 1]
            self._source_end, self._target_end = last.source_end, last.target_end
        self._open: _Chunk | None = None
        self._flush: _Flush | None = None
        self._body = bytearray()  # of all runs but the last
        self._marks = array("q")  # where each of them ends in it
        self._encode_closed()

    def __len__(self) -> int:
        return len(self._sources)

    @property
    def chunks(self) -> int:
        """The number of the next chunk, for the entry."""
        return self._chunks

    def add(self, source_start: int, target_start: int, length: int) -> None:
        """`length` records were copied, one after the other on both sides. MapOrderError unless after all before."""
        lengths = self._lengths
        if length <= 0:
            raise MapOrderError(f"a run of {length} records at source offset {source_start}")
        if source_start == self._source_end and target_start == self._target_end and lengths:
            lengths[-1] += length
        else:
            if source_start < self._source_end or target_start < self._target_end:
                raise MapOrderError(
                    f"source offset {source_start} was copied to target offset {target_start}, but the offset map has "
                    f"got as far as {self._source_end} and {self._target_end}: what is copied would go backwards"
                )
            if lengths:
                self._close_last()
            self._sources.append(source_start)
            self._targets.append(target_start)
            lengths.append(length)
        self._source_end = source_start + length
        self._target_end = target_start + length

    def add_offsets(self, offsets: Sequence[int], target_start: int) -> None:
        """Records of these source offsets (ascending, with holes) were copied, one after the other on the target."""
        first = 0
        for index in range(1, len(offsets)):
            if offsets[index] != offsets[index - 1] + 1:
                self.add(offsets[first], target_start + first, index - first)
                first = index
        if offsets:
            self.add(offsets[first], target_start + first, len(offsets) - first)

    def encoded(self) -> bytes:
        """The tail for an entry: all runs that `flushed` hasn't dropped, `TAIL_RUNS` at most right after it."""
        if not self._sources:
            return b""
        out = put_head(0, 0, (self._sources[0], self._targets[0]), (self._source_end, self._target_end))
        out += self._body
        self._put(out, len(self._sources) - 1)
        return bytes(out)

    def after_flush(self) -> tuple[int, bytes]:
        """`chunks` and `encoded()` as they will be with `flushed`, of an entry to be written behind the chunks.

        Taken together with `flush` they describe one instant, however many runs come while the chunks are written; and
        the tail has at most `TAIL_RUNS` runs if `flush` had nothing given out before.
        """
        flush = self._flush
        if flush is None:
            return self._chunks, self.encoded()
        start = self._sources[flush.runs], self._targets[flush.runs]
        out = put_head(0, 0, start, (self._source_end, self._target_end))
        put_stretch(out, 0, 0, self._lengths[flush.runs])
        for index in range(flush.runs + 1, len(self._sources)):
            self._put(out, index)
        return flush.next_number, bytes(out)

    def flush(self) -> list[tuple[int, bytes]]:
        """The chunks (number, value) to be written because the tail has too many runs; mostly none.

        Write them before the next entry, or in one transaction with it. The answer stays the same until `flushed`, or
        until `unflush` after a write that failed.
        """
        if self._flush is None and len(self._sources) > TAIL_RUNS:
            self._flush = self._make_chunks(len(self._sources) - TAIL_KEEP)
        return list(self._flush.written) if self._flush is not None else []

    def flushed(self, numbers: Collection[int]) -> None:
        """These chunks are written (or will be, or not, together with the next entry): the tail drops what they hold.

        ValueError unless they are all that `flush` gave out.
        """
        flush = self._flush
        if flush is None or {number for number, _ in flush.written} != set(numbers):
            raise ValueError(f"chunks {sorted(numbers)} aren't those that were to be written")
        self._flush = None
        self._open = flush.open_chunk
        self._chunks = flush.next_number
        for column in (self._sources, self._targets, self._lengths):
            del column[: flush.runs]
        self._encode_closed()

    def unflush(self) -> None:
        """Writing what `flush` gave out has failed, or nobody knows: the next `flush` gives out that and all since."""
        self._flush = None

    def copy(self) -> MapTail:
        """An independent copy, as of now."""
        other = MapTail.__new__(MapTail)
        other._chunks, other._open, other._flush = self._chunks, self._open, self._flush
        other._sources, other._targets, other._lengths = self._sources[:], self._targets[:], self._lengths[:]
        other._source_end, other._target_end = self._source_end, self._target_end
        other._body, other._marks = self._body[:], self._marks[:]
        return other

    def _make_chunks(self, count: int) -> _Flush:
        """Of the first `count` runs, cut out of what is encoded already: a commit may bring a million of them."""
        written: list[tuple[int, bytes]] = []
        number = self._chunks
        chunk = self._open
        index = 0
        while index < count:
            start, length = (self._sources[index], self._targets[index]), self._lengths[index]
            if chunk is None:
                chunk = _Chunk(number, start, start, b"")
                number += 1
            body = bytearray(chunk.body)
            put_stretch(body, start[0] - chunk.ends[0], start[1] - chunk.ends[1], length)
            at = self._marks[index]
            index = min(bisect_left(self._marks, at + CHUNK_BYTES - len(body), index, count) + 1, count)
            body += self._body[at : self._marks[index - 1]]
            last = self._lengths[index - 1]
            ends = self._sources[index - 1] + last, self._targets[index - 1] + last
            chunk = replace(chunk, ends=ends, body=bytes(body))
            if len(body) >= CHUNK_BYTES:
                written.append((chunk.number, chunk.value))
                chunk = None
        if chunk is not None:
            written.append((chunk.number, chunk.value))
        return _Flush(tuple(written), count, chunk)

    def _encode_closed(self) -> None:
        self._body = bytearray()
        self._marks = array("q")
        for index in range(len(self._sources) - 1):
            self._put(self._body, index)
            self._marks.append(len(self._body))

    def _close_last(self) -> None:
        self._put(self._body, len(self._sources) - 1)
        self._marks.append(len(self._body))

    def _put(self, out: bytearray, index: int) -> None:
        sources, targets, lengths = self._sources, self._targets, self._lengths
        if index == 0:
            put_stretch(out, 0, 0, lengths[0])
            return
        before = lengths[index - 1]
        put_stretch(
            out,
            sources[index] - sources[index - 1] - before,
            targets[index] - targets[index - 1] - before,
            lengths[index],
        )
