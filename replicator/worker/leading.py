"""What the owner of lane 0 does for the whole link, again and again; in other workers these steps do nothing.

Only the load of lanes is said by every worker: who owns lane 0 compares it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import structlog

from replicator.ledger.moved import encode_wish
from replicator.sync.heartbeats import Pulse
from replicator.worker.control_writer import ControlWriter
from replicator.worker.controller import Controller
from replicator.worker.discovery import DISCOVERY_S, Discovery
from replicator.worker.lane import Lane
from replicator.worker.placement import Placement
from replicator.worker.placement_choice import Chooser
from replicator.worker.placement_load import LoadReport

SOMEWHAT_WIDE = 1000  # partitions
MOST_REST_S = 30.0  # between two looks at both clusters' topics, as long as nothing changes on the source

log = structlog.get_logger(__name__)


class Leading:
    """Of one link in one worker. `leads` says whether it owns lane 0 now."""

    def __init__(
        self,
        link: str,
        leads: Callable[[], bool],
        controller: Controller,
        discovery: Discovery,
        lanes: Mapping[int, Lane],
        say: ControlWriter,
        load: LoadReport,
        placement: Placement,
        now_ms: Callable[[], int],
    ) -> None:
        self._log = log.bind(link=link)
        self._leads = leads
        self._controller = controller
        self._discovery = discovery
        self._lanes = lanes
        self._say = say
        self._load = load
        self._placement = placement
        self._chooser = Chooser()
        self._now_ms = now_ms
        self._planned_for: object = None  # the source as it was then
        self._plan_again = 0.0

    async def topics(self) -> None:
        """Create and grow target topics; write down what isn't copied, and why."""
        if not self._leads():
            return
        seen = self._discovery.seen
        if seen is not None and seen is self._planned_for and time.monotonic() < self._plan_again:
            return
        changed, problems = await self._controller.run()
        calm = not (changed or problems)  # then a wide link's topics, which are dear to list, are let be for a while
        rest_s = min(MOST_REST_S, DISCOVERY_S * (self._discovery.found // SOMEWHAT_WIDE)) if calm else 0.0
        self._planned_for, self._plan_again = seen, time.monotonic() + rest_s
        if changed:
            self._discovery.now.set()
        lane = self._lanes.get(0)
        if lane is not None and lane.running:
            await lane.write_problems(problems)

    async def sync(self, name: str) -> None:
        """A round of one of the controller's syncers."""
        if self._leads():
            await self._controller.sync(name)

    async def beat(self, pulse: Pulse) -> None:
        """A heartbeat."""
        if self._leads():
            await pulse.beat()

    async def balance(self) -> None:
        """Say what our lanes carry; as the leader, wish a hot partition elsewhere. Its owners do the rest."""
        if pairs := self._load.due():
            await self._say.write(pairs)
        if not self._leads():
            return
        choice = self._chooser.choose(self._placement.loads, len(self._placement.wishes), self._now_ms())
        if choice is not None:
            (topic, partition), lane, why = choice
            self._log.info("moving a hot partition", topic=topic, partition=partition, to_lane=lane, why=why)
            await self._say.write([encode_wish(topic, partition, lane)])
