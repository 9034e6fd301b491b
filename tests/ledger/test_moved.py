"""What the ledger and the control topic say of partitions that have moved between lanes."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ledger.codec import LedgerFormatError
from replicator.ledger.entry import Entry, State, decode, encode_entry, encode_key
from replicator.ledger.lane_load import LaneLoad, encode_load, take_load
from replicator.ledger.load import entries_from_records
from replicator.ledger.moved import (
    Moved,
    decode_moved,
    encode_moved,
    encode_wish,
    known_from_records,
    moved_from_records,
    take_wish,
)

ENTRY = Entry(
    topic="orders",
    partition=3,
    source_topic_id=UUID(int=1),
    source_leader_epoch=2,
    target_topic="us.orders",
    target_topic_id=UUID(int=2),
    source_next=100,
    target_next=90,
    producer_id=7,
    producer_epoch=1,
    next_sequence=90,
    state=State.COPYING,
    reason=None,
    detail="",
    since_ms=5,
    record_timestamp_ms=6,
    written_ms=7,
    map_chunks=2,
    map_tail=b"tail",
)
KEY = encode_key("orders", 3)
MOVED = Moved(ENTRY, 11, 4)


def test_given_a_partition_that_has_moved_then_its_record_says_where_to_and_is_no_entry() -> None:
    value = encode_moved(MOVED)
    assert decode_moved(KEY, value) == MOVED
    assert decode(KEY, value) is None
    assert decode_moved(KEY, encode_entry(ENTRY)) is None
    assert decode_moved(KEY, None) is None


def test_given_an_entry_of_before_there_were_moves_then_it_never_moved() -> None:
    assert decode(KEY, encode_entry(ENTRY)[:-1]) == ENTRY
    assert decode(KEY, encode_entry(replace(ENTRY, moves=300))) == replace(ENTRY, moves=300)


def test_given_a_lanes_records_then_the_last_one_of_a_partition_counts() -> None:
    here, away = (KEY, encode_entry(ENTRY)), (KEY, encode_moved(MOVED))
    back = KEY, encode_entry(replace(ENTRY, moves=5))
    other = encode_key("orders", 4), encode_entry(replace(ENTRY, partition=4))
    assert entries_from_records([here, other, away]) == {("orders", 4): replace(ENTRY, partition=4)}
    assert moved_from_records([here, other, away]) == {("orders", 3): MOVED}
    assert known_from_records([other, away])["orders", 3] == ENTRY
    assert moved_from_records([here, away, back]) == {}
    assert entries_from_records([here, away, back]) == {("orders", 3): replace(ENTRY, moves=5)}
    assert moved_from_records([here, away, (KEY, None), (None, b"x"), (b"\x02", b"lane")]) == {}


@given(st.binary(max_size=60), st.integers(0, 200))
def test_given_damaged_bytes_then_that_is_said(junk: bytes, cut: int) -> None:
    value = encode_moved(MOVED)
    for damaged in (value[:cut] if cut < len(value) else value, b"\x03" + junk):
        try:
            decode_moved(KEY, damaged)
        except LedgerFormatError:
            continue


def test_given_a_move_to_no_lane_then_it_is_refused() -> None:
    with pytest.raises(LedgerFormatError):
        decode_moved(KEY, encode_moved(Moved(ENTRY, -1, 1)))
    with pytest.raises(LedgerFormatError):
        decode_moved(KEY, encode_moved(Moved(ENTRY, 1, 0)))


def test_given_the_control_topic_then_the_last_wish_and_the_last_load_count_and_the_rest_changes_nothing() -> None:
    wishes: dict[tuple[str, int], int] = {}
    loads: dict[int, LaneLoad] = {}
    load = LaneLoad(5, "w", 1000, 77, (("orders", 3, 70),))
    pairs = [
        encode_wish("a/b", 1, 2),
        encode_wish("a/b", 1, 3),
        encode_load(load),
        (b"place/x/1", b"{"),
        (b"place/x/1", b'{"version":2}'),
        (b"load/1", b"[]"),
        (b"load/x", b"{}"),
        (b"lane/1", b"{}"),
        (None, b""),
        (b"place/y/1", None),
    ]
    for key, value in pairs:
        take_wish(wishes, key, value)
        take_load(loads, key, value)
    assert wishes == {("a/b", 1): 3}
    assert loads == {5: load}
