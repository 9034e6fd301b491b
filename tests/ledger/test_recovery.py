"""What a new owner finds out about its partitions, on bundled clusters: counted where it can be, never guessed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from broker.storage import compaction
from replicator.errors import UnreachableError
from replicator.flow.backpressure import ByteBudget
from replicator.flow.fetcher import Fetcher
from replicator.flow.partition import PartitionFlow
from replicator.flow.source_errors import SourceErrors
from replicator.ledger import content
from replicator.ledger.recovery import Recovered
from replicator.states import PartitionFault, Reason
from replicator.wire.producer_id import ProducerIdAndEpoch
from tests.flow import logs
from tests.ledger.recovery_scene import FORMER, SEQUENCES, Scene, check_map
from tests.support.eventually import until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same program with shorter pauses."""
    for name, seconds in {
        "ledger.fetching._PAUSE_S": 0.01,
        "ledger.reading.SETTLE_S": 0.05,
        "ledger.content.SETTLE_S": 0.05,
        "wire.cluster._REFRESH_PAUSE_S": 0.01,
        "wire.cluster._CONNECT_PAUSE_S": 0.02,
    }.items():
        monkeypatch.setattr(f"replicator.{name}", seconds)
    monkeypatch.setattr("replicator.ledger.fetching._MAX_WAIT_MS", 30)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene(first_sequence=SEQUENCES - 40)  # so that sequences wrap
    await made.start()
    made.produce(30)
    made.copy_on([10, 20])
    yield made
    await made.stop()


async def test_given_nothing_copied_since_when_recovered_then_the_entry_stands_behind_the_marker(scene: Scene) -> None:
    entry = scene.entry(record_timestamp_ms=5)
    scene.produce(5)
    scene.fence()
    found = await scene.recovered(entry)
    scene.check(found, entry)
    assert (found.entry.source_leader_epoch, found.entry.record_timestamp_ms) == (0, 5)


async def test_given_records_copied_since_when_recovered_then_they_are_counted_and_mapped(scene: Scene) -> None:
    entry = scene.entry()
    scene.transaction(3, commit=False)
    scene.produce(40)
    scene.transaction(7, commit=True)
    scene.produce(20)
    scene.copy_on([1, 30, 12, 9])  # ends within a source batch
    scene.fence()
    found = await scene.recovered(entry)
    scene.check(found, entry)
    assert found.copied == 52
    assert found.entry.record_timestamp_ms > 0


async def test_given_no_marker_yet_when_it_comes_then_the_tail_is_read_on(scene: Scene) -> None:
    entry = scene.entry()
    scene.produce(4)
    scene.copy_on([4])
    recovering = asyncio.create_task(scene.recovered(entry))
    await asyncio.sleep(0)
    scene.fence()
    scene.check(await recovering, entry)


async def test_given_no_marker_at_all_when_patience_ends_then_not_now(scene: Scene) -> None:
    (error,) = await scene.recover([scene.entry()], patience_s=0.3)
    assert isinstance(error, UnreachableError)
    assert error.retriable


async def test_given_markers_and_foreign_batches_in_the_tail_when_recovered_then_they_dont_count(scene: Scene) -> None:
    entry = scene.entry()
    scene.produce(20)
    scene.copy_on([5])
    scene.foreign(3)
    scene.copy(0).append_marker(900, 0, False)
    scene.copy_on([6])
    scene.copy(0).append_marker(FORMER.producer_id, FORMER.epoch, True)  # a fence of the former owner's
    scene.fence()
    found = await scene.recovered(entry)
    scene.check(found, entry)
    assert found.foreign == 1


async def test_given_a_first_entry_without_a_producer_when_recovered_then_sequences_count_from_zero() -> None:
    scene = Scene()
    await scene.start()
    entry = scene.entry(producer_id=-1, producer_epoch=-1)
    scene.produce(9)
    scene.copy_on([4, 3])
    scene.fence()
    found = await scene.recovered(entry)
    scene.check(found, entry)
    assert found.entry.source_leader_epoch == 0
    await scene.stop()


async def test_given_another_producer_id_since_when_recovered_then_both_count(scene: Scene) -> None:
    entry = scene.entry()
    scene.produce(20)
    scene.copy_on([5])
    scene.producer[0], scene.sequence[0] = ProducerIdAndEpoch(99, 0), 0
    scene.copy_on([6])
    scene.fence()
    scene.check(await scene.recovered(entry, producers=(77, 99)), entry)


async def test_given_another_producer_id_of_our_own_when_the_former_owner_writes_on_then_that_counts_too(
    scene: Scene,
) -> None:
    owner = ProducerIdAndEpoch(99, 0)
    entry = scene.entry()
    scene.produce(20)
    scene.copy_on([5])
    scene.fence(owner)
    scene.copy_on([6])  # our marker fences a producer id of the same transactional id only
    found = await scene.recovered(entry, owner=owner, to_end=True)
    scene.check(found, entry, owner)
    assert found.copied == 11


