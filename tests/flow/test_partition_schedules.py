"""PartitionFlow against a broker that enforces Kafka's idempotence rules, under random schedules of trouble.

Each schedule is one seed: a failure names it, and `pytest -k "seed_number"` replays it.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Collection

import pytest

from broker.storage.batch import read_header
from replicator.flow import partition as module
from replicator.flow.backpressure import ByteBudget, Lease
from replicator.flow.batch import Batch
from replicator.flow.partition import MAX_UNRESOLVED, PartitionFlow
from replicator.states import State
from replicator.wire.producer_id import ProducerIdAndEpoch
from tests.flow import logs
from tests.flow.logs import Row

OUT_OF_ORDER, DUPLICATE, NETWORK, NOT_LEADER, TIMED_OUT, TOO_LARGE = 45, 46, 13, 6, 7, 10
NOT_ENOUGH_AFTER_APPEND, UNAUTHORIZED, INVALID_TIMESTAMP, UNKNOWN_PRODUCER = 20, 29, 32, 59
STEPS = 260
SEEDS = range(200)


class TargetPartition:
    """The log of one target partition, and what its leader remembers of producers: Kafka's `ProducerStateManager`."""

    def __init__(self) -> None:
        self.log: list[Row] = []
        self._remembered: dict[int, deque[tuple[int, int, int]]] = {}  # pid -> (first, last sequence, base offset)

    def append(self, data: bytes) -> tuple[int, int]:
        """(error code, base offset)."""
        header = read_header(data)
        assert header.base_offset == 0
        assert header.last_offset_delta + 1 == header.record_count > 0
        first, last = header.base_sequence, header.base_sequence + header.record_count - 1
        remembered = self._remembered.get(header.producer_id)
        if remembered is None:
            remembered = self._remembered[header.producer_id] = deque(maxlen=5)
        for known_first, known_last, base in remembered:
            if (known_first, known_last) == (first, last):
                return DUPLICATE, base
        if remembered and remembered[-1][1] + 1 != first:  # of a producer that isn't known any sequence is taken
            return OUT_OF_ORDER, -1
        base = len(self.log)
        self.log += logs.contents(data, base)
        remembered.append((first, last, base))
        return 0, base


