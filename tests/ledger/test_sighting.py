"""Sightings survive being written and read; what can't be one is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ledger.codec import LedgerFormatError
from replicator.ledger.sighting import PARTITIONS_MAX, Sighting, decode_sighting, encode_sighting

OFFSETS = st.integers(0, 2**63 - 1)
PLACES = st.tuples(st.text("abc.-", min_size=1, max_size=20), st.integers(0, 2**31 - 1))


@given(OFFSETS, st.dictionaries(PLACES, OFFSETS, max_size=20))
def test_given_a_sighting_when_written_and_read_then_it_is_the_same(
    at_ms: int, ends: dict[tuple[str, int], int]
) -> None:
    sighting = Sighting(at_ms, ends)
    assert decode_sighting(encode_sighting(sighting)) == sighting


def test_given_more_partitions_than_fit_then_the_rest_is_left_out() -> None:
    many = Sighting(1, {("t", number): number for number in range(PARTITIONS_MAX + 5)})
    assert len(decode_sighting(encode_sighting(many)).ends) == PARTITIONS_MAX


@pytest.mark.parametrize("value", [b"", b"\x02\x00\x00", b"\x01\x02\x02", b"\x01\x02\xff\xff\xff\x7f"])
def test_given_other_bytes_then_they_are_refused(value: bytes) -> None:
    with pytest.raises(LedgerFormatError):
        decode_sighting(value)
