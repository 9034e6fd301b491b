"""PartitionFlow's invariants, and how each kind of fault begins and ends."""

from __future__ import annotations

import asyncio

import pytest

from replicator.flow.backpressure import ByteBudget, Lease
from replicator.flow.batch import Batch
from replicator.flow.partition import MAX_UNRESOLVED, QUEUE_BYTES, PartitionFlow
from replicator.states import PartitionFault, Reason, State
from replicator.telemetry.counters import PartitionCounters
from replicator.wire.producer_id import ProducerIdAndEpoch
from tests.flow import logs
from tests.support.eventually import until

NOT_LEADER, TOO_LARGE, UNAUTHORIZED, LIST_TOO_LARGE, INVALID_TIMESTAMP = 6, 10, 29, 18, 32


class World:
    """One partition with a budget, fed one batch of three records at a time."""

    def __init__(self, **changes: object) -> None:
        self.outside = logs.Outside()
        self.flow: PartitionFlow = logs.flow_of(self.outside, **changes)
        self.budget = ByteBudget(1 << 30)

    def take(self, batches: int = 1, size: int = 3) -> None:
        for _ in range(batches):
            first = self.flow.fetch_offset
            answer = logs.fetched(logs.batch(logs.rows(first, size)))
            lease = Lease(self.budget, len(answer.records))
            self.flow.take(answer, lease)
            lease.release()

    def send(self) -> list[Batch]:
        sent = []
        while self.flow.sendable:
            sent.append(self.flow.next_batch())
        return sent

    def prove_producer(self) -> None:
        self.take()
        (batch,) = self.send()
        self.flow.acknowledged(batch, self.flow.target_next)

    def fault(self, reason: Reason) -> None:
        self.flow.fault(PartitionFault(reason, "said so"))


@pytest.fixture
async def world() -> World:
    return World()


async def test_invariant_a_nothing_is_sent_again_until_all_that_was_sent_is_answered(world: World) -> None:
    world.prove_producer()
    world.take(3)
    first, second, third = world.send()
    bytes_before = [bytes(batch.data) for batch in (first, second, third)]
    world.flow.failed(first, NOT_LEADER, "")
    world.flow.failed(second, 45, "")
    assert not world.flow.sendable
    world.flow.failed(third, 45, "")
    await until(lambda: world.flow.sendable, "the retry")
    again = world.send()
    assert again == [first, second, third]
    assert [bytes(batch.data) for batch in again] == bytes_before
    assert world.outside.producers_wanted == 0


async def test_invariant_b_a_new_producers_first_batch_goes_alone_then_five(world: World) -> None:
    world.take(9)
    (first,) = world.send()
    world.flow.acknowledged(first, 0)
    assert len(world.send()) == MAX_UNRESOLVED
    world.flow.close()
    assert world.budget.in_use == 0


async def test_invariant_b_halves_of_a_split_batch_stay_within_what_brokers_remember(world: World) -> None:
    world.prove_producer()
    world.take(MAX_UNRESOLVED)
    sent = world.send()
    world.flow.failed(sent[0], LIST_TOO_LARGE, "")
    for batch in sent[1:]:
        world.flow.failed(batch, 45, "")
    again = world.send()
    assert len(again) == MAX_UNRESOLVED
    assert len(world.flow.unresolved) == MAX_UNRESOLVED + 1
    assert [batch.sequence for batch in again] == [3, 4, 6, 9, 12]


async def test_invariant_c_positions_move_only_with_what_is_acknowledged_in_order(world: World) -> None:
    world.prove_producer()
    world.take(2)
    first, second = world.send()
    flow = world.flow
    assert (flow.source_next, flow.target_next, flow.acknowledged_sequence) == (3, 3, 3)
    flow.acknowledged(second, 6)
    assert (flow.source_next, flow.target_next, flow.acknowledged_sequence) == (3, 3, 3)
    flow.acknowledged(first, 3)
    assert (flow.source_next, flow.target_next, flow.acknowledged_sequence) == (9, 9, 9)
    assert world.budget.in_use == 0


async def test_invariant_c_dropped_batches_move_the_source_side_alone(world: World) -> None:
    world.flow.take(logs.fetched(logs.marker(0, 7, commit=True)), Lease(world.budget, 0))
    assert (world.flow.source_next, world.flow.target_next) == (1, 0)


async def test_invariant_d_what_was_fetched_before_a_bad_batch_is_still_written(world: World) -> None:
    bad = bytearray(logs.batch(logs.rows(3, 3)))
    bad[-1] ^= 1
    lease = Lease(world.budget, 0)
    world.flow.take(logs.fetched(logs.batch(logs.rows(0, 3)), bytes(bad)), lease)
    assert world.flow.reason is Reason.CORRUPT_BATCH
    assert not world.flow.fetchable
    (batch,) = world.send()
    world.flow.acknowledged(batch, 0)
    assert (world.flow.source_next, world.flow.target_next) == (3, 3)
    assert world.flow.reason is Reason.CORRUPT_BATCH
    world.flow.try_fetching()
    assert world.flow.fetchable
    world.take()
    assert world.flow.state is State.COPYING


