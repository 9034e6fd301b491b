"""Cuts a partition's offset map where the source's log was cut: what is before stays valid, the rest is superseded."""

from __future__ import annotations

from collections.abc import Mapping

from replicator.ledger.entry import Entry
from replicator.ledger.map_chunks import Runs, decode_head, decode_runs, encode_runs


def tail_suffices(entry: Entry, source_end: int) -> bool:
    """Whether the cut at this source offset is within the entry's tail, so that no chunk has to be looked at."""
    return not entry.map_chunks or (bool(entry.map_tail) and decode_head(entry.map_tail).source < source_end)


def cut_map(entry: Entry, chunks: Mapping[int, bytes], source_end: int) -> tuple[int, bytes, list[tuple[int, bytes]]]:
    """`map_chunks` and `map_tail` of an entry whose map ends before this source offset, and the chunks to be written
    before it (number, value). `chunks`: those of the partition, or none if the tail suffices.

    Whatever new runs come at or behind that offset follow strictly. Within a thinned chunk nobody knows which records
    were before the cut: the map begins anew then. LedgerFormatError for what can't be read.
    """
    if tail_suffices(entry, source_end):
        return entry.map_chunks, encode_runs(_before(decode_runs(entry.map_tail), source_end)), []
    known = {n: value for n, value in chunks.items() if n < entry.map_chunks and decode_head(value).source < source_end}
    if not known:
        return 0, b"", []
    last = max(known)
    head = decode_head(known[last])
    if head.source_end <= source_end:
        return last + 1, b"", []
    if head.bound:
        return 0, b"", []
    return last + 1, b"", [(last, encode_runs(_before(decode_runs(known[last]), source_end)))]


def _before(runs: Runs, source_end: int) -> Runs:
    kept = Runs()
    for run in runs:
        if run.source < source_end:
            kept.append(run._replace(length=min(run.length, source_end - run.source)))
    return kept
