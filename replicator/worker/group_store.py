"""Where the group syncer remembers what it wrote: the ledger of lane 0, as long as this worker owns it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from replicator.errors import ReplicatorError
from replicator.ledger.log import KeyValue
from replicator.sync.group_writer import Store
from replicator.worker.lane import Lane


class LaneStore(Store):
    """Written by lane 0's own producer, so that a former owner can't."""

    def __init__(self, lanes: Mapping[int, Lane]) -> None:
        self._lanes = lanes

    def owner(self) -> Lane | None:
        lane = self._lanes.get(0)
        return lane if lane is not None and lane.running else None

    async def write(self, pairs: Sequence[KeyValue]) -> None:
        lane = self.owner()
        if lane is None:
            raise ReplicatorError("lane 0 isn't this worker's any more")
        await lane.write_state(pairs)
