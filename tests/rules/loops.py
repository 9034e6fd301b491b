"""Two clusters, or a ring of three, that copy one another's topics under the same names, in virtual time.

Each link has workers of its own, and each cluster clients of its own; what goes wrong, and when, a seed says. `judge`
is what has to hold in the end: every cluster has each native record of all clusters once, those of one origin in their
order, and nothing circulates.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from broker.storage.batch import TRANSACTIONAL, encode_record, make_header, seal
from broker.storage.compaction import clean
from replicator.config.models import LinkConfig
from replicator.ledger.lane_record import LANE_KEY, decode_lane
from replicator.ledger.lanes import ledger_topic, map_topic
from tests.rules.checks import RULES
from tests.rules.history import History, Place, numbered
from tests.rules.schedule import DAY_MS, Mood, Schedule, Writers
from tests.rules.virtual import StalledError, VirtualLoop, simulate
from tests.rules.world import Site, World, in_virtual_world, make_link

TOPIC, PARTITIONS = "orders", 2
NAMES = "abc"
RULES_HERE = "ACGP"  # of single links: those that say nothing about what else is in the logs
QUIET_S = 20.0


class Clients(Writers):
    """The clients of one cluster: without idempotence, with it, in transactions; and one that produces again what it
    has read. Their producer ids come from their cluster, so that they are the same numbers as links' elsewhere."""

    def __init__(self, world: World, mood: Mood, first: int) -> None:
        super().__init__(world, mood)
        self.count = first
        self._plain: dict[Place, list[list[int]]] = {}  # producer id and next sequence

    def write(self, place: Place, *, in_transaction: bool = False) -> None:
        log = self.world.partition(self.world.source, place).log
        for _ in range(self.random.randint(1, 3)):
            producer, sequence = -1, -1
            count = self.random.choice((1, 1, 2, 3, 8))
            if in_transaction:
                producer, sequence = self._open.get(place) or (self._new_id(), 0)
                self._open[place] = producer, sequence + count
            elif self.random.random() < 0.6:
                used = self._plain.setdefault(place, [])
                if not used or self.random.random() < 0.1:
                    used.append([self._new_id(), 0])
                one = self.random.choice(used[-3:])
                producer, sequence = one
                one[1] += count
            log.append_as_client(self._of(place, count, producer, sequence, in_transaction))

    def produce_again(self, place: Place) -> None:
        """Something that is in the log, whoever wrote it."""
        rows = [row for _, row in self.world.written.history.counted(place)]
        if rows:
            row = self.random.choice(rows[-20:])
            payload = encode_record(0, 0, row.key, row.value, [])
            self.world.partition(self.world.source, place).log.append_as_client(self._sealed(payload, 1, -1, -1, False))

    def _new_id(self) -> int:
        return self.world.source.coordinators.transactions.new_idempotent_producer()[0]

    def _of(self, place: Place, count: int, producer: int, sequence: int, transactional: bool) -> bytes:
        payload = b""
        for index in range(count):
            self.count += 1
            payload += encode_record(index, 0, b"k%d" % self.random.randrange(6), numbered(self.count), [])
        return self._sealed(payload, count, producer, sequence, transactional)

    def _sealed(self, payload: bytes, count: int, producer: int, sequence: int, transactional: bool) -> bytes:
        now = int(self.world.loop.time() * 1000) + 1_700_000_000_000
        timestamp = now - 3 * DAY_MS if self.old else now
        return seal(
            payload,
            make_header(
                attributes=TRANSACTIONAL if transactional else 0,
                last_offset_delta=count - 1,
                base_timestamp=timestamp,
                max_timestamp=timestamp,
                producer_id=producer,
                producer_epoch=0 if producer >= 0 else -1,
                base_sequence=sequence,
                record_count=count,
            ),
        )


