"""Stage against a model that knows records only: what a read_committed consumer sees from an offset."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.storage.batch import DELETE_HORIZON, with_header
from replicator.flow.backpressure import ByteBudget, Lease
from replicator.flow.batch import PASSED, Batch
from replicator.flow.rebuild import Rebuild, split
from replicator.flow.stage import Stage, Staged
from replicator.states import Reason
from replicator.wire import batch as v2
from tests.flow import logs
from tests.flow.logs import Row

TIMES = st.sampled_from([-1, 0, logs.NOW, logs.NOW + 5, 2**62])
BYTES = st.none() | st.binary(max_size=6)
HEADERS = st.lists(st.tuples(st.sampled_from(["a", "b", "ü"]), BYTES), max_size=3).map(tuple)


@dataclass
class Log:
    """Stored batches, the records that a read_committed consumer sees, and the transactions that were aborted."""

    batches: list[bytes] = field(default_factory=list)
    visible: list[Row] = field(default_factory=list)
    aborted: list[tuple[int, int, int]] = field(default_factory=list)  # producer, first offset, marker's offset
    end: int = 0


@st.composite
def written_logs(draw: st.DrawFn) -> Log:
    log = Log()
    open_transactions: dict[int, tuple[int, list[Row]]] = {}
    kinds = ["plain"] * 4 + ["holes", "append_time", "empty", "transactional", "transactional", "end", "hole_before"]
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=10)):
        base = log.end
        if kind == "hole_before":
            log.end += draw(st.integers(1, 3))
            continue
        if kind == "end":
            if open_transactions:
                producer = draw(st.sampled_from(sorted(open_transactions)))
                first, content = open_transactions.pop(producer)
                commit = draw(st.booleans())
                log.batches.append(logs.marker(base, producer, commit=commit))
                if commit:
                    log.visible += content
                else:
                    log.aborted.append((producer, first, base))
                log.end += 1
            continue
        count = draw(st.integers(1, 4))
        last = base + count - 1
        content = [Row(base + n, draw(TIMES), draw(BYTES), draw(BYTES), draw(HEADERS)) for n in range(count)]
        codec = draw(st.integers(0, 4))
        log.end = last + 1
        if kind == "empty":
            log.batches.append(logs.batch([], base=base, last=last))
        elif kind == "transactional":
            producer = draw(st.sampled_from([70, 71]))
            log.batches.append(logs.batch(content, producer_id=producer, transactional=True, codec=codec))
            open_transactions.setdefault(producer, (base, []))[1].extend(content)
        elif kind == "append_time":
            at = draw(st.sampled_from([1, logs.NOW]))
            log.batches.append(logs.batch(content, append_time=at, codec=codec))
            log.visible += [row._replace(timestamp=at) for row in content]
        else:
            if kind == "holes":
                content = [row for row in content if draw(st.booleans())] or content[-1:]
            log.batches.append(logs.batch(content, base=base, last=last, codec=codec))
            log.visible += content
    for producer, (first, _) in open_transactions.items():  # all are decided below the last stable offset
        log.batches.append(logs.marker(log.end, producer, commit=False))
        log.aborted.append((producer, first, log.end))
        log.end += 1
    log.visible.sort()
    return log


def source_rows(batch: Batch) -> list[Row]:
    """What a staged batch says it holds, under source offsets."""
    content = logs.contents(stamped(batch))
    offsets = batch.offsets or range(batch.source_base, batch.source_base + batch.record_count)
    assert len(content) == batch.record_count == len(offsets)
    header = v2.read_header(batch.data, 0)
    assert header.last_offset_delta + 1 == header.record_count
    assert not header.attributes & (v2.TRANSACTIONAL | v2.CONTROL | v2.LOG_APPEND_TIME | v2.DELETE_HORIZON)
    return [row._replace(offset=offset) for row, offset in zip(content, offsets, strict=True)]


def stamped(batch: Batch) -> memoryview:
    v2.stamp(batch.data, producer_id=5, producer_epoch=0, base_sequence=0, transactional=False)
    return batch.data


def read(log: Log, start: int, step: int, compression: str = "source") -> tuple[list[Row], int]:
    """Fetch by fetch from `start`, `step` batches at a time, as a broker would answer."""
    stage, budget = Stage(compression), ByteBudget(1 << 30)
    position, found = start, []
    remaining = list(log.batches)
    while remaining and last_offset(remaining[0]) < position:
        remaining.pop(0)
    while remaining:
        part, remaining = remaining[:step], remaining[step:]
        until = last_offset(part[-1])
        aborted = [(pid, first) for pid, first, marker in log.aborted if marker >= position and first <= until]
        cut = remaining[0][:40] if remaining else b""  # a response may end inside a batch
        answer = logs.fetched(*part, cut, aborted=aborted)
        lease = Lease(budget, len(answer.records))
        staged = stage.stage(answer, position, lease)
        lease.release()
        assert staged.fault is None
        before = position
        for batch in staged.batches:
            rows = source_rows(batch)
            assert before <= rows[0].offset
            assert batch.source_base == rows[0].offset
            before = batch.source_next
            assert rows[-1].offset < before
            found += rows
            batch.release()
        assert before <= staged.next_offset == until + 1
        position = staged.next_offset
    assert budget.in_use == 0
    return found, position


def last_offset(data: bytes) -> int:
    header = v2.read_header(memoryview(data), 0)
    return header.base_offset + header.last_offset_delta


@settings(max_examples=150, deadline=None)
@given(written_logs(), st.integers(0, 20), st.integers(1, 12), st.sampled_from(["source", "source", "none", "lz4"]))
def test_given_any_log_then_staging_gives_what_a_read_committed_consumer_sees(
    log: Log, start: int, step: int, compression: str
) -> None:
    found, _ = read(log, min(start, log.end), step, compression)
    assert found == [row for row in log.visible if row.offset >= min(start, log.end)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), TIMES, BYTES, BYTES, HEADERS), min_size=1, max_size=9), st.integers(0, 4))
def test_given_a_batch_split_until_it_cannot_be_then_nothing_of_it_changes(
    drawn: list[tuple[int, int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]], codec: int
) -> None:
    content, offset = [], 100
    for step, *rest in drawn:
        offset += step
        content.append(Row(offset, *rest))
    (whole,) = staged_of(logs.batch(content, base=100, last=offset + 1, codec=codec), start=100).batches
    parts = [whole]
    while any(part.record_count > 1 for part in parts):
        parts = [half for part in parts for half in split(part)]
    assert [row for part in parts for row in source_rows(part)] == content
    assert parts[-1].source_next == offset + 2


def staged_of(*batches: bytes, start: int = 0, compression: str = "source") -> Staged:
    return Stage(compression).stage(logs.fetched(*batches), start, Lease(ByteBudget(1 << 30), 0))


def test_given_a_plain_batch_then_its_bytes_pass_and_the_response_stays_leased() -> None:
    budget = ByteBudget(1 << 20)
    answer = logs.fetched(logs.batch(logs.rows(7, 3), codec=3, leader_epoch=4))
    lease = Lease(budget, len(answer.records))
    staged = Stage("source").stage(answer, 7, lease)
    lease.release()
    (batch,) = staged.batches
    assert (batch.way, batch.source_base, batch.source_next, batch.source_epoch) == (PASSED, 7, 10, 4)
    assert batch.data.obj is answer.records.obj
    assert budget.in_use == len(answer.records)
    batch.release()
    assert budget.in_use == 0


@pytest.mark.parametrize(
    ("data", "start", "why"),
    [
        (logs.batch(logs.rows(0, 3), base=0, last=5), 0, Rebuild.HOLES),
        (logs.batch(logs.rows(0, 3), append_time=9), 0, Rebuild.APPEND_TIME),
        (logs.batch(logs.rows(0, 3)), 1, Rebuild.PARTIAL),
    ],
    ids=["holes", "append time", "partial"],
)
def test_given_a_batch_that_cannot_pass_then_it_is_rebuilt_and_counted_by_itself(
    data: bytes, start: int, why: str
) -> None:
    budget = ByteBudget(1 << 20)
    lease = Lease(budget, len(data))
    (batch,) = Stage("source").stage(logs.fetched(data), start, lease).batches
    lease.release()
    assert batch.way == why
    assert budget.in_use == len(batch.data)
    batch.detach()
    assert budget.parked == budget.in_use == len(batch.data)
    batch.release()
    assert budget.in_use == budget.parked == 0


def test_given_a_delete_horizon_then_the_bit_goes_and_the_times_stay() -> None:
    data = with_header(logs.batch(logs.rows(0, 2)), attributes=DELETE_HORIZON)
    (batch,) = staged_of(bytes(data)).batches
    assert source_rows(batch) == logs.rows(0, 2)


CORRUPTIONS = {
    "a flipped bit": lambda data: data[:70] + bytes([data[70] ^ 1]) + data[71:],
    "more records than offsets": lambda data: bytes(with_header(data, record_count=9)),
    "negative record count": lambda data: bytes(with_header(data, record_count=-1)),
    "negative last offset": lambda data: bytes(with_header(data, last_offset_delta=-3, record_count=0)),
    "records that do not decode": lambda data: bytes(with_header(data, attributes=1, last_offset_delta=5)),
    "fewer records than said": lambda data: bytes(with_header(data, last_offset_delta=7, record_count=5)),
}


@pytest.mark.parametrize("corrupt", CORRUPTIONS.values(), ids=CORRUPTIONS)
def test_given_a_corrupt_batch_then_what_is_before_it_goes_and_nothing_behind(corrupt: object) -> None:
    good, bad, behind = (logs.batch(logs.rows(first, 3)) for first in (0, 3, 6))
    staged = staged_of(good, corrupt(bad), behind)  # type: ignore[operator]
    assert [batch.source_base for batch in staged.batches] == [0]
    assert staged.next_offset == 3
    assert staged.fault is not None
    assert staged.fault.reason is Reason.CORRUPT_BATCH
    assert staged.fault.offset == 3


@pytest.mark.parametrize(
    "data",
    [b"\x00" * 8 + b"\xff\xff\xff\xff" + b"\x00" * 60, logs.batch(logs.rows(0, 3))[:50], b"\x01" * 5],
    ids=["negative length", "cut off", "too short"],
)
def test_given_an_answer_without_a_whole_batch_then_the_partition_faults_and_does_not_spin(data: bytes) -> None:
    staged = staged_of(data)
    assert staged.fault is not None
    assert staged.fault.reason is Reason.CORRUPT_BATCH
    assert staged.next_offset == 0


def test_given_a_magic_of_the_future_then_the_format_is_named() -> None:
    data = bytearray(logs.batch(logs.rows(0, 3)))
    data[16] = 3
    fault = staged_of(bytes(data)).fault
    assert fault is not None
    assert fault.reason is Reason.UNSUPPORTED_FORMAT


def test_given_a_control_batch_of_nonsense_then_it_is_dropped() -> None:
    data = with_header(logs.batch(logs.rows(0, 1)), attributes=v2.CONTROL)
    endless = data[:61] + b"\xff" * 12
    endless[8:12] = (len(endless) - 12).to_bytes(4, "big")
    endless = with_header(endless)
    for strange in (bytes(data), bytes(endless)):
        staged = staged_of(strange)
        assert (staged.batches, staged.dropped, staged.next_offset) == ([], {"control": 1}, 1)


def test_given_a_bug_in_a_codec_then_the_partition_faults_and_keeps_what_was_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr("replicator.flow.stage.rebuild", broken)
    staged = staged_of(logs.batch(logs.rows(0, 2)), logs.batch(logs.rows(2, 2), base=2, last=9))
    assert [batch.source_base for batch in staged.batches] == [0]
    assert staged.fault is not None
    assert staged.fault.reason is Reason.INTERNAL_ERROR
    assert "KeyError" in staged.fault.detail


def legacy(magic: int, codec: int, count: int = 4, *, first: int = 0) -> bytes:
    builder = LegacyRecordBatchBuilder(magic=magic, compression_type=codec, batch_size=1 << 20)
    for n in range(count):
        builder.append(
            first + n if not codec or not magic else n,
            timestamp=logs.NOW + n if magic else None,
            key=None if n == 1 else b"k",
            value=None if n == 2 else b"v%d" % n,
        )
    data = bytearray(builder.build())
    if codec:
        data[0:8] = (first + count - 1).to_bytes(8, "big")
    return bytes(data)


@pytest.mark.parametrize(("magic", "codec"), [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3)], ids="v{}".format)
@pytest.mark.parametrize("start", [0, 10, 12])
def test_given_old_messages_then_they_become_v2_batches(magic: int, codec: int, start: int) -> None:
    staged = staged_of(legacy(magic, codec, first=10), logs.batch(logs.rows(14, 2)), start=start)
    assert staged.fault is None
    found = [row for batch in staged.batches for row in source_rows(batch)]
    wanted = [
        Row(10 + n, logs.NOW + n if magic else -1, None if n == 1 else b"k", None if n == 2 else b"v%d" % n)
        for n in range(4)
    ]
    assert found == [row for row in wanted if row.offset >= start] + logs.rows(14, 2)
    assert staged.next_offset == 16


def test_given_an_old_message_with_a_wrong_crc_then_the_partition_faults() -> None:
    data = bytearray(legacy(1, 0, 1))
    data[-1] ^= 1
    fault = staged_of(bytes(data)).fault
    assert fault is not None
    assert fault.reason is Reason.CORRUPT_BATCH


def test_given_leases_then_bytes_return_with_the_last_holder_and_wake_who_waits() -> None:
    budget = ByteBudget(100)
    lease = Lease(budget, 60)
    lease.hold()
    other = lease.another(30, parked=True)
    assert (budget.in_use, budget.parked, budget.left()) == (90, 30, 10)
    lease.release()
    assert budget.in_use == 90
    lease.release()
    assert (budget.in_use, budget.left()) == (30, 70)
    other.release()
    assert (budget.in_use, budget.parked) == (0, 0)


async def test_given_only_parked_bytes_then_nobody_waits_for_room() -> None:
    budget = ByteBudget(100)
    Lease(budget, 500, parked=True)
    await budget.wait_for_room(50)
