"""Compaction: what stays, what goes, and in which place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.clock import ManualClock
from broker.storage.compaction import clean, needs_cleaning
from broker.storage.files import MemoryFiles
from broker.storage.log import PartitionLog
from broker.storage.validation import LogConfig
from tests.broker.batches import NOW, batch, contents, headers
from tests.broker.test_storage_log import make_log

COMPACT = LogConfig(cleanup_policy=frozenset({"compact"}), delete_retention_ms=60_000)


def put(log: PartitionLog, *pairs: tuple[bytes, bytes | None], codec: int = 0, **changes: int | bool) -> None:
    log.append_as_client(batch(pairs, codec=codec, **changes))  # type: ignore[arg-type]


def compact_log(clock: ManualClock | None = None, files: MemoryFiles | None = None) -> PartitionLog:
    return make_log(files, COMPACT, clock)


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4])
def test_given_repeated_keys_when_cleaned_then_the_last_of_each_stays_in_its_place(codec: int) -> None:
    log = compact_log()
    put(log, (b"a", b"1"), (b"b", b"1"), (b"c", b"1"), codec=codec)
    put(log, (b"a", b"2"), codec=codec)
    log.roll()
    assert clean(log)
    assert contents(log) == [(1, b"b", b"1"), (2, b"c", b"1"), (3, b"a", b"2")]
    assert headers(log) == [(0, 2, 2), (3, 3, 1)]
    assert log.log_end_offset == 4


def test_given_the_active_segment_when_cleaned_then_it_is_left_alone() -> None:
    log = compact_log()
    put(log, (b"a", b"1"))
    put(log, (b"a", b"2"))
    assert not clean(log)
    assert len(contents(log)) == 2


def test_given_a_tombstone_when_its_horizon_has_passed_then_it_goes() -> None:
    clock = ManualClock(NOW)
    log = compact_log(clock)
    put(log, (b"a", b"1"))
    put(log, (b"a", None), (b"b", b"1"))
    log.roll()
    clean(log)
    assert contents(log) == [(1, b"a", None), (2, b"b", b"1")]
    header, _ = next(log.batches())
    assert header.delete_horizon_ms == NOW + 60_000
    assert header.max_timestamp == NOW
    for seconds, expected in ((30, True), (31, False)):
        clock.advance(seconds)
        put(log, (b"x", b"%d" % seconds))
        log.roll()
        clean(log)
        assert ((1, b"a", None) in contents(log)) is expected


def test_given_a_batch_that_ends_a_producers_sequence_when_all_is_superseded_then_it_stays_empty() -> None:
    log = compact_log()
    put(log, (b"a", b"1"), producer_id=5, epoch=0, sequence=0)
    put(log, (b"a", b"2"), producer_id=5, epoch=0, sequence=1)
    put(log, (b"a", b"3"))
    log.roll()
    clean(log)
    assert headers(log) == [(1, 1, 0), (2, 2, 1)]
    files = log.files
    again = make_log(files, COMPACT)
    assert again.producer_states.entries[5].last_sequence == 1


def test_given_aborted_records_when_cleaned_then_they_go_and_do_not_supersede() -> None:
    log = compact_log()
    put(log, (b"a", b"1"))
    put(log, (b"a", b"2"), producer_id=5, epoch=0, sequence=0, transactional=True)
    log.append_marker(5, 0, commit=False)
    put(log, (b"b", b"1"), producer_id=5, epoch=0, sequence=1, transactional=True)
    log.append_marker(5, 0, commit=True)
    log.roll()
    clean(log)
    assert contents(log) == [(0, b"a", b"1"), (3, b"b", b"1")]


def test_given_transaction_markers_when_cleaned_then_they_go_a_horizon_after_their_records() -> None:
    clock = ManualClock(NOW)
    log = compact_log(clock)
    put(log, (b"a", b"1"), producer_id=5, epoch=0, sequence=0, transactional=True)
    log.append_marker(5, 0, commit=True)
    put(log, (b"a", b"2"))
    put(log, (b"z", b"1"), producer_id=5, epoch=0, sequence=1)
    shapes = []
    for seconds in (0, 0, 61):
        clock.advance(seconds)
        put(log, (b"x", b"%d" % seconds))
        log.roll()
        clean(log)
        shapes.append([h.delete_horizon_ms is not None for h, _ in log.batches() if h.is_control])
    assert shapes == [[False], [True], []]


def test_given_an_open_transaction_when_cleaned_then_nothing_behind_its_start_is_touched() -> None:
    log = compact_log()
    put(log, (b"a", b"1"))
    log.roll()
    put(log, (b"a", b"2"), producer_id=5, epoch=0, sequence=0, transactional=True)
    log.roll()
    clean(log)
    assert len(contents(log)) == 2


def test_given_the_dirty_ratio_when_asked_then_only_a_dirty_log_needs_cleaning() -> None:
    log = compact_log()
    assert not needs_cleaning(log)
    for number in range(10):
        put(log, (b"k%d" % number, b"1"))
    log.roll()
    assert needs_cleaning(log)
    clean(log)
    put(log, (b"k0", b"2"))
    log.roll()
    assert not needs_cleaning(log)


@settings(max_examples=50, deadline=None)
@given(
    writes=st.lists(
        st.tuples(
            st.integers(0, 5), st.one_of(st.none(), st.binary(max_size=3)), st.sampled_from(["", "roll", "clean"])
        ),
        max_size=40,
    )
)
def test_given_any_writes_when_cleaned_at_any_time_then_the_last_value_of_each_key_survives(
    writes: list[tuple[int, bytes | None, str]],
) -> None:
    files = MemoryFiles()
    clock = ManualClock(NOW)
    log = compact_log(clock, files)
    expected: dict[bytes, tuple[int, bytes | None]] = {}
    for number, value, then in writes:
        key = b"%d" % number
        expected[key] = (log.log_end_offset, value)
        put(log, (key, value), (b"other", b"x"))
        if then:
            log.roll()
        if then == "clean":
            clean(log)
    log.roll()
    clean(log)
    for opened in (log, make_log(files, COMPACT, clock)):
        survived = {key: (offset, value) for offset, key, value in contents(opened) if key != b"other"}
        assert survived == expected
        assert opened.log_end_offset == 2 * len(writes)