class Schedule:
    """One partition between a source log and a target, and everything that may happen to it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.budget = ByteBudget(1 << 30)
        self.target = TargetPartition()
        self.source: list[bytes] = []
        self.bounds: list[tuple[int, int]] = []  # (base, last) offsets of each source batch
        self.rows: list[Row] = []
        self.lost_producer = False
        self.flow = logs.flow_of(self)
        self.requests: deque[tuple[Batch, bytes]] = deque()  # on the connection, not processed
        self.answers: deque[tuple[Batch, int, int]] = deque()  # processed, not delivered
        self.ghosts: deque[bytes] = deque()  # requests of connections that are gone, still to be processed
        self.sent: dict[tuple[int, int, int], bytes] = {}
        self.moods: deque[int] = deque()  # codes that the broker answers with next
        self.most_records = 1 << 30
        self.producers_wanted = 0
        self.producers = 1
        self._make_source()

    def _make_source(self) -> None:
        offset = 0
        for _ in range(self.random.randint(4, 30)):
            content = logs.rows(offset, self.random.randint(1, 6))
            kind = self.random.random()
            if kind < 0.1:
                self.source.append(logs.marker(offset, 9, commit=True))
                content = content[:1]
                self.bounds.append((offset, offset))
                offset += 1
                continue
            if kind < 0.25 and len(content) > 2:  # compacted
                kept = [row for row in content if self.random.random() < 0.6]
                data = logs.batch(kept, base=offset, last=content[-1].offset) if kept else b""
                if not kept:
                    kept, data = content, logs.batch(content)
            else:
                kept, data = content, logs.batch(content, codec=self.random.choice((0, 0, 3)))
            self.source.append(data)
            self.bounds.append((offset, content[-1].offset))
            self.rows += kept
            offset = content[-1].offset + 1
        self.end = offset

    # surroundings

    def fetch_again(self, flow: PartitionFlow) -> None: ...

    def write_again(self, flow: PartitionFlow) -> None: ...

    def find_target_leader(self, flow: PartitionFlow) -> None: ...

    def find_origins(self, flow: PartitionFlow, producers: Collection[int]) -> None: ...

    def replace_producer(self, flow: PartitionFlow) -> None:
        self.producers_wanted += 1
        self.lost_producer = True

    def changed(self, flow: PartitionFlow) -> None:
        self.check_position()

    def faulted(self, flow: PartitionFlow, reason: object) -> None: ...

    # what may happen

    def fetch(self) -> None:
        flow = self.flow
        if not flow.fetchable:
            return
        begin = next((n for n, (_, last) in enumerate(self.bounds) if last >= flow.fetch_offset), None)
        if begin is None:
            return
        part = self.source[begin : begin + self.random.randint(1, 4)]
        answer = logs.fetched(*part, end=self.end)
        lease = Lease(self.budget, len(answer.records))
        flow.take(answer, lease)
        lease.release()

    def send(self) -> None:
        flow = self.flow
        if not flow.sendable:
            return
        batch = flow.next_batch()
        data = bytes(batch.data)
        header = read_header(data)
        key = header.producer_id, header.base_sequence, header.record_count
        assert self.sent.setdefault(key, data) == data, "a resend is byte for byte the same"
        self.requests.append((batch, data))
        assert len(self.requests) + len(self.answers) <= MAX_UNRESOLVED
        assert flow.in_flight == len(self.requests) + len(self.answers)

    def process(self) -> None:
        if self.requests:
            batch, data = self.requests.popleft()
            self.answers.append((batch, *self._answer(data)))

    def _answer(self, data: bytes) -> tuple[int, int]:
        mood = self.moods.popleft() if self.moods else 0
        if mood in (NOT_LEADER, UNAUTHORIZED, INVALID_TIMESTAMP, OUT_OF_ORDER, UNKNOWN_PRODUCER):
            self.lost_producer |= mood in (OUT_OF_ORDER, UNKNOWN_PRODUCER)
            return mood, -1
        if read_header(data).record_count > self.most_records:
            return TOO_LARGE, -1
        code, base = self.target.append(data)
        if mood in (TIMED_OUT, NOT_ENOUGH_AFTER_APPEND) and code == 0:
            return mood, -1
        if code == DUPLICATE:
            return self.random.choice(((DUPLICATE, -1), (0, base)))
        return code, base

    def deliver(self) -> None:
        if self.answers:
            batch, code, base = self.answers.popleft()
            if code in (0, DUPLICATE):
                self.flow.acknowledged(batch, base)
            else:
                self.flow.failed(batch, code, "")

    def lose_connection(self) -> None:
        lost = [batch for batch, *_ in (*self.answers, *self.requests)]
        self.ghosts += [data for _, data in self.requests]
        self.answers.clear()
        self.requests.clear()
        for batch in lost:
            self.flow.failed(batch, NETWORK, "connection lost")

    def process_late(self) -> None:
        if self.ghosts:
            self.target.append(self.ghosts.popleft())

    def forget_late(self) -> None:
        self.ghosts.clear()

    def change_mood(self) -> None:
        code = self.random.choice((NOT_LEADER, TIMED_OUT, NOT_ENOUGH_AFTER_APPEND, UNAUTHORIZED, INVALID_TIMESTAMP))
        if self.random.random() < 0.1:
            code = self.random.choice((OUT_OF_ORDER, UNKNOWN_PRODUCER))
        self.moods += [code] * self.random.randint(1, 7)

    def change_limit(self) -> None:
        self.most_records = self.random.choice((1, 2, 3, 1 << 30))

    def give_producer(self) -> None:
        if self.producers_wanted:
            self.producers_wanted -= 1
            self.producers += 1
            self.flow.adopt_producer(ProducerIdAndEpoch(self.producers, 0))

    # what must hold

    def check_position(self) -> None:
        """Invariant C: the entry's fields describe one instant."""
        flow = self.flow
        copied = [row for row in self.rows if row.offset < flow.source_next]
        assert flow.target_next <= len(self.target.log)
        if self.lost_producer:
            return
        assert flow.target_next == len(copied)
        assert flow.acknowledged_sequence == len(copied)
        assert values(self.target.log[: flow.target_next]) == values(copied)

    async def run(self) -> None:
        actions = (
            [self.fetch] * 6 + [self.send] * 8 + [self.process] * 8 + [self.deliver] * 8 + [self.give_producer] * 3
            + [self.process_late] * 3 + [self.lose_connection, self.forget_late, self.change_mood, self.change_limit]
        )  # fmt: skip
        for _ in range(STEPS):
            self.random.choice(actions)()
            if self.random.random() < 0.3:
                await asyncio.sleep(0)  # timers
        self.moods.clear()
        for _ in range(10_000):  # all is well again
            for action in (self.give_producer, self.fetch, self.send, self.process, self.deliver, self.process_late):
                action()
            await asyncio.sleep(0)
            if self.flow.idle and self.flow.source_next == self.end and not self.ghosts:
                break
        else:
            raise AssertionError(f"stuck at {self.flow.source_next} of {self.end}: {vars(self.flow)}")


