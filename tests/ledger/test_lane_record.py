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
        decode_lane(b"\x03" + encode_lane(LaneRecord())[1:])


def test_given_producers_of_one_origin_when_encoded_then_older_workers_may_read_it() -> None:
    record = LaneRecord(5).with_producers(7, 8, origin="us")
    assert encode_lane(record)[0] == 1
    assert decode_lane(encode_lane(record)) == record
    assert record.producers_of("us") == (7, 8)


def test_given_producers_of_two_origins_when_encoded_then_older_workers_must_refuse_it() -> None:
    record = LaneRecord(5).with_producers(7, origin="us").with_producers(8, origin="asia")
    assert encode_lane(record)[0] == 2
    assert decode_lane(encode_lane(record)) == record
    assert record.producers_of("asia") == (8,)


def test_given_a_record_of_an_earlier_version_when_its_origin_is_told_then_all_its_producers_have_it() -> None:
    record = LaneRecord(5, (1, 2))
    told = record.with_origin("us")
    assert told.origins == {1: "us", 2: "us"}
    assert told.with_origin("eu") is told
    assert told.with_producers(1, 2, origin="us") is told


def test_given_a_producer_of_which_no_origin_is_known_when_encoded_then_that_stays_so() -> None:
    record = LaneRecord(5, (1,)).with_producers(2, origin="us")
    assert decode_lane(encode_lane(record)) == record
    assert 1 not in record.origins


def test_given_an_origin_that_is_not_named_when_decoded_then_it_is_an_error() -> None:
    value = bytearray(encode_lane(LaneRecord(5).with_producers(7, origin="us")))
    value[-1] = 4
    with pytest.raises(LedgerFormatError, match="origin"):
        decode_lane(bytes(value))
