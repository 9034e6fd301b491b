"""One link in one worker: its clients, its lanes, and the loops that keep them going.

discovery (5 s)   which partitions exist on both sides -> starts them in the lanes that are ours (`worker.discovery`)
entries (1 s)     what was acknowledged -> the ledger
leading (5 s)     owner of lane 0 only: creates and grows target topics (`sync.topics`), and beside that, each by
                  itself, what else is kept in step (`worker.leading`, `Controller.syncers`)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial

import structlog

from replicator.config.librdkafka import certificates, client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.errors import ReplicatorError
from replicator.flow.backpressure import ByteBudget
from replicator.flow.bandwidth import Bandwidth
from replicator.flow.fenced import FencedWriting
from replicator.flow.fetcher import Fetcher
from replicator.flow.partition import PartitionFlow
from replicator.flow.source_errors import SourceErrors
from replicator.flow.target_errors import STOPS_WRITING
from replicator.flow.transaction import LaneTransaction
from replicator.flow.ways import Ways
from replicator.flow.writer import Writer
from replicator.ledger.configuration import Reload
from replicator.ledger.lanes import control_topic, group_id, ledger_topic, map_topic
from replicator.ledger.leaving import Leave
from replicator.ledger.turning import Turning
from replicator.states import Reason, Way
from replicator.telemetry.counters import LATENCY_BOUNDS_S, Histogram, LinkCounters, WorkerCounters
from replicator.wire import kafka_errors as codes
from replicator.wire.cluster import ClusterClient
from replicator.wire.producer_id import init_producer_id
from replicator.worker.acceptance import Acceptance
from replicator.worker.cluster_counts import count_clusters
from replicator.worker.conditions import Conditions
from replicator.worker.control_writer import ControlWriter
from replicator.worker.controller import Controller
from replicator.worker.discovery import DISCOVERY_S, Discovery
from replicator.worker.drills import Drills
from replicator.worker.gaps import Gaps
from replicator.worker.group_store import LaneStore
from replicator.worker.holding import Holding
from replicator.worker.lane import Lane, TransactionalIds
from replicator.worker.lane_share import Share
from replicator.worker.leading import Leading
from replicator.worker.leaving import Leaving
from replicator.worker.loops import Loops
from replicator.worker.map_care import MapCare
from replicator.worker.membership import Membership
from replicator.worker.origins import OriginSearch, provenance_of
from replicator.worker.partitions import Partitions
from replicator.worker.patience import PREPARE_LIMIT_S, RETRY_S, Patience
from replicator.worker.placement import Placement, lane_of_flow
from replicator.worker.placement_load import LoadReport
from replicator.worker.portion import portion_of
from replicator.worker.reloading import Reloading
from replicator.worker.sightings import Sightings
from replicator.worker.suspension import Suspension
from replicator.worker.troubles import Troubles

log = structlog.get_logger(__name__)

ENTRIES_S = 1.0
RENEWAL_S = 3600.0  # brokers forget after 7 days by default
FLUSH_S = 4.0
COMMANDS_S = 1.0
TROUBLES_S = 2.0
SIGHTINGS_S = 5.0
PLACEMENT_S = 2.0
LOAD_S = 30.0
HEARTBEAT_S = 1.0
DRILLS_S = 30.0
QUIET_S = 5.0


def certificates_of(settings: Settings, link: LinkConfig) -> tuple[object, ...]:
    """What tells whether the certificates of the link's clusters are the same files as before."""
    return tuple(certificates(settings.clusters[alias].security) for alias in (link.source, link.target))