def values(content: list[Row]) -> list[tuple[object, ...]]:
    return [tuple(row)[1:] for row in content]


def without_repeats(log: list[Row], wanted: list[Row]) -> bool:
    """Whether the log holds all of `wanted` in order, if what was written twice is left out once."""
    position = {row[1:]: n for n, row in enumerate(wanted)}
    highest = -1
    for row in log:
        n = position[row[1:]]
        if n > highest + 1:
            return False
        highest = max(highest, n)
    return highest == len(wanted) - 1


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RETRY_FIRST_S", 0.0)
    monkeypatch.setattr(module, "HEAL_AFTER_S", 0.0)


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("block", range(0, len(SEEDS), 50), ids="seed_{}_and_on".format)
async def test_given_any_schedule_of_trouble_the_target_ends_with_the_source_in_order(block: int) -> None:
    for seed in SEEDS[block : block + 50]:
        schedule = Schedule(seed)
        try:
            await schedule.run()
            if schedule.lost_producer:
                assert without_repeats(schedule.target.log, schedule.rows)
            else:
                assert values(schedule.target.log) == values(schedule.rows)
            assert schedule.flow.state is State.COPYING
            assert schedule.budget.in_use == schedule.budget.parked == 0
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.usefixtures("quick_retries")
async def test_given_a_broker_that_loses_an_append_then_the_checker_says_so() -> None:
    schedule = Schedule(3)
    append, lost = schedule.target.append, []

    def forgetful(data: bytes) -> tuple[int, int]:
        code, base = append(data)
        if code == 0 and base > 3 and not lost:
            lost.append(base)
            del schedule.target.log[base:]
        return code, base

    schedule.target.append = forgetful  # type: ignore[method-assign]
    schedule.lose_connection = schedule.change_mood = lambda: None  # type: ignore[method-assign]
    with pytest.raises(AssertionError):
        await schedule.run()  # the positions are held against the log at each change
    assert lost


@pytest.mark.parametrize(
    ("log", "right"),
    [([0, 1, 2], True), ([0, 1, 0, 1, 2], True), ([0, 2], False), ([0, 2, 1], False), ([0, 1], False)],
)
def test_given_a_log_with_planted_faults_then_repeats_alone_pass(log: list[int], right: bool) -> None:
    wanted = logs.rows(0, 3)
    assert without_repeats([wanted[n] for n in log], wanted) is right
