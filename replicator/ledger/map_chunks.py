"""Runs of the offset map as bytes: the chunks of the map topic, their keys, and the tail that travels in an entry.

A run `(source_start, target_start, length)` says that so many records, one after the other on both sides, were copied
from there to here. Runs follow one another strictly on both sides; where one ends and the next begins, at least one
side has a gap (a hole left by compaction, a transaction marker, records that weren't to be copied).

Key: one type byte, source topic, partition, number of the chunk. Keys carry no version: compaction compares them.

Value, of chunks and of the tail alike: version byte; then as unsigned varints level (how often it was thinned), bound
(0: exact), first source and target offset, source and target span; then the runs. Each run is a byte with the gaps
before it (source gap in the high four bits, target gap in the low ones; 15: a varint with the rest follows, the
source's first), and its length - 1 as a varint. So a run of up to 128 records behind small gaps takes two bytes.

A thinned chunk (bound > 0) holds stretches instead of runs: several runs with the gaps between them. Behind the gaps
before it, each has another such byte with the gaps *inside* it; its length counts the records alone. `bound` is the
largest sum of inner gaps in the chunk.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, chain
from operator import add
from typing import NamedTuple

from replicator.ledger.codec import LedgerFormatError, Reader, put_string, put_varint
from replicator.ledger.entry import TOPIC_MAX_BYTES

VALUE_MAX_BYTES = 64 * 1024  # chunks are sealed at a few KiB; anything this large isn't ours
PARTITION_MAX_BYTES = 64 << 20  # of chunks read for a partition; the cap that writers keep to is far below
_KEY_CHUNK = 1
_KEY_MAX_BYTES = 1024
_VERSION = 1
_MOST = (1 << 63) - 1
_MAX_VARINT_BYTES = 9  # 63 bits
_FAR = 15  # a gap nibble that says: the rest of the gap follows
_NEAR_GAPS = bytes(source << 4 | target for source in range(_FAR) for target in range(_FAR))
_SOURCE_GAP = tuple(byte >> 4 for byte in range(256))
_TARGET_GAP = tuple(byte & 15 for byte in range(256))


class Stretch(NamedTuple):
    """A run, or (gaps > 0) several runs of which only the ends, the records and the gaps between are known."""

    source: int
    target: int
    length: int
    source_gap: int = 0
    target_gap: int = 0

    @property
    def source_end(self) -> int:
        """The source offset behind its last record."""
        return self.source + self.length + self.source_gap

    @property
    def target_end(self) -> int:
        """The target offset behind its last record."""
        return self.target + self.length + self.target_gap


def _column() -> array[int]:
    return array("q")


@dataclass(slots=True)
class Runs:
    """Many stretches, as columns of 64-bit integers. The gap columns end with the last stretch that isn't exact."""

    sources: array[int] = field(default_factory=_column)
    targets: array[int] = field(default_factory=_column)
    lengths: array[int] = field(default_factory=_column)
    source_gaps: array[int] = field(default_factory=_column)
    target_gaps: array[int] = field(default_factory=_column)

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> Stretch:
        """The stretch at this index, from 0."""
        exact = Stretch(self.sources[index], self.targets[index], self.lengths[index])
        if index >= len(self.source_gaps):
            return exact
        return exact._replace(source_gap=self.source_gaps[index], target_gap=self.target_gaps[index])

    def __iter__(self) -> Iterator[Stretch]:
        return (self[index] for index in range(len(self.sources)))

    def append(self, stretch: Stretch) -> None:
        """Add one at the end; that it follows the last one is the caller's business."""
        source, target, length, source_gap, target_gap = stretch
        if source_gap or target_gap:
            self._pad_gaps()
            self.source_gaps.append(source_gap)
            self.target_gaps.append(target_gap)
        self.sources.append(source)
        self.targets.append(target)
        self.lengths.append(length)

    def extend(self, others: Runs) -> None:
        """Add all of these at the end."""
        if others.source_gaps:
            self._pad_gaps()
            self.source_gaps.extend(others.source_gaps)
            self.target_gaps.extend(others.target_gaps)
        self.sources.extend(others.sources)
        self.targets.extend(others.targets)
        self.lengths.extend(others.lengths)

    def truncate(self, count: int) -> None:
        """Keep the first `count`."""
        for column in (self.sources, self.targets, self.lengths, self.source_gaps, self.target_gaps):
            del column[count:]
        while self.source_gaps and not self.source_gaps[-1] and not self.target_gaps[-1]:
            self.source_gaps.pop()
            self.target_gaps.pop()

    def _pad_gaps(self) -> None:
        missing = bytes(8 * (len(self.sources) - len(self.source_gaps)))
        self.source_gaps.frombytes(missing)
        self.target_gaps.frombytes(missing)


class Head(NamedTuple):
    """What a value says about itself before its runs."""

    level: int
    bound: int
    source: int
    target: int
    source_end: int
    target_end: int
    body: int  # where the runs begin


