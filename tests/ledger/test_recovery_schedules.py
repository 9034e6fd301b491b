"""Random lives of many partitions, each ended by a crash: recovery finds the truth, or stops the partition.

Each partition has its own life: records of all kinds, copying in batches, an entry now and then, and what happens to
logs meanwhile: compaction, deletion, elections clean and unclean on either side, other writers. Then what recovery says
is held against what was copied (rule D).
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from broker.storage import compaction
from replicator.errors import ReplicatorError
from replicator.ledger.entry import Entry
from replicator.ledger.offset_map import OffsetMap
from replicator.ledger.recovery import Recovered
from replicator.states import PartitionFault, Reason
from replicator.wire.producer_id import ProducerIdAndEpoch
from tests.ledger.recovery_scene import FORMER, Scene

PARTITIONS = 250


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same program with shorter pauses."""
    monkeypatch.setattr("replicator.ledger.reading.SETTLE_S", 0.02)
    monkeypatch.setattr("replicator.ledger.content.SETTLE_S", 0.02)
    monkeypatch.setattr("replicator.ledger.fetching._MAX_WAIT_MS", 20)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene(PARTITIONS)
    await made.start(**{"cleanup.policy": "compact"})
    yield made
    await made.stop()


@dataclass
class Life:
    """What happened to one partition. `values` are those of the copied records, by target offset."""

    scene: Scene
    partition: int
    rng: random.Random
    entry: Entry
    values: dict[int, bytes | None] = field(default_factory=dict)
    damaged: bool = False  # so that a fault is in order
    cut_source: int | None = None  # from this offset on the source has lost copied records
    cut_target: int | None = None
    steps: list[str] = field(default_factory=list)

    async def live(self) -> None:
        lossy = self.rng.random() < 0.7
        if self.rng.random() < 0.7:
            self.scene.sequence[self.partition] = (1 << 31) - self.rng.randrange(1, 30)
            for step in ("produce", "copy", "entry"):
                await getattr(self, "_" + step)()
        for _ in range(self.rng.randrange(3, 12)):
            choices = [
                "produce",
                "produce",
                "commit",
                "abort",
                "copy",
                "copy",
                "copy",
                "entry",
                "election",
                "others",
                "produce",
            ]
            if lossy:
                choices += ["compact", "delete", "unclean", "cut target", "delete target", "compact target"]
            step = self.rng.choice(choices)
            self.steps.append(step)
            await getattr(self, "_" + step.replace(" ", "_"))()
        self.steps.append(f"entry {self.entry.source_next}/{self.entry.target_next}")

    async def _produce(self) -> None:
        for _ in range(self.rng.randrange(1, 4)):
            self.scene.produce(self.rng.randrange(1, 12), self.partition, keys=self.rng.choice([3, 1 << 30]))

    async def _commit(self) -> None:
        self.scene.transaction(self.rng.randrange(1, 6), self.partition, commit=True)

    async def _abort(self) -> None:
        self.scene.transaction(self.rng.randrange(1, 6), self.partition, commit=False)

    async def _copy(self) -> None:
        if self.cut_source is not None or self.cut_target is not None or self._overrun():
            return  # its reader would have been told
        before = {row.offset: row for row in self.scene.eligible(self.partition)}
        self.scene.copy_on([self.rng.randrange(1, 9) for _ in range(self.rng.randrange(1, 5))], self.partition)
        self.values.update({at: before[offset].value for offset, at in self._copied() if at not in self.values})

    async def _entry(self) -> None:
        if self.cut_source is None and self.cut_target is None and not self._overrun():
            self.entry = self.scene.entry(self.partition)
            self.damaged = self.scene.copy(self.partition).log_start_offset > self.entry.target_next

    async def _election(self) -> None:
        log = self.rng.choice([self.scene.native(self.partition), self.scene.copy(self.partition)])
        log.become_leader(log.leader_epoch + 1)

    async def _others(self) -> None:
        if self.rng.random() < 0.5:
            self.scene.foreign(self.rng.randrange(1, 4), self.partition)
        else:
            self.scene.copy(self.partition).append_marker(900, 0, self.rng.random() < 0.5)

    async def _compact(self) -> None:
        self.scene.native(self.partition).roll()
        self.damaged |= compaction.clean(self.scene.native(self.partition))

    async def _delete(self) -> None:
        log = self.scene.native(self.partition)
        log.delete_records_to(self.rng.randint(log.log_start_offset, log.log_end_offset))
        self.damaged = True

    async def _unclean(self) -> None:
        log = self.scene.native(self.partition)
        end = self.rng.randint(max(log.log_start_offset, log.log_end_offset - 30), log.log_end_offset)
        await self.scene.source.elect_unclean("orders", self.partition, end)
        if (unstable := log.producer_states.first_unstable_offset) is not None:
            log.truncate(unstable)  # a transaction that has lost its end would hang
        end = log.log_end_offset
        if end < self.scene.next[self.partition]:
            self.cut_source = end if self.cut_source is None else min(end, self.cut_source)
        self.damaged = True

    async def _cut_target(self) -> None:
        log = self.scene.copy(self.partition)
        end = self.rng.randint(max(log.log_start_offset, log.log_end_offset - 12), log.log_end_offset)
        await self.scene.target.elect_unclean("us.orders", self.partition, end)
        end = log.log_end_offset
        if end < self.entry.target_next:
            self.cut_target = end
        lost = [pair for pair in self._copied() if pair[1] >= end]
        self.values = {at: value for at, value in self.values.items() if at < end}
        if lost:
            del self._copied()[-len(lost) :]
            self.scene.next[self.partition] = max(self.entry.source_next, self._next())
            self.scene.sequence[self.partition] = (self.scene.sequence[self.partition] - len(lost)) % (1 << 31)
        self.damaged = True

    async def _delete_target(self) -> None:
        log = self.scene.copy(self.partition)
        log.delete_records_to(self.rng.randint(log.log_start_offset, log.log_end_offset))
        self.damaged = True

    async def _compact_target(self) -> None:
        self.scene.copy(self.partition).roll()
        self.damaged |= compaction.clean(self.scene.copy(self.partition))

    def _copied(self) -> list[tuple[int, int]]:
        return self.scene.copied[self.partition]

    def _next(self) -> int:
        return self._copied()[-1][0] + 1 if self._copied() else 0

    def _overrun(self) -> bool:
        return self.scene.native(self.partition).log_start_offset > self.scene.next[self.partition]

    # what recovery says

    def judge(self, found: Recovered | ReplicatorError) -> str:
        """What kind of outcome it is; AssertionError if it isn't the truth."""
        if isinstance(found, ReplicatorError):
            assert isinstance(found, PartitionFault), found
            if found.reason is Reason.TARGET_TRUNCATED:
                assert self.cut_target is not None
                return "target truncated"
            assert found.reason is Reason.RECOVERY_AMBIGUOUS
            assert self.damaged, found
            return "ambiguous"
        assert self.cut_target is None, "the target was cut below the entry"
        since = [pair for pair in self._copied() if pair[0] >= self.entry.source_next]
        if since and not found.copied:
            assert self.scene.copy(self.partition).log_start_offset > self.entry.target_next
            assert found.entry.source_next == self.entry.source_next
            assert not [row for row in self.scene.eligible(self.partition) if row.offset >= self.entry.source_next]
            return "unmoved"
        assert found.copied == len(since)
        assert found.entry.target_next == self.scene.copy(self.partition).log_end_offset
        mapped = [
            (run.source + n, run.target + n)
            for run in OffsetMap.from_parts(found.chunks, found.entry.map_tail)
            for n in range(run.length)
        ]
        assert set(mapped) <= set(since)
        log = self.scene.native(self.partition)
        position, epoch = found.entry.source_next, found.entry.source_leader_epoch
        if not since:
            assert (position, epoch) == (self.entry.source_next, self.entry.source_leader_epoch)
            return "unmoved"
        copied = set(self.values.values())
        there = self.scene.eligible(self.partition)
        if position < log.log_start_offset:
            assert not [row for row in there if row.value in copied], "records would be copied twice"
            return "overrun"
        known, end = log.epoch_end_offset(epoch)
        if position > log.log_end_offset or known < epoch or end < position:
            assert self.cut_source is not None, "it would be taken for truncated"
            return "truncated"
        assert self.cut_source is None or self.cut_source >= self._next(), "the source's truncation won't show"
        assert not [row for row in there if row.offset < position and row.value not in copied], "passed over"
        assert not [row for row in there if row.offset >= position and row.value in copied], "copied twice"
        assert max(self._next(), self.entry.source_next) >= log.log_start_offset, "a gap won't show"
        if not self.damaged:
            assert sorted(mapped) == since
        return "exact"


async def run(scene: Scene, seed: int) -> dict[str, int]:
    print(f"seed {seed}")
    outcomes: dict[str, int] = {}
    lives = []
    for partition in range(PARTITIONS):
        rng = random.Random(f"{seed} {partition}")
        scene.producer[partition] = FORMER
        life = Life(scene, partition, rng, scene.entry(partition))
        await life.live()
        lives.append(life)
    scene.fence()
    found = await scene.recover([life.entry for life in lives], owner=ProducerIdAndEpoch(77, 4))
    for life, outcome in zip(lives, found, strict=True):
        try:
            kind = life.judge(outcome)
        except AssertionError as error:
            raise AssertionError(
                f"seed {seed}, partition {life.partition}: {error}\n{life.steps}\n{outcome}"
            ) from error
        outcomes[kind] = outcomes.get(kind, 0) + 1
    return outcomes


@pytest.mark.slow
async def test_given_random_lives_when_their_worker_dies_then_recovery_knows_or_stops(scene: Scene) -> None:
    outcomes = await run(scene, 1)
    print(outcomes)
    assert outcomes["exact"] > PARTITIONS / 5
    assert {"unmoved", "ambiguous", "target truncated", "truncated", "overrun"} <= outcomes.keys()