async def test_given_an_acknowledgement_below_the_last_one_then_nothing_is_written_any_more(world: World) -> None:
    world.prove_producer()
    world.take(4)
    first, second, third, fourth = world.send()
    world.flow.acknowledged(first, 1)
    assert world.flow.reason is Reason.TARGET_TRUNCATED
    assert "wrote at offset 1, but had acknowledged up to 2" in world.flow.detail
    world.flow.failed(second, NOT_LEADER, "")
    world.flow.failed(third, 45, "")
    world.flow.acknowledged(fourth, 7)
    await asyncio.sleep(0)
    assert not world.flow.sendable
    assert (world.flow.source_next, world.flow.target_next) == (3, 3)
    assert world.budget.in_use == 0
    async with asyncio.timeout(1):
        await world.flow.drain()
    world.fault(Reason.TARGET_RECREATED)  # metadata tells later why
    assert world.flow.reason is Reason.TARGET_RECREATED
    world.fault(Reason.TARGET_TRUNCATED)
    assert world.flow.reason is Reason.TARGET_RECREATED


async def test_given_a_gap_of_the_source_then_a_truncated_target_is_still_told(world: World) -> None:
    world.prove_producer()
    world.take()
    (batch,) = world.send()
    world.fault(Reason.RETENTION_OVERRUN)
    world.fault(Reason.SOURCE_MISSING)
    assert world.flow.reason is Reason.RETENTION_OVERRUN
    world.flow.acknowledged(batch, 0)
    assert world.flow.reason is Reason.TARGET_TRUNCATED


