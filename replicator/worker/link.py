"""One link in one worker: its clients, its lanes, and the loops that keep them going.

discovery (5 s)   which partitions exist on both sides -> starts them in the lanes that are ours
entries (1 s)     what was acknowledged -> the ledger
controller (5 s)  owner of lane 0 only: creates and grows target topics (`sync.topics`)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.errors import AuthenticationError, ConfigurationError, ReplicatorError
from replicator.flow.backpressure import ByteBudget
from replicator.flow.fetcher import Fetcher
from replicator.flow.partition import PartitionFlow
from replicator.flow.source_errors import SourceErrors
from replicator.flow.stage import Stage
from replicator.flow.transaction import LaneTransaction
from replicator.flow.writer import Writer
from replicator.ledger.entry import Entry
from replicator.ledger.identity import Identity, identify
from replicator.ledger.lanes import control_topic, group_id, lane_of, ledger_topic, map_topic
from replicator.ledger.selection import skip_reason
from replicator.states import PartitionFault, Reason, State
from replicator.telemetry.counters import LATENCY_BOUNDS_S, Histogram, PartitionCounters, WorkerCounters
from replicator.wire import kafka_errors as codes
from replicator.wire.cluster import ClusterClient
from replicator.wire.producer_id import init_producer_id
from replicator.wire.transactions import TransactionalProducer
from replicator.worker.acceptance import Acceptance
from replicator.worker.controller import Controller
from replicator.worker.gaps import Gaps
from replicator.worker.lane import Key, Lane
from replicator.worker.membership import Membership
from replicator.worker.starting import StartingPoints

log = structlog.get_logger(__name__)

DISCOVERY_S = 5.0
SOON_S = 0.5  # between discoveries while something is expected to appear
ENTRIES_S = 1.0
FLUSH_S = 4.0
COMMANDS_S = 1.0
RETRY_S = 1.0
QUIET_S = 5.0
SETTLE_S = 0.05  # what asks for a step often comes in bursts
START_LIMIT_S = 30.0


class LinkWorker:
    """Runs the lanes of one link that this worker owns. `Surroundings` of their partitions."""

    def __init__(self, settings: Settings, link: LinkConfig, budget: ByteBudget, counters: WorkerCounters) -> None:
        self.link = link
        self._settings = settings
        self._counters = counters
        self._log = log.bind(link=link.name)
        client_id = f"replicator-{link.name}"
        self._source = ClusterClient(link.source, settings.clusters[link.source], client_id)
        self._target = ClusterClient(link.target, settings.clusters[link.target], client_id)
        self._budget = budget
        self._errors = SourceErrors(self._source)
        self._stage = Stage(link.compression)
        self._lanes: dict[int, Lane] = {}
        self._starting = StartingPoints(link, self._source, self._target, _now_ms)
        self._latency = counters.latency.setdefault(link.name, Histogram(LATENCY_BOUNDS_S))
        self._tasks: set[asyncio.Task[None]] = set()
        self._discover_now = asyncio.Event()
        self._entries_now = asyncio.Event()
        self._control_now = asyncio.Event()
        self._wanted: dict[int, set[Key]] = {}
        self._trouble = "not connected yet"
        self._controller = Controller(settings, link)
        self._acceptance = Acceptance(
            link, Gaps(self._source, self._target, _now_ms), self._target, self._lanes, self._drop, self._spawn
        )

    # life

    async def start(self) -> None:
        """Connect to both sides, make sure of the internal topics, and join. ReplicatorError if that can't be done."""
        await self._patiently(self._source.all_topics)
        await self._patiently(self._target.all_topics)
        await self._patiently(self._controller.prepare)
        self._target.watch([ledger_topic(self.link.name), map_topic(self.link.name), control_topic(self.link.name)])
        self._fetcher = Fetcher(self._source, self._budget, self._errors)
        self._writer = Writer(self._target)
        properties = client_properties(
            self._settings.clusters[self.link.target], client_id=f"replicator-{self.link.name}-member"
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
        await self._membership.start()
        self._spawn(self._every(self._discover, DISCOVERY_S, self._discover_now, "look for topics and partitions"))
        self._spawn(self._every(self._write_entries, ENTRIES_S, self._entries_now, "write ledger entries"))
        self._spawn(self._every(self._control, DISCOVERY_S, self._control_now, "create and grow target topics"))
        self._spawn(self._every(self._acceptance.read_commands, COMMANDS_S, asyncio.Event(), "read commands"))
        self._trouble = ""

    async def stop(self) -> None:
        """Hand the lanes over in good order, leave the group, close all connections. A few seconds at most."""
        if hasattr(self, "_membership"):
            await self._membership.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for lane in self._lanes.values():
            lane.close()
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
        if self._trouble:
            return [f"link {self.link.name}: {self._trouble}"]
        if not self._membership.joined:
            error = self._membership.last_error
            return [f"link {self.link.name}: has not joined its group yet{f': {error}' if error else ''}"]
        waiting = [str(n) for n, lane in self._lanes.items() if not lane.recovered]
        return [f"link {self.link.name}: recovering lanes {', '.join(waiting)}"] if waiting else []

    def update_counters(self) -> None:
        """Bring positions and lags in the counters up to date."""
        for lane in self._lanes.values():
            for flow in lane.flows.values():
                flow.update_counters()

    # Surroundings of the partitions

    def fetch_again(self, flow: PartitionFlow) -> None:
        self._fetcher.update(flow)

    def write_again(self, flow: PartitionFlow) -> None:
        self._writer.offer(flow)

    def find_target_leader(self, flow: PartitionFlow) -> None:
        self._target.refresh_soon()

    def replace_producer(self, flow: PartitionFlow) -> None:
        self._spawn(self._replace_producer(flow))

    def changed(self, flow: PartitionFlow) -> None:
        lane = self._lanes.get(lane_of(*flow.key, self.link.lanes))
        if lane is not None:
            lane.changed(flow)

    def faulted(self, flow: PartitionFlow, reason: Reason) -> None:
        key = self.link.name, reason.value
        self._counters.faults[key] = self._counters.faults.get(key, 0) + 1
        self._entries_now.set()
        if reason is Reason.RECORD_TOO_LARGE:
            self._spawn(self._name_limit(flow))
        self._acceptance.by_policy(flow, reason)

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
        lane.drop(flow)
        self._fetcher.remove(flow)
        self._writer.remove(flow)
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
        lanes = [self._new_lane(number) for number in sorted(numbers)]
        self._lanes.update((lane.number, lane) for lane in lanes)
        self._spawn(self._recover_all(lanes))
        if 0 in numbers:
            self._control_now.set()

    def _new_lane(self, number: int) -> Lane:
        exactly_once = self.link.delivery == "exactly_once"
        return Lane(
            number,
            self.link.name,
            self._target,
            _now_ms,
            transactional_id=f"replicator.{self.link.name}.{number}.{self._source.cluster_id}.t"
            if exactly_once
            else None,
            gates=self._new_transaction if exactly_once else None,
        )

    def _new_transaction(self, lane: Lane, producer: TransactionalProducer) -> LaneTransaction:
        transaction = LaneTransaction(
            producer,
            (ledger_topic(self.link.name), lane.number),
            flows=lane.flows,
            state=lane,
            offer=self._writer.offer,
            find_leader=self.find_target_leader,
            has_leader=self._writer.has_leader,
            latency=self._latency,
            now_ms=_now_ms,
        )
        transaction.broken.add_done_callback(lambda broken: self._transaction_broken(lane, broken.result()))
        return transaction

    def _transaction_broken(self, lane: Lane, error: ReplicatorError) -> None:
        if not lane.closed:
            self._log.warning("lane starts over from its committed entries", lane=lane.number, error=str(error))
            self._spawn(self._start_over(lane))

    async def _start_over(self, lane: Lane) -> None:
        """Recover the lane anew. If another worker has fenced us, membership will have told us by then."""
        self._let_go({lane.number})
        await asyncio.sleep(RETRY_S)
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
                await self._start_partitions(lane)
                return
            except ReplicatorError as error:
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

    async def _discover(self) -> None:
        """Find the partitions that both sides have, start what is new, and notice what is gone."""
        source = await self._source.all_topics()
        wanted: dict[int, set[Key]] = {}
        remote_names = set()
        for name, topic in source.topics.items():
            if skip_reason(self.link, name, internal=topic.internal) is not None:
                continue
            remote_names.add(self.link.remote_topic(name))
            for partition in topic.partitions:
                wanted.setdefault(lane_of(name, partition, self.link.lanes), set()).add((name, partition))
        self._target.watch(remote_names)
        await self._target.refresh()
        self._wanted = wanted
        for lane in list(self._lanes.values()):
            if lane.running:
                self._compare(lane)
                await self._start_in(lane)
        self._fetcher.show_homeless()
        self._writer.show_homeless()
        if self._pending():
            asyncio.get_running_loop().call_later(SOON_S, self._discover_now.set)

    def _pending(self) -> bool:
        """Whether a partition of ours waits for its target to be created."""
        return any(
            key not in lane.flows and (key not in lane.entries or lane.entries[key].reason is not Reason.TARGET_MISSING)
            for lane in self._lanes.values()
            if lane.recovered
            for key in self._wanted.get(lane.number, ())
        )

    def _compare(self, lane: Lane) -> None:
        """Hold running partitions against the metadata just read."""
        for flow in list(lane.flows.values()):
            if flow.state is State.FAULTED and flow.key in lane.entries and self._begins_anew(lane.entries[flow.key]):
                self._drop(lane, flow)  # nothing is left of either topic: it starts like a new one
                continue
            if flow.topic not in self._source.topics or self._source.topics[flow.topic].error in _GONE:
                where = f"Topic {flow.topic} of cluster {self.link.source}."
                flow.fault(PartitionFault(Reason.SOURCE_MISSING, where, topic=flow.topic, partition=flow.partition))
            target = self._target.topics.get(flow.target_topic)
            if target is None:
                continue
            where = f"Topic {flow.target_topic} of cluster {self.link.target}"
            if target.error in _GONE:
                fault = PartitionFault(Reason.TARGET_MISSING, f"{where}.", topic=flow.topic, partition=flow.partition)
                flow.fault(fault)
            elif target.topic_id != flow.target_topic_id:
                detail = f"{where} had id {flow.target_topic_id}, now it has {target.topic_id}."
                flow.fault(PartitionFault(Reason.TARGET_RECREATED, detail, topic=flow.topic, partition=flow.partition))
            elif flow.reason is Reason.TARGET_MISSING:
                flow.target_found()

    async def _start_in(self, lane: Lane) -> None:
        """Start what is new in one lane; trouble of a lane that ends or starts over isn't the others' trouble."""
        try:
            await self._start_partitions(lane)
        except ReplicatorError as error:
            if lane.running:
                self._log.warning("can't start partitions yet", lane=lane.number, error=str(error))

    async def _start_partitions(self, lane: Lane) -> None:
        """Start the partitions of a lane that aren't running and that both sides have."""
        begun = lane.begun_ms is not None
        if not self._wanted:
            return
        missing = [
            key
            for key in self._wanted.get(lane.number, ())
            if key not in lane.flows and self._target.leader(self.link.remote_topic(key[0]), key[1]) is not None
        ]
        new = [key for key in missing if key not in lane.entries or self._begins_anew(lane.entries[key])]
        if new:
            await lane.write_first(await self._starting.first_entries(new, born_after_link=begun))
        if not begun and not self._pending_targets(lane):
            await lane.write_begun()
        await self._say_missing(lane)
        known = [lane.entries[key] for key in missing if key in lane.entries]
        ends = await self._starting.target_ends(known)
        for entry in known:
            end = ends.get((entry.topic, entry.partition))
            if end is not None and not lane.closed and (entry.topic, entry.partition) not in lane.flows:
                self._start(lane, entry, end)

    async def _say_missing(self, lane: Lane) -> None:
        """Entries whose target topic is gone: no partition runs that could say so."""
        now = _now_ms()
        gone = [
            replace(
                entry,
                state=State.FAULTED,
                reason=Reason.TARGET_MISSING,
                detail=f"Topic {entry.target_topic} of cluster {self.link.target}.",
                since_ms=now,
                written_ms=now,
            )
            for key, entry in lane.entries.items()
            if key not in lane.flows
            and entry.reason is None
            and (topic := self._target.topics.get(entry.target_topic)) is not None
            and topic.error in _GONE
        ]
        await lane.write_first(gone)

    def _begins_anew(self, entry: Entry) -> bool:
        """Both topics were replaced by others: nothing is left that could be mixed."""
        source_id = self._source.topic_id_of(entry.topic)
        target_id = self._target.topic_id_of(entry.target_topic)
        return identify(entry, source_id, target_id) is Identity.RESTART

    def _pending_targets(self, lane: Lane) -> bool:
        """Whether a partition that was there before the link still has no entry."""
        return any(key not in lane.entries for key in self._wanted.get(lane.number, ()))

    def _start(self, lane: Lane, entry: Entry, target_end: int) -> None:
        counters = PartitionCounters(self.link.name, entry.topic, entry.partition)
        flow = PartitionFlow(
            topic=entry.topic,
            partition=entry.partition,
            source_topic_id=entry.source_topic_id,
            target_topic=entry.target_topic,
            target_topic_id=entry.target_topic_id,
            source_next=entry.source_next,
            target_next=max(entry.target_next, target_end),
            source_epoch=entry.source_leader_epoch,
            record_timestamp_ms=entry.record_timestamp_ms,
            producer=lane.producer,
            stage=self._stage,
            surroundings=self,
            counters=counters,
            latency=self._latency,
            now_ms=_now_ms,
            exclusive=self.link.topics.naming == "prefix",
            gate=lane.transaction,
            runs=lane.map_tail(entry),
        )
        lane.flows[flow.key] = flow
        self._counters.partitions[self.link.name, entry.topic, entry.partition] = counters
        fault = self._fault_at_start(entry, target_end)
        if fault is not None:
            flow.fault(fault)
            if fault.reason is entry.reason:
                flow.since_ms = entry.since_ms
        self._fetcher.add(flow)
        flow.update_counters()

    def _fault_at_start(self, entry: Entry, target_end: int) -> PartitionFault | None:
        """What is known to be wrong before the first fetch: an old fault that doesn't heal, or a topic replaced."""
        reason, detail = entry.reason, entry.detail
        source_id = self._source.topic_id_of(entry.topic)
        target_id = self._target.topic_id_of(entry.target_topic)
        changed = identify(entry, source_id, target_id)
        if entry.state is State.FAULTED and reason is not None and not reason.heals:
            pass
        elif changed.reason is not None:
            reason = changed.reason
            detail = (
                f"{entry.topic} of cluster {self.link.source} had id {entry.source_topic_id}, now {source_id}; "
                f"{entry.target_topic} of cluster {self.link.target} had id {entry.target_topic_id}, now {target_id}; "
                f"copied up to offset {entry.source_next}."
            )
        elif target_end < entry.target_next:
            reason = Reason.TARGET_TRUNCATED
            detail = (
                f"{entry.target_topic}-{entry.partition} of cluster {self.link.target} ends at {target_end}, but had "
                f"acknowledged up to {entry.target_next - 1}."
            )
        else:
            return None
        return PartitionFault(reason, detail, topic=entry.topic, partition=entry.partition, offset=entry.source_next)

    async def _write_entries(self) -> None:
        owned = self._membership.owned
        lanes = [lane for lane in self._lanes.values() if lane.recovered and lane.dirty and lane.number in owned]
        results = await asyncio.gather(*(lane.write_entries() for lane in lanes), return_exceptions=True)
        for result in results:
            if isinstance(result, ReplicatorError):
                self._log.warning("can't write ledger entries yet", error=str(result))
            elif isinstance(result, BaseException):
                raise result

    async def _control(self) -> None:
        if 0 not in self._membership.owned:
            return
        changed, problems = await self._controller.run()
        if changed:
            self._discover_now.set()
        lane = self._lanes.get(0)
        if lane is not None and lane.running:
            await lane.write_problems(problems)

    async def _every(self, step: Callable[[], Awaitable[None]], seconds: float, now: asyncio.Event, what: str) -> None:
        """Run `step` again and again. A failure is said, counted, and tried again: the daemon outlives its clusters."""
        while True:
            try:
                await step()
            except ReplicatorError as error:
                self._log.warning(f"can't {what}", error=str(error))
            except Exception:  # noqa: BLE001 - a bug in one step must not end the daemon
                key = self.link.name, Reason.INTERNAL_ERROR.value
                self._counters.faults[key] = self._counters.faults.get(key, 0) + 1
                self._log.exception(f"failed to {what}")
            try:
                async with asyncio.timeout(seconds):
                    await now.wait()
                await asyncio.sleep(SETTLE_S)
            except TimeoutError:
                pass
            now.clear()

    async def _patiently(self, connect: Callable[[], Awaitable[object]]) -> None:
        """Try for `START_LIMIT_S`: clusters and the daemon often start together. Wrong settings fail at once."""
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                await connect()
                return
            except (AuthenticationError, ConfigurationError):
                raise
            except ReplicatorError as error:
                if not error.retriable or time.monotonic() > deadline:
                    raise
                if self._trouble != str(error):
                    self._trouble = str(error)
                    left_s = round(deadline - time.monotonic())
                    self._log.warning("not connected yet", error=self._trouble, giving_up_in_s=left_s)
                await asyncio.sleep(RETRY_S)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_GONE = frozenset({codes.UNKNOWN_TOPIC_OR_PARTITION, codes.UNKNOWN_TOPIC_ID})


def _now_ms() -> int:
    return int(time.time() * 1000)
