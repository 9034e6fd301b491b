"""Two clusters, a link between them, and workers that can be killed, frozen and handed over: all in one virtual loop.

The workers are the program's own (`LinkWorker`), but for two parts: membership is dealt out here, and the controller,
which talks to the clusters through librdkafka's threads, has nothing to do because the topics are there.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator
from contextvars import copy_context
from random import Random
from typing import Any, ClassVar
from unittest import mock

import structlog
from kio.schema.errors import ErrorCode

from broker.clock import Clock
from broker.cluster import Cluster
from broker.faults import Action, Fault, Faults
from broker.topics import Partition
from replicator.config.models import ClusterConfig, LinkConfig, Settings
from replicator.errors import ReplicatorError
from replicator.flow import ways as ways_module
from replicator.flow.backpressure import ByteBudget
from replicator.ledger import fetching
from replicator.ledger.entry import Entry, decode
from replicator.ledger.lanes import control_topic, lane_of, ledger_topic, map_topic
from replicator.states import State
from replicator.sync.admin import ConfigSource, ConfigValue
from replicator.telemetry.counters import WorkerCounters
from replicator.wire.cluster import ClusterClient
from replicator.worker import link as link_module
from replicator.worker.link import LinkWorker
from replicator.worker.membership import DOUBT_S, SUSPENDED_S
from replicator.worker.suspension import Suspension
from tests.rules.checks import Scene
from tests.rules.history import Place, Recorder
from tests.rules.virtual import OWNER, START_S, WALL_S, StalledError, VirtualLoop

LANES = 2
SESSION_S = 6.0
FLUSH_LIMIT_S = 5.0
CONFIG = {
    "transaction.state.log.num.partitions": "2",
    "group.initial.rebalance.delay.ms": "0",
    "transaction.state.log.replication.factor": "2",
    "auto.create.topics.enable": "false",
}


class LoopClock(Clock):
    """The broker's time is the loop's."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now_ms(self) -> int:
        return int((WALL_S + self._loop.time()) * 1000)

    def monotonic(self) -> float:
        return self._loop.time()


class Trap:
    """At the n-th request of this kind, something happens to the request, and to who sent it."""

    def __init__(self, api: str, count: int, verdict: str, then: Callable[[int], None], **more: float) -> None:
        self.api = api
        self.count = count
        self.verdict = verdict
        self.then = then
        self.error = int(more.get("error", 0))
        self.seconds = more.get("seconds", 0.0)

    def __str__(self) -> str:
        return f"{self.verdict} at {self.api} in {self.count} (error {self.error}, {self.seconds} s)"