class OneLink(Schedule):
    """What happens to one of the links, and its source's clients."""

    def __init__(self, world: World, mood: Mood, first: int) -> None:
        super().__init__(world, mood)
        self.clients = self.writers = Clients(world, mood, first)

    def step(self) -> None:
        """The next one."""
        if self.random.random() < 0.05:
            self.clients.produce_again(self._place())
        else:
            self._step()()

    def _compact(self) -> None:
        names = ledger_topic(self.world.link.name), map_topic(self.world.link.name)
        log = self.world.target.log(self.random.choice(names), self.random.randrange(self.world.link.lanes))
        self.world.say(f"{log.name} is compacted")
        log.roll()
        clean(log)

    def begin(self) -> None:
        """Its workers."""
        for _ in range(self.random.choice((1, 1, 2))):
            self.world.begin_worker()
        self.world.give_away(range(self.world.link.lanes))
        if self.forgetful:
            self._spawn(self._forget())

    async def calm(self) -> None:
        """Nothing goes wrong any more."""
        self.forgetful = False
        await asyncio.sleep(0)
        self.writers.end_all()
        for site in self.world.sites:
            site.faults.traps.clear()
        for cluster, node in self._down:
            await self._in_turn(cluster.start_node(node))
        self._down.clear()
        for place in self.world.partitions:
            self.writers.write(place)

    def heal(self) -> None:
        """Give the lanes of who is gone to others."""
        owners = self.world.owners
        self.world.give_away(
            [lane for lane, owner in owners.items() if self.world.workers[owner] not in self.world.living]
        )


@dataclass
class Ring:
    """Clusters that copy to the next one, the last one to the first; the worlds are the links'."""

    sites: dict[str, Site]
    worlds: list[World]

    async def until_quiet(self, *, within_s: float = 300.0) -> None:
        """Until no link has anything left to copy, for a while. StalledError if it doesn't come to that."""
        loop = self.worlds[0].loop
        deadline, quiet_since, appends = loop.time() + within_s, loop.time(), -1
        while loop.time() - quiet_since < 5.0:
            await asyncio.sleep(0.5)
            behind = {world.link.name: found for world in self.worlds if (found := world.behind())}
            now = self.appends()
            if behind or now != appends:
                quiet_since, appends = loop.time(), now
            if loop.time() > deadline:
                raise StalledError(f"no quiet within {within_s} s: {behind}")

    def appends(self) -> int:
        """Batches of records in all copies of the topic."""
        return sum(
            append.commit is None
            for site in self.sites.values()
            for place in site.recorder.history.places(TOPIC)
            for append in site.recorder.history.of(place)
        )


def make_ring(loop: VirtualLoop, random: Random, count: int, said: list[str], *, memory_ms: int, **link: Any) -> Ring:
    """The clusters, called a, b and c; each the source of one link. Call `start` of each world."""
    names = NAMES[:count]
    ways = [(name, names[(at + 1) % count]) for at, name in enumerate(names)]
    return _made(loop, random, ways, said, memory_ms, **link)


def make_mesh(loop: VirtualLoop, random: Random, said: list[str], *, memory_ms: int, **link: Any) -> Ring:
    """Three clusters, each with a link to each other."""
    return _made(loop, random, [*itertools.permutations(NAMES, 2)], said, memory_ms, **link)


def _made(
    loop: VirtualLoop, random: Random, ways: Sequence[tuple[str, str]], said: list[str], memory_ms: int, **link: Any
) -> Ring:
    config = {"producer.id.expiration.ms": str(memory_ms)}
    names = dict.fromkeys(name for name, _ in ways)
    sites = {name: Site(loop, random, f"id-of-{name}", **config) for name in names}
    links = tuple(link_of(*way, **link) for way in ways)
    numbers = itertools.count(1)
    worlds = []
    for one in links:
        world = World(loop, random, one, sites=(sites[one.source], sites[one.target]), numbers=numbers)
        world.links, world.said = links, said
        worlds.append(world)
    return Ring(sites, worlds)


def link_of(source: str, target: str, **more: Any) -> LinkConfig:
    """A link that keeps names."""
    return make_link(name=f"{source}{target}", source=source, target=target, topics={"naming": "identical"}, **more)


async def start(ring: Ring) -> None:
    """All clusters, and the topic on each."""
    for world in ring.worlds:
        await world.start()
    for site in ring.sites.values():
        settings = {"message.timestamp.before.max.ms": str(1 << 62)}
        site.recorder.watch(site.cluster.create_topic(TOPIC, PARTITIONS, 2, settings))
    for world in ring.worlds:
        world.partitions.update({(TOPIC, index): 0 for index in range(PARTITIONS)})
        world.settings = world.settings.model_copy(
            update={"clusters": {k: v for w in ring.worlds for k, v in w.settings.clusters.items()}}
        )


