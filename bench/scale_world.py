"""A wide link in virtual time: both clusters and a few of its workers, with what each costs in CPU and traffic.

Real: the workers (all but membership, and the controller's work), the brokers' logs, the protocol's bytes. Simulated:
time, the network (0.2 to 20 ms a message), the group. CPU is that of the process's thread, by the worker whose callback
ran.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from unittest import mock

import broker.connection
from broker.dispatch import dispatch
from broker.registry import APIS
from broker.storage.batch import encode_batch
from replicator.ledger.lanes import lane_of, ledger_topic, map_topic
from replicator.telemetry.counters import WorkerCounters
from replicator.telemetry.prometheus import exposition, registry
from tests.rules.history import rows_of
from tests.rules.virtual import WALL_S, VirtualLoop, simulate
from tests.rules.world import Worker, World, in_virtual_world, make_link, worker_of

Key = tuple[str, int]
_METADATA_KEY = 3


@dataclass(frozen=True)
class Size:
    """Of the link."""

    topics: int = 1000
    partitions: int = 50  # of each
    workers: int = 20
    lanes: int = 160

    @property
    def total(self) -> int:
        """Partitions."""
        return self.topics * self.partitions

    @property
    def keys(self) -> Iterator[Key]:
        """All source partitions. Names as long as real ones."""
        return ((f"shop.orders.{number:04d}.v1", p) for number in range(self.topics) for p in range(self.partitions))

    def lanes_of(self, worker: int) -> set[int]:
        """What the group gives the worker of this number, from 1 on."""
        return set(range(worker - 1, self.lanes, self.workers))

    def keys_of(self, lanes: Collection[int]) -> list[Key]:
        """The partitions of these lanes."""
        return [key for key in self.keys if lane_of(*key, self.lanes) in lanes]


@dataclass
class Traffic:
    """Requests and bytes, both ways, by (worker, api)."""

    requests: Counter[tuple[int, str]] = field(default_factory=Counter)
    bytes: Counter[tuple[int, str]] = field(default_factory=Counter)

    def clear(self) -> None:
        """Begin anew."""
        self.requests.clear()
        self.bytes.clear()


class MeteredLoop(VirtualLoop):
    """Knows whose callbacks took how much CPU."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.cpu: Counter[tuple[int, str]] = Counter()

    def execute(self, handle: asyncio.Handle, owner: int) -> None:
        """Run it, and note what it took."""
        began = time.thread_time_ns()
        try:
            super().execute(handle, owner)
        finally:
            if owner:
                self.cpu[owner, _work_of(handle)] += time.thread_time_ns() - began

    def cpu_of(self, owner: int) -> dict[str, float]:
        """Seconds since `cpu` was cleared, by what was done."""
        return {what: ns / 1e9 for (whose, what), ns in self.cpu.items() if whose == owner}


def _work_of(handle: asyncio.Handle) -> str:
    task = getattr(handle._callback, "__self__", None)
    if not isinstance(task, asyncio.Task):
        return "network"
    coroutine: Any = task.get_coro()
    name = str(getattr(coroutine, "__qualname__", ""))
    frame = getattr(coroutine, "cr_frame", None)
    return str(frame.f_locals.get("what", name)) if name.endswith("._every") and frame is not None else name


@contextmanager
def metered(traffic: Traffic) -> Iterator[None]:
    """Count what brokers are asked and answer. An answer to the same question about metadata is made once: 20 workers'
    questions would cost this process more than all else."""
    answers: dict[tuple[int, bytes], list[Any]] = {}

    async def counting(node: Any, connection: Any, frame: bytes) -> Any:
        api = int.from_bytes(frame[:2], "big")
        question = id(node), frame[:4] + frame[8:]
        parts = answers.get(question) if api == _METADATA_KEY else None
        if parts is None:
            parts = await dispatch(node, connection, frame)
            if api == _METADATA_KEY and parts is not None:
                parts = [b"".join(bytes(part) for part in parts)]
                answers[question] = parts
        else:
            parts = [parts[0][:4] + frame[4:8] + parts[0][8:]]
        key = worker_of(connection.client_id), APIS[api].name
        traffic.requests[key] += 1
        traffic.bytes[key] += 4 + len(frame) + sum(len(part) for part in parts or ())
        return parts

    with mock.patch.object(broker.connection, "dispatch", counting):
        yield


@dataclass
class Stage:
    """What a stretch of virtual time cost one worker."""

    virtual_s: float
    cpu: dict[str, float]  # seconds, by what was done
    requests: dict[str, int]  # by API
    bytes: dict[str, int]

    @property
    def cpu_s(self) -> float:
        """Altogether."""
        return sum(self.cpu.values())


@dataclass
class Outcome:
    """Of `run`: one worker of the `workers` that the link has, and what took over from it."""

    partitions: int = 0
    first_start: Stage | None = None
    idle: Stage | None = None
    takeover: Stage | None = None
    found_records: int = 0
    scrape_cpu_s: float = 0.0
    scrape_bytes: int = 0
    ledger: list[tuple[bytes, bytes]] = field(default_factory=list)
    map_bytes: int = 0
    troubles: list[str] = field(default_factory=list)


