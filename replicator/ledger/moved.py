"""A partition that has moved to another lane: what its former lane's ledger says of it, and who wishes that.

The former owner writes `Moved` in the place of the partition's entry, with all that the entry said, when nothing of the
partition is in flight; the new lane's owner then writes the entry that holds from there on. So of a partition at most
one lane holds an entry, and the records that say `Moved` lead from its home lane to that one: each has a higher number
than the one before.

A wish is in the control topic: the lane that a partition is to be in. The last one counts; none means the home lane.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from replicator.ledger.codec import LedgerFormatError, Reader, put_varint
from replicator.ledger.entry import MOVED_VERSION, Entry, decode, decode_key, encode_entry
from replicator.ledger.load import entries_from_records

Key = tuple[str, int]
Records = Iterable[tuple[bytes | None, bytes | None]]

_WISH = b"place/"
_VERSION = 1
_MAX_LANES = 1 << 20


@dataclass(frozen=True, slots=True)
class Moved:
    """`entry` held when the partition left for `lane`, as its `number`th move."""

    entry: Entry
    lane: int
    number: int


def encode_moved(moved: Moved) -> bytes:
    """The value; the key is the entry's."""
    out = bytearray((MOVED_VERSION,))
    put_varint(out, moved.lane)
    put_varint(out, moved.number)
    return bytes(out) + encode_entry(moved.entry)


def decode_moved(key: bytes | None, value: bytes | None) -> Moved | None:
    """What a ledger record says of a partition that has moved; None for other records. LedgerFormatError if damaged."""
    if not key or value is None or value[:1] != bytes((MOVED_VERSION,)) or decode_key(key) is None:
        return None
    reader = Reader(value)
    reader.byte()
    lane, number = reader.varint(), reader.varint()
    entry = decode(key, value[len(value) - reader.remaining :])
    if entry is None or not 0 <= lane < _MAX_LANES or number < 1:
        raise LedgerFormatError(f"a partition can't have moved to lane {lane} as move {number}")
    return Moved(entry, lane, number)


def moved_from_records(records: Records) -> dict[Key, Moved]:
    """The partitions of a ledger partition that have moved away, from all its records in log order."""
    found: dict[Key, Moved] = {}
    for key, value in records:
        where = decode_key(key) if key else None
        if where is None:
            continue
        found.pop(where, None)
        if (moved := decode_moved(key, value)) is not None:
            found[where] = moved
    return found


def known_from_records(records: Records) -> dict[Key, Entry]:
    """The entries of a ledger partition, and the last ones of partitions that have moved away."""
    pairs = list(records)
    return {key: moved.entry for key, moved in moved_from_records(pairs).items()} | entries_from_records(pairs)


def encode_wish(topic: str, partition: int, lane: int) -> tuple[bytes, bytes]:
    """Key and value for the control topic."""
    held = {"version": _VERSION, "topic": topic, "partition": partition, "lane": lane}
    return _WISH + f"{topic}/{partition}".encode(), json.dumps(held, separators=(",", ":")).encode()


def take_wish(wishes: dict[Key, int], key: bytes | None, value: bytes | None) -> None:
    """Apply one control record; records of other kinds, and what can't be read, change nothing."""
    if key is None or value is None or not key.startswith(_WISH):
        return
    try:
        held = json.loads(value)
        if held["version"] == _VERSION:
            wishes[str(held["topic"]), int(held["partition"])] = int(held["lane"])
    except (ValueError, KeyError, TypeError):
        return
