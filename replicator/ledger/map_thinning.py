"""Keeps the map of a partition within its cap: the oldest chunks are thinned, those that no log reaches are deleted.

Two neighbouring chunks become one that is at most half as long as the two, by taking stretches two by two for one.
Chunks that were thinned as often as one another are taken together, the oldest first. So errors grow with age, and
slowly: with the logarithm of what was thinned, and by the gaps that were passed over, not by the records between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from replicator.ledger.map_chunks import Runs, Stretch, decode_head, encode_runs
from replicator.ledger.offset_map import OffsetMap

CAP_BYTES = 1 << 20  # of chunks for one partition: half a million runs

Written = list[tuple[int, bytes | None]]  # chunk number, value or None for a tombstone


def thin(chunks: Mapping[int, bytes], max_bytes: int = CAP_BYTES, max_merges: int | None = None) -> Written:
    """What to write so that the chunks (number -> value) take at most `max_bytes`, as far as thinning can do that.

    Write it in this order: whoever sees a part of it sees a chunk whose content another one repeats, which is passed
    over, but never a gap. The chunk of the highest number is never touched: it may still grow. Takes some 10 ms for
    each of at most `max_merges`: call it in a thread. LedgerFormatError for a chunk that can't be read.
    """
    values = dict(sorted(chunks.items()))
    numbers = list(values)[:-1]
    levels = [decode_head(values[number]).level for number in numbers]
    size = sum(map(len, values.values()))
    written: dict[int, bytes | None] = {}
    while size > max_bytes and len(numbers) > 1 and max_merges != 0:
        max_merges = None if max_merges is None else max_merges - 1
        at = next((at for at, (older, newer) in enumerate(pairwise(levels)) if older <= newer), len(numbers) - 2)
        kept, gone = numbers[at], numbers.pop(at + 1)
        level = max(levels[at], levels.pop(at + 1)) + 1
        first, second = values[kept], values.pop(gone)
        merged = _merge(first, second, level)
        size += len(merged) - len(first) - len(second)
        values[kept], levels[at] = merged, level
        written[kept], written[gone] = merged, None
    return sorted(written.items())


def expired(ends: Mapping[int, tuple[int, int]], source_start: int, target_start: int) -> list[int]:
    """The numbers of the chunks that lie before both logs' start offsets: nobody has a position there any more.

    `ends`: of each chunk, the source and target offsets behind its last run. The chunk of the highest number stays in
    any case: it may still grow.
    """
    return [
        number for number in sorted(ends)[:-1] if ends[number][0] <= source_start and ends[number][1] <= target_start
    ]


def _merge(first: bytes, second: bytes, level: int) -> bytes:
    both = OffsetMap()
    for value in (first, second):
        both.take(value)
    stretches = list(both)
    wanted = (len(first) + len(second)) // 2
    while True:
        stretches = [
            _join(stretches[at], stretches[at + 1]) if at + 1 < len(stretches) else stretches[at]
            for at in range(0, len(stretches), 2)
        ]
        runs = Runs()
        for stretch in stretches:
            runs.append(stretch)
        value = encode_runs(runs, level)
        if len(value) <= wanted or len(stretches) == 1:
            return value


def _join(first: Stretch, second: Stretch) -> Stretch:
    length = first.length + second.length
    return Stretch(
        first.source,
        first.target,
        length,
        second.source_end - first.source - length,
        second.target_end - first.target - length,
    )
