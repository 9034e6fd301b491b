from __future__ import annotations

import random
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ledger.codec import LedgerFormatError
from replicator.ledger.map_chunks import (
    VALUE_MAX_BYTES,
    Runs,
    Stretch,
    decode_chunk_key,
    decode_head,
    decode_runs,
    encode_chunk_key,
    encode_runs,
)
from replicator.ledger.map_tail import TAIL_KEEP
from replicator.ledger.offset_map import TAIL_RUNS, MapCache, MapOrderError, MapTail, OffsetMap
from tests.ledger.offset_map_model import STEPS, Model, check_exact, drain

MOST = (1 << 63) - 1


def make(steps: list[tuple[int, int, int]], every: int = 1) -> tuple[Model, MapTail, dict[int, bytes]]:
    """A map of these steps, flushed after each so many."""
    model, tail, chunks = Model(), MapTail(), dict[int, bytes]()
    for n, step in enumerate(steps):
        model.step(*step, tail.add)
        if n % every == 0:
            drain(tail, chunks)
    drain(tail, chunks)
    return model, tail, chunks


@given(STEPS)
def test_given_any_runs_when_translated_then_every_offset_is_exact_both_ways(steps: list[tuple[int, int, int]]) -> None:
    model, tail, chunks = make(steps)
    assert not chunks
    found = OffsetMap.from_parts([], tail.encoded())
    check_exact(found, model)
    assert found.runs == sum(1 for n, (s, t, _) in enumerate(steps) if n == 0 or s or t)


@pytest.mark.parametrize("every", [1, 7, 1000])
def test_given_many_runs_when_flushed_then_chunks_and_tail_hold_them_all(every: int) -> None:
    some = random.Random(every)
    steps = [(some.choice((0, 1, 40)), some.choice((0, 0, 1)), some.choice((1, 2, 9))) for _ in range(3000)]
    model, tail, chunks = make(steps, every)
    assert TAIL_KEEP <= len(tail) <= TAIL_RUNS
    assert tail.chunks == len(chunks) == max(chunks) + 1 > 1
    check_exact(OffsetMap.from_parts(chunks.items(), tail.encoded()), model)
    shuffled = list(chunks.items())
    some.shuffle(shuffled)
    check_exact(OffsetMap.from_parts(shuffled, tail.encoded()), model)


def test_given_a_restored_tail_when_more_is_added_then_it_goes_on_exactly() -> None:
    model, tail, _ = make([(5, 3, 10), (1, 0, 200), (0, 1, 3)])
    restored = MapTail(tail.chunks, tail.encoded())
    assert restored.encoded() == tail.encoded()
    model.step(0, 0, 4, restored.add)
    assert len(restored) == 3
    model.step(1, 20, 1, restored.add)
    check_exact(OffsetMap.from_parts([], restored.encoded()), model)


@pytest.mark.parametrize("run", [(109, 200, 1), (110, 209, 1), (0, 300, 5), (300, 0, 5), (300, 300, 0), (300, 300, -1)])
def test_given_a_run_that_goes_back_when_added_then_it_is_refused_and_nothing_changes(
    run: tuple[int, int, int],
) -> None:
    tail = MapTail()
    tail.add(100, 200, 10)
    before = tail.encoded()
    with pytest.raises(MapOrderError):
        tail.add(*run)
    assert tail.encoded() == before


@given(st.lists(st.sampled_from([1, 1, 1, 2, 20]), max_size=60))
def test_given_offsets_with_holes_when_added_then_the_target_has_them_without(deltas: list[int]) -> None:
    model, tail, offsets, at = Model(), MapTail(), list[int](), 0
    for delta in deltas:
        at += delta
        offsets.append(at)
    tail.add_offsets(offsets, 1000)
    model.records = {source: 1000 + n for n, source in enumerate(offsets)}
    check_exact(OffsetMap.from_parts([], tail.encoded()), model)


def test_given_no_runs_when_asked_then_nothing_is_known() -> None:
    empty = OffsetMap.from_parts([], MapTail().encoded())
    assert (empty.to_target(5), empty.to_source(5), empty.runs, empty.exact) == (None, None, 0, True)
    assert (empty.error_bound(5), empty.source_end, MapTail().encoded()) == (0, 0, b"")


