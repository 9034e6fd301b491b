"""Counting on the source: exact where the log is as it was, a hole where it may not be."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ledger.walk import Walk
from replicator.states import PartitionFault, Reason
from replicator.wire.fetch import FetchedPartition
from tests.flow import logs
from tests.flow.logs import Row


@dataclass
class Stored:
    """One batch of the source: its offsets, its bytes, and whether its records are to be copied."""

    base: int
    last: int
    data: bytes
    rows: list[Row] = field(default_factory=list)
    eligible: bool = False
    aborted: tuple[int, int] | None = None  # the transaction that it belongs to
    how: dict[str, object] = field(default_factory=dict)

    def with_rows(self, rows: list[Row]) -> Stored:
        """The same batch after compaction."""
        data = logs.batch(rows, base=self.base, last=self.last, **self.how)  # type: ignore[arg-type]
        return Stored(self.base, self.last, data, rows, self.eligible, self.aborted, self.how)


@st.composite
def source_logs(draw: st.DrawFn) -> list[Stored]:
    log: list[Stored] = []
    offset = draw(st.integers(0, 3))
    for n in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["plain", "plain", "append time", "committed", "aborted", "marker"]))
        if kind != "marker":
            rows = logs.rows(offset, draw(st.integers(1, 5)))
            how: dict[str, object] = {"leader_epoch": n // 3}
            if kind == "append time":
                how["append_time"] = logs.NOW
            elif kind in ("committed", "aborted"):
                how |= {"producer_id": 100 + n, "transactional": True}
            last = rows[-1].offset
            aborted = (100 + n, offset) if kind == "aborted" else None
            stored = Stored(offset, last, b"", eligible=kind != "aborted", aborted=aborted, how=how)
            log.append(stored.with_rows(rows))
            offset = last + 1
        if kind in ("committed", "aborted", "marker"):
            data = logs.marker(offset, 100 + n, commit=kind == "committed")
            log.append(Stored(offset, offset, data))
            offset += 1
    return log


def walk_over(log: list[Stored], start: int, count: int, at_once: int = 3) -> Walk:
    """Walk as a broker would let it: a few batches at a time, from the one that holds the position."""
    walk = Walk(start, count)
    while not walk.done:
        left = [stored for stored in log if stored.last >= walk.position][:at_once]
        if not left:
            break
        before = walk.position
        walk.take(answer(left))
        assert walk.done or walk.position > before
    return walk


def answer(stored: list[Stored]) -> FetchedPartition:
    aborted = sorted({each.aborted for each in stored if each.aborted}, key=lambda item: item[1])
    return logs.fetched(*(each.data for each in stored), aborted=aborted)


def offsets_of(walk: Walk) -> dict[int, int]:
    return {run.first + n: run.source + n for run in walk.runs for n in range(run.length)}


@given(source_logs(), st.data())
def test_given_a_log_as_it_was_when_walked_then_the_position_is_behind_the_last_record(
    log: list[Stored], data: st.DataObject
) -> None:
    start = data.draw(st.integers(log[0].base, log[-1].last))
    eligible = [row.offset for stored in log if stored.eligible for row in stored.rows if row.offset >= start]
    count = data.draw(st.integers(0, len(eligible)))
    walk = walk_over(log, start, count, data.draw(st.integers(1, 4)))
    assert walk.hole is None
    assert walk.found == count
    assert walk.position == (eligible[count - 1] + 1 if count else start)
    assert offsets_of(walk) == dict(enumerate(eligible[:count]))
    if count:
        holds = next(stored for stored in log if stored.base <= eligible[count - 1] <= stored.last)
        assert walk.leader_epoch == holds.how["leader_epoch"]


@given(source_logs(), st.data())
def test_given_a_log_that_lost_records_when_walked_then_a_hole_or_the_truth(
    log: list[Stored], data: st.DataObject
) -> None:
    start = data.draw(st.integers(log[0].base, log[-1].last))
    eligible = [row.offset for stored in log if stored.eligible for row in stored.rows if row.offset >= start]
    count = data.draw(st.integers(0, len(eligible)))
    left: list[Stored] = []
    for stored in log:
        if not stored.rows or data.draw(st.booleans()):
            left.append(stored)
            continue
        rows = [row for row in stored.rows if data.draw(st.booleans())]
        if rows or data.draw(st.booleans()):
            left.append(stored.with_rows(rows))
    walk = walk_over(left, start, count, data.draw(st.integers(1, 4)))
    there = {row.offset for stored in left for row in stored.rows}
    if walk.found == count:
        assert walk.position == (eligible[count - 1] + 1 if count else start)
        assert all(offset in there for offset in eligible[:count])
    else:  # it says from where on it doesn't know, or came to the end of the log
        stop = walk.hole if walk.hole is not None else walk.position
        assert not any(stop <= row.offset for stored in left for row in stored.rows) or walk.hole is not None
        assert any(offset >= stop for offset in eligible[walk.found : count])
    assert offsets_of(walk) == dict(enumerate(eligible[: walk.found]))


def test_given_a_log_that_begins_behind_the_position_when_walked_then_a_hole() -> None:
    walk = Walk(5, 3)
    walk.take(logs.fetched(logs.batch(logs.rows(7, 10))))
    assert (walk.done, walk.hole, walk.found) == (True, 5, 0)


def test_given_old_formats_with_a_hole_when_walked_then_it_is_seen(old_message: bytes) -> None:
    walk = Walk(0, 3)
    walk.take(logs.fetched(logs.batch(logs.rows(0, 2)), old_message))
    assert (walk.hole, walk.found) == (2, 2)


@pytest.fixture
def old_message() -> bytes:
    """One record of format v1 at offset 4."""
    from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

    builder = LegacyRecordBatchBuilder(magic=1, compression_type=0, batch_size=1 << 20)
    builder.append(0, timestamp=logs.NOW, key=b"k", value=b"v")
    data = bytearray(builder.build())
    data[0:8] = (4).to_bytes(8, "big")
    return bytes(data)


def test_given_a_corrupt_batch_when_walked_then_a_fault_only_if_it_is_needed() -> None:
    bad = bytearray(logs.batch(logs.rows(4, 4)))
    bad[-1] ^= 1
    walk = Walk(0, 4)
    walk.take(logs.fetched(logs.batch(logs.rows(0, 4)), bytes(bad)))
    assert walk.position == 4
    walk = Walk(0, 5)
    with pytest.raises(PartitionFault) as caught:
        walk.take(logs.fetched(logs.batch(logs.rows(0, 4)), bytes(bad)))
    assert caught.value.reason is Reason.CORRUPT_BATCH


def test_given_a_log_in_too_many_pieces_when_walked_then_ambiguous(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replicator.ledger.walk.MAX_RUNS", 2)
    parts = [
        part for n in range(3) for part in (logs.batch(logs.rows(2 * n, 1)), logs.marker(2 * n + 1, 9, commit=True))
    ]
    with pytest.raises(PartitionFault, match="more than 2 pieces"):
        Walk(0, 3).take(logs.fetched(*parts))
