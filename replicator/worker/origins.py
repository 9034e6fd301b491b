"""For partitions whose next batch is of a producer that nobody has been asked about yet: ask, and let them go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine
from typing import Any

from replicator.config.models import LinkConfig, Settings
from replicator.errors import ReplicatorError
from replicator.flow.partition import PartitionFlow
from replicator.ledger.provenance import Provenance, fault_of
from replicator.wire.cluster import ClusterClient

RETRY_S = 1.0
SHOW_AFTER_S = 5.0


def provenance_of(
    settings: Settings, link: LinkConfig, source: ClusterClient, target: ClusterClient
) -> Provenance | None:
    """What tells copies from originals on the link's source; None where names do."""
    if not settings.mixes(link):
        return None
    expected = [other.name for other in settings.links_into(link.source)]
    return Provenance(source, target, native_only=link.origins == "native", expected=expected)


class OriginSearch:
    """Of one link; `spawn` runs something in the background."""

    def __init__(self, provenance: Provenance | None, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._provenance = provenance
        self._spawn = spawn
        self._under_way: set[PartitionFlow] = set()

    def begin(self, flow: PartitionFlow, producers: Collection[int]) -> None:
        """Find out what these producers write; `flow` is fetched again when that is known."""
        if flow not in self._under_way:  # else it is fetched again all the same, and asks for what is left
            self._under_way.add(flow)
            self._spawn(self._find(flow, producers))

    async def _find(self, flow: PartitionFlow, producers: Collection[int]) -> None:
        """The partition waits, and says so when that takes long: nothing is copied in doubt."""
        try:
            await self._learn(flow, producers)
        finally:
            self._under_way.discard(flow)
        if not flow.closed:
            flow.try_fetching()

    async def _learn(self, flow: PartitionFlow, producers: Collection[int]) -> None:
        assert self._provenance is not None
        began = time.monotonic()
        while not flow.closed:
            try:
                await self._provenance.learn(producers)
                return
            except ReplicatorError as error:
                if time.monotonic() - began > SHOW_AFTER_S:
                    flow.fault(fault_of(error, flow.fetch_offset))
                await asyncio.sleep(RETRY_S)