def test_given_a_flush_that_is_not_confirmed_when_more_comes_then_the_entry_still_holds_everything() -> None:
    model, tail = Model(), MapTail()
    model.run([(1, 0, 2)] * (TAIL_RUNS + 1), tail.add)
    first = tail.flush()
    model.run([(1, 0, 2)] * 10, tail.add)
    assert tail.flush() == first
    assert (tail.chunks, len(tail)) == (0, TAIL_RUNS + 11)
    check_exact(OffsetMap.from_parts([], tail.encoded()), model)
    check_exact(OffsetMap.from_parts(first, tail.encoded()), model)
    with pytest.raises(ValueError, match=r"chunks \[1\]"):
        tail.flushed([1])
    tail.flushed([0])
    assert (tail.chunks, len(tail)) == (1, TAIL_KEEP + 10)
    check_exact(OffsetMap.from_parts(first, tail.encoded()), model)


def test_given_a_flush_that_failed_when_flushed_again_then_it_gives_out_what_came_since_too() -> None:
    model, tail = Model(), MapTail()
    model.run([(1, 0, 2)] * (TAIL_RUNS + 1), tail.add)
    first = dict(tail.flush())
    model.run([(1, 0, 2)] * 10 * TAIL_RUNS, tail.add)
    assert len(decode_runs(tail.after_flush()[1])) == 10 * TAIL_RUNS + TAIL_KEEP
    tail.unflush()
    second = dict(tail.flush())
    assert second.keys() == first.keys()
    chunks, encoded = tail.after_flush()
    assert (chunks, len(decode_runs(encoded))) == (1, TAIL_KEEP)
    check_exact(OffsetMap.from_parts(second.items(), encoded), model)
    tail.flushed(second)
    assert tail.after_flush() == (chunks, encoded) == (tail.chunks, tail.encoded())


def test_given_a_copy_when_the_original_goes_on_then_the_copy_is_as_it_was() -> None:
    model, tail = Model(), MapTail()
    model.run([(1, 0, 2)] * (TAIL_RUNS + 1), tail.add)
    chunks = dict(tail.flush())
    kept, kept_model, encoded = tail.copy(), model.copy(), tail.encoded()
    tail.flushed(list(chunks))
    model.run([(0, 0, 1), (1, 1, 1)], tail.add)
    assert kept.encoded() == encoded
    assert kept.flush() == list(chunks.items())
    kept.flushed(list(chunks))
    check_exact(OffsetMap.from_parts(chunks.items(), kept.encoded()), kept_model)
    check_exact(OffsetMap.from_parts(chunks.items(), tail.encoded()), model)


def test_given_100_record_transactions_when_measured_then_a_run_takes_less_than_4_bytes() -> None:
    some = random.Random(1)
    steps = [(1, int(some.random() < 0.03), 100) for _ in range(20_000)]
    _, tail, chunks = make(steps, 5)
    record = 10  # lengths, attributes and deltas of a record in a batch
    size = sum(len(encode_chunk_key("orders.by.customer", 11, n)) + len(v) + record for n, v in chunks.items())
    assert size / len(steps) < 2.1
    alone = size + 61 * len(chunks)  # each in a batch of its own
    assert alone / len(steps) < 2.2
    assert len(tail.encoded()) < 200


def test_given_many_runs_when_translated_then_building_and_asking_is_quick() -> None:
    some = random.Random(2)
    runs, chunks, source, target = Runs(), list[tuple[int, bytes]](), 0, 0
    for n in range(200_000):
        length = 100 if n % 2000 < 1000 else 400  # half of the chunks in the short form, half in the longer one
        runs.append(Stretch(source, target, length))
        source, target = source + length + 1, target + length
        if n % 1000 == 999:
            chunks.append((len(chunks), encode_runs(runs)))
            runs = Runs()
    began = time.process_time()
    found = OffsetMap.from_parts(chunks, b"")
    built = time.process_time() - began
    assert (found.runs, round(found.bytes / found.runs)) == (200_000, 24)
    offsets = [some.randrange(source) for _ in range(10_000)]
    began = time.process_time()
    for offset in offsets:
        found.to_target(offset)
    asked = (time.process_time() - began) / len(offsets)
    assert built / len(found) < 3e-6, f"{built:.2f} s"  # 0.4 µs a run where nothing else runs: a million in 0.4 s
    assert asked < 30e-6, f"{asked * 1e6:.1f} µs"  # 1.5 µs


