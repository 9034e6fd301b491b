"""The partitions of this worker's lanes: which of them run, from which entry on, and what ends their runs.

A partition runs once both sides have it: from its ledger entry, brought up to date where a former owner may have
written more; without an entry from where the link's `start:` says. Running ones are held against what the clusters'
metadata says of their topics.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog

from replicator.config.models import LinkConfig
from replicator.errors import ReplicatorError
from replicator.flow.fetcher import Fetcher
from replicator.flow.partition import PartitionFlow
from replicator.flow.ports import Origins, Surroundings
from replicator.flow.stage import Stage
from replicator.flow.writer import Writer
from replicator.ledger.entry import Entry
from replicator.ledger.identity import Identity, identify
from replicator.ledger.lanes import lane_of
from replicator.ledger.selection import skip_reason
from replicator.states import PartitionFault, Reason, State
from replicator.telemetry.counters import Histogram, PartitionCounters, WorkerCounters
from replicator.wire import kafka_errors as codes
from replicator.wire.cluster import ClusterClient
from replicator.wire.metadata import ClusterView
from replicator.worker.claims import Claims
from replicator.worker.conditions import Conditions
from replicator.worker.lane import Key, Lane
from replicator.worker.starting import StartingPoints

_GONE = frozenset({codes.UNKNOWN_TOPIC_OR_PARTITION, codes.UNKNOWN_TOPIC_ID})


class Partitions:
    """Starts, compares and drops the partitions of one link's lanes in this worker."""

    def __init__(
        self,
        link: LinkConfig,
        source: ClusterClient,
        target: ClusterClient,
        *,
        fetcher: Fetcher,
        writer: Writer,
        surroundings: Surroundings,
        conditions: Conditions,
        counters: WorkerCounters,
        latency: Histogram,
        now_ms: Callable[[], int],
        origins: Origins | None = None,
        two_way: bool = False,
        held: Callable[[str], bool] = lambda topic: False,
        start: Callable[[Key], int | None] = lambda at: None,
    ) -> None:
        self.wanted: dict[int, set[Key]] = {}  # by lane: what the source has, and the link selects
        self.found = 0  # how many that are, in all lanes
        self._at_first: frozenset[Key] | None = None  # what was there when the source was looked at for the first time
        self.link = link
        self._source = source
        self._target = target
        self._fetcher = fetcher
        self._writer = writer
        self._surroundings = surroundings
        self._conditions = conditions
        self._counters = counters
        self._latency = latency
        self._now_ms = now_ms
        self._held = held
        self._exclusive = link.names_tell and origins is None
        self._stage = Stage(link.compression, origins)
        self._claims = Claims(link, target, now_ms)
        self._starting = StartingPoints(link, source, target, now_ms, two_way=two_way, turned=start)
        self._log = structlog.get_logger(__name__).bind(link=link.name)

    def find(self, source: ClusterView) -> set[str]:
        """Note what is to be copied, as the source is now; the names of the copies."""
        wanted: dict[int, set[Key]] = {}
        remote_names = set()
        for name, topic in source.topics.items():
            if skip_reason(self.link, name, internal=topic.internal) is None:
                remote_names.add(self.link.remote_topic(name))
                for partition in topic.partitions:
                    wanted.setdefault(lane_of(name, partition, self.link.lanes), set()).add((name, partition))
        self.wanted, self.found = wanted, sum(map(len, wanted.values()))
        if self._at_first is None:
            self._at_first = frozenset().union(*wanted.values())
        return remote_names

    @property
    def looked(self) -> bool:
        """Whether the source's topics were seen: what it gets from now on was born after the link."""
        return self._at_first is not None

    def pending(self, lanes: Mapping[int, Lane]) -> bool:
        """Whether a partition of these lanes waits for its target to be created."""
        return any(
            key not in lane.flows
            and not self._held(key[0])
            and (key not in lane.entries or lane.entries[key].reason is not Reason.TARGET_MISSING)
            for lane in lanes.values()
            if lane.recovered
            for key in self.keys_of(lane)
        )

    def keys_of(self, lane: Lane) -> set[Key]:
        """What is to be copied in this lane: what its number says, but for what has moved; and what has moved here."""
        keys = self.wanted.get(lane.number, set())
        if lane.moved:
            keys = keys - lane.moved.keys()
        if guests := lane.guests:
            keys = keys | {key for key in guests if key in self.wanted.get(lane_of(*key, self.link.lanes), ())}
        return keys

    def resting(self, lane: Lane) -> list[PartitionCounters]:
        """What is to be copied in this lane and has no run: as its entry says, or as what will be started."""
        found = []
        for key in self.keys_of(lane) - lane.flows.keys():
            counters = PartitionCounters(self.link.name, *key)
            if (entry := lane.entries.get(key)) is not None:
                counters.source_next, counters.target_next = entry.source_next, entry.target_next
                if entry.state is not State.COPYING:
                    counters.state, counters.reason = entry.state, entry.reason
            found.append(counters)
        return found

    def compare(self, lane: Lane) -> None:
        """Hold running partitions against the metadata just read."""
        for flow in list(lane.flows.values()):
            if flow.state is State.FAULTED and flow.key in lane.entries and self._begins_anew(lane.entries[flow.key]):
                self.drop(lane, flow)  # nothing is left of either topic: it starts like a new one
                continue
            if flow.topic not in self._source.topics or self._source.topics[flow.topic].error in _GONE:
                where = f"Topic {flow.topic} of cluster {self.link.source}."
                flow.fault(PartitionFault(Reason.SOURCE_MISSING, where, topic=flow.topic, partition=flow.partition))
                continue  # whether its copy is there as well doesn't matter, and would be said in turn with this
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

    async def start_in_quietly(self, lane: Lane) -> None:
        """Start what is new in one lane, unless that is being done; trouble of a lane that ends or starts over isn't
        the others' trouble."""
        if lane.starting.locked():
            return
        try:
            await self.start_in(lane)
        except ReplicatorError as error:
            if lane.running:
                self._log.warning("can't start partitions yet", lane=lane.number, error=str(error))

    async def start_in(self, lane: Lane) -> None:
        """Start the partitions of a lane that aren't running and that both sides have. One call at a time gets on: a
        first entry that is written twice could come to stand behind a later one."""
        async with lane.starting:
            await self._start_in(lane)

    async def _start_in(self, lane: Lane) -> None:
        begun = lane.record.begun_ms is not None
        if self._at_first is None:
            return
        missing = [
            key
            for key in self.keys_of(lane)
            if key not in lane.flows and self._target.leader(self.link.remote_topic(key[0]), key[1]) is not None
        ]
        new = [
            key
            for key in missing
            if not self._held(key[0]) and (key not in lane.entries or self._begins_anew(lane.entries[key]))
        ]
        await self._conditions.learn({topic for topic, _ in missing})
        if new:
            born = [key for key in new if begun or key not in self._at_first]
            first = await self._starting.first_entries(new, born_after_link=frozenset(born))
            moves = {key: entry.moves for key, entry in lane.entries.items() if entry.moves}
            await lane.write_first([replace(e, moves=moves.get((e.topic, e.partition), 0)) for e in first])
        contested, unclear = await self._claims.contested([lane.entries[key] for key in missing if key in lane.entries])
        await lane.write_first(contested)
        if not begun and not self._pending_targets(lane):
            await lane.write_begun()
        await self._say_missing(lane)
        known = [lane.entries[key] for key in missing if key in lane.entries and key not in unclear]
        if past := lane.to_take_over([entry for entry in known if self._is_same(entry)]):
            await self._take_over(lane, past)
            known = [lane.entries[entry.topic, entry.partition] for entry in known]
            left = {(entry.topic, entry.partition) for entry in lane.to_take_over(past)}
            known = [entry for entry in known if (entry.topic, entry.partition) not in left]
        if forward := await self._starting.brought_forward([e for e in known if not self._held(e.topic)]):
            await lane.write_first(forward)
            known = [lane.entries[entry.topic, entry.partition] for entry in known]
        ends = await self._starting.target_ends(known)
        for entry in known:
            end, key = ends.get((entry.topic, entry.partition)), (entry.topic, entry.partition)
            if end is not None and not lane.closed and key not in lane.flows and not self._held(entry.topic):
                self._start(lane, entry, end)

    async def _take_over(self, lane: Lane, entries: list[Entry]) -> None:
        """Those that can't be taken over now are tried again with the next discovery."""
        began = time.monotonic()
        later = await lane.take_over(entries, self._source)
        for (topic, partition), error in later.items():
            self._log.warning("can't take the partition over yet", topic=topic, partition=partition, error=str(error))
        self._log.info(
            "partitions taken over",
            lane=lane.number, partitions=len(entries) - len(later), records_found=lane.found_records,
            took_ms=round((time.monotonic() - began) * 1000),
        )  # fmt: skip

    async def _say_missing(self, lane: Lane) -> None:
        """Entries whose target topic is gone: no partition runs that could say so."""
        now = self._now_ms()
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

    def _is_same(self, entry: Entry) -> bool:
        """Both topics are those of the entry."""
        source_id = self._source.topic_id_of(entry.topic)
        target_id = self._target.topic_id_of(entry.target_topic)
        return identify(entry, source_id, target_id) is Identity.SAME

    def _begins_anew(self, entry: Entry) -> bool:
        """Both topics were replaced by others: nothing is left that could be mixed."""
        source_id = self._source.topic_id_of(entry.topic)
        target_id = self._target.topic_id_of(entry.target_topic)
        return identify(entry, source_id, target_id) is Identity.RESTART

    def _pending_targets(self, lane: Lane) -> bool:
        """Whether a partition that was there before the link still has no entry."""
        return any(key not in lane.entries for key in self.keys_of(lane))

    def _start(self, lane: Lane, entry: Entry, target_end: int) -> None:
        counters = PartitionCounters(self.link.name, entry.topic, entry.partition)
        producer, gate = lane.writing_of(entry)
        fault = self._fault_at_start(entry, target_end)
        flow = PartitionFlow(
            topic=entry.topic,
            partition=entry.partition,
            source_topic_id=entry.source_topic_id,
            target_topic=entry.target_topic,
            target_topic_id=entry.target_topic_id,
            source_next=entry.source_next,
            target_next=max(entry.target_next, target_end) if self._exclusive else entry.target_next,
            source_epoch=entry.source_leader_epoch,
            record_timestamp_ms=entry.record_timestamp_ms,
            producer=producer,
            stage=self._stage,
            surroundings=self._surroundings,
            counters=counters,
            latency=self._latency,
            now_ms=self._now_ms,
            exclusive=self._exclusive,
            gate=gate,
            runs=lane.map_tail(entry),
            sequences=lane.sequences.pop((entry.topic, entry.partition), None),
        )
        lane.flows[flow.key] = flow
        self._counters.begin(counters)
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

    def drop(self, lane: Lane, flow: PartitionFlow) -> None:
        """End a partition's run, to begin another one from its entry before long."""
        lane.drop(flow)
        self._counters.partitions.pop((self.link.name, *flow.key), None)
        self._fetcher.remove(flow)
        self._writer.remove(flow)