async def test_given_a_target_cut_below_the_entry_when_recovered_then_target_truncated(scene: Scene) -> None:
    scene.produce(1)
    scene.copy_on([1])
    entry = scene.entry()
    for end in (entry.target_next - 1, 10):
        scene.copy(0).truncate(end)
        scene.fence()
        (error,) = await scene.recover([entry])
        assert isinstance(error, PartitionFault)
        assert error.reason is Reason.TARGET_TRUNCATED
        assert "was written up to offset 31, and " in error.detail


async def test_given_acknowledged_records_lost_behind_the_entry_when_recovered_then_they_are_copied_again(
    scene: Scene,
) -> None:
    entry = scene.entry()
    scene.produce(20)
    scene.copy_on([5, 5, 5])
    scene.copy(0).truncate(entry.target_next + 10)
    del scene.copied[0][-5:]
    scene.fence()
    scene.check(await scene.recovered(entry), entry)


async def test_given_the_targets_start_behind_the_entry_when_batches_are_left_then_sequences_tell(scene: Scene) -> None:
    entry = scene.entry()
    scene.produce(20)
    scene.copy_on([5, 5, 5])
    scene.copy(0).delete_records_to(entry.target_next + 12)
    scene.fence()
    found = await scene.recovered(entry)
    assert (found.copied, found.entry.source_next) == (15, entry.source_next + 15)
    check_map(found, [pair for pair in scene.copied[0] if pair[1] >= entry.target_next + 10])


async def test_given_nothing_left_behind_the_targets_start_when_recovered_then_ambiguous(scene: Scene) -> None:
    entry = scene.entry()
    scene.produce(20)
    scene.copy_on([5, 5, 5])
    scene.copy(0).delete_records_to(-1)
    scene.fence()
    await refused(scene, entry, "are gone")


async def test_given_nothing_left_on_either_side_when_recovered_then_it_goes_on_from_its_entry(scene: Scene) -> None:
    scene.copy(0).append_marker(900, 0, True)  # what the entry doesn't know of
    entry = scene.entry()
    for log in (scene.copy(0), scene.native(0)):
        log.delete_records_to(-1)
    scene.fence()
    scene.check(await scene.recovered(entry), entry)
    scene.transaction(2, commit=False)
    scene.check(await scene.recovered(entry), entry)
    scene.produce(1)
    await refused(scene, entry, "are gone")


async def refused(scene: Scene, entry: object, why: str) -> None:
    (error,) = await scene.recover([entry])  # type: ignore[list-item]
    assert isinstance(error, PartitionFault), error
    assert error.reason is Reason.RECOVERY_AMBIGUOUS
    assert why in error.detail, error.detail
    assert (error.topic, error.partition) == ("orders", 0)


async def compact_source(scene: Scene) -> set[int]:
    """The offsets that are left."""
    topic = scene.source.topics.get("orders")
    assert topic is not None
    scene.source.alter_topic_configs(topic, {"cleanup.policy": "compact"})
    scene.native().roll()
    assert compaction.clean(scene.native())
    return {row.offset for row in scene.eligible()}


async def test_given_a_source_compacted_meanwhile_when_recovered_then_contents_tell(scene: Scene) -> None:
    entry = scene.entry()
    scene.produce(40)
    scene.produce(40, keys=13)
    scene.copy_on([30, 25])
    truth = scene.next[0]
    left = await compact_source(scene)
    scene.fence()
    found = await scene.recovered(entry)
    assert found.copied == 55
    assert found.entry.source_next == max(offset for offset in left if offset < truth) + 1
    check_map(found, [pair for pair in scene.copied[0] if pair[0] >= entry.source_next and pair[0] in left])


async def test_given_losses_on_both_sides_when_recovered_then_what_is_left_tells(scene: Scene) -> None:
    entry = scene.entry()
    scene.produce(20)
    scene.produce(20, keys=13)
    scene.produce(20)
    scene.copy_on([20, 20, 9])
    truth = scene.next[0]
    scene.copy(0).delete_records_to(entry.target_next + 25)
    left = await compact_source(scene)
    scene.fence()
    found = await scene.recovered(entry)
    assert (found.copied, found.entry.source_next) == (49, truth)
    since = [(source, target) for source, target in scene.copied[0] if target >= entry.target_next + 25]
    check_map(found, [pair for pair in since if pair[0] in left])