# ---- parts that repeat each other ----------------------------------------------------------------


def test_given_a_tail_that_a_chunk_repeats_and_continues_when_merged_then_nothing_is_there_twice() -> None:
    model, tail = Model(), MapTail()
    model.run([(1, 0, 5)] * 60, tail.add)
    old = tail.encoded()
    model.run([(0, 0, 5)] + [(1, 1, 5)] * 60, tail.add)
    chunks = tail.flush()
    tail.flushed([number for number, _ in chunks])
    behind = OffsetMap.from_parts(chunks, old)
    assert behind.source_end == 60 * 6 + 5 + (len(behind) - 60) * 6
    check_exact(OffsetMap.from_parts([*chunks, (9, old)], tail.encoded()), model)
    behind.take(tail.encoded())
    check_exact(behind, model)


@given(STEPS, st.data())
def test_given_any_overlapping_parts_in_any_order_when_merged_then_the_map_is_exact(
    steps: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    model, tail = Model(), MapTail()
    model.run(steps, tail.add)
    everything = list(decode_runs(tail.encoded()))
    bounds = data.draw(
        st.lists(st.tuples(st.integers(0, len(everything)), st.integers(0, len(everything))), max_size=6)
    )
    middle = len(everything) // 2
    parts = [everything[min(b) : max(b)] for b in bounds] + [everything[:middle], everything[middle:]]
    values = []
    for part in parts:
        runs = Runs()
        for n, stretch in enumerate(part):
            cut = data.draw(st.integers(0, stretch.length - 1)) if n == len(part) - 1 and part is not parts[-1] else 0
            runs.append(stretch._replace(length=stretch.length - cut) if cut and part is not parts[-2] else stretch)
        values.append(encode_runs(runs))
    numbered = list(enumerate(data.draw(st.permutations(values))))
    check_exact(OffsetMap.from_parts(numbered, b""), model)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 30)), max_size=8))
def test_given_parts_that_contradict_each_other_when_merged_then_the_map_still_never_goes_back(
    parts: list[tuple[int, int, int]],
) -> None:
    values = []
    for part in parts:
        runs = Runs()
        runs.append(Stretch(*part))
        values.append(encode_runs(runs))
    found = list(OffsetMap.from_parts(enumerate(values), b""))
    for before, after in pairwise(found):
        assert before.source_end <= after.source
        assert before.target_end <= after.target


# ---- bytes ---------------------------------------------------------------------------------------


@given(st.text("abXY09._-", min_size=1, max_size=249), st.integers(0, (1 << 31) - 1), st.integers(0, 1 << 40))
def test_given_a_chunk_key_when_decoded_then_it_is_the_same(topic: str, partition: int, number: int) -> None:
    assert decode_chunk_key(encode_chunk_key(topic, partition, number)) == (topic, partition, number)


def test_given_foreign_keys_when_decoded_then_other_kinds_are_passed_over_and_damage_is_an_error() -> None:
    key = encode_chunk_key("orders", 1, 2)
    assert decode_chunk_key(b"\x02anything") is None
    for damaged in (b"", key[:-1], key + b"\x00", key[:1] + bytes(2000), b"\x01\x00\x02\x02", b"\x01\x02\xff\x00\x00"):
        with pytest.raises(LedgerFormatError):
            decode_chunk_key(damaged)
    for wrong in (("", 0, 0), ("t", -1, 0), ("t", 0, -1), ("t" * 250, 0, 0)):
        with pytest.raises(ValueError):
            encode_chunk_key(*wrong)


@given(st.binary(max_size=60), st.sampled_from([b"", b"\x01", b"\x01\x00\x00", b"\x01\x01\x05"]))
def test_given_hostile_bytes_when_decoded_then_it_is_an_error_or_a_well_formed_map(noise: bytes, start: bytes) -> None:
    try:
        runs = decode_runs(start + noise)
    except LedgerFormatError:
        return
    stretches = list(runs)
    for before, after in pairwise(stretches):
        assert before.source_end <= after.source
        assert before.target_end <= after.target
    assert all(s.length > 0 and s.source_gap >= 0 <= s.target_gap for s in stretches)
    assert not stretches or max(stretches[-1].source_end, stretches[-1].target_end) <= MOST


