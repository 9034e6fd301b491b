"""From the records of a ledger partition to the entries that hold now."""

from __future__ import annotations

from collections.abc import Iterable

from replicator.ledger.entry import Entry, decode, decode_key


def entries_from_records(records: Iterable[tuple[bytes | None, bytes | None]]) -> dict[tuple[str, int], Entry]:
    """The last entry per source partition, from (key, value) pairs in log order; a tombstone removes its partition.

    Records of other kinds are passed over. Raises LedgerFormatError for a record that can't be read: a position that
    isn't known for certain must stop the lane, not restart the partition.
    """
    entries: dict[tuple[str, int], Entry] = {}
    for key, value in records:
        if not key:
            continue  # nobody writes keyless records into a compacted topic: the broker refuses them
        where = decode_key(key)
        if where is None:
            continue
        entry = decode(key, value)
        if entry is None:
            entries.pop(where, None)
        else:
            entries[where] = entry
    return entries