class TrappedFaults(Faults):
    """Faults whose rules are traps, besides ordinary ones; each is asked once for every request of a worker."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.traps: list[Trap] = []
        self._verdicts: dict[object, Trap] = {}
        self._random = random

    @property
    def active(self) -> tuple[Fault, ...]:
        return (Fault(Action.DELAY, "*"),)

    def strike(
        self, action: Action, api: str, *, node: int, client_id: str | None, topics: Iterable[str] = ()
    ) -> Fault | None:
        if (ruled := super().strike(action, api, node=node, client_id=client_id, topics=topics)) is not None:
            return ruled
        task = asyncio.current_task()
        if action is Action.DELAY:
            self._verdicts.pop(task, None)
            trap = self._sprung(api, client_id)
            if trap is None:
                return None
            self._verdicts[task] = trap
            trap.then(worker_of(client_id))
            return Fault(action, api, seconds=trap.seconds) if trap.verdict in ("delay", "late") else None
        trap = self._verdicts.get(task)
        if trap is None or trap.api != api or action.value != trap.verdict:
            return None
        if not (action in (Action.FAIL, Action.FAIL_AFTER) and api == "Produce"):  # that is asked for each partition
            self._verdicts.pop(task, None)
        return Fault(action, api, ErrorCode(trap.error))

    def _sprung(self, api: str, client_id: str | None) -> Trap | None:
        for trap in self.traps:
            if trap.api == api and (worker_of(client_id) > 0 or api == "WriteTxnMarkers"):
                trap.count -= 1
                if trap.count < 0:
                    self.traps.remove(trap)
                    return trap
        return None


def worker_of(client_id: str | None) -> int:
    """The number of the worker that a request came from; 0: none."""
    number = (client_id or "").rpartition("-w")[2]
    return int(number) if number.isdigit() else 0


class DealtMembership:
    """`Membership` whose lanes are dealt by the world. Like it, `owned` is empty while a process that was frozen can't
    know; a harsh world lets it believe in what it had, so that fences alone hold it off."""

    def __init__(
        self, properties: Any, group: str, topic: str, loop: Any, assigned: Any, revoked: Any, lost: Any, **_: Any
    ) -> None:
        self.dealt: frozenset[int] = frozenset()
        self.doubt_until = 0.0
        self._loop = loop
        self.joined = True
        self.last_error: ReplicatorError | None = None
        self.ended: asyncio.Future[None] = loop.create_future()
        self.callbacks = assigned, revoked, lost

    @property
    def owned(self) -> frozenset[int]:
        return frozenset() if self.in_doubt else self.dealt

    @property
    def in_doubt(self) -> bool:
        return bool(self._loop.time() < self.doubt_until)

    async def make_ready(self) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Settled:
    """`Admin` as far as the data plane asks: the settings of topics and brokers, read where they are kept."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def describe_configs(self, topics: Collection[str]) -> dict[str, dict[str, ConfigValue]]:
        found = {}
        for name in topics:
            topic = self._cluster.topics.get(name)
            policy = topic.configs.get("cleanup.policy", "delete") if topic is not None else None
            found[name] = {"cleanup.policy": ConfigValue(policy, ConfigSource.TOPIC)}
        return found

    async def describe_broker(self, node: int) -> dict[str, ConfigValue]:
        name = "producer.id.expiration.ms"
        return {name: ConfigValue(self._cluster.config.get(name), ConfigSource.DEFAULT)}


class IdleController:
    """`Controller` that finds everything done."""

    syncers: ClassVar[dict[str, Any]] = {}
    heartbeats = None

    def __init__(self, source: Cluster, target: Cluster) -> None:
        self.source = Settled(source)
        self.target = Settled(target)

    async def prepare(self) -> None: ...

    async def run(self) -> tuple[bool, dict[str, Any]]:
        return False, {}

    async def max_message_bytes(self, topic: str) -> str:
        return "1048588"

    def count(self, counters: Any, *, active: bool) -> None: ...

    async def close(self) -> None: ...


