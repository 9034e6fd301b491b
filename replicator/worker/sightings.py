"""Notes in the ledger where the source's partitions end, for the day on which nobody can ask it any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from replicator.ledger.sighting import SIGHTING_KEY, Sighting, encode_sighting
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_COMMITTED
from replicator.wire.kafka_errors import NONE
from replicator.wire.list_offsets import LATEST
from replicator.worker.lane import Key, Lane

REFRESH_MS = 60_000  # even if nothing has changed: also when the source was last heard of is worth knowing


class Sightings:
    """Of one link in this worker. Running partitions know their ends from fetching; for others the source is asked."""

    def __init__(self, lanes: Callable[[], Iterable[Lane]], source: ClusterClient, now_ms: Callable[[], int]) -> None:
        self._lanes = lanes
        self._source = source
        self._now_ms = now_ms
        self._said: dict[int, Sighting] = {}  # by lane

    async def step(self) -> None:
        """Write what is new. ReplicatorError if the source doesn't answer: then the last sightings stand."""
        lanes = [lane for lane in self._lanes() if lane.running]
        still = [key for lane in lanes for key in lane.entries if key not in lane.flows]
        # At least one: so it is known that the source was there.
        asking = still or [key for lane in lanes for key in lane.entries][:1]
        asked = await self._source.offsets([(*key, LATEST) for key in asking], READ_COMMITTED)
        now = self._now_ms()
        for lane in lanes:
            ends: dict[Key, int] = {}
            for key, entry in lane.entries.items():
                flow, listed = lane.flows.get(key), asked.get(key)
                if flow is not None:
                    end, following = flow.source_end, flow.source_next
                else:
                    end = listed.offset if listed is not None and listed.error == NONE else -1
                    following = entry.source_next
                if end > following:
                    ends[key] = end
            said = self._said.get(lane.number)
            if said is None or said.ends != ends or now - said.at_ms >= REFRESH_MS:
                self._said[lane.number] = sighting = Sighting(now, ends)
                if lane.running:
                    await lane.write_plainly([(SIGHTING_KEY, encode_sighting(sighting))])
        for gone in self._said.keys() - {lane.number for lane in lanes}:
            del self._said[gone]