def encode_chunk_key(topic: str, partition: int, number: int) -> bytes:
    """The key of a chunk; ValueError for what can't be one."""
    if not topic or partition < 0 or number < 0:
        raise ValueError(f"not a chunk of a topic partition: {topic!r}, {partition}, {number}")
    out = bytearray((_KEY_CHUNK,))
    put_string(out, topic, TOPIC_MAX_BYTES)
    put_varint(out, partition)
    put_varint(out, number)
    return bytes(out)


def decode_chunk_key(key: bytes) -> tuple[str, int, int] | None:
    """Source topic, partition and number of a chunk; None for keys of other things that may come to live there.

    Raises LedgerFormatError for a key that no version of Replicator writes.
    """
    if len(key) > _KEY_MAX_BYTES:
        raise LedgerFormatError(f"a map key has {len(key)} bytes; at most {_KEY_MAX_BYTES} are allowed")
    reader = Reader(key)
    if reader.byte() != _KEY_CHUNK:
        return None
    topic, partition, number = reader.string(TOPIC_MAX_BYTES), reader.varint(), reader.varint()
    if not topic or not 0 <= partition < 1 << 31 or number < 0 or reader.remaining:
        raise LedgerFormatError(f"a map key names no chunk of a topic partition: {topic!r}, {partition}, {number}")
    return topic, partition, number


def chunks_from_records(
    records: Iterable[tuple[bytes | None, bytes | None]], only: tuple[str, int] | None = None
) -> dict[tuple[str, int], dict[int, bytes]]:
    """The chunks (number -> value) by source topic and partition, from a map partition's (key, value) pairs in order.

    `only`: of this topic and partition. Raises LedgerFormatError for a key that nobody writes, or for more bytes of a
    partition than could be a map.
    """
    found: dict[tuple[str, int], dict[int, bytes]] = {}
    sizes: dict[tuple[str, int], int] = {}
    for key, value in records:
        chunk = decode_chunk_key(key) if key else None
        if chunk is None or (only is not None and chunk[:2] != only):
            continue
        at, number = (chunk[0], chunk[1]), chunk[2]
        chunks = found.setdefault(at, {})
        sizes[at] = sizes.get(at, 0) + len(value or b"") - len(chunks.pop(number, b""))
        if sizes[at] > PARTITION_MAX_BYTES:
            raise LedgerFormatError(f"the offset map of {at[0]}-{at[1]} has more than {PARTITION_MAX_BYTES} bytes")
        if value is not None:
            chunks[number] = value
    return found


def put_stretch(out: bytearray, source_gap: int, target_gap: int, length: int) -> None:
    """Append an exact run that comes so many offsets after its predecessor."""
    _put_gaps(out, source_gap, target_gap)
    _put_uvarint(out, length - 1)


def put_head(level: int, bound: int, first: tuple[int, int], ends: tuple[int, int]) -> bytearray:
    """The beginning of a value whose runs span from `first` to `ends`, both (source, target)."""
    out = bytearray((_VERSION,))
    for number in (level, bound, *first, ends[0] - first[0], ends[1] - first[1]):
        _put_uvarint(out, number)
    return out


def encode_runs(runs: Runs, level: int = 0) -> bytes:
    """A value that holds these runs; empty bytes when there are none."""
    if not runs:
        return b""
    bound = max(map(add, runs.source_gaps, runs.target_gaps), default=0)
    body = bytearray()
    source_end, target_end = runs.sources[0], runs.targets[0]
    for run in runs:
        _put_gaps(body, run.source - source_end, run.target - target_end)
        if bound:
            _put_gaps(body, run.source_gap, run.target_gap)
        _put_uvarint(body, run.length - 1)
        source_end, target_end = run.source_end, run.target_end
    return bytes(put_head(level, bound, (runs.sources[0], runs.targets[0]), (source_end, target_end)) + body)


def decode_head(value: bytes) -> Head:
    """What a value says about itself. LedgerFormatError for what can't be, or was written by a newer version."""
    if len(value) > VALUE_MAX_BYTES:
        raise LedgerFormatError(f"a piece of the offset map has {len(value)} bytes; {VALUE_MAX_BYTES} are allowed")
    if not value or value[0] != _VERSION:
        raise LedgerFormatError(
            f"a piece of the offset map has format version {value[0] if value else 'none'}, and this Replicator reads "
            f"version {_VERSION}: another worker of the link runs a newer Replicator; upgrade this one"
        )
    at, numbers = 1, []
    for _ in range(6):
        number, at = _uvarint(value, at)
        numbers.append(number)
    level, bound, source, target, source_span, target_span = numbers
    if source + source_span > _MOST or target + target_span > _MOST:
        raise LedgerFormatError("a piece of the offset map goes beyond the last possible offset")
    return Head(level, bound, source, target, source + source_span, target + target_span, at)


