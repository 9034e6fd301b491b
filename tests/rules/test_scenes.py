"""Scenes that random schedules don't come upon: a target that loses records or is another topic, strangers, zombies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from broker.storage.batch import encode_batch
from replicator.ledger.entry import decode
from replicator.ledger.lanes import control_topic, ledger_topic
from replicator.ledger.moved import encode_wish
from replicator.states import Reason, State
from replicator.worker import placement_choice, placement_load
from tests.rules.checks import Scene, hold
from tests.rules.history import COUNTS
from tests.rules.schedule import Mood, Writers
from tests.rules.virtual import VirtualLoop, simulate
from tests.rules.world import World, in_virtual_world, make_link

PLACE, COPY = ("orders", 0), ("us.orders", 0)
OTHER = ("orders", 1)
WRITING = pytest.mark.parametrize("writing", ["transactions", "auto"])


class Copying:
    """One worker, or more, that has copied a few records of two partitions."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.writers = Writers(world, Mood())

    async def begin(self, workers: int = 1) -> None:
        for _ in range(workers):
            self.world.begin_worker()
        self.world.give(self.world.workers[1], range(self.world.link.lanes))
        await self.write_and_copy()

    async def write_and_copy(self) -> None:
        for place in self.world.partitions:
            for _ in range(5):
                self.writers.write(place)
        await self.world.until_copied(within_s=60)

    async def until(self, true: Callable[[], object], within_s: float = 60, every_s: float = 0.5) -> None:
        """Look every so often, in virtual time."""
        for _ in range(int(within_s / every_s)):
            if true():
                return
            await asyncio.sleep(every_s)
        raise AssertionError("it didn't come to that:\n" + "\n".join(self.world.said[-40:]))

    def reason(self, place: tuple[str, int] = PLACE) -> Reason | None:
        """Why the partition is stopped, by the ledger."""
        self.world._read_ledger()
        entry = self.world.positions[place]
        assert (entry.state is State.FAULTED) == (entry.reason is not None)
        return entry.reason

    def recreate_target(self) -> None:
        """Another topic under the copy's name."""
        target = self.world.target
        old = target.topics.get(COPY[0])
        assert old is not None
        target.delete_topic(old)
        self.world.copied.watch(target.create_topic(COPY[0], 2, -1, {"message.timestamp.before.max.ms": str(1 << 62)}))


def wish(world: World, place: tuple[str, int], lane: int) -> None:
    """Have the partition move to this lane."""
    pair = encode_wish(*place, lane)
    world.target.log(control_topic(world.link.name), 0).append_as_client(encode_batch([pair], 1_700_000_000_000))


def lane_of_entry(world: World, place: tuple[str, int]) -> int:
    """The lane that has the partition's newest entry, by the number of its moves."""
    history = world.copied.history
    found = [
        (entry.moves, ledger[1])
        for ledger in history.places(ledger_topic(world.link.name))
        for _, row in history.counted(ledger)
        if row.key and (entry := decode(row.key, row.value)) is not None and (entry.topic, entry.partition) == place
    ]
    return max(found)[1]


def play(seed: int, work: Callable[[Copying], Awaitable[None]], **link: Any) -> tuple[Scene, list[str]]:
    """What came of it, and the story."""
    said: list[str] = []
    random = Random(seed)

    async def main(loop: VirtualLoop) -> Scene:
        world = World(loop, random, make_link(**link))
        world.said = said
        await world.start()
        world.create("orders", 2)
        await work(Copying(world))
        assert world.source.internal_errors == world.target.internal_errors == 0
        return world.scene(complete=False)

    with in_virtual_world(said):
        scene = simulate(random, main)
    assert isinstance(scene, Scene)
    return scene, said


def counted(scene: Scene, place: tuple[str, int] = COPY) -> int:
    """How many records its readers find."""
    return sum(1 for _ in scene.target.counted(place))


