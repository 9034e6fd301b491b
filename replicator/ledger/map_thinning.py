"""Keeps the map of a partition within its cap: the oldest chunks are thinned, those that no log reaches are deleted.

Two neighbouring chunks become one that is at most half as long as the two, by taking stretches two by two for one.
Chunks that were thinned as often as one another are taken together, the oldest first. So errors grow with age, and
slowly: with the logarithm of what was thinned, and by the gaps that were passed over, not by the records between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from replicator.ledger.entry import Entry
from replicator.ledger.map_chunks import Runs, Stretch, chunks_from_records, decode_head, encode_chunk_key, encode_runs
from replicator.ledger.offset_map import OffsetMap

CAP_BYTES = 1 << 20  # of chunks for one partition: half a million runs

Written = list[tuple[int, bytes | None]]  # chunk number, value or None for a tombstone


def tidy(
    records: Iterable[tuple[bytes | None, bytes | None]],
    entries: Mapping[tuple[str, int], Entry],
    starts: Mapping[tuple[str, int], tuple[int, int]],
    max_bytes: int = CAP_BYTES,
) -> list[tuple[bytes, bytes | None]]:
    """What to write into a lane's partition of the map topic, given all its (key, value) pairs in order; mostly little.

    `entries` are all of the lane, not older than `records`; chunks of partitions without one are deleted. `starts`
    are the source's and the target's log start offsets, of those partitions of which both are known. Takes about 10 ms
    for each chunk above `max_bytes`: call it in a thread. Write the answer in one batch or transaction.
    """
    pairs: list[tuple[bytes, bytes | None]] = []
    for key, chunks in sorted(chunks_from_records(records).items()):
        entry = entries.get(key)
        written: Written
        if entry is None:
            written = [(number, None) for number in sorted(chunks)]
        else:
            known = {number: value for number, value in chunks.items() if number < entry.map_chunks}
            written = [(number, None) for number in expired(known, *starts[key])] if key in starts else []
            for number, _ in written:
                del known[number]
            written += thin(known, max_bytes)
        pairs += [(encode_chunk_key(*key, number), value) for number, value in written]
    return pairs


def thin(chunks: Mapping[int, bytes], max_bytes: int = CAP_BYTES) -> Written:
    """What to write so that the chunks (number -> value) take at most `max_bytes`, as far as thinning can do that.

    Write it in one batch, so that nobody sees a part of it. The chunk of the highest number is never touched: it may
    still grow. LedgerFormatError for a chunk that can't be read.
    """
    values = dict(sorted(chunks.items()))
    numbers = list(values)[:-1]
    levels = [decode_head(values[number]).level for number in numbers]
    size = sum(map(len, values.values()))
    written: dict[int, bytes | None] = {}
    while size > max_bytes and len(numbers) > 1:
        at = next((at for at, (older, newer) in enumerate(pairwise(levels)) if older <= newer), len(numbers) - 2)
        kept, gone = numbers[at], numbers.pop(at + 1)
        level = max(levels[at], levels.pop(at + 1)) + 1
        first, second = values[kept], values.pop(gone)
        merged = _merge(first, second, level)
        size += len(merged) - len(first) - len(second)
        values[kept], levels[at] = merged, level
        written[kept], written[gone] = merged, None
    return sorted(written.items())


def expired(chunks: Mapping[int, bytes], source_start: int, target_start: int) -> list[int]:
    """The numbers of the chunks that lie before both logs' start offsets: nobody has a position there any more.

    The chunk of the highest number stays in any case: it may still grow.
    """
    return [
        number
        for number in sorted(chunks)[:-1]
        if (head := decode_head(chunks[number])).source_end <= source_start and head.target_end <= target_start
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
