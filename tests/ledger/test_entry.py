from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ledger.entry import (
    DETAIL_MAX_BYTES,
    MAX_GAPS,
    Entry,
    Gap,
    LedgerFormatError,
    PartitionFault,
    Reason,
    State,
    Way,
    decode,
    decode_key,
    encode_entry,
    encode_key,
)

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TOPICS = st.text("abcXYZ019._-", min_size=1, max_size=249)
ENTRIES = st.builds(
    Entry,
    topic=TOPICS,
    partition=st.integers(0, (1 << 31) - 1),
    source_topic_id=st.uuids(),
    source_leader_epoch=st.integers(-1, (1 << 31) - 1),
    target_topic=TOPICS,
    target_topic_id=st.uuids(),
    source_next=INT64,
    target_next=INT64,
    producer_id=INT64,
    producer_epoch=st.integers(-1, (1 << 15) - 1),
    next_sequence=st.integers(0, (1 << 31) - 1),
    state=st.sampled_from([state for state in State if state is not State.ASLEEP]),
    reason=st.none() | st.sampled_from(Reason),
    detail=st.text(max_size=200),
    since_ms=INT64,
    record_timestamp_ms=INT64,
    written_ms=INT64,
    way=st.sampled_from(Way),
)
LATER_FIELDS = b"\x00\x00\x00\x00"  # no map, no gaps, no moves
ENTRY = Entry(
    topic="orders",
    partition=3,
    source_topic_id=UUID(int=1),
    source_leader_epoch=7,
    target_topic="us.orders",
    target_topic_id=UUID(int=2),
    source_next=1000,
    target_next=900,
    producer_id=4000,
    producer_epoch=2,
    next_sequence=55,
    state=State.COPYING,
    reason=None,
    detail="",
    since_ms=1_760_000_000_000,
    record_timestamp_ms=1_760_000_000_123,
    written_ms=1_760_000_000_456,
)
KEY = encode_key("orders", 3)


@given(ENTRIES)
def test_given_any_entry_when_encoded_then_it_decodes_to_itself_within_the_bound(entry: Entry) -> None:
    key, value = encode_key(entry.topic, entry.partition), encode_entry(entry)
    assert decode_key(key) == (entry.topic, entry.partition)
    assert decode(key, value) == entry
    assert len(value) < 2048


@given(ENTRIES, st.binary(max_size=50))
def test_given_fields_of_a_later_version_at_the_end_when_decoded_then_they_are_ignored(
    entry: Entry, more: bytes
) -> None:
    assert decode(encode_key(entry.topic, entry.partition), encode_entry(entry) + more) == entry


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_given_arbitrary_bytes_when_decoded_then_the_only_error_is_a_format_error(key: bytes, value: bytes) -> None:
    for k, v in ((key, value), (KEY, value), (KEY, b"\x01" + value)):
        try:
            decode(k, v)
        except LedgerFormatError:
            pass


def test_given_every_cut_of_a_value_when_decoded_then_it_is_refused_and_names_the_partition() -> None:
    value = encode_entry(ENTRY)
    first_version = len(value) - len(LATER_FIELDS)  # an older worker's entry ends here
    for end in set(range(len(value))) - {first_version, len(value) - 1}:  # before there were moves, here
        with pytest.raises(LedgerFormatError, match=r"orders-3"):
            decode(KEY, value[:end])


def test_given_the_bytes_of_the_first_version_when_decoded_then_they_still_mean_the_same() -> None:
    assert KEY.hex() == "010c6f726465727306"
    entry = replace(ENTRY, state=State.FAULTED, reason=Reason.CORRUPT_BATCH, detail="x")
    first_version = bytes.fromhex(
        "01000000000000000000000000000000010e1275732e6f726465727300000000000000000000000000000002"
        "d00f880ec03e046e040502788080e682b966f681e682b9669087e682b966"
    )
    assert encode_entry(entry) == first_version + LATER_FIELDS
    assert decode(KEY, first_version) == entry