async def test_given_the_last_copied_ones_compacted_and_another_leader_when_recovered_then_ambiguous(
    scene: Scene,
) -> None:
    entry = scene.entry()
    scene.produce(40)
    scene.produce(40, keys=13)
    scene.copy_on([30, 25])
    scene.native().become_leader(1)
    await compact_source(scene)
    scene.fence()
    await scene.source.move_leader("orders", 0, 0)
    partition = scene.source.topics.get("orders").partitions[0]  # type: ignore[union-attr]
    partition.leader_epoch = 1
    await refused(scene, entry, "had another leader")


async def test_given_a_source_start_behind_the_entry_when_recovered_then_contents_tell(scene: Scene) -> None:
    entry = scene.entry()
    scene.produce(40)
    scene.copy_on([15, 10])
    scene.native().delete_records_to(entry.source_next + 18)
    scene.fence()
    found = await scene.recovered(entry)
    assert (found.copied, found.entry.source_next) == (25, entry.source_next + 25)


async def test_given_all_copied_records_gone_from_the_source_when_recovered_then_the_gap_shows(scene: Scene) -> None:
    entry = scene.entry()
    scene.produce(40)
    scene.copy_on([15, 10])
    scene.native().delete_records_to(entry.source_next + 30)
    scene.fence()
    found = await scene.recovered(entry)
    assert found.entry.source_next == entry.source_next + 25  # below the log start: five records are missing
    assert (await reading_on(scene, found)).reason is Reason.RETENTION_OVERRUN


async def test_given_a_clean_election_on_the_source_when_recovered_then_contents_confirm_the_count(
    scene: Scene,
) -> None:
    entry = scene.entry()
    scene.produce(10)
    scene.native().become_leader(1)
    scene.produce(10)
    scene.copy_on([15])
    scene.fence()
    found = await scene.recovered(entry)
    scene.check(found, entry)
    assert found.entry.source_leader_epoch == 1


async def reading_on(scene: Scene, found: Recovered) -> PartitionFlow:
    """What whoever copies on from there finds out."""
    entry, budget = found.entry, ByteBudget(1 << 24)
    flow = logs.flow_of(
        logs.Outside(),
        source_topic_id=entry.source_topic_id,
        source_next=entry.source_next,
        source_epoch=entry.source_leader_epoch,
        target_next=entry.target_next,
    )
    errors = SourceErrors(scene.from_)
    fetcher = Fetcher(scene.from_, budget, errors)
    fetcher.add(flow)
    await until(lambda: flow.reason is not None or flow.queue, "the source being read")
    flow.close()
    fetcher.remove(flow)
    await fetcher.close()
    await errors.close()
    return flow


async def test_given_a_source_that_was_cut_and_grew_again_when_recovered_then_its_truncation_will_show(
    scene: Scene,
) -> None:
    entry = scene.entry()
    scene.produce(10)
    scene.produce(10)
    scene.copy_on([15])
    await scene.source.elect_unclean("orders", 0, entry.source_next + 10)
    scene.produce(30)
    scene.fence()
    found = await scene.recovered(entry)
    # A position at which epoch 0 doesn't end: whoever fetches from there is told that the log was cut.
    assert (found.entry.source_next, found.entry.source_leader_epoch) == (entry.source_next + 15, 0)
    check_map(found, [pair for pair in scene.copied[0] if 0 <= pair[0] - entry.source_next < 10])
    assert (await reading_on(scene, found)).reason is Reason.SOURCE_TRUNCATED


async def test_given_other_records_in_the_same_epoch_when_recovered_then_ambiguous(scene: Scene) -> None:
    entry = scene.entry()
    scene.produce(10)
    scene.copy_on([10])
    scene.native().truncate(entry.source_next + 5)
    scene.produce(2)
    scene.native().become_leader(1)
    scene.produce(30)
    scene.fence()
    await refused(scene, entry, "doesn't hold what was copied")


async def test_given_a_clean_election_and_a_target_without_the_first_ones_when_recovered_then_contents_confirm(
    scene: Scene,
) -> None:
    entry = scene.entry()
    scene.produce(10)
    scene.native().become_leader(1)
    scene.produce(10)
    scene.copy_on([5, 5, 5])
    scene.copy(0).delete_records_to(entry.target_next + 7)
    scene.fence()
    found = await scene.recovered(entry)
    assert (found.copied, found.entry.source_next) == (15, entry.source_next + 15)


async def test_given_a_source_that_ends_before_what_was_copied_when_recovered_then_its_truncation_will_show(
    scene: Scene,
) -> None:
    entry = scene.entry()
    scene.produce(10)
    scene.produce(10)
    scene.copy_on([15])
    await scene.source.elect_unclean("orders", 0, entry.source_next + 10)
    scene.fence()
    found = await scene.recovered(entry)
    assert (found.entry.source_next, found.entry.source_leader_epoch) == (entry.source_next + 15, 0)
    assert (await reading_on(scene, found)).reason is Reason.SOURCE_TRUNCATED


