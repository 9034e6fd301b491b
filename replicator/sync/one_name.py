"""A position where both directions copy into one topic: what a group has read there, record by record.

In the target's log, copies (this link's) and the target's own records (which the opposite link copies) take turns. All
copies before `copies_read` are read, and all records of the target's own before `natives_read`; the earlier of the two
is safe. What lies between them is often known to be of the kind that is read: then the position is behind it.
"""

from __future__ import annotations

from typing import NamedTuple

from replicator.ledger.offset_map import OffsetMap


class Side(NamedTuple):
    """One link's knowledge of the target's log: where its records lie there, all of them below `known_to`."""

    runs: OffsetMap
    known_to: int


def first_unread(copies_read: int, natives_read: int, copies: Side, natives: Side) -> int:
    """The first offset from which on something may be unread. `copies` are by their target offsets, `natives` by their
    source offsets, as the opposite link has it."""
    position, end = min(copies_read, natives_read), max(copies_read, natives_read)
    while position < end:
        copied_to = copies.runs.run_end(position, of_target=True)
        native_to = natives.runs.run_end(position, of_target=False)
        if copied_to is not None:
            if position >= copies_read:
                break
            position = min(copied_to, copies_read)
        elif native_to is not None:
            if position >= natives_read:
                break
            position = min(native_to, natives_read)
        else:  # nothing is there, if both know all that is: markers, or what was compacted
            limit = min(copies.known_to, natives.known_to)
            starts = copies.runs.run_start(position, of_target=True), natives.runs.run_start(position, of_target=False)
            if None in starts or position >= limit:
                break
            position = min(end, limit, *(start for start in starts if start is not None))
    return position
