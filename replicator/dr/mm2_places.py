"""Where on the source MirrorMaker 2 had got to, by the position that it stored and by what its copy holds.

MirrorMaker acknowledges records before it stores positions, once a minute unless it copies exactly once: everything up
to the stored position is on the copy, and any number of records behind it may be, too, once or several times.
"""

from __future__ import annotations

from collections.abc import Mapping

from replicator.dr.adopt_content import CopyTail, FirstRecord
from replicator.dr.adopt_places import Copy, Place, Places
from replicator.ledger.align import AmbiguousError, fingerprint
from replicator.states import PartitionFault
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_UNCOMMITTED
from replicator.wire.list_offsets import EARLIEST, LATEST

LOOKED_THROUGH = 200_000  # offsets of a copy, for one record: seconds


class StoredPlaces(Places):
    """Places for copies of MirrorMaker's. `stored`: the last source offset that it says it has copied."""

    def __init__(self, source: ClusterClient, target: ClusterClient, stored: Mapping[tuple[str, int], int]) -> None:
        super().__init__(source, target)
        self._stored = stored

    async def find(self, copy: Copy) -> Place:
        """As `Places.find`, which decides by content alone where no position is stored."""
        last = self._stored.get((copy.topic, copy.partition))
        if last is None:
            return await super().find(copy)
        after = last + 1
        end = await self._offset(self._source, copy.topic, copy.partition, LATEST, READ_UNCOMMITTED)
        if after > end:
            raise AmbiguousError(
                f"MirrorMaker stored position {last}, and the source ends at {end}: it was cut, or is another topic"
            )
        stable = await self._offset(self._source, copy.topic, copy.partition, LATEST)
        following = FirstRecord(copy.topic, copy.partition, self._id_of(copy.topic), after, stable)
        await self._read(self._source, following)
        if following.found is None:
            return await self._with_map(copy, after)
        first = await self._offset(self._target, copy.target_topic, copy.partition, EARLIEST)
        if first >= copy.end:
            return Place(after, -1)  # nothing is left that could be copied twice
        if not await self._may_hold(copy, first, following):
            return await self._with_map(copy, after)
        place = await super().find(copy)
        if place.source_next < after:
            raise AmbiguousError(
                f"it ends with the record before source offset {place.source_next}, and MirrorMaker stored {last}"
            )
        return place

    async def _with_map(self, copy: Copy, after: int) -> Place:
        """This place, with the pairs that the copy's newest records show, if they show any."""
        try:
            place = await super().find(copy)
        except (AmbiguousError, PartitionFault):
            return Place(after, -1)
        return place if place.source_next == after else Place(after, -1)

    async def _may_hold(self, copy: Copy, first: int, following: FirstRecord) -> bool:
        """Whether the copy may hold the record behind the stored position: as copying is in order, if it doesn't, then
        it holds nothing behind that position."""
        record = following.found
        assert record is not None
        if record.timestamp < 0:
            return True
        since = await self._offset(self._target, copy.target_topic, copy.partition, record.timestamp)
        since = copy.end if since < 0 else since
        start = max(first, since - 1)  # the one before shows whether something is gone in between
        if copy.end - start > LOOKED_THROUGH:
            return True
        tail = CopyTail(copy.target_topic, copy.partition, start, copy.end)
        await self._read(self._target, tail)
        return bool(tail.dense_from) or fingerprint(record) in tail.contents