async def test_given_a_target_topic_recreated_then_a_pending_retry_writes_nothing(world: World) -> None:
    world.prove_producer()
    world.take(2)
    for batch in world.send():
        world.flow.failed(batch, INVALID_TIMESTAMP, "too old")
    assert world.flow.reason is Reason.RECORD_REFUSED
    world.fault(Reason.TARGET_RECREATED)
    assert world.flow._timer is None or world.flow._timer.cancelled()
    world.flow.adopt_producer(ProducerIdAndEpoch(9, 0))
    assert not world.flow.sendable


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (UNAUTHORIZED, Reason.NOT_AUTHORIZED),
        (31, Reason.NOT_AUTHORIZED),
        (INVALID_TIMESTAMP, Reason.RECORD_REFUSED),
        (TOO_LARGE, Reason.RECORD_TOO_LARGE),
        (76, Reason.RECORD_REFUSED),
    ],
)
async def test_given_a_refusal_of_the_target_when_it_takes_the_batch_again_then_copying_goes_on(
    world: World, code: int, reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replicator.flow.partition.HEAL_AFTER_S", 0.0)
    world.prove_producer()
    world.take(size=1)
    world.take(2)
    for batch in world.send():
        world.flow.failed(batch, code, "because")
    assert (world.flow.state, world.flow.reason) == (State.FAULTED, reason)
    world.flow.try_fetching()
    assert not world.flow.fetchable  # the source can't end a fault of the target
    await until(lambda: world.flow.sendable, "the retry")
    for batch in world.send():
        world.flow.acknowledged(batch, world.flow.target_next)
    assert (world.flow.state, world.flow.reason) == (State.COPYING, None)
    assert world.flow.fetchable
    assert world.outside.faults == [str(reason)]


async def test_given_a_missing_target_topic_and_nothing_to_send_when_it_is_back_then_copying_goes_on(
    world: World,
) -> None:
    world.fault(Reason.TARGET_MISSING)
    assert not world.flow.fetchable
    world.flow.target_found()
    assert world.flow.fetchable
    assert world.flow.state is State.COPYING


async def test_given_a_batch_that_is_too_large_and_does_not_decode_then_it_faults_alone(world: World) -> None:
    world.prove_producer()
    garbled = bytearray(logs.batch(logs.rows(3, 3)))
    garbled[61:] = b"\xff" * len(garbled[61:])
    garbled = bytearray(logs.with_right_checksum(bytes(garbled)))
    world.flow.take(logs.fetched(bytes(garbled)), Lease(world.budget, 0))
    (batch,) = world.send()
    world.flow.failed(batch, TOO_LARGE, "limit is 10")
    assert world.flow.reason is Reason.RECORD_TOO_LARGE
    assert "can't be split" in world.flow.detail
    assert "Record at offset 3" in world.flow.detail


async def test_given_a_target_in_trouble_for_long_then_only_what_may_be_there_is_kept(world: World) -> None:
    world.prove_producer()
    world.take(8)
    world.flow.park()
    assert len(world.flow.queue) == 1
    assert world.budget.in_use == world.budget.parked == len(world.flow.queue[0].data) == world.flow.queued_bytes
    assert world.flow.fetch_offset == 6
    assert not world.flow.fetchable
    (batch,) = world.send()
    world.flow.park()
    assert world.flow.fetch_offset == 6
    world.flow.acknowledged(batch, 3)
    assert world.flow.fetchable
    assert world.flow.source_next == 6
    assert world.budget.in_use == 0


async def test_given_a_full_queue_then_fetching_stops_and_goes_on_below_half(world: World) -> None:
    world.prove_producer()
    flow = world.flow
    value = b"x" * (QUEUE_BYTES // 4)
    for _ in range(4):
        row = logs.Row(flow.fetch_offset, logs.NOW, None, value)
        flow.take(logs.fetched(logs.batch([row])), Lease(world.budget, 0))
    assert (flow.fetchable, flow.full) == (False, True)
    for _ in range(3):
        flow.next_batch()
    assert (flow.fetchable, flow.full) == (True, False)


@pytest.mark.parametrize("parked", [False, True])
async def test_given_a_drain_then_it_waits_for_what_was_sent_unless_the_target_is_in_trouble(
    world: World, parked: bool
) -> None:
    world.prove_producer()
    world.take(7)
    sent = world.send()
    drain = asyncio.create_task(world.flow.drain())
    await asyncio.sleep(0)
    assert not drain.done()
    assert not world.flow.queue
    if parked:
        for batch in sent:
            world.flow.failed(batch, UNAUTHORIZED, "")
    else:
        for batch in sent:
            world.flow.acknowledged(batch, world.flow.target_next)
    async with asyncio.timeout(1):
        await drain
    assert world.flow.source_next == (3 if parked else 18)
    world.flow.close()
    assert world.budget.in_use == 0


async def test_given_a_lost_producer_then_the_entry_names_the_new_one_at_once(world: World) -> None:
    world.prove_producer()
    world.take(3)
    first, second, third = world.send()
    world.flow.failed(first, 45, "")
    world.flow.failed(second, 45, "")
    world.flow.acknowledged(third, 9)  # brokers' snapshots remember the last batch alone
    assert world.outside.producers_wanted == 1
    changes = world.outside.changes
    world.flow.adopt_producer(ProducerIdAndEpoch(8, 0))
    assert world.outside.changes == changes + 1
    assert (world.flow.producer.producer_id, world.flow.acknowledged_sequence) == (8, 0)
    assert world.send() == [first]
    world.flow.acknowledged(first, 12)
    assert world.send() == [second, third]
    world.flow.acknowledged(second, 15)
    world.flow.acknowledged(third, 18)
    assert world.flow.state is State.COPYING
    assert (world.flow.source_next, world.flow.target_next) == (12, 21)


async def test_given_a_closed_partition_then_late_answers_and_timers_do_nothing(world: World) -> None:
    world.prove_producer()
    world.take(2)
    first, second = world.send()
    world.flow.failed(first, NOT_LEADER, "")
    world.flow.close()
    world.flow.acknowledged(second, 6)
    world.flow.failed(second, NOT_LEADER, "")
    assert not world.flow.sendable
    assert world.budget.in_use == 0


async def test_given_sequences_at_their_end_then_they_go_on_from_zero(world: World) -> None:
    world.prove_producer()
    world.flow.next_sequence = 2**31 - 2
    world.take(2)
    first, second = world.send()
    assert (first.sequence, second.sequence, world.flow.next_sequence) == (2**31 - 2, 1, 4)


async def test_given_a_run_after_another_of_the_same_producer_then_its_sequences_go_on() -> None:
    before = World()
    before.prove_producer()
    world = World(sequences=before.flow.sequences, source_next=3, target_next=3)
    world.take()
    (batch,) = world.send()
    assert batch.sequence == 3


async def test_given_records_on_their_way_then_what_is_unread_and_what_is_not_copied_are_told_apart() -> None:
    counters = PartitionCounters("us-to-eu", "orders", 0)
    world = World(counters=counters, now_ms=lambda: logs.NOW + 1_000)
    world.take(2)
    world.flow.source_end = 10
    world.flow.update_counters()
    assert (counters.lag_records, counters.lag_ms) == (10, 998)  # as its newest record
    assert (counters.unread_records, counters.unread_ms) == (4, 998)
    world.flow.source_end = 6
    world.flow.update_counters()
    assert (counters.lag_records, counters.unread_records, counters.unread_ms) == (6, 0, 0)
    assert counters.lag_is_known
    world.flow.close()


async def test_given_refusals_for_want_of_permission_then_each_is_counted() -> None:
    counters = PartitionCounters("us-to-eu", "orders", 0, source_end=0)
    world = World(counters=counters)
    for _ in range(2):
        world.fault(Reason.NOT_AUTHORIZED)
    world.fault(Reason.CORRUPT_BATCH)
    assert counters.authorization_failures == 2
    assert len(world.outside.faults) == 2
    assert not counters.lag_is_known