def decode_runs(value: bytes) -> Runs:
    """The runs of a value, none for empty bytes. LedgerFormatError unless they are what the head says."""
    if not value:
        return Runs()
    head = decode_head(value)
    body = value[head.body :]
    runs = _thinned(body, head) if head.bound else _near(body, head) or _exact(body, head)
    if not len(runs):
        raise LedgerFormatError("a piece of the offset map holds no run")
    last = runs[len(runs) - 1]
    if (last.source_end, last.target_end) != (head.source_end, head.target_end):
        raise LedgerFormatError(
            f"a piece of the offset map ends at source offset {last.source_end} and target offset {last.target_end}, "
            f"but says {head.source_end} and {head.target_end}"
        )
    return runs


def _near(body: bytes, head: Head) -> Runs | None:
    """The runs if each has two bytes, as nearly all have: without a Python step per run. None if they aren't so."""
    gaps, tails = body[::2], body[1::2]
    if not tails or len(gaps) != len(tails) or not tails.isascii() or gaps.translate(None, _NEAR_GAPS) or gaps[0]:
        return None
    lengths = array("q", [tail + 1 for tail in tails])
    if head.source_end > _MOST - 256 * len(lengths) or head.target_end > _MOST - 256 * len(lengths):
        return None
    return Runs(
        array("q", accumulate(map(add, map(_SOURCE_GAP.__getitem__, gaps), chain((head.source,), lengths)))),
        array("q", accumulate(map(add, map(_TARGET_GAP.__getitem__, gaps), chain((head.target,), lengths)))),
        lengths,
    )


def _exact(body: bytes, head: Head) -> Runs:
    """The runs, whatever their size. Plain, because maps of a million runs are read: a run of 128 to 16,384 records
    behind small gaps is read without a call."""
    runs = Runs()
    add_source, add_target, add_length = runs.sources.append, runs.targets.append, runs.lengths.append
    at, end, source, target = 0, len(body), head.source, head.target
    while at < end:
        gaps = body[at]
        source_gap, target_gap = gaps >> 4, gaps & 15
        if source_gap == _FAR or target_gap == _FAR:
            source_gap, target_gap, at = _gaps(body, at)
        else:
            at += 1
        if at + 1 < end and body[at] >= 0x80 > body[at + 1]:
            length = (body[at] & 0x7F | body[at + 1] << 7) + 1
            at += 2
        else:
            length, at = _uvarint(body, at)
            length += 1
        source += source_gap
        target += target_gap
        if source + length > _MOST or target + length > _MOST or (gaps and not runs.sources):
            _refuse(source, target, length, gaps)
        add_source(source)
        add_target(target)
        add_length(length)
        source += length
        target += length
    return runs


def _thinned(body: bytes, head: Head) -> Runs:
    runs = Runs()
    at, source, target = 0, head.source, head.target
    while at < len(body):
        first = at
        source_gap, target_gap, at = _gaps(body, at)
        source_inside, target_inside, at = _gaps(body, at)
        length, at = _uvarint(body, at)
        if source_inside + target_inside > head.bound:
            raise LedgerFormatError(
                f"a piece of the offset map says that it is off by at most {head.bound} records, "
                f"and it is by {source_inside + target_inside}"
            )
        run = Stretch(source + source_gap, target + target_gap, length + 1, source_inside, target_inside)
        if max(run.source_end, run.target_end) > _MOST or (body[first] and not runs.sources):
            _refuse(run.source, run.target, run.length, body[first])
        runs.append(run)
        source, target = run.source_end, run.target_end
    return runs


def _refuse(source: int, target: int, length: int, gaps: int) -> None:
    raise LedgerFormatError(
        f"a piece of the offset map has a run of {length} records from source offset {source} and target offset "
        f"{target}, behind gaps {gaps:#04x}: it begins with a gap, or goes beyond the last possible offset"
    )


def _put_gaps(out: bytearray, source_gap: int, target_gap: int) -> None:
    out.append(min(source_gap, _FAR) << 4 | min(target_gap, _FAR))
    if source_gap >= _FAR:
        _put_uvarint(out, source_gap - _FAR)
    if target_gap >= _FAR:
        _put_uvarint(out, target_gap - _FAR)


def _gaps(data: bytes, at: int) -> tuple[int, int, int]:
    if at >= len(data):
        raise LedgerFormatError("a piece of the offset map ends in the middle of a run")
    source_gap, target_gap = data[at] >> 4, data[at] & 15
    at += 1
    if source_gap == _FAR:
        rest, at = _uvarint(data, at)
        source_gap += rest
    if target_gap == _FAR:
        rest, at = _uvarint(data, at)
        target_gap += rest
    return source_gap, target_gap, at


def _put_uvarint(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _uvarint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if at >= len(data):
            raise LedgerFormatError("a piece of the offset map ends in the middle of a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at
    raise LedgerFormatError("a number in a piece of the offset map has more than 63 bits")
