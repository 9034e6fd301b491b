"""Lets partitions go on behind gaps: when somebody commands it (control topic), or when the link's policy says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import structlog

from replicator.config.models import LinkConfig
from replicator.errors import ReplicatorError
from replicator.flow.partition import PartitionFlow
from replicator.ledger.codec import LedgerFormatError
from replicator.ledger.control import ACCEPTABLE, FaultedPartition, decode_command
from replicator.ledger.entry import Entry
from replicator.ledger.lanes import control_topic, lane_of, map_topic
from replicator.ledger.log import LedgerLog
from replicator.ledger.map_scan import load_chunks
from replicator.states import Reason, State, Way
from replicator.wire.cluster import ClusterClient
from replicator.worker.gaps import BY_PEOPLE_ALONE, BY_POLICY, Gaps
from replicator.worker.lane import Key, Lane
from replicator.worker.placement import lane_of_flow, lane_with

log = structlog.get_logger(__name__)

RETRY_S = 1.0


class Acceptance:
    """Knows what was accepted for one link, and carries it out for the partitions of this worker's lanes.

    `drop` ends a partition's run, so that it begins again from its entry; `spawn` runs something in the background;
    `hear` is given all that the control topic says.
    """

    def __init__(
        self,
        link: LinkConfig,
        gaps: Gaps,
        target: ClusterClient,
        lanes: Mapping[int, Lane],
        drop: Callable[[Lane, PartitionFlow], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        hear: Callable[[Sequence[tuple[bytes | None, bytes | None]]], None] = lambda pairs: None,
    ) -> None:
        self._link = link
        self._gaps = gaps
        self._lanes = lanes
        self._drop = drop
        self._spawn = spawn
        self._hear = hear
        self._target = target
        self._commands = LedgerLog(target, control_topic(link.name), 0)
        self._read_to = -1
        self._accepted: dict[Key, tuple[FaultedPartition, str]] = {}
        self._under_way: set[PartitionFlow] = set()

    def by_policy(self, flow: PartitionFlow, reason: Reason) -> None:
        """A partition stopped for this reason: `on_gap: continue` lets it go on, unless somebody else writes there."""
        if self._link.on_gap == "continue" and reason in ACCEPTABLE - BY_PEOPLE_ALONE:
            self._begin(flow, BY_POLICY)

    async def read_commands(self) -> None:
        """Carry out what was commanded, where partitions are in the state that it was meant for."""
        pairs, self._read_to = await self._commands.read_from(self._read_to)
        self._hear(pairs)
        for key, value in pairs:
            try:
                command = decode_command(key, value)
            except LedgerFormatError as error:
                log.error("command can't be read", link=self._link.name, error=str(error))
                continue
            if command is not None:
                self._accepted.update({(p.topic, p.partition): (p, command.by) for p in command.partitions})
        for at, (meant, by) in self._accepted.items():  # also of partitions that only now are ours
            lane = lane_with(self._lanes, at, self._link.lanes)
            flow = lane.flows.get(at) if lane is not None else None
            if flow is not None and _stands_as(flow, meant.reason, meant.since_ms):
                self._begin(flow, by)

    def _begin(self, flow: PartitionFlow, by: str) -> None:
        if flow not in self._under_way:
            self._under_way.add(flow)
            self._spawn(self._accept(flow, by))

    async def _accept(self, flow: PartitionFlow, by: str) -> None:
        reason, since_ms = flow.reason, flow.since_ms
        try:
            while reason is not None and self._is_ours(flow) and _stands_as(flow, reason, since_ms):
                try:
                    await self._go_on(flow, reason, by)
                except ReplicatorError as error:
                    log.warning("can't go on behind the gap yet", partition=str(flow), error=str(error))
                    await asyncio.sleep(RETRY_S)
        finally:
            self._under_way.discard(flow)

    def _is_ours(self, flow: PartitionFlow) -> bool:
        return lane_of_flow(self._lanes, flow, self._link.lanes) is not None

    async def _go_on(self, flow: PartitionFlow, reason: Reason, by: str) -> None:
        """The fault, and then the gap, are in the ledger before anything is copied (rule F)."""
        lane = lane_of_flow(self._lanes, flow, self._link.lanes)
        if lane is None or not lane.running:
            raise ReplicatorError("its lane is being handed over")
        await flow.drain()
        if flow.uncertain:  # what was sent may be there or not: a new owner's fence and look at the target tell
            lane.fail(ReplicatorError(f"{flow} goes on behind a gap, with batches that weren't answered"))
            raise ReplicatorError("its lane starts over first")
        await lane.write_entries()
        entry = await self._gaps.entry_behind(lane.entries[flow.key], reason, by)
        if reason is Reason.SOURCE_TRUNCATED:
            entry, cut = await self._gaps.with_map_cut(entry, lambda: self._chunks(entry))
            if cut:
                await lane.write_map(cut)
        lane.retire(flow)  # not dropped before its new entry is written: it would begin again from the old one
        await lane.write_first([replace(entry, way=Way.TRANSACTIONS)])
        self._drop(lane, flow)
        log.warning(
            "going on behind a gap",
            link=self._link.name, topic=flow.topic, partition=flow.partition, reason=reason.value, by=by,
            gap=asdict(entry.gaps[-1]),
        )  # fmt: skip

    async def _chunks(self, entry: Entry) -> dict[int, bytes]:
        at, below = (entry.topic, entry.partition), entry.map_chunks
        lane = lane_with(self._lanes, at, self._link.lanes)
        number = lane.number if lane is not None else lane_of(*at, self._link.lanes)
        return await load_chunks(self._target, map_topic(self._link.name), number, at, lambda number: number < below)


def _stands_as(flow: PartitionFlow, reason: Reason, since_ms: int) -> bool:
    return flow.state is State.FAULTED and flow.reason is reason and flow.since_ms == since_ms
