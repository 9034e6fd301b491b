"""The partition log: its invariants, cutting, reading, looking up, crashes."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.schema.errors import ErrorCode

from broker.clock import ManualClock
from broker.errors import KafkaError
from broker.storage.batch import read_header
from broker.storage.files import DiskFiles, FaultyFiles, Files, MemoryFiles
from broker.storage.log import READ_COMMITTED, PartitionLog
from broker.storage.lookup import offset_for_timestamp, offset_of_max_timestamp
from broker.storage.retention import apply_retention
from broker.storage.validation import LogConfig
from tests.broker.batches import NOW, batch, contents, headers

VERBS = ["append", "transaction", "end", "delete", "cut", "roll", "isr"]


def make_log(
    files: Files | None = None, config: LogConfig | None = None, clock: ManualClock | None = None
) -> PartitionLog:
    chosen = config or LogConfig()
    return PartitionLog(files or MemoryFiles(), "t-0", lambda: chosen, clock or ManualClock(NOW), "t-0")


def records(count: int, prefix: str = "v") -> list[tuple[bytes | None, bytes | None]]:
    return [(b"k%d" % index, f"{prefix}{index}".encode()) for index in range(count)]


def test_given_batches_when_appended_then_offsets_follow_each_other_and_bytes_come_back() -> None:
    log = make_log()
    first, second = batch(records(3)), batch(records(2, "w"))
    assert log.append_as_client(memoryview(first)).base_offset == 0
    assert log.append_as_client(second).base_offset == 3
    read = log.read(0, 1 << 20)
    data = b"".join(read.records)
    assert len(data) == read.size == len(first) + len(second)
    assert data[16 : len(first)] == first[16:]
    assert data[len(first) + 16 :] == second[16:]
    assert read_header(data, len(first)).base_offset == 3
    assert (read.high_watermark, read.log_start_offset) == (5, 0)


def test_given_an_offset_inside_a_batch_when_read_then_the_whole_batch_is_returned() -> None:
    log = make_log()
    log.append_as_client(batch(records(5)))
    assert read_header(b"".join(log.read(3, 1 << 20).records)).base_offset == 0


def test_given_a_small_limit_when_read_then_one_batch_is_returned_only_if_allowed() -> None:
    log = make_log()
    one = batch(records(1))
    for _ in range(3):
        log.append_as_client(one)
    assert log.read(0, 1).size == len(one)
    assert log.read(0, 1, min_one=False).size == 0
    assert log.read(0, 2 * len(one)).size == 2 * len(one)


@pytest.mark.parametrize("offset", [-1, 6])
def test_given_an_offset_outside_the_log_when_read_then_out_of_range(offset: int) -> None:
    log = make_log()
    log.append_as_client(batch(records(5)))
    with pytest.raises(KafkaError) as caught:
        log.read(offset, 100)
    assert caught.value.code is ErrorCode.offset_out_of_range
    assert log.read(5, 100).size == 0


def test_given_too_few_replicas_when_appended_then_the_high_watermark_waits() -> None:
    log = make_log()
    log.append_as_client(batch(records(2)))
    log.set_isr_sufficient(False)
    log.append_as_client(batch(records(2)))
    assert (log.high_watermark, log.log_end_offset) == (2, 4)
    assert log.read(2, 1 << 20).size == 0
    log.set_isr_sufficient(True)
    assert log.high_watermark == 4


def test_given_segments_when_records_are_deleted_then_files_go_and_the_start_moves() -> None:
    files = MemoryFiles()
    log = make_log(files, LogConfig(segment_bytes=200))
    for _ in range(6):
        log.append_as_client(batch(records(2)))
    assert len(log.segments) > 2
    assert log.delete_records_to(5) == 5
    assert log.segments[0].base_offset <= 5
    assert log.log_start_offset == 5
    assert make_log(files).log_start_offset == 5
    assert log.delete_records_to(-1) == 12
    assert log.log_end_offset == 12
    assert contents(log) == []
    with pytest.raises(KafkaError):
        log.delete_records_to(13)


def test_given_old_segments_when_retention_runs_then_only_those_go() -> None:
    clock = ManualClock(NOW)
    log = make_log(config=LogConfig(segment_bytes=120, retention_ms=60_000), clock=clock)
    for age in (100, 90, 10):
        log.append_as_client(batch(records(3), timestamp=NOW - age * 1000))
    assert apply_retention(log) == 2
    assert log.log_start_offset == 6
    clock.advance(120)
    assert apply_retention(log) == 1  # the active one too, once it is due
    assert (log.log_start_offset, log.log_end_offset) == (9, 9)


def test_given_a_size_limit_when_retention_runs_then_the_newest_bytes_stay() -> None:
    log = make_log(config=LogConfig(segment_bytes=100, retention_bytes=250))
    for _ in range(5):
        log.append_as_client(batch(records(1)))
    size = log.segments[0].size
    apply_retention(log)
    assert 250 <= log.size < 250 + size


def test_given_epochs_when_asked_then_each_ends_where_the_next_begins() -> None:
    log = make_log()
    log.become_leader(0)
    log.append_as_client(batch(records(3)))
    log.become_leader(2)
    log.append_as_client(batch(records(2)))
    assert log.epoch_end_offset(0) == (0, 3)
    assert log.epoch_end_offset(1) == (0, 3)
    assert log.epoch_end_offset(2) == (2, 5)
    assert log.epoch_end_offset(3) == (-1, -1)


def test_given_an_unclean_election_when_truncated_then_epochs_and_producers_forget_too() -> None:
    log = make_log()
    log.become_leader(0)
    log.append_as_client(batch(records(2), producer_id=7, epoch=0, sequence=0))
    log.append_as_client(batch(records(2), producer_id=7, epoch=0, sequence=2))
    log.truncate(2)
    log.become_leader(1)
    assert log.log_end_offset == log.high_watermark == 2
    assert log.epoch_end_offset(0) == (0, 2)
    assert log.append_as_client(batch(records(1), producer_id=7, epoch=0, sequence=2)).base_offset == 2


def test_given_times_when_looked_up_then_the_first_record_at_or_after() -> None:
    log = make_log()
    for second in (1, 5, 3):
        log.append_as_client(batch(records(2), timestamp=NOW + second))
    assert offset_for_timestamp(log, NOW + 2) == (NOW + 5, 2)
    assert offset_for_timestamp(log, NOW + 6) is None
    assert offset_of_max_timestamp(log) == (NOW + 5, 2)


def test_given_an_open_transaction_when_read_committed_then_nothing_from_it_on_until_it_ends() -> None:
    log = make_log()
    log.append_as_client(batch(records(1)))
    log.append_as_client(batch(records(2), producer_id=9, epoch=0, sequence=0, transactional=True))
    log.append_as_client(batch(records(1)))
    assert log.last_stable_offset == 1
    assert b"".join(log.read(0, 1 << 20, READ_COMMITTED).records) == b"".join(log.read(0, 70).records)
    log.append_marker(9, 0, commit=False)
    assert log.last_stable_offset == log.high_watermark == 5
    read = log.read(0, 1 << 20, READ_COMMITTED)
    assert read.aborted_transactions is not None
    assert [(t.producer_id, t.first_offset) for t in read.aborted_transactions] == [(9, 1)]
    assert log.read(4, 1 << 20, READ_COMMITTED).aborted_transactions == [(9, 1, 4)]
    assert log.read(5, 1 << 20, READ_COMMITTED).aborted_transactions == []


async def test_given_a_waiting_reader_when_appended_then_it_wakes() -> None:
    log = make_log()
    loop = asyncio.get_running_loop()
    waiting = asyncio.create_task(log.wait_for_data(0, loop.time() + 5))
    await asyncio.sleep(0)
    log.append_as_client(batch())
    assert await waiting
    assert not await log.wait_for_data(1, loop.time() + 0.01)


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_given_a_clean_stop_when_reopened_then_everything_is_there(kind: str, tmp_path: Path) -> None:
    files: Files = MemoryFiles() if kind == "memory" else DiskFiles(tmp_path)
    log = make_log(files, LogConfig(segment_bytes=300))
    log.become_leader(4)
    for sequence in range(0, 12, 2):
        log.append_as_client(batch(records(2), producer_id=5, epoch=1, sequence=sequence))
    before = contents(log)
    log.close()
    again = make_log(files, LogConfig(segment_bytes=300))
    assert contents(again) == before
    assert again.leader_epoch == 4
    # Snapshots remember the last batch only: the one before is no duplicate any more.
    assert again.append_as_client(batch(records(2), producer_id=5, epoch=1, sequence=10)).duplicate
    with pytest.raises(KafkaError) as caught:
        again.append_as_client(batch(records(2), producer_id=5, epoch=1, sequence=8))
    assert caught.value.code is ErrorCode.out_of_order_sequence_number


def test_given_a_torn_write_when_reopened_then_the_log_is_cut_at_the_last_whole_batch() -> None:
    inner = MemoryFiles()
    files = FaultyFiles(inner)
    log = make_log(files)
    log.append_as_client(batch(records(3)))
    files.fail_appends, files.keep_bytes = 1, 40
    for _ in range(2):  # the second attempt finds the log offline
        with pytest.raises(KafkaError) as caught:
            log.append_as_client(batch(records(3)))
        assert caught.value.code is ErrorCode.kafka_storage_error
    again = make_log(inner)
    assert again.log_end_offset == 3
    assert again.append_as_client(batch(records(1))).base_offset == 3


def test_given_a_failed_sync_when_rolling_then_the_log_goes_offline_and_recovers() -> None:
    inner = MemoryFiles()
    files = FaultyFiles(inner)
    log = make_log(files, LogConfig(segment_bytes=100))
    log.append_as_client(batch(records(1)))
    files.fail_syncs = 1
    with pytest.raises(KafkaError):
        log.append_as_client(batch(records(1)))
    assert make_log(inner).log_end_offset == 1


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=12), cut=st.integers(0, 2000), flip=st.booleans())
def test_invariant_c_given_any_damage_to_the_tail_when_reopened_then_a_prefix_remains(
    sizes: list[int], cut: int, flip: bool
) -> None:
    files = MemoryFiles()
    log = make_log(files)
    for size in sizes:
        log.append_as_client(batch(records(size)))
    written = contents(log)
    name = log.segments[0].name
    content = files.read_all(name) or b""
    position = cut % len(content)
    if flip:
        start = max(start for start in log.segments[0].positions if start <= position)
        position = max(position, start + 16)  # what a broker sets itself is outside the checksum
        damaged = content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :]
    else:
        damaged = content[:position]
    files.write_all(name, damaged)
    again = make_log(files)
    kept = contents(again)
    assert kept == written[: len(kept)]
    in_front = sum(1 for start, _, _ in headers(log) if start < (headers(again)[-1][1] + 1 if kept else 0))
    assert in_front == len(headers(again))
    assert again.append_as_client(batch()).base_offset == again.log_end_offset - 1


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(VERBS), st.integers(0, 50)), max_size=30))
def test_invariants_a_b_and_d_hold_under_any_schedule(steps: list[tuple[str, int]]) -> None:
    log = make_log(config=LogConfig(segment_bytes=400))
    model: dict[int, bytes] = {}
    sequence = {1: 0, 2: 0}
    sufficient = True
    for number, (verb, value) in enumerate(steps):
        end = log.log_end_offset
        if verb == "append":
            count = value % 3 + 1
            base = log.append_as_client(batch([(b"k", b"%d" % number)] * count)).base_offset
            assert base == end
            model.update({base + index: b"%d" % number for index in range(count)})
        elif verb == "transaction":
            producer = value % 2 + 1
            data = batch(
                [(b"t", b"%d" % number)], producer_id=producer, epoch=0, sequence=sequence[producer], transactional=True
            )
            base = log.append_as_client(data).base_offset
            sequence[producer] += 1
            model[base] = b"%d" % number
        elif verb == "end":
            log.append_marker(value % 2 + 1, 0, commit=bool(value % 3))
        elif verb == "delete":
            log.delete_records_to(min(value, log.high_watermark))
        elif verb == "cut" and value > log.log_start_offset:
            log.truncate(value)
            model = {offset: text for offset, text in model.items() if offset < log.log_end_offset}
            for producer in sequence:
                entry = log.producer_states.entries.get(producer)
                sequence[producer] = entry.last_sequence + 1 if entry else 0
        elif verb == "roll":
            log.roll()
        elif verb == "isr":
            sufficient = not sufficient
            log.set_isr_sufficient(sufficient)
        assert log.log_start_offset <= log.last_stable_offset <= log.high_watermark <= log.log_end_offset
    start = log.log_start_offset
    read = {offset: value for offset, _, value in contents(log) if offset >= start}
    assert read == {offset: text for offset, text in model.items() if offset >= start}
    spans = headers(log)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(spans))
