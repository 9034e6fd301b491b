"""What is remembered where a link's direction is turned."""

from __future__ import annotations

import pytest

from replicator.ledger.turning import Turning, encode_cuts, encode_former, encode_starts


def test_given_records_when_they_are_read_then_they_say_what_was_written_and_the_last_one_counts() -> None:
    turning = Turning()
    for pair in (
        *encode_cuts({"a": {0: 5, 1: 7}, "b": {0: 1}}),
        *encode_starts({"us.a": {0: 3}}),
        *encode_former({"g": {("a", 0): 9}, "h": {("a", 1): 2}}),
        *encode_cuts({"b": None}),
        *encode_starts({"us.a": {0: 4}}),
        *encode_former({"g": {("a", 0): 10}}, before=["g", "h"]),
    ):
        turning.take(*pair)
    assert turning.cuts == {"a": {0: 5, 1: 7}}
    assert [turning.start(("us.a", 0)), turning.start(("us.a", 1)), turning.start(("b", 0))] == [4, None, None]
    assert [turning.former("g", ("a", 0)), turning.former("h", ("a", 1))] == [10, None]


@pytest.mark.parametrize("value", [b"", b"{}", b'{"version":2}', b"\xff", b'{"version":1,"offsets":[]}', b"[]"])
def test_given_a_record_that_cannot_be_read_then_others_are_as_they_were(value: bytes) -> None:
    turning = Turning()
    for pair in (*encode_cuts({"a": {0: 5}}), *encode_starts({"a": {0: 5}})):
        turning.take(*pair)
    turning.take(b"turn/cut/b", value)
    turning.take(b"turn/former/g", value)
    turning.take(b"other", value)
    turning.take(None, value)
    assert turning.cuts == turning.starts == {"a": {0: 5}}