async def test_given_more_to_compare_than_is_allowed_when_recovered_then_ambiguous(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "MAX_RECORDS", 10)
    entry = scene.entry()
    scene.produce(20)
    scene.native().become_leader(1)
    scene.produce(10)
    scene.copy_on([25])
    scene.fence()
    await refused(scene, entry, "more than 10 records")


async def test_given_no_leader_when_recovered_then_the_others_go_on_and_it_is_tried_later() -> None:
    scene = Scene(4, nodes=2)
    scene.nodes = 1  # replicas of each topic
    await scene.start()
    entries = []
    for partition in range(4):
        scene.produce(10, partition)
        entries.append(scene.entry(partition))
        scene.copy_on([6], partition)
    scene.fence()
    await scene.target.stop_node(1)
    outcomes = await scene.recover(entries, patience_s=0.4)
    there = [scene.to.leader("us.orders", n) is not None for n in range(4)]
    assert sorted(there) == [False, False, True, True]
    for ok, outcome, entry in zip(there, outcomes, entries, strict=True):
        if ok:
            assert isinstance(outcome, Recovered)
            scene.check(outcome, entry)
        else:
            assert isinstance(outcome, UnreachableError)
    await scene.target.start_node(1)
    for outcome, entry in zip(await scene.recover(entries), entries, strict=True):
        assert isinstance(outcome, Recovered)
        scene.check(outcome, entry)
    await scene.stop()


async def test_given_a_frozen_broker_when_recovered_then_the_others_dont_wait_for_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("replicator.ledger.fetching.GRACE_S", 0.3)
    monkeypatch.setattr("replicator.ledger.fetching._LOOK_S", 0.05)
    scene = Scene(2, nodes=2)
    scene.nodes = 1
    await scene.start()
    entries = [scene.entry(partition) for partition in range(2)]
    scene.fence()
    await scene.target.freeze_node(1)
    began = time.monotonic()
    outcomes = await scene.recover(entries, patience_s=60.0)
    assert time.monotonic() - began < 5.0
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Recovered", "UnreachableError"]
    await scene.target.thaw_node(1)
    await scene.stop()


@pytest.mark.parametrize("version", [12, 13])
async def test_given_an_older_broker_when_recovered_then_topics_go_by_name_or_id(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    monkeypatch.setattr("replicator.wire.fetch.MAX_VERSION", version)
    entry = scene.entry()
    scene.produce(10)
    scene.copy_on([7])
    scene.fence()
    scene.check(await scene.recovered(entry), entry)


async def test_given_tails_larger_than_a_response_when_recovered_then_all_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("replicator.ledger.fetching.RESPONSE_BYTES", 2000)
    monkeypatch.setattr("replicator.ledger.fetching.PARTITION_BYTES", 1000)
    scene = Scene(5)
    await scene.start()
    entries = []
    for partition in range(5):
        scene.produce(1, partition)
        scene.copy_on([1], partition)
        entries.append(scene.entry(partition))
        scene.produce(100, partition)
        scene.copy_on([5] * 20, partition)
    scene.fence()
    for outcome, entry in zip(await scene.recover(entries), entries, strict=True):
        assert isinstance(outcome, Recovered), outcome
        scene.check(outcome, entry)
    await scene.stop()


async def test_given_leaders_that_move_when_recovered_then_they_are_followed() -> None:
    scene = Scene(6, nodes=2)
    await scene.start()
    entries = []
    for partition in range(6):
        scene.produce(10, partition)
        entries.append(scene.entry(partition))
        scene.copy_on([6], partition)
    scene.fence()
    for partition in range(6):
        for cluster, topic in ((scene.source, "orders"), (scene.target, "us.orders")):
            leader = cluster.topics.get(topic).partitions[partition].leader  # type: ignore[union-attr]
            await cluster.move_leader(topic, partition, 1 - leader)
    for outcome, entry in zip(await scene.recover(entries), entries, strict=True):
        assert isinstance(outcome, Recovered), outcome
        scene.check(outcome, entry)
    await scene.stop()


@pytest.mark.slow
async def test_given_a_thousand_partitions_when_recovered_then_within_two_seconds() -> None:
    scene = Scene(1000)
    await scene.start()
    entries = []
    for partition in range(1000):
        entries.append(scene.entry(partition))
        if partition % 10 == 0:
            scene.produce(20, partition)
            scene.copy_on([10, 5], partition)
    scene.fence()
    started = time.monotonic()
    outcomes = await scene.recover(entries)
    took = time.monotonic() - started
    print(f"1,000 partitions in {took:.2f} s")
    for outcome, entry in zip(outcomes, entries, strict=True):
        assert isinstance(outcome, Recovered)
        scene.check(outcome, entry)
    await scene.stop()
    assert took < 5.0  # a lane's bound; on an idle machine it takes a fraction
