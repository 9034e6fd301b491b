"""Where a position on one side of a link is on the other: what the offset map and the entry say together."""

from __future__ import annotations

from typing import NamedTuple

from replicator.ledger.entry import Entry
from replicator.ledger.offset_map import OffsetMap
from replicator.states import Reason

COPIED, BEFORE, BEYOND = "copied", "before", "beyond"
# Gaps behind which the map surely goes on. Where the source was cut it does so too, if what was cut is that new.
_MAP_GOES_ON = {Reason.RETENTION_OVERRUN, Reason.FOREIGN_WRITER, Reason.RECOVERY_AMBIGUOUS}


class Located(NamedTuple):
    """`offset` is at most `error_bound` records before the exact one, never behind it.

    `where`: the position is `copied`, `before` the first record that was copied, or `beyond` the last one: then it is
    where the next record goes, and more is known when that has come.
    """

    offset: int
    error_bound: int
    where: str


def locate(entry: Entry, known: OffsetMap, offset: int, *, reverse: bool = False) -> Located | str:
    """The position on the other side, or why nobody knows it.

    `known` is the entry's whole map, or the part of it that begins at or before `offset`.
    """
    if reverse:
        found, bound = known.to_source(offset), known.error_bound_reverse(offset)
        start, beyond = known.target_start, max(entry.source_next, known.source_end if known else -1)
    else:
        found, bound = known.to_target(offset), known.error_bound(offset)
        start, beyond = known.source_start, max(entry.target_next, known.target_end if known else -1)
    where = COPIED
    if found is None:
        found, where = beyond, BEYOND
    elif offset < start:
        where = BEFORE
    why_not = _why_not(entry, known, offset, where, beyond, reverse=reverse)
    return why_not or Located(found, bound, where)


def _why_not(entry: Entry, known: OffsetMap, offset: int, where: str, beyond: int, *, reverse: bool) -> str:
    begun_anew = [gap.reason.value for gap in entry.gaps if gap.reason not in _MAP_GOES_ON]
    if where == BEFORE and begun_anew:
        return (
            f"the offset map of {entry.topic}-{entry.partition} began anew at source offset "
            f"{known.source_start} and target offset {known.target_start}, behind a gap ({begun_anew[-1]}): what lies "
            "before can't be translated"
        )
    written_by_others = [
        gap
        for gap in entry.gaps
        if gap.reason is Reason.FOREIGN_WRITER and offset < (gap.target_from if reverse else gap.source_from)
    ]
    if where == BEFORE and written_by_others:
        at = written_by_others[-1]
        return (
            f"what {entry.target_topic}-{entry.partition} holds of before source offset "
            f"{at.source_from} was there before the link copied ({at.by}): it can't be translated"
        )
    if not known and not entry.gaps and entry.target_next > 0 and offset < beyond:
        return (
            f"no offset map was kept of {entry.topic}-{entry.partition} when it was copied, so what "
            f"lies before source offset {entry.source_next} and target offset {entry.target_next} can't be translated"
        )
    return f"nothing of {entry.topic}-{entry.partition} is copied yet" if where == BEYOND and beyond < 0 else ""