@WRITING
def test_rule_h_given_a_target_that_loses_records_then_the_partition_stops_and_the_other_goes_on(writing: str) -> None:
    async def work(copying: Copying) -> None:
        await copying.begin()
        log = copying.world.target.log(*COPY)
        await copying.world.target.elect_unclean(*COPY, truncate_to=log.log_end_offset - 4)
        copying.writers.write(PLACE)
        await copying.until(lambda: copying.reason() is Reason.TARGET_TRUNCATED)
        for _ in range(3):
            copying.writers.write(PLACE)
        await copying.write_and_copy()
        assert copying.reason(OTHER) is None

    scene, _ = play(1, work, writing=writing)
    assert hold(scene, "CFGH") == []


@WRITING
def test_rule_h_given_a_target_that_lost_records_while_no_worker_ran_then_nothing_is_written_to_it(
    writing: str,
) -> None:
    async def work(copying: Copying) -> None:
        await copying.begin()
        copying.world.kill(1, deliver=True, missed_after_s=20.0)
        log = copying.world.target.log(*COPY)
        await copying.world.target.elect_unclean(*COPY, truncate_to=log.log_end_offset - 4)
        for _ in range(3):
            copying.writers.write(PLACE)
        await copying.until(lambda: copying.reason() is Reason.TARGET_TRUNCATED)
        await asyncio.sleep(10)

    scene, _ = play(2, work, writing=writing)
    (cut,) = scene.target.cuts[COPY]
    late = [a for a in scene.target.of(COPY) if a.order > cut.order and a.commit is None]
    assert [a for a in late if scene.target.outcome(a) in COUNTS] == []
    assert hold(scene, "CFGH") == []


@WRITING
@pytest.mark.parametrize("while_running", [True, False])
def test_rule_h_given_another_target_topic_of_that_name_then_the_partition_stops(
    writing: str, while_running: bool
) -> None:
    async def work(copying: Copying) -> None:
        await copying.begin()
        if not while_running:
            copying.world.kill(1, deliver=True, missed_after_s=10.0)
        copying.recreate_target()
        copying.writers.write(PLACE)
        await copying.until(lambda: copying.reason() is Reason.TARGET_RECREATED)
        copying.writers.write(PLACE)
        await asyncio.sleep(15)

    scene, _ = play(3, work, writing=writing)
    (cut,) = scene.target.cuts[COPY]
    late = [a for a in scene.target.of(COPY) if a.order > cut.order and a.commit is None]
    assert [a for a in late if scene.target.outcome(a) in COUNTS] == []
    assert hold(scene, "CFGH") == []


@WRITING
def test_rule_h_given_a_stranger_who_writes_to_the_copy_then_that_is_said_and_ours_stay_exact(writing: str) -> None:
    async def work(copying: Copying) -> None:
        await copying.begin()
        copying.world.target.log(*COPY).append_as_client(encode_batch([(b"k", b"not ours")], 1))
        await copying.write_and_copy()
        await copying.write_and_copy()

    scene, said = play(4, work, writing=writing)
    assert any("somebody else writes" in line for line in said)
    strange = [wrong for wrong in hold(scene) if "never did" not in wrong and not wrong.startswith("rule A")]
    assert strange == []


@WRITING
def test_rule_f_given_records_lost_before_they_were_copied_then_the_fault_stands_in_the_ledger_until_accepted(
    writing: str,
) -> None:
    async def work(copying: Copying) -> None:
        await copying.begin()
        copying.world.kill(1, deliver=True, missed_after_s=10.0)
        for _ in range(5):
            copying.writers.write(PLACE)
        copying.world.source.log(*PLACE).delete_records_to(-1)
        copying.writers.write(PLACE)
        await copying.until(lambda: copying.reason() is Reason.RETENTION_OVERRUN)
        await asyncio.sleep(20)

    scene, _ = play(5, work, writing=writing)
    assert hold(scene, "BCDEFGH") == []
    entry = scene.entries[PLACE][-1].entry
    assert entry.reason is Reason.RETENTION_OVERRUN
    assert str(entry.source_next) in entry.detail


