"""The ledger's records of groups: what goes in comes out, and what can't be read says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ledger.codec import LedgerFormatError
from replicator.ledger.entry import decode_key, encode_key
from replicator.ledger.group_state import (
    ALSO_MAX,
    GROUP_MAX_BYTES,
    GroupTopic,
    Mark,
    decode_group,
    decode_group_key,
    encode_group,
    encode_group_key,
)

OFFSETS = st.integers(0, (1 << 63) - 1)
MARKS = st.builds(
    Mark,
    OFFSETS,
    OFFSETS,
    st.booleans(),
    st.integers(0, (1 << 32) - 1),
    st.lists(OFFSETS, max_size=ALSO_MAX).map(tuple),
)
STATES = st.builds(GroupTopic, st.dictionaries(st.integers(0, 10_000), MARKS, max_size=20), OFFSETS)


@given(STATES)
def test_given_any_record_then_it_comes_back_as_it_was(state: GroupTopic) -> None:
    assert decode_group(encode_group(state)) == state


@given(STATES, st.data())
def test_given_a_damaged_record_then_it_is_refused_or_read_but_nothing_else(
    state: GroupTopic, data: st.DataObject
) -> None:
    value = encode_group(state)
    cut = value[: data.draw(st.integers(0, len(value) - 1))]
    with pytest.raises(LedgerFormatError):
        decode_group(cut)


def test_given_a_group_s_key_then_readers_of_entries_pass_it_over() -> None:
    key = encode_group_key("ß" * (GROUP_MAX_BYTES // 2), "t" * 249)
    assert decode_group_key(key) == ("ß" * (GROUP_MAX_BYTES // 2), "t" * 249)
    assert decode_key(key) is None
    assert decode_group_key(encode_key("t", 0)) is None
    with pytest.raises(ValueError, match="at most 700"):
        encode_group_key("x" * (GROUP_MAX_BYTES + 1), "t")
    with pytest.raises(LedgerFormatError):
        decode_group_key(key + b"x")


def test_given_a_newer_version_then_it_asks_for_an_upgrade() -> None:
    with pytest.raises(LedgerFormatError, match="upgrade"):
        decode_group(b"\x09")