class LinkWorker:
    """Runs the lanes of one link that this worker owns. `Surroundings` of their partitions."""

    def __init__(
        self,
        settings: Settings,
        link: LinkConfig,
        budget: ByteBudget,
        counters: WorkerCounters,
        reload: Callable[[str, Reload], None] = lambda link, command: None,
        leave: Callable[[str, Leave], None] = lambda link, order: None,
    ) -> None:
        self.link = link
        self.settings = settings
        self.certificates = certificates_of(settings, link)
        self._counters = counters
        self._own_counters = counters.links.setdefault(link.name, LinkCounters())
        self._log = log.bind(link=link.name)
        client_id = f"replicator-{link.name}"
        self._source = ClusterClient(link.source, settings.clusters[link.source], client_id)
        self._target = ClusterClient(link.target, settings.clusters[link.target], client_id)
        self._budget = budget
        self._bandwidth = Bandwidth(self._share)
        self._errors = SourceErrors(self._source)
        self._lanes: dict[int, Lane] = {}
        self._latency = counters.latency.setdefault(link.name, Histogram(LATENCY_BOUNDS_S))
        self._loops = Loops(link.name, lambda: self._count_fault(Reason.INTERNAL_ERROR))
        self._discover_now = asyncio.Event()
        self._entries_now = asyncio.Event()
        self._control_now = asyncio.Event()
        self._patience = Patience(link.name)
        self._portion: Callable[[], float] = lambda: 0.0
        self._say = ControlWriter(link.name, self._target)
        self._turning = Turning()
        self._holding = Holding(link, self._lanes, self._drop, self._loops.spawn, self._look_again, _now_ms)
        self._controller = Controller(
            settings, link, self._say, LaneStore(self._lanes), self._holding.released, self._turning.former
        )
        self._origins = provenance_of(settings, link, self._source, self._target)
        self._search = OriginSearch(self._origins, self._loops.spawn)
        self._conditions = Conditions(link, self._controller.source, self._controller.target, self._target)
        self._suspension = Suspension()
        self._troubles = Troubles(link.name, self._say, self._lanes.values, _now_ms)
        self._placement = Placement(
            link.name, link.lanes, self._target, self._lanes, self._drop, self._discover_now.set
        )
        self._sightings = Sightings(self._lanes.values, self._source, _now_ms)
        self.reloading = Reloading(link, self._say, lambda command: reload(link.name, command))
        self._drills = Drills(settings, link, lambda: 0 in self._membership.owned, _now_ms)
        self._leaving = Leaving(lambda order: leave(link.name, order), _now_ms)
        self._acceptance = Acceptance(
            link,
            Gaps(self._source, self._target, _now_ms),
            self._target,
            self._lanes,
            self._drop,
            self._loops.spawn,
            self._hear,
        )

    # life

    async def start(self) -> None:
        """Connect to both sides, make sure of the internal topics, and join. ReplicatorError if that can't be done."""
        await self._patience.until(self._source.all_topics)
        await self._patience.until(self._target.all_topics)
        properties = client_properties(
            self.settings.clusters[self.link.target], client_id=f"replicator-{self.link.name}-member"
        )
        self._membership = Membership(
            properties,
            group_id(self.link.name),
            ledger_topic(self.link.name),
            asyncio.get_running_loop(),
            self._on_assigned,
            self._on_revoked,
            self._on_lost,
            cluster=self.link.target,
        )
        making = asyncio.create_task(self._membership.make_ready())
        try:
            await self._patience.until(self._controller.prepare, PREPARE_LIMIT_S)
        except BaseException:
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)
            raise
        await making
        self._target.watch([ledger_topic(self.link.name), map_topic(self.link.name), control_topic(self.link.name)])
        self._fetcher = Fetcher(self._source, self._budget, self._errors, self._bandwidth)
        self._writer = Writer(self._target, self._may_write)
        self._partitions = Partitions(
            self.link,
            self._source,
            self._target,
            fetcher=self._fetcher,
            writer=self._writer,
            surroundings=self,
            conditions=self._conditions,
            counters=self._counters,
            latency=self._latency,
            now_ms=_now_ms,
            origins=self._origins,
            two_way=self.settings.returns(self.link),
            held=self._holding.holds,
            start=self._turning.start,
        )
        self._portion = portion_of(self._partitions, self._lanes, self.link.lanes)
        discovery = Discovery(
            (self._source, self._target),
            self._partitions,
            self._lanes,
            (self._fetcher, self._writer),
            self._loops,
            self._own_counters,
            self._discover_now,
        )
        self._suspension.start()
        await self._membership.start()
        self._begin_loops(discovery)
        self._patience.trouble = ""

    def _begin_loops(self, discovery: Discovery) -> None:
        leading = Leading(
            self.link.name,
            lambda: 0 in self._membership.owned,
            self._controller,
            discovery,
            self._lanes,
            self._say,
            LoadReport(self._lanes.values, self._bytes_of, _now_ms),
            self._placement,
            _now_ms,
        )
        every = self._loops.every
        every(DISCOVERY_S, discovery.step, "look for topics and partitions", self._discover_now)
        every(ENTRIES_S, self._write_entries, "write ledger entries", self._entries_now)
        every_s = self.link.sync.every
        every(every_s, leading.topics, "create and grow target topics", self._control_now)
        for name in self._controller.syncers:
            every(every_s, partial(leading.sync, name), f"keep {name} in step")
        for pulse in self._controller.heartbeats.pulses if self._controller.heartbeats is not None else ():
            every(HEARTBEAT_S, partial(leading.beat, pulse), "write heartbeats")
        care = MapCare(self.link.name, self._source, self._target, self._lanes.values, _now_ms)
        every(DISCOVERY_S, care.step, "keep the offset map small")
        every(RENEWAL_S, self._renew, "renew transactional ids")
        every(COMMANDS_S, self._acceptance.read_commands, "read commands")
        every(COMMANDS_S, self._holding.step, "hold and release topics")
        every(SIGHTINGS_S, self._sightings.step, "note where the source ends")
        every(PLACEMENT_S, self._placement.step, "move partitions between lanes")
        if self.link.placement == "by_load":
            every(LOAD_S, leading.balance, "compare the load of lanes")
        every(COMMANDS_S, self.reloading.step, "say which configuration is in force")
        if self.link.drill.every is not None:
            every(DRILLS_S, self._drills.step, "drill", self._drills.now)
        every(TROUBLES_S, self._troubles.step, "say which lanes don't run")

    async def stop(self) -> None:
        """Hand the lanes over in good order, leave the group, close all connections. A few seconds at most."""
        if hasattr(self, "_membership"):
            await self._membership.stop()
        self._suspension.stop()
        await self._loops.end()
        for lane in self._lanes.values():
            lane.close()
        self._own_counters.resting = {}
        if hasattr(self, "_fetcher"):
            await self._fetcher.close()
            await self._writer.close()
        await self._errors.close()
        await self._controller.close()
        await self._source.close()
        await self._target.close()

    @property
    def ended(self) -> asyncio.Future[None]:
        """Done when this worker's membership is over, with what ended it; only after `start`."""
        return self._membership.ended

    def not_ready(self) -> list[str]:
        """Why this link isn't ready; empty when it has joined and every owned lane has recovered."""
        if self._patience.trouble:
            return [f"link {self.link.name}: {self._patience.trouble}"]
        if not self._membership.joined:
            error = self._membership.last_error
            return [f"link {self.link.name}: has not joined its group yet{f': {error}' if error else ''}"]
        if not self._partitions.looked:
            return [f"link {self.link.name}: hasn't seen the topics of {self.link.source} yet"]
        waiting = [str(n) for n, lane in self._lanes.items() if not lane.recovered]
        return [f"link {self.link.name}: recovering lanes {', '.join(waiting)}"] if waiting else []

    def update_counters(self) -> None:
        """Bring positions and lags in the counters up to date."""
        lanes = list(self._lanes.values())
        for lane in lanes:
            for flow in list(lane.flows.values()):
                flow.update_counters()
        counters = self._own_counters
        running = sum(lane.running for lane in lanes)
        counters.lanes, counters.running, counters.recovering = self.link.lanes, running, len(lanes) - running
        counters.throttled_s = self._fetcher.throttled_s if hasattr(self, "_fetcher") else 0.0
        counters.bandwidth_bytes, counters.bandwidth_waited_s = self._share(), self._bandwidth.waited_s
        count_clusters(counters, self._source, self._target)
        self._controller.count(counters, active=0 in self._lanes)
        counters.drill = self._drills.counters if 0 in self._lanes else None

    def rest(self, why: str) -> None:
        """It isn't started, and that is meant: `not_ready` says why."""
        self._patience.trouble = why

    def take_rate(self, settings: Settings, link: LinkConfig) -> None:
        """From now on with this configuration, which differs in nothing but `bandwidth`."""
        self.settings, self.link = settings, link
        self.reloading.replace(link)

    def _share(self) -> float | None:
        """Our part of the link's bandwidth: that of the partitions in our lanes."""
        cap = self.link.bandwidth
        return None if cap is None else cap * self._portion()

    def _look_again(self) -> None:
        """Other topics are held or released now: both what runs and what the target needs are to be looked at."""
        self._discover_now.set()
        self._control_now.set()

    def _hear(self, pairs: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        for key, value in pairs:
            self._turning.take(key, value)
        self._leaving.hear(pairs)
        self._drills.hear(pairs)
        self._placement.hear(pairs)
        self.reloading.hear(pairs)
        self._holding.hear(pairs)

    # Surroundings of the partitions

    def fetch_again(self, flow: PartitionFlow) -> None:
        self._fetcher.update(flow)

    def write_again(self, flow: PartitionFlow) -> None:
        self._writer.offer(flow)

    def find_target_leader(self, flow: PartitionFlow) -> None:
        self._target.refresh_soon()

    def replace_producer(self, flow: PartitionFlow) -> None:
        self._loops.spawn(self._replace_producer(flow))

    def find_origins(self, flow: PartitionFlow, producers: Collection[int]) -> None:
        self._search.begin(flow, producers)

    def changed(self, flow: PartitionFlow) -> None:
        lane = lane_of_flow(self._lanes, flow, self.link.lanes)
        if lane is not None:
            lane.changed(flow)

    def faulted(self, flow: PartitionFlow, reason: Reason) -> None:
        self._count_fault(reason)
        self._entries_now.set()
        if reason is Reason.RECORD_TOO_LARGE:
            self._loops.spawn(self._name_limit(flow))
        lane = lane_of_flow(self._lanes, flow, self.link.lanes)
        if lane is not None and reason in STOPS_WRITING and lane.doom(flow):
            self._loops.spawn(lane.stop(flow, reason, flow.detail))
        self._acceptance.by_policy(flow, reason)

    def _count_fault(self, reason: Reason) -> None:
        key = self.link.name, reason.value
        self._counters.faults[key] = self._counters.faults.get(key, 0) + 1

    async def _name_limit(self, flow: PartitionFlow) -> None:
        """Brokers don't say how large is too large."""
        detail = flow.detail
        try:
            limit = await self._controller.max_message_bytes(flow.target_topic)
        except ReplicatorError as error:
            self._log.warning("can't ask for the limit", topic=flow.target_topic, error=str(error))
            return
        if flow.detail == detail:
            flow.detail = f"{detail} Its max.message.bytes is {limit}."
            self.changed(flow)
            self._entries_now.set()

    def _drop(self, lane: Lane, flow: PartitionFlow) -> None:
        """End a partition's run, to begin another one from its entry before long."""
        self._partitions.drop(lane, flow)
        self._discover_now.set()

    async def _replace_producer(self, flow: PartitionFlow) -> None:
        while not flow.closed:
            try:
                flow.adopt_producer(await init_producer_id(await self._target.any_connection()))
                return
            except ReplicatorError as error:
                self._log.warning("can't get a new producer id", partition=str(flow), error=str(error))
                await asyncio.sleep(RETRY_S)

    # membership

    async def _on_assigned(self, numbers: set[int]) -> None:
        self._let_go(numbers)  # lost and given anew, and only the latter was heard of: two would write as one
        lanes = [self._new_lane(number) for number in sorted(numbers)]
        self._lanes.update((lane.number, lane) for lane in lanes)
        self._loops.spawn(self._recover_all(lanes))
        if 0 in numbers:
            self._control_now.set()

    def _new_lane(self, number: int) -> Lane:
        ids = None
        if self.link.delivery == "exactly_once":
            stem = f"replicator.{self.link.name}.{number}.{self._source.cluster_id}"
            ids = TransactionalIds(f"{stem}.t", f"{stem}.f", f"replicator.{self.link.name}.{number}.{{}}.t".format)
        return Lane(
            number,
            self.link.name,
            self._target,
            _now_ms,
            ids=ids,
            gates=self._gates,
            origin=self._source.cluster_id,
            shared=self._origins is not None,
            origins=self._origins,
        )

    def _gates(self, lane: Lane, share: Share) -> tuple[LaneTransaction, FencedWriting | None]:
        def change(flow: PartitionFlow, way: Way) -> None:
            self._loops.spawn(lane.change_way(flow, way, flow.head.origin))

        if share.is_native:
            lane.ways = Ways(self._conditions, change, _now_ms)
        ways = lane.ways
        assert ways is not None
        transaction = LaneTransaction(
            share.producer,
            (ledger_topic(self.link.name), lane.number),
            flows=lane.flows,
            state=share,
            offer=self._writer.offer,
            find_leader=self.find_target_leader,
            has_leader=self._writer.has_leader,
            latency=self._latency,
            now_ms=_now_ms,
            ways=ways,
            origin=share.origin,
        )
        if not share.is_native:
            transaction.broken.add_done_callback(lambda broken: lane.fail(broken.result()))
            return transaction, None
        transaction.broken.add_done_callback(lambda broken: self._transaction_broken(lane, broken.result()))
        fenced = FencedWriting(
            ways,
            running=lambda: not transaction.broken.done(),
            entries_due=self._entries_now.set,
            fail=transaction.fail,
        )
        return transaction, fenced

    def _transaction_broken(self, lane: Lane, error: ReplicatorError) -> None:
        if not lane.closed:
            self._log.warning("lane starts over from its committed entries", lane=lane.number, error=str(error))
            self._loops.spawn(self._start_over(lane))

    def _may_write(self) -> bool:
        """Nothing is sent after a suspension before the lanes are confirmed to be ours (rule G)."""
        away_s = self._suspension.away_s()
        if not away_s:
            return True
        self._suspension.confirmed()
        self._log.warning("this process was suspended; its lanes start over", for_s=round(away_s, 1))
        self._target.drop_connections()
        lanes = list(self._lanes.values())
        self._let_go(set(self._lanes))
        for lane in lanes:
            self._loops.spawn(self._start_over(lane))
        return False

    async def _start_over(self, lane: Lane) -> None:
        """Recover the lane anew. If another worker has fenced us, membership will have told us by then."""
        self._let_go({lane.number})
        await asyncio.sleep(RETRY_S)
        while self._membership.in_doubt:  # noqa: ASYNC110 - if the lane is ours still, nobody says so again
            await asyncio.sleep(RETRY_S / 4)
        if lane.number in self._membership.owned and lane.number not in self._lanes:
            await self._on_assigned({lane.number})

    async def _on_revoked(self, numbers: set[int]) -> None:
        # A recovery that went on after the lane is another's would fence its new owner.
        await self._stop_recovering(numbers)
        lanes = [lane for number in numbers if (lane := self._lanes.get(number)) is not None and lane.recovered]
        try:
            async with asyncio.timeout(FLUSH_S):
                results = await asyncio.gather(*(lane.flush() for lane in lanes), return_exceptions=True)
            for lane, result in zip(lanes, results, strict=True):
                if isinstance(result, BaseException):
                    self._log.warning("lane handed over without its last entries", lane=lane.number, error=str(result))
        except TimeoutError:
            self._log.warning("lanes handed over before everything was acknowledged", lanes=sorted(numbers))
        finally:
            self._let_go(numbers)

    async def _on_lost(self, numbers: set[int]) -> None:
        self._let_go(numbers)
        if not self._lanes:
            self._suspension.confirmed()  # whatever comes now is newly ours

    async def _stop_recovering(self, numbers: set[int]) -> None:
        tasks = [lane.recovering for number in numbers if (lane := self._lanes.get(number)) and lane.recovering]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _let_go(self, numbers: set[int]) -> None:
        for number in numbers:
            lane = self._lanes.pop(number, None)
            if lane is None:
                continue
            if lane.recovering is not None:
                lane.recovering.cancel()
            lane.close()
            self._own_counters.resting.pop(number, None)
            for flow in lane.flows.values():
                self._fetcher.remove(flow)
                self._writer.remove(flow)
                self._counters.partitions.pop((self.link.name, *flow.key), None)

    async def _recover_all(self, lanes: list[Lane]) -> None:
        began = time.monotonic()
        for lane in lanes:
            lane.recovering = asyncio.create_task(self._recover(lane, began), name=f"recover lane {lane.number}")
        await asyncio.gather(*(lane.recovering for lane in lanes if lane.recovering), return_exceptions=True)
        recovered = [lane for lane in lanes if lane.recovered]
        self._log.info(
            "lanes recovered",
            lanes=[lane.number for lane in recovered],
            partitions=sum(len(lane.entries) for lane in recovered),
            took_ms=round((time.monotonic() - began) * 1000),
        )
        self._discover_now.set()

    async def _recover(self, lane: Lane, began: float) -> None:
        while not lane.closed:
            try:
                if self._target.leader(ledger_topic(self.link.name), lane.number) is None:
                    await self._target.refresh()
                await lane.recover()
                await self._partitions.start_in(lane)
                return
            except ReplicatorError as error:
                lane.failure = error
                if lane.transaction is not None:
                    return  # it recovered, and its transaction broke: it starts over
                # A topic or coordinator that has just come to be needs a moment: no alarm for that.
                retriable = error.retriable or isinstance(error, codes.BrokerError)
                quiet = retriable and time.monotonic() - began < QUIET_S
                say = self._log.debug if quiet else self._log.warning
                say("can't recover the lane yet", lane=lane.number, error=str(error))
                await asyncio.sleep(RETRY_S / 4 if retriable else 10 * RETRY_S)
                self._target.refresh_soon()

    # loops

    async def _write_entries(self) -> None:
        owned = self._membership.owned
        lanes = [lane for lane in self._lanes.values() if lane.recovered and lane.dirty and lane.number in owned]
        results = await asyncio.gather(*(lane.write_entries() for lane in lanes), return_exceptions=True)
        for result in results:
            if isinstance(result, ReplicatorError):
                self._log.warning("can't write ledger entries yet", error=str(result))
            elif isinstance(result, BaseException):
                raise result

    async def _renew(self) -> None:
        """Brokers forget a transactional id that isn't used for long, and with it who is fenced."""
        for lane in list(self._lanes.values()):
            if lane.running:
                await lane.renew()

    def _bytes_of(self, key: tuple[str, int]) -> int:
        counters = self._counters.partitions.get((self.link.name, *key))
        return counters.bytes if counters is not None else 0


def _now_ms() -> int:
    return int(time.time() * 1000)
