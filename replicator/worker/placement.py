"""Moves partitions between lanes, as is wished: out of our lanes, and into them.

From an entry in one lane to an entry in the other, so that never two lanes write a partition, whatever ends in between:

1. The owner of the present lane drains the partition, writes what is acknowledged into its entry, and ends its run.
   Nothing of it is in flight then; whoever owned the lane before was fenced when this owner took the partition over.
2. In a transaction of the lane's it writes `Moved` in the entry's place. If that fails nobody knows whether it is
   there: the lane starts over from the ledger, where former owners are fenced, and finds the one or the other.
3. The new lane's owner reads that in the former lane's ledger, committed, and so all markers of former transactions
   have been written. It copies the partition's chunks of the offset map, and then writes the entry, as its own lane's
   first: in transactions, position as it was left. Only then does a run begin.

A crash between 2 and 3 leaves a partition that no lane holds: it waits for the owner of the lane that `Moved` names,
which looks for it as long as a wish or its own ledger mentions the partition. A lane whose ledger says `Moved` never
begins the partition by itself; only a `Moved` with a higher number can bring it back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import structlog

from replicator.errors import ReplicatorError
from replicator.flow.partition import PartitionFlow
from replicator.ledger.lane_load import LaneLoad, take_load
from replicator.ledger.lanes import lane_of, ledger_topic, map_topic
from replicator.ledger.load import entries_from_records
from replicator.ledger.log import LedgerLog
from replicator.ledger.map_chunks import encode_chunk_key
from replicator.ledger.map_scan import load_chunks
from replicator.ledger.moved import Key, Moved, moved_from_records, take_wish
from replicator.states import State, Way
from replicator.wire.cluster import ClusterClient
from replicator.worker.lane import Lane

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 20.0  # at a partition that another worker holds, or should come to hold
REST_S = 60.0  # for one that couldn't be moved
MAX_WISHES = 1000
_SOON_S = 2.0
_DRAIN_LIMIT_S = 10.0
_MAP_PATIENCE = 5  # looks for the newest chunk of a map, before the rest of it has to do
_PAIRS_AT_ONCE = 500


class _Left(NamedTuple):
    moved: Moved
    source: int  # the lane that it left


def lane_with(lanes: Mapping[int, Lane], key: Key, count: int) -> Lane | None:
    """Which of these lanes the partition is in, of `count` of the link; None if in none of them."""
    home = lanes.get(lane_of(*key, count))
    if home is not None and key not in home.moved:
        return home
    return next((lane for lane in lanes.values() if key in lane.entries and lane is not home), None)


def lane_of_flow(lanes: Mapping[int, Lane], flow: PartitionFlow, count: int) -> Lane | None:
    """The lane that runs it; None if none of these does any more."""
    home = lanes.get(lane_of(*flow.key, count))
    if home is not None and home.flows.get(flow.key) is flow:
        return home
    return next((lane for lane in lanes.values() if lane.flows.get(flow.key) is flow), None)


class Placement:
    """Of one link in this worker. `drop` ends a partition's run, `discover` has new ones begin."""

    def __init__(
        self,
        link: str,
        count: int,
        target: ClusterClient,
        lanes: Mapping[int, Lane],
        drop: Callable[[Lane, PartitionFlow], None],
        discover: Callable[[], None],
    ) -> None:
        self.wishes: dict[Key, int] = {}
        self.loads: dict[int, LaneLoad] = {}  # by lane, of all workers
        self._link = link
        self._count = count
        self._target = target
        self._lanes = lanes
        self._drop = drop
        self._discover = discover
        self._heard = False
        self._looked: dict[
            Key, tuple[float, int, frozenset[int]]
        ] = {}  # until when that will do, for which wish, where
        self._rests: dict[Key, float] = {}  # until when nobody tries again to move it
        self._read: dict[int, tuple[dict[Key, Moved], Collection[Key]]] = {}  # in this step, by lane: gone, and there
        self._map_tries: dict[Key, int] = {}

    def hear(self, pairs: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        """What is new in the control topic, which was read to its end."""
        for key, value in pairs:
            take_wish(self.wishes, key, value)
            take_load(self.loads, key, value)
        while len(self.wishes) > MAX_WISHES:
            del self.wishes[next(iter(self.wishes))]
        self._heard = True

    def place_of(self, key: Key) -> int:
        """The lane that the partition is to be in."""
        wished = self.wishes.get(key, -1)
        return wished if 0 <= wished < self._count else lane_of(*key, self._count)

    async def step(self) -> None:
        """Do what is due. ReplicatorError if the target doesn't answer; the next step goes on."""
        if not self._heard:
            return
        ours = {number: lane for number, lane in self._lanes.items() if lane.running and lane.transaction is not None}
        self._read.clear()
        keys = set(self.wishes).union(*(lane.guests | lane.moved.keys() for lane in ours.values()))
        for key in sorted(keys):
            holder = lane_with(self._lanes, key, self._count)
            if holder is None:
                await self._look_for(key, ours)
            elif holder.number in ours and holder.number != self.place_of(key):
                await self._move(key, holder)

    # out of a lane

    async def _move(self, key: Key, lane: Lane) -> None:
        if self._rests.get(key, 0.0) > time.monotonic():
            return
        flow, to = lane.flows.get(key), self.place_of(key)
        if flow is None or flow.closed or flow.changing or flow.state is not State.COPYING or not lane.running:
            return
        try:
            async with asyncio.timeout(_DRAIN_LIMIT_S):
                await flow.drain()
        except TimeoutError:
            pass
        if flow.uncertain or not flow.idle:  # a new owner's fence and look at the target tell what is there
            self._rests[key] = time.monotonic() + REST_S
            lane.fail(ReplicatorError(f"{flow} moves to another lane, with batches that weren't answered"))
            return
        lane.changed(flow)
        await lane.write_entries()
        if not lane.running or lane.flows.get(key) is not flow or flow.closed:
            return
        entry = lane.entries[key]
        if flow.state is not State.COPYING or flow.changing or entry.source_next != flow.source_next or not flow.idle:
            if flow.reason is None or flow.reason.heals:
                self._drop(lane, flow)  # it begins again from its entry
                self._discover()
            return
        lane.retire(flow)
        moved = Moved(entry, to, entry.moves + 1)  # a wish that has changed meanwhile moves it once more
        try:
            await lane.write_moved(moved)
        except BaseException as error:
            lane.fail(ReplicatorError(f"{flow} may have moved to another lane: {error}"))
            raise
        self._drop(lane, flow)
        self._looked.pop(key, None)
        log.info(
            "partition leaves its lane",
            link=self._link, topic=key[0], partition=key[1], lane=lane.number, to_lane=moved.lane, move=moved.number,
        )  # fmt: skip

    # into a lane

    async def _look_for(self, key: Key, ours: Mapping[int, Lane]) -> None:
        now, here = time.monotonic(), frozenset(self._lanes)
        until, wish, where = self._looked.get(key, (0.0, -1, frozenset()))
        if now < until and wish == self.place_of(key) and where == here:
            return
        left = await self._left(key)
        again_s = _SOON_S if left is not None or self.place_of(key) in here else LOOK_AGAIN_S
        self._looked[key] = now + again_s, self.place_of(key), here
        lane = ours.get(left.moved.lane) if left is not None else None
        if left is None or lane is None:
            return
        before = lane.moved.get(key)
        if key in lane.entries or (before is not None and before.number >= left.moved.number):
            return
        await self._adopt(key, lane, left)

    async def _left(self, key: Key) -> _Left | None:
        """Where the partition is that no lane holds; None if one holds it."""
        number, last, found = lane_of(*key, self._count), 0, None
        for _ in range(self._count + 1):
            if number not in self._read:
                pairs = await LedgerLog(self._target, ledger_topic(self._link), number).read()
                self._read[number] = moved_from_records(pairs), entries_from_records(pairs).keys()
            gone, held = self._read[number]
            moved = gone.get(key)
            if moved is None or moved.number <= last:
                return None if key in held else found
            found, last, number = _Left(moved, number), moved.number, moved.lane
        return found

    async def _adopt(self, key: Key, lane: Lane, left: _Left) -> None:
        entry = left.moved.entry
        chunks = await load_chunks(
            self._target, map_topic(self._link), left.source, key, lambda number: number < entry.map_chunks
        )
        if entry.map_chunks and entry.map_chunks - 1 not in chunks:
            self._map_tries[key] = tries = self._map_tries.get(key, 0) + 1
            if tries < _MAP_PATIENCE:
                return
            log.warning("the newest part of an offset map is gone", link=self._link, topic=key[0], partition=key[1])
        self._map_tries.pop(key, None)
        # What is left of an earlier stay may have been thinned elsewhere since.
        stale = await load_chunks(self._target, map_topic(self._link), lane.number, key, lambda number: True)
        wanted: dict[int, bytes | None] = dict.fromkeys(stale) | chunks
        pairs = [(encode_chunk_key(*key, number), value) for number, value in sorted(wanted.items())]
        for first in range(0, len(pairs), _PAIRS_AT_ONCE):
            await lane.write_map(pairs[first : first + _PAIRS_AT_ONCE])
        if not lane.running:
            return
        ours = replace(
            entry,
            way=Way.TRANSACTIONS,
            producer_id=-1,
            producer_epoch=-1,
            next_sequence=0,
            moves=left.moved.number,
        )
        await lane.write_first([ours])
        self._looked.pop(key, None)
        self._discover()
        log.info(
            "partition comes to its lane",
            link=self._link, topic=key[0], partition=key[1], lane=lane.number, from_lane=left.source,
            move=left.moved.number,
        )  # fmt: skip