class Worker:
    """One process."""

    def __init__(self, world: World, number: int) -> None:
        self.number = number
        self.alive = True
        self.frozen = False
        self._world = world
        self._context = copy_context()
        self._context.run(OWNER.set, number)
        loop = world.loop
        made = {
            "Controller": lambda *_: IdleController(world.source, world.target),
            "Suspension": lambda: Suspension(loop.time, loop.time),
        }
        budget, counters = ByteBudget(64 << 20), WorkerCounters(memory_limit_bytes=64 << 20)
        with mock.patch.multiple(link_module, **made):
            self.link: LinkWorker = self._context.run(LinkWorker, world.settings, world.link, budget, counters)
        self.started = self.run(self.link.start())

    def run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Have the process do something."""
        return self._world.loop.create_task(work, context=self._context)

    @property
    def membership(self) -> DealtMembership:
        """Once it has started."""
        return self.link._membership  # type: ignore[return-value]


class Site:
    """A cluster, what can be made to go wrong with requests to it, and what happened to its logs."""

    def __init__(self, loop: VirtualLoop, random: Random, cluster_id: str, *, nodes: int = 2, **config: str) -> None:
        self.faults = TrappedFaults(random)
        self.cluster = Cluster(nodes=nodes, config=CONFIG | config, clock=LoopClock(loop), faults=self.faults)
        self.cluster.cluster_id = cluster_id
        self.recorder = Recorder(self.cluster)
        self.started = False

    async def start(self) -> None:
        """Once."""
        if not self.started:
            self.started = True
            await self.cluster.start()


class World:
    """Made inside the loop; `start` before anything else. Several may share clusters: `sites`, by alias."""

    def __init__(
        self,
        loop: VirtualLoop,
        random: Random,
        link: LinkConfig,
        *,
        nodes: int = 2,
        memory_ms: int = 86_400_000,
        sites: tuple[Site, Site] | None = None,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self.loop = loop
        self.random = random
        self.link = link
        self.links: tuple[LinkConfig, ...] = (link,)
        self.harsh = True
        self.said: list[str] = []
        remembers = {"producer.id.expiration.ms": str(memory_ms)}
        self.sites = sites or (
            Site(loop, random, "source", nodes=nodes),
            Site(loop, random, "target", nodes=nodes, **remembers),
        )
        self.source, self.target = (site.cluster for site in self.sites)
        self.source_faults, self.faults = (site.faults for site in self.sites)
        self.written, self.copied = (site.recorder for site in self.sites)
        self.partitions: dict[Place, int] = {}
        self.workers: dict[int, Worker] = {}
        self.owners: dict[int, int] = {}  # lane -> worker, as the group sees it
        self._numbers = numbers or itertools.count(1)
        self._ledger_read: dict[Place, int] = {}
        self.positions: dict[Place, Entry] = {}

    async def start(self) -> None:
        """Both clusters and the internal topics."""
        for site in self.sites:
            await site.start()
        clusters = {
            alias: ClusterConfig(bootstrap_servers=cluster.bootstrap)
            for alias, cluster in ((self.link.source, self.source), (self.link.target, self.target))
        }
        self.settings = Settings(clusters=clusters, links=self.links)
        compacted = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"}
        for name in (ledger_topic(self.link.name), map_topic(self.link.name)):
            self.copied.watch(self.target.create_topic(name, self.link.lanes, len(self.target.nodes), compacted))
        self.target.create_topic(control_topic(self.link.name), 1, len(self.target.nodes))

    def create(self, topic: str, partitions: int, configs: dict[str, str] | None = None, *, replicas: int = 2) -> None:
        """A topic that is to be copied, and its copy."""
        settings = {"message.timestamp.before.max.ms": str(1 << 62), **(configs or {})}
        self.written.watch(self.source.create_topic(topic, partitions, replicas, dict(settings)))
        self.copied.watch(self.target.create_topic(self.link.remote_topic(topic), partitions, replicas, dict(settings)))
        self.partitions.update({(topic, index): 0 for index in range(partitions)})

    def say(self, what: str) -> None:
        """Note something for whoever reads about a failure."""
        self.said.append(f"{self.loop.time() - START_S:9.3f}  {what}")

    # workers

    def begin_worker(self) -> Worker:
        """Start another process."""
        number = next(self._numbers)
        worker = self.workers[number] = Worker(self, number)
        self.say(f"worker {worker.number} starts")
        return worker

    @property
    def living(self) -> list[Worker]:
        """Those that the group counts as members."""
        return [worker for worker in self.workers.values() if worker.alive and not worker.frozen]

    def lanes_of(self, worker: Worker) -> set[int]:
        """What the group has given it."""
        return {lane for lane, owner in self.owners.items() if owner == worker.number}

    def give(self, worker: Worker, lanes: Collection[int]) -> None:
        """Assign lanes that nobody has."""
        for lane in lanes:
            self.owners[lane] = worker.number
        self.say(f"lanes {sorted(lanes)} to worker {worker.number}")

        async def assigned() -> None:
            await worker.started
            mine = set(lanes) & self.lanes_of(worker)
            if mine:
                worker.membership.dealt |= mine
                await worker.membership.callbacks[0](mine)

        worker.run(assigned())

    def give_away(self, lanes: Collection[int]) -> None:
        """Deal these lanes to whoever lives; start somebody if nobody does."""
        for lane in sorted(lanes):
            living = self.living or [self.begin_worker()]
            self.give(self.random.choice(living), {lane})

    def kill(self, number: int, *, deliver: bool, missed_after_s: float) -> None:
        """kill -9. Its lanes go to others when the group has missed it."""
        worker = self.workers.get(number)
        if worker is None or not worker.alive:
            return
        self.say(f"worker {number} is killed; what it sent {'arrives' if deliver else 'is lost'}")
        worker.alive = False
        self.loop.kill(number, deliver=deliver)
        self.loop.call_later(missed_after_s, self._missed, worker)

    def freeze(self, number: int, seconds: float, hears_after_s: float) -> None:
        """SIGSTOP for so long. If others got its lanes meanwhile, it hears of that only a while after it woke up."""
        worker = self.workers.get(number)
        if worker is None or not worker.alive or worker.frozen:
            return
        self.say(f"worker {number} is frozen for {seconds} s")
        worker.frozen = True
        self.loop.freeze(number)
        if seconds > SESSION_S:
            self.loop.call_later(SESSION_S, self._missed, worker)
        self.loop.call_later(seconds, self._thaw, worker, hears_after_s, seconds > SUSPENDED_S)

    def _missed(self, worker: Worker) -> None:
        lanes = self.lanes_of(worker)
        if lanes:
            self.give_away(lanes)

    def _thaw(self, worker: Worker, hears_after_s: float, long: bool) -> None:
        if not worker.alive:
            return
        if long and not self.harsh and hasattr(worker.link, "_membership"):
            worker.membership.doubt_until = self.loop.time() + DOUBT_S
            hears_after_s = min(hears_after_s, DOUBT_S)
        self.say(f"worker {worker.number} wakes up")
        worker.frozen = False
        self.loop.thaw(worker.number)
        self.loop.call_later(hears_after_s, self._hear, worker)

    def _hear(self, worker: Worker) -> None:
        """It learns what it has lost. (A lane that it was given anew meanwhile isn't told apart: as in Kafka.)"""
        if not worker.alive or worker.frozen or not hasattr(worker.link, "_membership"):
            return
        lost = set(worker.membership.dealt) - self.lanes_of(worker)
        if lost:
            worker.membership.dealt -= lost
            worker.run(worker.membership.callbacks[2](lost))

    async def hand_over(self, lane: int) -> None:
        """An orderly rebalance of one lane."""
        owner = self.workers.get(self.owners.get(lane, 0))
        others = [worker for worker in self.living if worker is not owner]
        if owner not in self.living or not others or not owner.started.done():
            return
        if lane not in owner.membership.dealt:
            return
        self.say(f"lane {lane} is revoked from worker {owner.number}")
        flushing = owner.run(owner.membership.callbacks[1]({lane}))
        done, _ = await asyncio.wait([flushing], timeout=FLUSH_LIMIT_S)
        if self.owners.get(lane) != owner.number:
            return  # it died meanwhile, and was missed
        if not owner.alive or owner.frozen:
            return
        if not done:
            flushing.cancel()
        owner.membership.dealt -= {lane}
        if not done:
            owner.run(owner.membership.callbacks[2]({lane}))
        living = [worker for worker in self.living if worker is not owner] or [owner]
        self.give(self.random.choice(living), {lane})

    async def end_worker(self, worker: Worker) -> None:
        """SIGTERM: it hands over what it has, and goes."""
        if not worker.started.done():
            return
        for lane in self.lanes_of(worker):
            await self.hand_over(lane)
        if worker in self.living and not self.lanes_of(worker):
            self.say(f"worker {worker.number} ends")
            worker.alive = False
            await asyncio.wait([worker.run(worker.link.stop())], timeout=10.0)

    # the end

    async def until_copied(self, *, within_s: float = 240.0) -> None:
        """Until the ledger says that everything is copied; StalledError if it doesn't come to that."""
        deadline = self.loop.time() + within_s
        while behind := self.behind():
            if self.loop.time() > deadline:
                raise StalledError(f"not copied within {within_s} s: {behind}")
            await asyncio.sleep(0.5)
        await asyncio.sleep(3.0)

    def behind(self) -> dict[Place, str]:
        self._read_ledger()
        behind = {}
        for place in self.partitions:
            rows = [row.offset for _, row in self.written.history.counted(place)]
            entry = self.positions.get(place)
            stopped = entry is not None and entry.state is State.FAULTED and entry.reason is not None
            if stopped and entry is not None and entry.reason is not None and not entry.reason.heals:
                continue
            if rows and (entry is None or entry.source_next <= rows[-1]):
                behind[place] = f"at {entry.source_next if entry else None} of {rows[-1] + 1}"
        return behind

    def _read_ledger(self) -> None:
        for place in self.copied.history.places(ledger_topic(self.link.name)):
            appends = self.copied.history.of(place)
            for append in appends[self._ledger_read.get(place, 0) :]:
                for row in append.rows:
                    entry = decode(row.key, row.value) if row.key else None
                    known = None if entry is None else self.positions.get((entry.topic, entry.partition))
                    if entry is not None and (known is None or known.moves <= entry.moves):
                        self.positions[entry.topic, entry.partition] = entry
            self._ledger_read[place] = len(appends)

    def scene(self, *, complete: bool = True) -> Scene:
        """What the rules are to be held against."""
        producers = {fence.producer_id for fence in self.copied.history.fences}
        return Scene(self.link, self.written.look(), self.copied.look(), self.partitions, producers, complete)

    def partition(self, cluster: Cluster, place: Place) -> Partition:
        """A partition of one of the clusters."""
        found = cluster.topics.partition(*place)
        assert found is not None
        return found

    def lane(self, place: Place) -> int:
        """The lane of a source partition."""
        return lane_of(*place, self.link.lanes)


def make_link(**changes: Any) -> LinkConfig:
    """A link for `World`."""
    return LinkConfig(**{"name": "l", "source": "us", "target": "eu", "lanes": LANES, **changes})


@contextlib.contextmanager
def in_virtual_world(lines: list[str]) -> Iterator[None]:
    """The program with a dealt membership, an idle controller, and its log in `lines`."""

    def client(alias: str, config: ClusterConfig, client_id: str) -> ClusterClient:
        loop = asyncio.get_event_loop()
        return ClusterClient(alias, config, f"{client_id}-w{OWNER.get()}", loop.time)

    def note(_: Any, level: str, event: dict[str, Any]) -> Any:
        if threading.current_thread() is not threading.main_thread():
            raise structlog.DropEvent  # a thread that an earlier test has left waits for its cluster: not of this world
        now = asyncio.get_event_loop().time() - START_S
        what = event.pop("event")
        more = " ".join(f"{key}={value}" for key, value in event.items() if key not in ("link", "next_step"))
        lines.append(f"{now:9.3f}    w{OWNER.get()} {level}: {what} {more}")
        raise structlog.DropEvent

    def virtual_time() -> float:
        return asyncio.get_event_loop().time()

    before = structlog.get_config()
    structlog.configure(processors=[note])
    try:
        with (
            mock.patch.object(link_module, "Membership", DealtMembership),
            mock.patch.object(link_module, "ClusterClient", client),
            mock.patch.dict(fetching.read_all.__kwdefaults__ or {}, clock=virtual_time),  # bound when it was defined
            mock.patch.object(ways_module, "RETURN_AFTER_MS", 1_500),  # so that a partition changes its way often
        ):
            yield
    finally:
        structlog.configure(**before)