@WRITING
@pytest.mark.parametrize("hears_after_s", [0.0, 2.5, 8.0])
def test_rule_g_given_a_worker_that_slept_while_another_took_over_then_nothing_of_its_late_writes_is_there(
    writing: str, hears_after_s: float
) -> None:
    async def work(copying: Copying) -> None:
        world = copying.world
        await copying.begin(workers=2)
        for _ in range(8):  # so that it falls asleep with much under way
            for place in world.partitions:
                copying.writers.write(place)
            await asyncio.sleep(0.003)
        world.freeze(1, 20.0, hears_after_s)
        for _ in range(30):
            copying.writers.write(PLACE)
            await asyncio.sleep(1.0)
        await copying.write_and_copy()

    scene, said = play(6, work, writing=writing)
    assert any("wakes up" in line for line in said)
    assert hold(scene, "BCDEFGH") == []


@WRITING
def test_rule_g_given_a_short_sleep_that_cost_no_lane_then_the_worker_goes_on_with_them(writing: str) -> None:
    async def work(copying: Copying) -> None:
        copying.world.harsh = False
        await copying.begin()
        for _ in range(4):
            copying.writers.write(PLACE)
            await asyncio.sleep(0.003)
        copying.world.freeze(1, 4.5, 0.0)
        await asyncio.sleep(6)
        await copying.write_and_copy()

    scene, said = play(8, work, writing=writing)
    assert any("suspended" in line for line in said)
    assert hold(scene) == []


@WRITING
def test_rule_g_given_requests_that_arrive_long_after_their_sender_was_replaced_then_they_are_refused(
    writing: str,
) -> None:
    async def work(copying: Copying) -> None:
        world = copying.world
        await copying.begin(workers=2)
        assert world.loop.network.slow(1, 12.0) > 0
        for _ in range(8):
            for place in world.partitions:
                copying.writers.write(place)
            await asyncio.sleep(0.05)
        world.kill(1, deliver=True, missed_after_s=3.0)
        for _ in range(20):
            copying.writers.write(PLACE)
            await asyncio.sleep(1.0)
        await copying.write_and_copy()

    scene, _ = play(7, work, writing=writing)
    assert hold(scene, "BCDEFGH") == []


def test_rule_g_given_a_forgotten_id_and_a_death_while_waiting_then_the_next_owner_waits_for_the_zombie_too() -> None:
    async def work(copying: Copying) -> None:
        world = copying.world
        world.harsh = False
        await copying.begin()
        await copying.write_and_copy()
        for place in world.partitions:
            copying.writers.write(place)
        assert world.loop.network.slow(1, 24.0) > 0
        await asyncio.sleep(2.0)
        world.freeze(1, 25.0, 0.0)
        coordinator = world.target.coordinators.transactions
        for known in list(coordinator.transactions.values()):
            if known.transactional_id.endswith(".f"):
                coordinator._forget(known)
        await asyncio.sleep(10.0)
        world.kill(2, deliver=True, missed_after_s=0.0)
        await copying.write_and_copy()
        await asyncio.sleep(20.0)
        await copying.write_and_copy()

    scene, said = play(9, work, writing="auto")
    assert sum("surely gone" in line for line in said) >= 2
    assert hold(scene, "BCDEFGH") == []


@WRITING
def test_rule_c_given_a_leader_that_appends_and_then_leads_no_more_then_the_batch_counts_once(writing: str) -> None:
    async def work(copying: Copying) -> None:
        world = copying.world
        await copying.begin()
        # It is in the log, the answer says NOT_LEADER_OR_FOLLOWER, then nobody leads for longer than a commit takes.
        after = world.faults.fail_after(6, topic=COPY[0])
        copying.writers.write(PLACE)
        await copying.until(lambda: after.hits, every_s=0.01)
        world.faults.fail("Produce", 6, topic=COPY[0], times=5)
        await asyncio.sleep(5)
        world.kill(1, deliver=True, missed_after_s=3.0)
        await copying.write_and_copy()
        assert copying.reason() is None

    scene, _ = play(11, work, writing=writing)
    assert hold(scene, "BCDEFGH") == []


