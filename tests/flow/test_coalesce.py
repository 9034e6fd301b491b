"""Runs of small batches: what comes out holds the same records, in fewer batches, and never hides what is broken."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.flow.backpressure import ByteBudget, Lease
from replicator.flow.batch import PASSED
from replicator.flow.coalesce import LEAST_RUN, MERGED_BYTES, MERGED_RECORDS
from replicator.flow.rebuild import Rebuild
from replicator.flow.stage import Stage, Staged
from replicator.states import Reason
from replicator.wire import batch as v2
from tests.flow import logs
from tests.flow.logs import Row
from tests.flow.test_stage import HEADERS, source_rows

# Around the sizes at which the length of a record, of what it counts, or a delta takes another byte.
SIZES = st.sampled_from([0, 1, 50, 54, 55, 56, 57, 58, 60, 63, 64, 65, 8170, 8180, 8184, 8185, 8186, 8190, 8200])
STEPS = st.sampled_from([0, 0, 1, 63, 64, 8191, 8192, 2**31, -1, -5000])


def staged_of(*batches: bytes, start: int = 0, compression: str = "source") -> Staged:
    return Stage(compression).stage(logs.fetched(*batches), start, Lease(ByteBudget(1 << 30), 0))


def single(offset: int, value: bytes | None = b"v", timestamp: int = logs.NOW, **changes: int) -> bytes:
    return logs.batch([Row(offset, timestamp, b"k%d" % offset, value)], **changes)  # type: ignore[arg-type]


@st.composite
def singles(draw: st.DrawFn) -> list[Row]:
    rows, offset, time = [], 0, draw(st.sampled_from([-1, logs.NOW]))
    for size, step, gap, headers in draw(
        st.lists(st.tuples(SIZES, STEPS, st.sampled_from([0, 0, 0, 7]), HEADERS), min_size=1, max_size=40)
    ):
        offset += gap
        time = max(-1, time + step)
        key = draw(st.none() | st.binary(max_size=3))
        rows.append(Row(offset, time, key, draw(st.none() | st.just(b"x" * size)), headers))
        offset += 1
    return rows


@settings(max_examples=150, deadline=None)
@given(singles(), st.integers(0, 3), st.booleans())
def test_given_one_record_batches_then_nothing_of_a_record_changes(rows: list[Row], skipped: int, tail: bool) -> None:
    start = rows[min(skipped, len(rows) - 1)].offset
    cut = single(rows[-1].offset + 1)[:50] if tail else b""
    staged = staged_of(*(logs.batch([row]) for row in rows), cut, start=start)
    assert staged.fault is None
    assert [row for batch in staged.batches for row in source_rows(batch)] == [r for r in rows if r.offset >= start]
    assert staged.next_offset == rows[-1].offset + 1
    sources = [batch.source_base for batch in staged.batches]
    assert sources == sorted(sources)
    for batch in staged.batches:
        assert batch.max_timestamp == max(row.timestamp for row in logs.contents(batch.data))


def test_given_a_run_then_one_batch_says_where_it_began_and_ended() -> None:
    staged = staged_of(*(single(n, leader_epoch=9) for n in (3, 4, 5, 9)), start=2)
    (batch,) = staged.batches
    assert batch.way == Rebuild.COALESCED
    assert (batch.source_base, batch.source_next, batch.offsets) == (3, 10, [3, 4, 5, 9])
    assert batch.source_epoch == staged.last_epoch == 9
    (batch,) = staged_of(*(single(n) for n in range(5))).batches
    assert batch.offsets is None


@pytest.mark.parametrize("codec", [0, 3])
def test_given_batches_of_another_leader_then_they_are_not_merged_with_those_before(codec: int) -> None:
    rows = logs.rows(0, 10)
    staged = staged_of(*(logs.batch([row], codec=codec, leader_epoch=4 + (row.offset >= 5)) for row in rows))
    assert [(batch.source_next, batch.source_epoch) for batch in staged.batches] == [(5, 4), (10, 5)]


def test_given_few_small_batches_then_they_pass_as_they_are() -> None:
    ways = [batch.way for batch in staged_of(*(single(n) for n in range(LEAST_RUN - 1))).batches]
    assert ways == [PASSED] * (LEAST_RUN - 1)


@pytest.mark.parametrize(("size", "count"), [(10, MERGED_RECORDS * 2 + 5), (5000, 300)], ids=["many", "large"])
def test_given_a_long_run_then_merged_batches_stay_within_bounds(size: int, count: int) -> None:
    staged = staged_of(*(single(n, b"x" * size) for n in range(count)))
    assert sum(batch.record_count for batch in staged.batches) == count == staged.next_offset
    assert 1 < len(staged.batches) <= 5
    assert all(len(batch.data) < MERGED_BYTES + 6000 for batch in staged.batches)
    assert all(batch.record_count <= MERGED_RECORDS for batch in staged.batches)


@pytest.mark.parametrize("at", range(6))
def test_given_a_corrupt_batch_in_a_run_then_what_is_before_it_goes_and_nothing_behind(at: int) -> None:
    batches = [bytearray(single(n)) for n in range(6)]
    batches[at][-1] ^= 1
    staged = staged_of(*map(bytes, batches))
    assert staged.fault is not None
    assert (staged.fault.reason, staged.fault.offset) == (Reason.CORRUPT_BATCH, at)
    assert staged.next_offset == at
    assert [row.offset for batch in staged.batches for row in source_rows(batch)] == [*range(at)]


def test_given_a_record_that_lies_about_its_length_then_it_is_not_put_right() -> None:
    lying = bytearray(single(2))
    lying[v2.HEADER_BYTES] += 2
    v2.UINT32.pack_into(lying, 17, v2.checksum(memoryview(lying)))
    staged = staged_of(single(0), single(1), bytes(lying), single(3))
    assert staged.fault is None
    assert bytes(staged.batches[2].data) == bytes(lying)


def test_given_small_compressed_batches_then_they_are_merged_and_compressed_the_same_way() -> None:
    rows = logs.rows(0, 12)
    staged = staged_of(*(logs.batch(rows[n : n + 2], codec=3) for n in range(0, 12, 2)))
    (batch,) = staged.batches
    assert batch.way == Rebuild.COALESCED
    assert v2.read_header(batch.data, 0).attributes & v2.CODEC_MASK == 3
    assert source_rows(batch) == rows


def test_given_small_committed_transactions_then_they_are_merged_across_their_markers() -> None:
    batches = []
    for n in range(0, 10, 2):
        batches += [logs.batch(logs.rows(n, 1), producer_id=7, transactional=True), logs.marker(n + 1, 7, commit=True)]
    staged = staged_of(*batches)
    (batch,) = staged.batches
    assert batch.offsets == [0, 2, 4, 6, 8]
    assert (batch.source_next, staged.next_offset, staged.dropped) == (9, 10, {"control": 5})


def test_given_different_codecs_then_each_run_is_merged_with_its_own() -> None:
    rows = logs.rows(0, 16)
    staged = staged_of(*(logs.batch([row], codec=0 if row.offset < 8 else 4) for row in rows))
    assert [v2.read_header(batch.data, 0).attributes for batch in staged.batches] == [0, 4]
    assert [row for batch in staged.batches for row in source_rows(batch)] == rows


def test_given_a_link_that_compresses_then_runs_are_merged_into_that() -> None:
    rows = logs.rows(0, 6)
    (batch,) = staged_of(*(logs.batch([row]) for row in rows), compression="zstd").batches
    assert v2.read_header(batch.data, 0).attributes & v2.CODEC_MASK == 4
    assert source_rows(batch) == rows


def undecodable(offset: int, **how: int) -> bytes:
    return logs.with_right_checksum(bytes(logs.batch(logs.rows(offset, 1), codec=2, **how)[:-3] + b"???"))


def test_given_a_broken_batch_with_holes_before_a_run_then_the_partition_stops_at_it() -> None:
    broken = undecodable(1, last=2)  # holes: it can't pass as it is
    staged = staged_of(single(0), broken, *(single(n) for n in range(3, 9)))
    assert staged.fault is not None
    assert (staged.fault.reason, staged.fault.offset) == (Reason.CORRUPT_BATCH, 1)
    assert [row.offset for batch in staged.batches for row in source_rows(batch)] == [0]
    assert staged.next_offset == 1


@pytest.mark.parametrize("behind", [[], [9]], ids=["at the end", "before another one"])
def test_given_a_bug_in_merging_then_nothing_of_the_run_is_passed_over(
    behind: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr("replicator.flow.coalesce.merge", broken)
    compressed = [logs.batch([row], codec=3) for row in logs.rows(0, 6)]
    staged = staged_of(*compressed, *(single(n) for n in behind))
    assert staged.fault is not None
    assert staged.fault.reason is Reason.INTERNAL_ERROR
    assert (staged.batches, staged.next_offset) == ([], 0)


def test_given_a_small_batch_that_does_not_decode_then_all_of_its_run_pass_as_they_are() -> None:
    broken = undecodable(2)
    batches = [logs.batch([row], codec=2) for row in logs.rows(0, 2)] + [broken]
    batches += [logs.batch([row], codec=2) for row in logs.rows(3, 2)]
    staged = staged_of(*batches)
    assert staged.fault is None
    assert [bytes(batch.data) for batch in staged.batches] == batches
