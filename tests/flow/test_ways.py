"""Which way a partition is written in, and the change between the two: never with anything in flight."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import Any, cast

import pytest

from replicator.errors import ReplicatorError
from replicator.flow import ways as module
from replicator.flow.backpressure import Lease
from replicator.flow.fenced import FencedWriting
from replicator.flow.partition import PartitionFlow
from replicator.flow.ways import Ways
from replicator.flow.writer import _Channel
from replicator.states import Way
from replicator.wire.producer_id import ProducerIdAndEpoch
from tests.flow import logs
from tests.flow.test_partition import World

DAY_MS = 86_400_000
FENCED, TRANSACTIONS = ProducerIdAndEpoch(7, 3), ProducerIdAndEpoch(8, 1)
TRANSACTIONAL_BIT = 0x10


class OpenTransaction:
    """A gate that always admits, with transactional batches."""

    transactional = True
    transactional_id: str | None = "t"
    origin = ""

    def __init__(self, ways: Ways) -> None:
        self._ways = ways

    def admits(self, flow: PartitionFlow, *, again: bool) -> bool:
        return True

    def ask(self, flow: PartitionFlow) -> None:
        """The moment between two transactions."""
        self._ways.reconsider(flow)

    def sent(self, *_: Any) -> None: ...

    def acknowledged(self, *_: Any) -> None: ...

    def settled(self, *_: Any) -> None: ...

    def forgotten(self, timestamp_ms: int) -> bool:
        return False

    def fail(self, error: ReplicatorError) -> None:
        raise error


class Two(World):
    """One partition that may go both ways; changes wait in `wanted` until they are carried out."""

    def __init__(self) -> None:
        self.memory_ms: int | None = DAY_MS
        self.compacted = False
        self.now_ms = logs.NOW
        self.wanted: list[Way] = []
        self.failures: list[ReplicatorError] = []
        self.entries_due = 0
        self.running = True
        ways = Ways(self, lambda flow, way: self.wanted.append(way), lambda: self.now_ms)
        self.fenced = FencedWriting(
            ways, running=lambda: self.running, entries_due=self._due, fail=self.failures.append
        )
        self.transaction = OpenTransaction(ways)
        super().__init__(gate=self.fenced, producer=FENCED)

    def _due(self) -> None:
        self.entries_due += 1

    def producer_memory_ms(self) -> int | None:
        return self.memory_ms

    def may_be_compacted(self, topic: str) -> bool:
        return self.compacted

    def take_of(self, timestamp_ms: int) -> None:
        first = self.flow.fetch_offset
        answer = logs.fetched(logs.batch([row._replace(timestamp=timestamp_ms) for row in logs.rows(first, 3)]))
        lease = Lease(self.budget, len(answer.records))
        self.flow.take(answer, lease)
        lease.release()

    def change(self) -> None:
        """What a lane does, between the writing of two entries."""
        (way,) = self.wanted
        self.wanted.clear()
        if way is Way.FENCED:
            self.flow.go_through(self.fenced, FENCED)
        else:
            self.flow.go_through(self.transaction, TRANSACTIONS)
        self.flow.changing = False
        self.flow.offer()


@pytest.fixture
async def two() -> Two:
    return Two()


async def test_given_fresh_records_then_they_go_plainly_and_nothing_waits(two: Two) -> None:
    two.take_of(logs.NOW)
    (batch,) = two.send()
    assert not batch.data[v2_attributes()] & TRANSACTIONAL_BIT
    assert two.wanted == []


async def test_given_a_record_older_than_half_of_what_brokers_remember_then_it_waits_for_a_transaction(
    two: Two,
) -> None:
    two.take_of(logs.NOW)
    two.take_of(logs.NOW - DAY_MS // 2 - 1)
    (fresh,) = two.send()
    assert two.wanted == []  # not while something is in flight
    two.flow.acknowledged(fresh, 0)
    assert two.wanted == [Way.TRANSACTIONS]
    assert two.send() == []
    two.change()
    (old,) = two.send()
    assert old.data[v2_attributes()] & TRANSACTIONAL_BIT
    assert (two.flow.producer, old.sequence) == (TRANSACTIONS, 0)


async def test_given_records_without_a_timestamp_then_they_count_as_old(two: Two) -> None:
    two.take_of(-1)
    assert two.wanted == [Way.TRANSACTIONS]


@pytest.mark.parametrize("unsafe", ["memory", "compacted"])
async def test_given_unknown_memory_or_a_compacted_source_then_even_fresh_records_go_in_transactions(
    two: Two, unsafe: str
) -> None:
    two.memory_ms = None if unsafe == "memory" else DAY_MS
    two.compacted = unsafe == "compacted"
    two.take_of(logs.NOW)
    assert two.send() == []
    assert two.wanted == [Way.TRANSACTIONS]


async def test_given_it_returns_to_fenced_writing_then_the_sequences_of_that_producer_go_on(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETURN_AFTER_MS", 1000)
    two.take_of(logs.NOW)
    (batch,) = two.send()
    two.flow.acknowledged(batch, 0)
    two.take_of(-1)
    two.change()
    (batch,) = two.send()
    two.flow.acknowledged(batch, 3)
    two.flow.target_log.marked()
    two.take_of(logs.NOW)
    assert two.wanted == []  # not so soon
    (batch,) = two.send()
    two.flow.acknowledged(batch, 7)
    two.now_ms += 1000
    two.take_of(logs.NOW - DAY_MS // 3)
    assert two.wanted == []  # not for so old a record
    (batch,) = two.send()
    two.flow.acknowledged(batch, 10)
    two.take_of(logs.NOW)
    assert two.wanted == [Way.FENCED]
    two.change()
    (batch,) = two.send()
    assert (two.flow.producer, batch.sequence) == (FENCED, 3)


@pytest.mark.parametrize("marker_first", [True, False])
async def test_given_the_last_marker_is_overtaken_by_a_plain_batch_then_neither_is_lost_or_a_stranger(
    two: Two, marker_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    two.take_of(-1)
    two.change()
    (batch,) = two.send()
    two.flow.acknowledged(batch, 0)
    two.flow.target_log.marked()
    assert two.flow.target_next == 4
    two.now_ms += module.RETURN_AFTER_MS
    for base in (4, 7) if marker_first else (3, 7):
        two.take_of(logs.NOW)
        if two.wanted:
            two.change()
            assert two.flow.target_next == 3
        (batch,) = two.send()
        two.flow.acknowledged(batch, base)
        assert two.flow.reason is None
    assert two.flow.target_next == 10
    assert not two.flow.target_log._strangers_seen


async def test_given_much_was_written_then_entries_are_due_early(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replicator.flow.fenced.ENTRIES_AFTER_BYTES", 150)
    for base in (0, 3, 6):
        two.take_of(logs.NOW)
        (batch,) = two.send()
        two.flow.acknowledged(batch, base)
    assert two.entries_due == 1


@pytest.mark.parametrize("code", [45, 47, 48, 59, 90])
async def test_given_the_broker_refuses_the_producer_then_the_lane_recovers_and_nothing_more_is_sent(
    two: Two, code: int
) -> None:
    two.take_of(logs.NOW)
    (batch,) = two.send()
    two.flow.failed(batch, code, "")
    assert len(two.failures) == 1
    two.running = False
    two.take_of(logs.NOW)
    assert two.send() == []
    assert two.outside.producers_wanted == 0


async def test_given_an_acknowledgement_that_says_duplicate_without_an_offset_then_the_tail_has_to_tell(
    two: Two,
) -> None:
    two.take_of(logs.NOW)
    (batch,) = two.send()
    two.flow.acknowledged(batch, -1)
    assert len(two.failures) == 1


async def test_given_a_long_pause_then_the_first_batch_goes_alone_again(two: Two) -> None:
    two.take_of(logs.NOW)
    (batch,) = two.send()
    two.flow.acknowledged(batch, 0)
    two.now_ms += DAY_MS
    for _ in range(2):
        two.take_of(two.now_ms)
    assert len(two.send()) == 1


async def test_given_any_schedule_then_ways_change_with_nothing_in_flight_and_every_batch_goes_its_way() -> None:
    for seed in random.SystemRandom().sample(range(1 << 32), 60):
        rng, two = random.Random(seed), Two()
        base, sent = 0, []
        for _ in range(60):
            step = rng.randrange(5)
            if step == 0:
                two.take_of(rng.choice((two.now_ms, two.now_ms - 1000, two.now_ms - DAY_MS, -1)))
            elif step == 1:
                sent += two.send()
            elif step == 2 and sent:
                batch = sent.pop(0)
                two.flow.acknowledged(batch, base)
                base += batch.record_count
            elif step == 3 and two.wanted:
                assert not two.flow.unresolved, f"seed {seed}"
                two.change()
            elif step == 4:
                two.now_ms += rng.choice((0, 1000, module.RETURN_AFTER_MS))
            for batch in two.flow.unresolved:
                plain = not batch.data[v2_attributes()] & TRANSACTIONAL_BIT
                assert plain == (two.flow.way is Way.FENCED), f"seed {seed}"
                assert not plain or batch.max_timestamp >= two.now_ms - DAY_MS, f"seed {seed}"
            assert two.flow.reason is None, f"seed {seed}"


def v2_attributes() -> int:
    """Where the low byte of a batch's attributes is."""
    return 22


async def test_given_a_partition_that_has_waited_for_its_broker_until_its_records_are_old_then_it_changes_its_way(
    two: Two,
) -> None:
    two.take_of(logs.NOW)
    channel = _Channel(cast(Any, None), 1, 0, lambda flow: None, lambda: True)
    two.flow.outlet = channel
    channel._queued.add(two.flow)
    channel._ready[None] = deque([two.flow])
    two.now_ms += DAY_MS
    assert channel._next_items() == []
    await asyncio.sleep(0)
    assert two.wanted == [Way.TRANSACTIONS]