def test_given_gaps_and_a_map_tail_when_encoded_then_they_come_back_and_the_oldest_gaps_are_forgotten() -> None:
    gaps = tuple(Gap(Reason.RETENTION_OVERRUN, n, n + 5, 0, 0, 1_760_000_000_000, "ops") for n in range(MAX_GAPS + 3))
    entry = decode(KEY, encode_entry(replace(ENTRY, map_chunks=7, map_tail=b"tail", gaps=gaps)))
    assert entry is not None
    assert (entry.map_chunks, entry.map_tail, entry.gaps) == (7, b"tail", gaps[3:])


def test_given_a_newer_version_byte_when_decoded_then_the_error_says_upgrade() -> None:
    with pytest.raises(LedgerFormatError, match=r"orders-3.*version 4.*upgrade"):
        decode(KEY, b"\x04" + encode_entry(ENTRY)[1:])


def test_given_an_unknown_reason_when_decoded_then_it_is_unknown_and_an_unknown_state_is_refused() -> None:
    value = bytearray(encode_entry(replace(ENTRY, state=State.FAULTED, reason=Reason.UNKNOWN)))
    at = value.index(b"\x04\xff")
    value[at + 1] = 200
    entry = decode(KEY, bytes(value))
    assert entry is not None
    assert entry.reason is Reason.UNKNOWN
    value[at] = 99
    with pytest.raises(LedgerFormatError, match="state number 99"):
        decode(KEY, bytes(value))


def test_given_tombstones_and_other_kinds_of_key_when_decoded_then_they_are_no_entries() -> None:
    assert decode(KEY, None) is None
    assert decode(b"\x02lane producers", b"anything") is None


def test_given_a_long_detail_when_encoded_then_it_is_cut_at_a_character() -> None:
    entry = decode(KEY, encode_entry(replace(ENTRY, detail="ü" * 3000)))
    assert entry is not None
    assert entry.detail.endswith("ü…")
    assert len(entry.detail.encode()) <= DETAIL_MAX_BYTES


def test_given_impossible_names_when_a_key_is_made_or_read_then_it_is_refused() -> None:
    for topic, partition in (("", 0), ("a" * 250, 0), ("a", -1)):
        with pytest.raises(ValueError):
            encode_key(topic, partition)
    with pytest.raises(LedgerFormatError):
        decode_key(KEY + b"x")
    with pytest.raises(LedgerFormatError):
        decode_key(b"\x01" + b"a" * 2000)


@pytest.mark.parametrize("reason", Reason)
def test_given_any_reason_when_asked_then_it_has_text_and_next_step_as_sentences(reason: Reason) -> None:
    for sentence in (reason.text, reason.next_step):
        assert sentence[0].isupper()
        assert sentence.endswith(".")
    assert isinstance(reason.heals, bool)
    assert decode(KEY, encode_entry(replace(ENTRY, reason=reason))) == replace(ENTRY, reason=reason)


def test_given_a_fault_when_shown_then_it_names_place_reason_detail_and_next_step() -> None:
    fault = PartitionFault(Reason.RETENTION_OVERRUN, "Offsets 5 to 9.", topic="orders", partition=3, offset=5)
    assert str(fault).startswith("orders-3 at offset 5: RETENTION_OVERRUN")
    assert "Offsets 5 to 9." in str(fault)
    assert "--accept-gap" in str(fault)
    assert not fault.retriable
    assert PartitionFault(Reason.TARGET_UNREACHABLE, "").retriable


def test_given_an_entry_of_fenced_writing_then_it_differs_in_the_version_that_an_older_worker_refuses() -> None:
    fenced = replace(ENTRY, way=Way.FENCED)
    assert encode_entry(fenced) == b"\x02" + encode_entry(ENTRY)[1:]
    assert decode(KEY, encode_entry(fenced)) == fenced
