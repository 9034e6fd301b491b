"""Rule E under random schedules: a worker copies, flushes, writes entries, and crashes between any two of these."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from replicator.ledger import map_tail
from replicator.ledger.map_chunks import Runs, Stretch, decode_head, decode_runs, encode_runs
from replicator.ledger.map_thinning import expired, thin
from replicator.ledger.offset_map import MapTail, OffsetMap
from tests.ledger.offset_map_model import GAPS, Model, check_bounded, check_exact

STEPS = st.lists(st.tuples(GAPS, GAPS, st.integers(1, 5)), min_size=1, max_size=12)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Few runs make a chunk here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_tail, "TAIL_RUNS", 8)
        patch.setattr(map_tail, "TAIL_KEEP", 3)
        patch.setattr(map_tail, "CHUNK_BYTES", 40)
        yield


class Link(RuleBasedStateMachine):
    """A partition, the map topic and the ledger as they are on the target, and a worker that may die at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()  # what is copied
        self.tail = MapTail()
        self.topic: dict[int, bytes] = {}
        self.entry = (0, b"")
        self.at_entry = Model()
        self.since_entry: list[tuple[int, int, int]] = []
        self.thinned = False

    @initialize(transactions=st.booleans())
    def choose(self, transactions: bool) -> None:
        self.transactions = transactions

    @rule(steps=STEPS)
    def copy(self, steps: list[tuple[int, int, int]]) -> None:
        for step in steps:
            self.model.step(*step, self.tail.add)
            self.since_entry.append(step)

    @rule()
    def commit(self) -> None:
        """Chunks and entry as one: both ways of writing may do that."""
        written = self.tail.flush()
        if written:
            self.tail.flushed([number for number, _ in written])
        self.topic.update(written)
        self._write_entry()

    @precondition(lambda self: not self.transactions)
    @rule(meanwhile=STEPS, fails=st.booleans(), arrives=st.booleans())
    def commit_while_copying(self, meanwhile: list[tuple[int, int, int]], fails: bool, arrives: bool) -> None:
        """The entry is of the instant of the flush, and is written when the chunks are acknowledged."""
        written, state = self.tail.flush(), self.tail.after_flush()
        assert len(decode_runs(state[1])) <= map_tail.TAIL_RUNS
        model = self.model.copy()
        self.copy(meanwhile)
        if fails:
            self.topic.update(written if arrives else {})
            self.tail.unflush()
            return
        self.topic.update(written)
        self.entry, self.at_entry, self.since_entry = state, model, list(meanwhile)
        if written:
            self.tail.flushed([number for number, _ in written])

    @rule(written=st.integers(0, 3))
    def crash_while_committing(self, written: int) -> None:
        """The entry isn't written; of the chunks some are, unless that is all one transaction."""
        for number, value in self.tail.flush()[: 0 if self.transactions else written]:
            self.topic[number] = value
        self.crash()

    @rule()
    def crash(self) -> None:
        self.tail = MapTail(*self.entry)
        steps, self.since_entry = self.since_entry, []
        if self.transactions:  # what was copied since is aborted; it took up target offsets all the same
            aborted_to = self.model.target_next
            self.model = self.at_entry.copy()
            self.copy([(0, aborted_to - self.model.target_next + 1, 1)])
        else:  # recovery finds all that was copied since the entry
            self.model = self.at_entry.copy()
            self.copy(steps)

    @rule(max_bytes=st.sampled_from([60, 150, 400]))
    def thin(self, max_bytes: int) -> None:
        for number, value in thin(self._confirmed(), max_bytes):
            self.thinned = True
            if value is None:
                del self.topic[number]
            else:
                self.topic[number] = value

    @invariant()
    def a_reader_finds_every_position(self) -> None:
        found = OffsetMap.from_parts(self._confirmed().items(), self.entry[1])
        assert found.source_end >= max(self.at_entry.records, default=-1) + 1
        known = Model()
        known.records = {s: t for s, t in self.model.records.items() if s < found.source_end}
        if self.thinned:
            check_bounded(found, known)
        else:
            check_exact(found, known)

    def _confirmed(self) -> dict[int, bytes]:
        return {number: value for number, value in self.topic.items() if number < self.entry[0]}

    def _write_entry(self) -> None:
        self.entry = self.tail.chunks, self.tail.encoded()
        self.at_entry, self.since_entry = self.model.copy(), []


Link.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestRuleE = Link.TestCase


def test_given_nothing_but_growth_when_thinned_again_and_again_then_the_newest_runs_stay_exact() -> None:
    model, tail, topic = Model(), MapTail(), dict[int, bytes]()
    for n in range(3000):
        model.step(1, n % 3 == 0, 2 + n % 5, tail.add)
        written = tail.flush()
        if written:
            tail.flushed([number for number, _ in written])
            topic.update(written)
            for number, value in thin(topic, 2000):
                topic.pop(number) if value is None else topic.update({number: value})
    assert sum(map(len, topic.values())) <= 2000
    found = OffsetMap.from_parts(topic.items(), tail.encoded())
    assert 0 < check_bounded(found, model) < 3000
    bounds = [stretch.source_gap + stretch.target_gap for stretch in found]
    assert bounds[-400:] == [0] * 400  # 2000 bytes hold about 800 runs: half of the room at least is for exact ones
    assert not found.exact
    assert found.error_bound(found.source_end - 1000) == 0


