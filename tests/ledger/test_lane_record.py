from __future__ import annotations

import pytest

from replicator.ledger.codec import LedgerFormatError
from replicator.ledger.lane_record import MAX_PRODUCERS, LaneRecord, decode_lane, encode_lane


@pytest.mark.parametrize("record", [LaneRecord(), LaneRecord(1_760_000_000_000), LaneRecord(None, (4000, 4001))])
def test_given_a_record_when_encoded_then_it_decodes_to_itself(record: LaneRecord) -> None:
    assert decode_lane(encode_lane(record)) == record


def test_given_the_bytes_of_a_record_without_producers_when_decoded_then_it_has_none() -> None:
    assert decode_lane(encode_lane(LaneRecord(1_760_000_000_000))[:-1]) == LaneRecord(1_760_000_000_000)


def test_given_producers_when_added_then_each_is_there_once_and_the_oldest_are_forgotten() -> None:
    record = LaneRecord(5, (1, 2))
    assert record.with_producers(2, 1) is record
    assert record.with_producers(2, 3, 3).producers == (1, 2, 3)
    assert record.with_producers(*range(10, 10 + MAX_PRODUCERS)).producers == tuple(range(10, 10 + MAX_PRODUCERS))


def test_given_a_newer_version_when_decoded_then_the_error_says_upgrade() -> None:
    with pytest.raises(LedgerFormatError, match="upgrade"):
        decode_lane(b"\x02" + encode_lane(LaneRecord())[1:])
