"""A random schedule: what producers write, and what happens to workers, requests and brokers meanwhile.

One seed makes one schedule. `run` gives the scene that came of it; what was done is in its `said`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from broker.cluster import Cluster
from broker.storage import compression
from broker.storage.batch import TRANSACTIONAL, encode_batch, encode_record, make_header, seal
from broker.storage.compaction import clean
from broker.storage.log import PartitionLog
from broker.transactions.metadata import TransactionState
from replicator.ledger.lanes import control_topic, ledger_topic, map_topic
from replicator.ledger.moved import encode_wish
from tests.rules.checks import Scene
from tests.rules.history import Place, numbered
from tests.rules.virtual import VirtualLoop, simulate
from tests.rules.world import Trap, World, in_virtual_world, make_link

DAY_MS = 86_400_000
TARGET_APIS = (
    "Produce",
    "Produce",
    "EndTxn",
    "AddPartitionsToTxn",
    "InitProducerId",
    "Fetch",
    "ListOffsets",
    "Metadata",
)
SOURCE_APIS = ("Fetch", "Fetch", "ListOffsets", "Metadata", "OffsetForLeaderEpoch")
PRODUCE_ERRORS = (6, 7, 13, 19, 20)  # leader moved, timed out, network, too few replicas, too few after the append
AFTER_ERRORS = (6, 7, 20, 56)  # what a leader can answer though it has appended the batch
COORDINATOR_ERRORS = (14, 15, 16, 51)  # loading, not available, not it, concurrent transactions
COMPACTED = "prices"


@dataclass(frozen=True, slots=True)
class Mood:
    """What a schedule is about: how likely each kind of step is."""

    steps: int = 90
    old_records: float = 0.15
    crashes: float = 1.0
    brokers: float = 1.0
    gaps: float = 0.0
    moves: float = 0.0  # between lanes


@dataclass
class Outcome:
    """A schedule's scene, and the story of it."""

    seed: int
    scene: Scene
    said: list[str]
    failures: list[str]


class Writers:
    """The clients of the source: plain and transactional, of fresh and of old records."""

    def __init__(self, world: World, mood: Mood) -> None:
        self.world = world
        self.random = world.random
        self.mood = mood
        self.count = 0
        self.old = False
        self._open: dict[Place, tuple[int, int]] = {}
        self._next_producer = 900_000

    def write(self, place: Place, *, in_transaction: bool = False) -> None:
        """A batch or a few; in the open transaction if asked to (one begins if none is open)."""
        log = self.world.partition(self.world.source, place).log
        for _ in range(self.random.randint(1, 3)):
            producer, sequence = -1, -1
            if in_transaction:
                producer, sequence = self._open.get(place, (self._next_producer, 0))
                if place not in self._open:
                    self._next_producer += 1
            count = self.random.choice((1, 1, 2, 3, 8))
            log.append_as_client(self._batch(place, count, producer, sequence))
            if in_transaction:
                self._open[place] = producer, sequence + count

    def end_transaction(self, place: Place, *, commit: bool) -> None:
        """End the open transaction, if there is one."""
        if place in self._open:
            producer, _ = self._open.pop(place)
            self.world.partition(self.world.source, place).log.append_marker(producer, 0, commit)

    def end_all(self) -> None:
        """End every open transaction."""
        for place in list(self._open):
            self.end_transaction(place, commit=self.random.random() < 0.5)

    def _batch(self, place: Place, count: int, producer: int, sequence: int) -> bytes:
        now = int(self.world.loop.time() * 1000) + 1_700_000_000_000
        timestamp = now - 3 * DAY_MS if self.old else now
        if self.old and self.random.random() < 0.2:
            timestamp = -1
        payload = b""
        for index in range(count):
            self.count += 1
            key = b"k%d" % self.random.randrange(6)
            headers = [("h", b"x")] if self.random.random() < 0.2 else []
            payload += encode_record(index, 0, key, numbered(self.count), headers)
        codec = self.random.choice((compression.NONE, compression.NONE, compression.LZ4))
        return seal(
            compression.compress(codec, payload),
            make_header(
                attributes=codec | (TRANSACTIONAL if producer >= 0 else 0),
                last_offset_delta=count - 1,
                base_timestamp=timestamp,
                max_timestamp=timestamp,
                producer_id=producer,
                producer_epoch=0 if producer >= 0 else -1,
                base_sequence=sequence,
                record_count=count,
            ),
        )