@given(STEPS.filter(bool), st.data())
def test_given_a_damaged_byte_when_decoded_then_its_ends_are_still_what_its_head_says(
    steps: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    _, tail, _ = make(steps)
    value = bytearray(tail.encoded())
    at = data.draw(st.integers(0, len(value) - 1))
    value[at] ^= data.draw(st.integers(1, 255))
    try:
        runs = decode_runs(bytes(value))
    except LedgerFormatError:
        return
    head, last = decode_head(bytes(value)), runs[len(runs) - 1]
    assert (last.source_end, last.target_end) == (head.source_end, head.target_end)


def test_given_too_many_bytes_or_a_newer_version_when_decoded_then_it_says_so() -> None:
    with pytest.raises(LedgerFormatError, match="65537 bytes"):
        decode_runs(b"\x01" + bytes(VALUE_MAX_BYTES))
    with pytest.raises(LedgerFormatError, match="version 2"):
        decode_runs(b"\x02" + bytes(10))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"\x01\0\0\x05\x05\x03\x02\x10\x01", "begins with a gap"),  # as the short form has it
        (b"\x01\0\0\x05\x05\x83\x02\x82\x02\x10\x81\x02", "begins with a gap"),
        (b"\x01\0\x01\x05\x05\x04\x03\x10\x10\x01", "begins with a gap"),
        (b"\x01\0\x01\x05\x05\x04\x02\x00\x20\x01", "off by at most 1 records, and it is by 2"),
        (b"\x01\0\0\x05\x05\x03\x03\x00\x01", "ends at source offset 7 and target offset 7"),
        (b"\x01\0\0\x05\x05\x00\x00", "holds no run"),
        (b"\x01\0\0\x05\x05\x03\x03\x00", "in the middle of a number"),
        (b"\x01\0\x01\x05\x05\x03\x03\x00", "in the middle of a run"),
        (b"\x01\0\0" + b"\xff" * 8 + b"\x7f" + b"\x00\x01\x01\x00\x00", "last possible offset"),
        (b"\x01\0\0\x05\x05\x03\x03\x00" + b"\xff" * 8 + b"\x7f", "last possible offset"),
        (b"\x01\0\0" + b"\xff" * 9, "more than 63 bits"),
    ],
)
def test_given_a_value_that_contradicts_itself_when_decoded_then_it_says_how(value: bytes, why: str) -> None:
    with pytest.raises(LedgerFormatError, match=why):
        decode_runs(value)


def test_given_offsets_up_to_the_largest_when_encoded_then_they_come_back() -> None:
    runs = Runs()
    for stretch in (Stretch(0, 5, 1), Stretch(1 << 62, 6, 1 << 20), Stretch(MOST - 10, MOST - 20, 10)):
        runs.append(stretch)
    assert list(decode_runs(encode_runs(runs))) == list(runs)


# ---- cache ---------------------------------------------------------------------------------------


def test_given_a_full_cache_when_another_map_is_put_then_the_one_asked_for_the_longest_ago_goes() -> None:
    _, tail, _ = make([(1, 0, 1)] * 30)
    maps = [OffsetMap.from_parts([], tail.encoded()) for _ in range(4)]
    cache = MapCache(3 * maps[0].bytes)
    for partition in range(3):
        cache.put("l", "t", partition, maps[partition])
    assert cache.get("l", "t", 0) is maps[0]
    cache.put("l", "t", 3, maps[3])
    assert [cache.get("l", "t", p) is not None for p in range(4)] == [True, False, True, True]
    assert (len(cache), cache.bytes) == (3, 3 * maps[0].bytes)
    assert cache.get("other", "t", 0) is None
    cache.drop("l", "t", 0)
    cache.drop("l", "t", 0)
    assert (len(cache), cache.bytes) == (2, 2 * maps[0].bytes)


def test_given_a_map_that_outgrows_the_cache_when_put_again_then_it_is_not_kept() -> None:
    _, tail, _ = make([(1, 0, 1)] * 30)
    grown = OffsetMap()
    cache = MapCache(grown.bytes + 100)
    cache.put("l", "t", 0, grown)
    grown.take(tail.encoded())
    cache.put("l", "t", 0, grown)
    assert (len(cache), cache.bytes) == (0, 0)
