"""A partition's checksum tells records apart, not offsets, and can be gone on with."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.dr import checksum
from replicator.dr.checksum import Checksum
from replicator.dr.compare import Checkpoint, Comparison, Record

binary = st.none() | st.binary(max_size=3)
contents = st.builds(
    Record,
    st.just(0),
    binary,
    binary,
    st.lists(st.tuples(st.text(max_size=2), binary), max_size=2).map(tuple),
    st.integers(-1, 3),
)


def of(records: list[Record]) -> str:
    made = Checksum()
    for record in records:
        made.update(record)
    return made.hexdigest()


@given(st.lists(contents, max_size=6), st.lists(contents, max_size=6))
def test_given_two_streams_then_their_checksums_are_equal_exactly_if_they_are(
    ours: list[Record], theirs: list[Record]
) -> None:
    assert (of(ours) == of(theirs)) is (ours == theirs)


def records(count: int) -> list[Record]:
    return [Record(i * 3, b"k%d" % i, b"v%d" % i, (("h", b"x"),), i) for i in range(count)]


@given(st.integers(0, 25))
def test_given_a_comparison_that_goes_on_then_the_outcome_is_that_of_one_in_one_go(count: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(checksum, "SEGMENT", 4)
        source = records(count)
        target = [replace(record, offset=i) for i, record in enumerate(source)]
        reached: list[Checkpoint] = []
        whole = Comparison(iter(source), iter(target), reached=reached.append).run()
        assert len(reached) == count // 4
        assert whole.source_checksum == whole.target_checksum == of(source)
        for at in reached:
            rest = [r for r in source if r.offset >= at.source_next]
            there = [r for r in target if r.offset >= at.target_next]
            assert Comparison(iter(rest), iter(there), since=at).run() == whole


def test_given_a_difference_then_each_side_has_its_own_checksum_and_there_is_no_going_on_behind_it() -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(checksum, "SEGMENT", 4)
        source = records(20)
        target = [replace(record, offset=i) for i, record in enumerate(source) if i not in (9, 10)]
        target[3] = replace(target[3], value=b"changed")
        reached: list[Checkpoint] = []
        counts = Comparison(iter(source), iter(target), reached=reached.append).run()
        assert (counts.missing, counts.changed, reached) == (2, 1, [])
        assert (counts.source_checksum, counts.target_checksum) == (of(source), of(target))