@WRITING
def test_given_lanes_that_were_lost_and_given_anew_when_only_the_latter_is_heard_then_one_lane_of_each_writes(
    writing: str,
) -> None:
    async def work(copying: Copying) -> None:
        world = copying.world
        await copying.begin()
        for pause_s in (0.0, 0.02, 0.1, 0.3):
            for place in world.partitions:
                copying.writers.write(place)
            world.give(world.workers[1], range(world.link.lanes))
            await asyncio.sleep(pause_s)
            world.give(world.workers[1], range(world.link.lanes))
            await copying.write_and_copy()

    scene, _ = play(11, work, writing=writing)
    assert hold(scene) == []


@WRITING
def test_given_a_zombie_whose_partition_moved_away_twice_then_none_of_its_late_writes_counts(writing: str) -> None:
    async def work(copying: Copying) -> None:
        world = copying.world
        await copying.begin(workers=2)
        home = world.lane(PLACE)
        away = 1 - home
        copying.writers.write(PLACE)
        assert world.loop.network.slow(1, 40.0) > 0  # what it sends now arrives when all is over
        await asyncio.sleep(0.3)
        world.freeze(1, 45.0, 0.5)
        await asyncio.sleep(8.0)
        world.give(world.workers[2], range(world.link.lanes))
        for lane in (away, home, away):
            wish(world, PLACE, lane)
            await copying.until(lambda lane=lane: lane_of_entry(world, PLACE) == lane)  # type: ignore[misc]
            await copying.write_and_copy()
        await asyncio.sleep(60.0)
        await copying.write_and_copy()

    scene, said = play(5, work, writing=writing)
    assert sum("partition comes to its lane" in line for line in said) == 3
    assert hold(scene) == []


@WRITING
def test_given_a_death_between_leaving_and_coming_then_the_new_lanes_next_owner_takes_it(
    writing: str,
) -> None:
    async def work(copying: Copying) -> None:
        world = copying.world
        await copying.begin(workers=2)
        wish(world, PLACE, 1 - world.lane(PLACE))
        await copying.until(lambda: any("partition leaves its lane" in line for line in world.said))
        assert not any("partition comes to its lane" in line for line in world.said)
        world.kill(1, deliver=False, missed_after_s=1.0)
        await copying.until(lambda: lane_of_entry(world, PLACE) == 1 - world.lane(PLACE))
        await copying.write_and_copy()

    scene, _ = play(6, work, writing=writing)
    assert hold(scene) == []


def test_given_one_worker_with_all_of_the_load_for_minutes_then_a_partition_of_it_moves_to_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(placement_choice, "BUSY_BYTES_PER_S", 20)
    monkeypatch.setattr(placement_choice, "SUSTAINED_MS", 30_000)
    monkeypatch.setattr(placement_load, "QUIET_BYTES_PER_S", 10)

    async def work(copying: Copying) -> None:
        world = copying.world
        world.create("more", 6)
        world.begin_worker()
        world.begin_worker()
        for lane in range(world.link.lanes):
            world.give(world.workers[1 + lane], {lane})
        hot = [place for place in world.partitions if world.lane(place) == 1][:3]
        assert len(hot) == 3
        for _ in range(140):
            for place in hot:
                copying.writers.write(place)
            await asyncio.sleep(1.0)
        assert {lane_of_entry(world, place) for place in hot} == {0, 1}
        await world.until_copied(within_s=60)

    scene, said = play(3, work, placement="by_load")
    assert sum("moving a hot partition" in line for line in said) == 1
    assert hold(scene) == []