class Schedule:
    """What one seed does to a world."""

    def __init__(self, world: World, mood: Mood) -> None:
        self.world = world
        self.random = world.random
        self.mood = mood
        self.violence = self.random.choice((0.15, 0.4, 0.4, 1.0))  # some find what only a busy calm brings about
        self.forgetful = self.random.random() < 0.4  # the target forgets producers as soon as it may
        world.harsh = self.random.random() < 0.5
        self.writers = Writers(world, mood)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._down: list[tuple[Cluster, int]] = []
        self._nodes = asyncio.Lock()  # one stops or starts at a time, in order

    async def run(self) -> None:
        """All steps, then peace, until everything is copied."""
        world = self.world
        for _ in range(self.random.choice((1, 2, 2))):
            world.begin_worker()
        world.give_away(range(world.link.lanes))
        if self.forgetful:
            self._spawn(self._forget())
        for _ in range(self.mood.steps):
            await asyncio.sleep(self.random.choice((0.0, 0.01, 0.05, 0.2, 0.5, 1.5)))
            self._step()()
        await self._peace()
        await world.until_copied()

    async def _peace(self) -> None:
        world = self.world
        world.say("peace")
        self.forgetful = False
        await asyncio.sleep(0)  # let what was begun take its turn
        self.writers.end_all()
        world.faults.traps.clear()
        world.source_faults.traps.clear()
        for cluster, node in self._down:
            await self._in_turn(cluster.start_node(node))
        self._down.clear()
        for place in world.partitions:
            self.writers.write(place)
        await asyncio.sleep(40)  # longer than anybody stays frozen, or is not missed
        nobodys = [lane for lane, owner in world.owners.items() if world.workers[owner] not in world.living]
        world.give_away(nobodys)

    async def _forget(self) -> None:
        self.world.say("the target forgets producers of old records at once")
        while self.forgetful:
            self.world.target._maintenance.expire_producers()
            if self.random.random() < 0.05 * self.violence * self.mood.crashes:
                self._forget_ids()
            await asyncio.sleep(0.15)

    def _step(self) -> Callable[[], None]:
        crashes, brokers = self.mood.crashes * self.violence, self.mood.brokers * self.violence
        steps: list[tuple[float, Callable[[], None]]] = [
            (14, self._write),
            (4, self._write_in_transaction),
            (2, self._end_transaction),
            (self.mood.old_records * 4, self._change_times),
            (2.5 * crashes, self._trap),
            (1.0 * crashes, self._source_trap),
            (0.8 * crashes, self._kill),
            (0.6 * crashes, self._freeze),
            (0.4 * crashes, self._slow_network),
            (0.6, self._hand_over),
            (0.5, self._new_worker),
            (0.4, self._end_worker),
            (0.4 * crashes, self._slow_markers),
            (0.2 * crashes, self._forget_ids),
            (0.8 * brokers, self._move_leader),
            (0.4 * brokers, self._stop_node),
            (0.6 * brokers, self._start_node),
            (0.6 * brokers, self._compact),
            (0.5 * brokers, self._expire),
            (self.mood.gaps, self._delete_records),
            (self.mood.moves, self._wish),
        ]
        weights = [weight for weight, _ in steps]
        return self.random.choices([step for _, step in steps], weights)[0]

    def _place(self) -> Place:
        return self.random.choice(sorted(self.world.partitions))

    def _write(self) -> None:
        self.writers.write(self._place())

    def _write_in_transaction(self) -> None:
        self.writers.write(self._place(), in_transaction=True)

    def _end_transaction(self) -> None:
        self.writers.end_transaction(self._place(), commit=self.random.random() < 0.6)

    def _change_times(self) -> None:
        self.writers.old = not self.writers.old
        self.world.say(f"records are {'old' if self.writers.old else 'fresh'} from here on")

    def _trap(self) -> None:
        api = self.random.choice(TARGET_APIS)
        errors = PRODUCE_ERRORS if api == "Produce" else COORDINATOR_ERRORS
        if api in ("Metadata", "ListOffsets", "Fetch"):
            errors = (6,)
        self._set(self.world.faults, api, errors)

    def _source_trap(self) -> None:
        self._set(self.world.source_faults, self.random.choice(SOURCE_APIS), (6,))

    def _set(self, faults: Any, api: str, errors: tuple[int, ...]) -> None:
        random, world = self.random, self.world
        verdicts = ("fail", "drop", "drop_response", "delay", "late", "crash", "crash", "freeze")
        verdict = random.choice((*verdicts, "fail_after", "fail_after") if api == "Produce" else verdicts)
        errors = AFTER_ERRORS if verdict == "fail_after" else errors
        seconds = random.choice((0.05, 0.5, 3.0, 8.0, 15.0)) if verdict in ("delay", "late") else 0.0
        missed = random.choice((0.0, 0.5, 3.0, 6.0))
        deliver = random.random() < 0.5
        frozen, hears = random.choice((2.0, 7.0, 12.0, 25.0)), random.choice((0.0, 0.3, 2.5))

        def then(number: int) -> None:
            if verdict in ("late", "crash"):
                world.kill(number, deliver=deliver, missed_after_s=missed)
            elif verdict == "freeze":
                world.freeze(number, frozen, hears)

        what = random.choice(("drop", "apply")) if verdict == "crash" else verdict
        trap = Trap(api, random.randint(0, 6), what, then, error=random.choice(errors), seconds=seconds)
        world.say(f"trap: {verdict}: {trap}")
        faults.traps.append(trap)

    def _some_worker(self) -> int:
        living = [worker.number for worker in self.world.living]
        return self.random.choice(living) if living else 0

    def _kill(self) -> None:
        missed = self.random.choice((0.0, 0.5, 3.0, 6.0))
        self.world.kill(self._some_worker(), deliver=self.random.random() < 0.5, missed_after_s=missed)

    def _freeze(self) -> None:
        seconds = self.random.choice((1.0, 4.0, 7.0, 12.0, 25.0))
        self.world.freeze(self._some_worker(), seconds, self.random.choice((0.0, 0.3, 2.5)))

    def _slow_network(self) -> None:
        worker, seconds = self._some_worker(), self.random.choice((0.3, 2.0, 9.0, 20.0))
        count = self.world.loop.network.slow(worker, seconds)
        self.world.say(f"what worker {worker} sends on its {count} connections is held for {seconds} s")

    def _hand_over(self) -> None:
        task = asyncio.get_running_loop().create_task(
            self.world.hand_over(self.random.randrange(self.world.link.lanes))
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _new_worker(self) -> None:
        if len(self.world.living) < 3:
            self.world.begin_worker()

    def _end_worker(self) -> None:
        living = self.world.living
        if len(living) > 1:
            self._spawn(self.world.end_worker(self.random.choice(living)))

    def _slow_markers(self) -> None:
        def nobody(_: int) -> None: ...

        trap = Trap(
            "WriteTxnMarkers", self.random.randint(0, 3), "delay", nobody, seconds=self.random.choice((0.2, 3.0))
        )
        self.world.say(f"trap: {trap}")
        self.world.faults.traps.append(trap)

    def _forget_ids(self) -> None:
        # They do so after a week without use: whoever had used them is long gone, and `test_scenes` has who isn't.
        if any(worker.frozen for worker in self.world.workers.values()) or self.world.living:
            return
        coordinator = self.world.target.coordinators.transactions
        idle = (TransactionState.EMPTY, TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT)
        known = [found for found in coordinator.transactions.values() if found.state in idle]
        if known:
            forgotten = self.random.choice(known)
            self.world.say(f"the coordinator forgets {forgotten.transactional_id}")
            coordinator._quietly(coordinator._forget, forgotten)

    def _move_leader(self) -> None:
        cluster = self.random.choice((self.world.source, self.world.target))
        partition = self.random.choice([p for p in cluster.topics.partitions() if len(p.isr) > 1] or [None])
        if partition is not None:
            node = self.random.choice([node for node in partition.isr if cluster.nodes[node].alive] or [-1])
            if node == -1:
                return
            self.world.say(f"{partition.name} is led by node {node} now")
            cluster._elections.move(partition, node)

    def _stop_node(self) -> None:
        cluster = self.random.choice((self.world.source, self.world.target))
        node = self.random.choice(sorted(cluster.nodes))
        if not cluster.nodes[node].alive:
            return
        self.world.say(f"node {node} of the {cluster.cluster_id} stops")
        self._down.append((cluster, node))
        self._spawn(self._in_turn(cluster.stop_node(node)))

    def _start_node(self) -> None:
        if self._down:
            cluster, node = self._down.pop(0)
            self.world.say(f"node {node} of the {cluster.cluster_id} starts")
            self._spawn(self._in_turn(cluster.start_node(node)))

    async def _in_turn(self, work: Coroutine[Any, Any, None]) -> None:
        async with self._nodes:
            await work

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _compact(self) -> None:
        world = self.world
        logs: list[PartitionLog] = [world.source.log(*place) for place in world.partitions if place[0] == COMPACTED]
        names = ledger_topic(world.link.name), map_topic(world.link.name)
        logs += [world.target.log(name, lane) for name in names for lane in range(world.link.lanes)]
        log = self.random.choice(logs)
        world.say(f"{log.name} is compacted")
        log.roll()
        clean(log)

    def _expire(self) -> None:
        self.world.say("the target forgets producers of old records")
        self.world.target._maintenance.expire_producers()

    def _wish(self) -> None:
        world, place = self.world, self._place()
        lane = self.random.randrange(world.link.lanes)
        world.say(f"{place} is to be in lane {lane}")
        now = int(world.loop.time() * 1000) + 1_700_000_000_000
        world.target.log(control_topic(world.link.name), 0).append_as_client(
            encode_batch([encode_wish(*place, lane)], now)
        )

    def _delete_records(self) -> None:
        place = self._place()
        log = self.world.source.log(*place)
        offset = self.random.randint(log.log_start_offset, log.last_stable_offset)
        self.world.say(f"{log.name} begins at {offset} now")
        log.delete_records_to(offset)


def run(seed: int, mood: Mood | None = None, **link: Any) -> Outcome:
    """One schedule, to its end. StalledError, with the story, if it doesn't come to one."""
    random = Random(seed)
    mood = mood or Mood()
    said: list[str] = []
    failures: list[str] = []

    async def work(loop: VirtualLoop) -> Scene:
        memory_ms = random.choice((DAY_MS, DAY_MS, 100_000, 30_000))
        world = World(loop, random, make_link(**link), memory_ms=memory_ms)
        world.said = said
        world.say(f"the target remembers producers for {memory_ms / 1000} s")
        await world.start()
        replicas = random.choice((1, 2, 2))
        world.create("orders", 2, replicas=replicas)
        compacted = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"}
        world.create(COMPACTED, 1, compacted, replicas=replicas)
        try:
            await Schedule(world, mood).run()
        finally:
            failures.extend(loop.failures)
        assert world.source.internal_errors == world.target.internal_errors == 0
        return replace(world.scene(), compacted=frozenset({COMPACTED}))

    try:
        with in_virtual_world(said):
            scene = simulate(random, work)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}\n" + "\n".join(said)) from error
    return Outcome(seed, scene, said, failures)
