"""Stops partitions that operators want to stand still, and lets go on those that may (`ledger.desired`).

A partition that is held has no run: what was sent is acknowledged and in its entry, which says who holds it. So a
worker that takes its lane over knows it, and so does `status`. Where a fault waits for people, it stays the state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog

from replicator.config.models import LinkConfig
from replicator.errors import ReplicatorError
from replicator.flow.partition import PartitionFlow
from replicator.ledger.desired import HOLDING, Desired, DesiredStates
from replicator.ledger.entry import Entry
from replicator.states import State, Way
from replicator.worker.lane import Key, Lane

log = structlog.get_logger(__name__)

DRAIN_S = 20.0  # as long as a target may take to answer; after that the lane starts over, without this partition


class Holding:
    """Of one link, for this worker's lanes. `drop` ends a partition's run; `spawn` runs something in the background;
    `discover` has the partitions started that may run."""

    def __init__(
        self,
        link: LinkConfig,
        lanes: Mapping[int, Lane],
        drop: Callable[[Lane, PartitionFlow], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        discover: Callable[[], None],
        now_ms: Callable[[], int],
    ) -> None:
        self.wanted = DesiredStates.of_link(link)
        self.known = False  # whether the control topic was read to its end: until then nothing is started
        self._link = link.name
        self._lanes = lanes
        self._drop = drop
        self._spawn = spawn
        self._discover = discover
        self._now_ms = now_ms
        self._under_way: set[Key] = set()

    def hear(self, pairs: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        """What the control topic says."""
        changed = [self.wanted.take(key, value) for key, value in pairs]
        if any(changed) or not self.known:
            self.known = True
            self._discover()

    def holds(self, topic: str) -> bool:
        """Whether the partitions of this source topic are to stand still, or nobody knows yet."""
        return not self.known or self.wanted.of(topic).state in HOLDING

    def released(self, topic: str) -> bool:
        """Whether settings, ACLs and positions of this source topic's copy are to be left alone."""
        return not self.known or self.wanted.of(topic).released

    async def step(self) -> None:
        """Stop what runs and shouldn't; say of what stands still, and of what goes on, that it does."""
        if not self.known:
            return
        for lane in list(self._lanes.values()):
            if not lane.running:
                continue
            for flow in list(lane.flows.values()):
                if self.holds(flow.topic):
                    if flow.key not in self._under_way:
                        self._under_way.add(flow.key)
                        self._spawn(self._stop(lane, flow))
                elif (entry := lane.entries.get(flow.key)) is not None and entry.state in HOLDING:
                    lane.changed(flow)  # it goes on: that is worth an entry, even if nothing is copied
            await self._say(lane)

    async def _stop(self, lane: Lane, flow: PartitionFlow) -> None:
        try:
            try:
                async with asyncio.timeout(DRAIN_S):
                    await flow.drain()
            except TimeoutError:
                pass
            if flow.uncertain or not flow.idle:  # its next owner finds out what of it is there
                lane.fail(ReplicatorError(f"{flow} is to stand still, with batches that weren't answered"))
                return
            lane.changed(flow)
            await lane.write_entries()
            if lane.running and lane.flows.get(flow.key) is flow:
                self._drop(lane, flow)
                await self._say(lane)
        except ReplicatorError as error:
            log.warning("partition isn't stopped yet", link=self._link, partition=str(flow), error=str(error))
        finally:
            self._under_way.discard(flow.key)

    async def _say(self, lane: Lane) -> None:
        """Entries of partitions without a run, whose states aren't what is wanted."""
        async with lane.starting:
            changed = [
                wanted
                for key, entry in lane.entries.items()
                if key not in lane.flows
                and key not in self._under_way
                and (wanted := self._as_wanted(lane, entry)) is not None
            ]
            await lane.write_first(changed)
        for entry in changed:
            log.info(
                "partition stands still" if entry.state in HOLDING else "partition may go on",
                link=self._link, topic=entry.topic, partition=entry.partition, state=entry.state.value,
                detail=entry.detail,
            )  # fmt: skip
        if any(entry.state not in HOLDING for entry in changed):
            self._discover()

    def _as_wanted(self, lane: Lane, entry: Entry) -> Entry | None:
        """The entry with the state that is wanted; None where it has it, or a fault that waits for people.

        Once it says all that is in the copy, it says so, by being in transactions: nobody has to look there again.
        """
        wanted = self.wanted.of(entry.topic)
        settled = Way.FENCED if lane.to_take_over([entry]) else Way.TRANSACTIONS
        waits_for_people = entry.state is State.FAULTED and entry.reason is not None and not entry.reason.heals
        if waits_for_people or (_says(entry, wanted) and (entry.way is settled or wanted.state not in HOLDING)):
            return None
        if wanted.state is State.ASLEEP or (wanted.state not in HOLDING and entry.state not in HOLDING):
            return None  # it copies, or tries to, or its control topic was lost
        now = self._now_ms()
        detail = wanted.text if wanted.state in HOLDING else ""
        since_ms = entry.since_ms if _says(entry, wanted) else now
        return replace(
            entry, state=wanted.state, reason=None, detail=detail, since_ms=since_ms, written_ms=now, way=settled
        )


def _says(entry: Entry, wanted: Desired) -> bool:
    return entry.state is wanted.state and (wanted.state not in HOLDING or entry.detail == wanted.text)
