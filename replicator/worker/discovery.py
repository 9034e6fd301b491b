"""Which partitions both sides have: starts them in the lanes that are ours, and notices what is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from replicator.flow.fetcher import Fetcher
from replicator.flow.writer import Writer
from replicator.telemetry.counters import LinkCounters
from replicator.wire.cluster import ClusterClient
from replicator.wire.metadata import ClusterView
from replicator.worker.lane import Lane
from replicator.worker.loops import Loops
from replicator.worker.partitions import Partitions

DISCOVERY_S = 5.0
START_WAIT_S = 2.0
SOON_S = 0.5  # between discoveries while something is expected to appear
WIDE = 10_000  # partitions; a wider target that has everything is looked at less often


class Discovery:
    """Of one link in one worker. `now` asks for a step; `seen` is the source as it was found last."""

    def __init__(
        self,
        clients: tuple[ClusterClient, ClusterClient],
        partitions: Partitions,
        lanes: Mapping[int, Lane],
        flow: tuple[Fetcher, Writer],
        loops: Loops,
        counters: LinkCounters,
        now: asyncio.Event,
    ) -> None:
        self.now = now
        self.seen: ClusterView | None = None
        self._source, self._target = clients
        self._partitions = partitions
        self._lanes = lanes
        self._fetcher, self._writer = flow
        self._loops = loops
        self._counters = counters
        self._waiting_since = self._look_at_target = 0.0

    @property
    def found(self) -> int:
        """How many partitions the link has."""
        return self._partitions.found

    async def step(self) -> None:
        """Find the partitions that both sides have, start what is new, and notice what is gone."""
        source = await self._source.all_topics()
        now = time.monotonic()
        if source is not self.seen:
            self.seen, self._waiting_since = source, now
            self._target.watch(self._partitions.find(source))
        pending = self._partitions.pending(self._lanes)
        if pending or now >= self._look_at_target:
            await self._target.refresh()
            self._look_at_target = now + DISCOVERY_S * (self.found // WIDE)
        lanes = [lane for lane in self._lanes.values() if lane.running]
        for lane in lanes:
            self._partitions.compare(lane)
        await self._start(lanes)
        self._counters.resting = {n: self._partitions.resting(lane) for n, lane in self._lanes.items()}
        self._fetcher.show_homeless()
        self._writer.show_homeless()
        if self._partitions.pending(self._lanes):
            soon_s = min(DISCOVERY_S, max(SOON_S, (now - self._waiting_since) / 8))  # some wait for people
            asyncio.get_running_loop().call_later(soon_s, self.now.set)
        else:
            self._waiting_since = now

    async def _start(self, lanes: list[Lane]) -> None:
        starting = {asyncio.create_task(self._partitions.start_in_quietly(lane)) for lane in lanes}
        if not starting:
            return
        for task in starting:  # one that waits for a broker goes on by itself, and doesn't hold up what comes next
            self._loops.keep(task)
        done, _ = await asyncio.wait(starting, timeout=START_WAIT_S)
        for task in done:
            task.result()