def native(history: History, place: Place) -> list[tuple[object, ...]]:
    """What clients wrote, by the coordinator: all transactional ids are links'."""
    links = {fence.producer_id for fence in history.fences}
    return [row.content for append, row in history.counted(place) if append.producer_id not in links]


def judge(histories: dict[str, History], places: Sequence[Place]) -> list[str]:
    """What is wrong, as sentences."""
    wrong: list[str] = []
    for place in places:
        natives = {name: native(history, place) for name, history in histories.items()}
        wanted = Counter(content for contents in natives.values() for content in contents)
        index = {
            content: (name, at)
            for name, contents in natives.items()
            for at, content in enumerate(contents)
            if wanted[content] == 1
        }
        for name, history in histories.items():
            there = [row.content for _, row in history.counted(place)]
            found = Counter(there)
            if missing := wanted - found:
                wrong.append(f"{name}: {place} misses {missing.total()} records, one is {next(iter(missing))}")
            if extra := found - wanted:
                wrong.append(f"{name}: {place} has {extra.total()} too many, one is {next(iter(extra))}")
            last: dict[str, int] = {}
            for content in there:
                if content in index:
                    origin, at = index[content]
                    if at <= last.get(origin, -1):
                        wrong.append(f"{name}: {place}: {content} of {origin} comes behind a later one")
                    last[origin] = at
    return wrong


def recorded(history: History, link: LinkConfig) -> Iterator[tuple[int, str]]:
    """The producer ids that the link's lanes say they write as, and for which origin."""
    for place in history.places(ledger_topic(link.name)):
        for _, row in history.counted(place):
            if row.key == LANE_KEY and row.value is not None:
                yield from decode_lane(row.value).origins.items()


def run(seed: int, clusters: int, mood: Mood | None = None, **link: Any) -> tuple[dict[str, list[str]], list[str]]:
    """One schedule: what broke which rule, and the story. StalledError, with the story, if it doesn't end."""
    random, mood, said = Random(seed), mood or Mood(steps=110), list[str]()

    async def work(loop: VirtualLoop) -> dict[str, list[str]]:
        ring = make_ring(
            loop, random, clusters, said, memory_ms=random.choice((DAY_MS, DAY_MS, 100_000, 30_000)), **link
        )
        await start(ring)
        schedules = [OneLink(world, mood, number * 1_000_000) for number, world in enumerate(ring.worlds)]
        turn = asyncio.Lock()
        for schedule in schedules:
            schedule._nodes = turn
            schedule.world.harsh = schedules[0].world.harsh
            for place in schedule.world.partitions:
                if random.random() < 0.5:
                    schedule.writers.write(place)  # before there are links
            schedule.begin()
        for _ in range(mood.steps):
            await asyncio.sleep(random.choice((0.0, 0.01, 0.05, 0.2, 0.5, 1.5)))
            random.choice(schedules).step()
        said.append("peace")
        for schedule in schedules:
            await schedule.calm()
        await asyncio.sleep(40)
        for schedule in schedules:
            schedule.heal()
        await ring.until_quiet()
        before = ring.appends()
        await asyncio.sleep(QUIET_S)
        wrong: dict[str, list[str]] = {}
        if (after := ring.appends()) != before:
            wrong["circles"] = [f"{after - before} batches were appended while nobody wrote"]
        for site in ring.sites.values():
            assert site.cluster.internal_errors == 0
        wrong["loops"] = judge(
            {name: site.recorder.look() for name, site in ring.sites.items()}, [*ring.worlds[0].partitions]
        )
        for letter in RULES_HERE:
            for world in ring.worlds:
                wrong.setdefault(letter, []).extend(RULES[letter](scene_of(world)))
        return {rule: found for rule, found in wrong.items() if found}

    try:
        with in_virtual_world(said):
            wrong: dict[str, list[str]] = simulate(random, work)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}\n" + "\n".join(said)) from error
    if alarms := [line for line in said if "somebody else writes" in line or "taken for a client's" in line]:
        wrong["false alarm"] = alarms
    return wrong, said


def scene_of(world: World) -> Any:
    """What one link did: of its target's topics its own appends alone."""
    scene = world.scene()
    own = {producer_id for producer_id, _ in recorded(scene.target, world.link)}
    scene.target = scene.target.without(lambda append: append.topic == TOPIC and append.producer_id not in own)
    return scene


Play = Callable[..., tuple[dict[str, list[str]], list[str]]]