class Scene:
    """The link in its world."""

    def __init__(self, loop: MeteredLoop, world: World, size: Size, traffic: Traffic) -> None:
        self._loop = loop
        self._world = world
        self._size = size
        self._traffic = traffic
        self._written = 0

    async def play(self, idle_s: float) -> Outcome:
        """A worker starts, idles and dies; another takes all its lanes over."""
        outcome, world, size = Outcome(), self._world, self._size
        for topic, count in Counter(topic for topic, _ in size.keys).items():
            world.source.create_topic(topic, count, 1, {})
            world.target.create_topic(world.link.remote_topic(topic), count, 1, {})
        lanes = size.lanes_of(1)
        keys = size.keys_of(lanes)
        outcome.partitions = len(keys)
        dying, heir = world.begin_worker(), world.begin_worker()
        await asyncio.wait([dying.started, heir.started])
        await asyncio.sleep(2.0)

        with self._measured(dying) as stage:
            world.give(dying, lanes)
            await self._until(lambda: self._running(dying) == len(keys))
        outcome.first_start = stage
        self._write(keys)
        await self._until(lambda: self._copied(keys))
        await asyncio.sleep(20.0)
        with self._measured(dying) as stage:
            await asyncio.sleep(idle_s)
        outcome.idle = stage
        self._scrape(dying, outcome)
        self._write(keys)
        await self._until(lambda: self._copied(keys))
        dying.alive = False
        self._loop.kill(dying.number, deliver=True)
        with self._measured(heir) as stage:
            world.give(heir, lanes)
            await self._until(lambda: self._running(heir) == len(keys))
        outcome.takeover = stage
        outcome.found_records = sum(lane.found_records for lane in heir.link._lanes.values())
        self._write(keys)
        await self._until(lambda: self._copied(keys))
        await asyncio.sleep(5.0)
        self._read_back(lanes, outcome)
        outcome.troubles = [line for line in world.said if " error: " in line or " warning: " in line]
        return outcome

    @contextmanager
    def _measured(self, worker: Worker) -> Iterator[Stage]:
        stage = Stage(0.0, {}, {}, {})
        began = self._loop.time()
        self._loop.cpu.clear()
        self._traffic.clear()
        yield stage
        stage.virtual_s = self._loop.time() - began
        stage.cpu = self._loop.cpu_of(worker.number)
        for into, counted in ((stage.requests, self._traffic.requests), (stage.bytes, self._traffic.bytes)):
            into.update({api: count for (whose, api), count in counted.items() if whose == worker.number})

    def _running(self, worker: Worker) -> int:
        return sum(len(lane.flows) for lane in worker.link._lanes.values())

    def _write(self, keys: Collection[Key]) -> None:
        """A batch of ten records into each."""
        self._written += 10
        batch = encode_batch([(b"key", b"x" * 100)] * 10, int((WALL_S + self._loop.time()) * 1000))
        for key in keys:
            self._world.partition(self._world.source, key).log.append_as_client(batch)

    def _copied(self, keys: Collection[Key]) -> bool:
        remote, target = self._world.link.remote_topic, self._world.target
        logs = (self._world.partition(target, (remote(topic), partition)).log for topic, partition in keys)
        return all(log.log_end_offset >= self._written for log in logs)

    async def _until(self, true: Callable[[], bool], within_s: float = 120.0) -> None:
        for _ in range(int(within_s * 50)):
            if true():
                return
            await asyncio.sleep(0.02)
        raise RuntimeError("it didn't come to that:\n" + "\n".join(self._world.said[-20:]))

    def _scrape(self, worker: Worker, outcome: Outcome) -> None:
        def counters() -> WorkerCounters:
            worker.link.update_counters()
            return worker.link._counters

        made = registry(counters, lambda: True)
        exposition(made)
        began = time.thread_time()
        outcome.scrape_bytes = len(exposition(made))
        outcome.scrape_cpu_s = time.thread_time() - began

    def _read_back(self, lanes: Collection[int], outcome: Outcome) -> None:
        """What compaction would leave of these lanes' ledger and map."""
        left: dict[bytes, bytes] = {}
        maps: dict[bytes, bytes] = {}
        for name, into in ((ledger_topic(self._world.link.name), left), (map_topic(self._world.link.name), maps)):
            for lane in lanes:
                log = self._world.partition(self._world.target, (name, lane)).log
                for header, data in log.batches(log.log_start_offset):
                    if not header.is_control:
                        into.update((row.key, row.value or b"") for row in rows_of(header, data) if row.key)
        outcome.ledger = list(left.items())
        outcome.map_bytes = sum(len(key) + len(value) for key, value in maps.items())


def run(size: Size, *, idle_s: float = 60.0, seed: int = 1) -> Outcome:
    """Play it."""
    random, said, traffic = Random(seed), list[str](), Traffic()

    async def main(loop: MeteredLoop) -> Outcome:
        world = World(loop, random, make_link(lanes=size.lanes), nodes=1)
        world.said = said
        await world.start()
        return await Scene(loop, world, size, traffic).play(idle_s)

    with in_virtual_world(said), metered(traffic):
        outcome = simulate(random, main, MeteredLoop)
    assert isinstance(outcome, Outcome)
    return outcome