@given(STEPS, st.data())
def test_given_thinned_parts_that_overlap_when_merged_then_no_position_is_behind_the_exact_one(
    steps: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    model, tail = Model(), MapTail()
    model.run(steps, tail.add)
    everything = list(decode_runs(tail.encoded()))
    values = [encode_runs(_joined(everything, data))]
    for _ in range(data.draw(st.integers(1, 4))):
        first = data.draw(st.integers(0, len(everything) - 1))
        values.append(encode_runs(_joined(everything[first : first + data.draw(st.integers(1, 6))], data)))
    check_bounded(OffsetMap.from_parts(enumerate(data.draw(st.permutations(values))), b""), model)


def _joined(stretches: list[Stretch], data: st.DataObject) -> Runs:
    """These, some of them as one."""
    runs, at = Runs(), 0
    while at < len(stretches):
        first, last = stretches[at], stretches[min(len(stretches), at + data.draw(st.integers(1, 3))) - 1]
        at = stretches.index(last) + 1
        length = sum(stretch.length for stretch in stretches[stretches.index(first) : at])
        gaps = last.source_end - first.source - length, last.target_end - first.target - length
        runs.append(Stretch(first.source, first.target, length, *gaps))
    return runs


def test_given_logs_that_begin_later_when_asked_what_expired_then_only_what_neither_holds() -> None:
    model, tail, topic = Model(), MapTail(), dict[int, bytes]()
    for _ in range(300):
        model.step(1, 2, 3, tail.add)
        written = tail.flush()
        topic.update(written)
        if written:
            tail.flushed([number for number, _ in written])
    source_end, target_end = model.source_next, model.target_next
    ends = {number: decode_head(value)[4:6] for number, value in topic.items()}
    assert expired(ends, 0, target_end) == expired(ends, source_end, 0) == []
    assert expired(ends, source_end, target_end) == sorted(topic)[:-1]
    some = expired(ends, source_end // 2, target_end // 2)
    assert some == sorted(topic)[: len(some)]
    for number in some:
        del topic[number]
    found = OffsetMap.from_parts(topic.items(), tail.encoded())
    start = source_end // 2
    model.records = {s: t for s, t in model.records.items() if s >= start}
    assert found.to_target(start) == min(model.records.values())
    assert {s: found.to_target(s) for s in model.records} == model.records


def test_given_a_small_cap_when_thinned_then_it_ends_and_keeps_the_newest_chunk_as_it_is() -> None:
    _, tail, topic = Model(), MapTail(), dict[int, bytes]()
    for n in range(500):
        tail.add(n * 10, n * 7, 3)
        written = tail.flush()
        topic.update(written)
        if written:
            tail.flushed([number for number, _ in written])
    written_again = thin(topic, 0)
    left = {**topic, **dict(written_again)}
    assert sorted(number for number, value in left.items() if value is not None) == [0, max(topic)]
    assert left[max(topic)] == topic[max(topic)]
    assert thin({n: v for n, v in left.items() if v is not None}, 0) == []
    assert thin(topic, 1 << 20) == thin({}, 0) == []


def test_given_a_write_of_thinned_chunks_that_ends_midway_then_no_position_is_too_late() -> None:
    model, tail, topic = Model(), MapTail(), dict[int, bytes]()
    for n in range(400):
        model.step(n % 3, 1, 3, tail.add)
        written = tail.flush()
        topic.update(written)
        if written:
            tail.flushed([number for number, _ in written])
    all_written = thin(topic, 600)
    assert len(all_written) > 4
    for count in range(len(all_written) + 1):
        there = {**topic, **dict(all_written[:count])}
        found = OffsetMap.from_parts([(n, v) for n, v in there.items() if v is not None], tail.encoded())
        for source, target in model.records.items():
            answer = found.to_target(source)
            assert answer is not None
            assert target - found.error_bound(source) <= answer <= target


def test_given_a_limit_of_merges_then_thinning_goes_on_where_it_stopped() -> None:
    tail, topic = MapTail(), dict[int, bytes]()
    for n in range(2000):
        tail.add(n * 10, n * 7, 3)
        written = tail.flush()
        topic.update(written)
        if written:
            tail.flushed([number for number, _ in written])
    left, steps = dict(topic), 0
    while written_again := thin(left, 900, max_merges=1):
        assert len(written_again) == 2
        left = {n: v for n, v in {**left, **dict(written_again)}.items() if v is not None}
        steps += 1
    assert steps > 1
    assert left == {n: v for n, v in {**topic, **dict(thin(topic, 900))}.items() if v is not None}
