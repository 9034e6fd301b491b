"""Where on the source copying had got to, found by comparing what the records hold.

Used where offsets and sequences don't tell it any more: records of either side are gone (compaction, retention), or
there is no ledger entry. What is compared is the order in which records follow one another, and the offsets between
them: so many records can't have been where there were fewer offsets. An answer is given only when it is the only one.

Two records with the same time, key, headers and value of which one is gone from the source can't be told from one that
is still there; then the one that is left counts as the copied one. The target holds its content once either way.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from replicator.errors import ReplicatorError
from replicator.wire.records import Record

FINGERPRINT_BYTES = 16
LOOK_AHEAD = 10_000  # records without a counterpart after which nothing more is expected: memory and time
MAX_STEPS = 2_000_000  # ways of pairing equal records that are looked at: seconds
_UNKNOWN_ROOM = 1 << 62

_START = struct.Struct(">qqq")
_LENGTHS = struct.Struct(">qq")


class AmbiguousError(ReplicatorError):
    """The records allow more than one position, or none. The message says why."""


def fingerprint(record: Record) -> bytes:
    """16 bytes that stand for the record's timestamp, key, headers and value; its offset doesn't count."""
    key, value = record.key, record.value
    parts = [
        _START.pack(record.timestamp, -1 if key is None else len(key), len(record.headers)),
        key or b"",
    ]
    for name, header in record.headers:
        encoded = name.encode(errors="surrogateescape")
        parts += (_LENGTHS.pack(len(encoded), -1 if header is None else len(header)), encoded, header or b"")
    parts += (_LENGTHS.pack(0, -1 if value is None else len(value)), value or b"")
    return blake2b(b"".join(parts), digest_size=FINGERPRINT_BYTES).digest()


@dataclass(frozen=True, slots=True)
class Aligned:
    """`next_offset` is behind the last copied record that the source still has; None when it has none of them.

    `matched` pairs the copied records that the source still has with their source offsets: (index in `copied`, offset).
    """

    next_offset: int | None
    matched: list[tuple[int, int]]


def align(
    copied: Sequence[bytes],
    source: Iterable[tuple[int, bytes | None]],
    *,
    complete: bool = True,
    from_entry: bool = True,
    start: int | None = None,
    look_ahead: int = LOOK_AHEAD,
) -> Aligned:
    """Where copying had got to; AmbiguousError unless there is exactly one answer. See `Alignment`."""
    alignment = Alignment(copied, complete=complete, from_entry=from_entry, start=start, look_ahead=look_ahead)
    for offset, content in source:
        if alignment.take(offset, content):
            break
    return alignment.result()


class Alignment:
    """Takes the source's records in order until it has seen enough, then says where copying had got to.

    `copied` are the fingerprints of what is on the target, in order. With `complete` these are all records that were
    copied from a point on, in the order of the source; else some but the last may be missing (the target was
    compacted). With `from_entry` the source is read from that same point on, and `start` is its offset (None: not
    known), so that every source record before the position is among `copied`; else from anywhere before it.
    """

    def __init__(
        self,
        copied: Sequence[bytes],
        *,
        complete: bool = True,
        from_entry: bool = True,
        start: int | None = None,
        look_ahead: int = LOOK_AHEAD,
    ) -> None:
        self._copied = copied
        self._complete = complete
        self._from_entry = from_entry
        self._look_ahead = max(1, look_ahead)
        self._places: dict[bytes, list[int]] = {}
        for index, content in enumerate(copied):
            self._places.setdefault(content, []).append(index)
        # Of each source record: offset, content, and how many offsets up to its own may have held records.
        self._records: list[tuple[int, bytes, int]] = []
        self._previous = None if start is None else start - 1
        self._not_eligible = 0
        self._misses = 0
        self._enough = False

    def take(self, offset: int, content: bytes | None) -> bool:
        """The next source record; whether it was the last one needed.

        `content` None: the offset is there and holds nothing that is copied (a marker, an aborted record).
        """
        if content is None:
            self._not_eligible += 1
            return self._enough
        previous = -1 if self._previous is None else self._previous
        room = offset - previous - self._not_eligible
        self._previous, self._not_eligible = offset, 0
        if content in self._places:
            self._misses = 0
        elif not self._from_entry and not self._records:
            return False  # still before the copied ones
        else:
            self._misses += 1
        self._records.append((offset, content, room))
        limit = len(self._copied) + self._look_ahead
        if not (self._from_entry and self._complete):
            limit *= 4  # the target has fewer records than the source, or the beginning isn't known
        self._enough = self._misses >= self._look_ahead or len(self._records) >= limit
        return self._enough

    def result(self) -> Aligned:
        """The only position that explains what was taken; AmbiguousError when there are several, or none."""
        seen = Counter(content for _, content, _ in self._records if content in self._places)
        only = {content for content, times in seen.items() if times == 1 and len(self._places[content]) == 1}
        if not self._complete:
            return self._by_last_record(seen, only)
        return self._by_order(only)

    def result_if_repeated(self) -> Aligned:
        """As `result`, for copies made at least once: a stretch may be there twice, from where copying began again.

        Then the position is behind the source record that was copied farthest; without pairs.
        """
        at = {content: index for index, (_, content, _) in enumerate(self._records)}
        seen = Counter(content for _, content, _ in self._records if content in self._places)
        if any(times > 1 for times in seen.values()):
            raise AmbiguousError("records with the same content on the source, and some of them copied more than once")
        farthest, before = -1, None if not self._from_entry else -1
        gone = 0  # copied records in a row that the source doesn't have any more
        early: set[bytes] = set()  # those before all that it has
        for content in self._copied:
            index = at.get(content)
            if index is None:
                gone += 1
                if before is None:
                    early.add(content)
                continue
            if before is not None:
                room = self._room(before + 1) + (self._room(index) if index != before + 1 else 0)
                if index > before + 1 or gone > room:
                    raise AmbiguousError(self._no_position())
            elif len(early) > self._records[index][0]:
                raise AmbiguousError(self._no_position())
            before, farthest, gone = index, max(farthest, index), 0
        if before is None or gone > self._room(before + 1):
            raise AmbiguousError(self._no_position())
        if any(content in self._places for _, content, _ in self._records[farthest + 1 :]) or farthest < 0:
            raise AmbiguousError(self._no_position())
        return Aligned(self._records[farthest][0] + 1, [])

    def _room(self, at: int) -> int:
        """How many records may be gone from the source right before this one."""
        return self._records[at][2] - 1 if at < len(self._records) else _UNKNOWN_ROOM

    def _by_order(self, only: set[bytes]) -> Aligned:
        """Count the ways to pair the source's first records, each with a copied one, in order and within their room."""
        last_index = len(self._copied) - 1
        certain = [at for at, (_, content, _) in enumerate(self._records) if content in only]
        first_certain, last_certain = (certain[0], certain[-1]) if certain else (len(self._records), -1)
        layers: list[list[tuple[int, int, int]]] = []  # of each source record: (index, ways, place in the layer before)
        ends: list[tuple[int, int, int]] = []  # (number of source records paired or passed over, place, ways)
        if self._from_entry and last_certain < 0:
            room = self._records[0][2] if self._records else _UNKNOWN_ROOM
            if len(self._copied) < room:
                ends.append((0, -1, 1))
        steps = 0
        for at, (_, content, room) in enumerate(self._records):
            before = layers[-1] if layers else []
            may_begin = at == 0 if self._from_entry else at <= first_certain
            layer: list[tuple[int, int, int]] = []
            for index in self._places.get(content, ()):
                ways, parent = (1, -1) if may_begin and index < room else (0, -1)
                place = bisect_left(before, (index - room,))
                while place < len(before) and before[place][0] < index and ways < 2:
                    ways, parent = ways + before[place][1], place
                    place += 1
                    steps += 1
                if ways:
                    layer.append((index, min(ways, 2), parent))
                steps += 1
            if steps > MAX_STEPS:
                raise AmbiguousError(f"too many records with the same content ({len(before)} at a time)")
            layers.append(layer)
            if at >= last_certain:
                room_after = self._records[at + 1][2] if at + 1 < len(self._records) else _UNKNOWN_ROOM
                ends += [(at + 1, n, ways) for n, (i, ways, _) in enumerate(layer) if last_index - i < room_after]
            if not layer and self._from_entry:
                break
        return self._only(ends, layers, certain=bool(certain))

    def _only(
        self, ends: list[tuple[int, int, int]], layers: list[list[tuple[int, int, int]]], *, certain: bool
    ) -> Aligned:
        if not ends:
            raise AmbiguousError(self._no_position())
        if not self._from_entry and not certain:
            raise AmbiguousError("of the copied records, the source has only some that have the same content as others")
        if len(ends) > 1 or ends[0][2] > 1:
            offsets = sorted({self._records[count - 1][0] + 1 for count, _, _ in ends if count})
            where = f"offsets {offsets[0]} to {offsets[-1]}" if len(offsets) > 1 else "more than one way"
            raise AmbiguousError(f"records with the same content allow {where}")
        count, place, _ = ends[0]
        matched = []
        at = count - 1
        while place >= 0:
            index, _, parent = layers[at][place]
            matched.append((index, self._records[at][0]))
            at, place = at - 1, parent
        matched.reverse()
        return Aligned(self._records[count - 1][0] + 1 if count else None, matched)

    def _by_last_record(self, seen: Counter[bytes], only: set[bytes]) -> Aligned:
        """Compaction leaves the newest record: what it stands for on the source was the last one copied."""
        if len(only) < len(seen):
            raise AmbiguousError(
                "records with the same content, and some of the copied records are gone from the target"
            )
        matched: list[tuple[int, int]] = []
        behind = 0  # source records behind the last match
        room = 0
        for offset, content, gap in self._records:
            room += gap
            if content not in only:
                behind += 1
                continue
            index = self._places[content][0]
            if matched and not 0 < index - matched[-1][0] <= room:
                raise AmbiguousError(self._no_position())
            matched.append((index, offset))
            behind = room = 0
        last_is_there = bool(matched) and matched[-1][0] == len(self._copied) - 1
        if not last_is_there and (behind or self._enough or (not self._from_entry and not matched)):
            raise AmbiguousError(
                "the record copied last is gone from the source, and some of the copied records from the target"
            )
        return Aligned(matched[-1][1] + 1 if matched else None, matched)

    def _no_position(self) -> str:
        if not any(content in self._places for _, content, _ in self._records):
            return "none of the copied records is on the source"
        return "the source has records between the copied ones that weren't copied, or has them in another order"
