"""Which partition should be in which lane, so that no worker carries far more than the others.

One partition at a time, and only where it surely helps: the busiest worker has carried `RATIO` times the average for
`SUSTAINED_MS`, and without the partition it carries less while nobody carries more than it did.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from replicator.ledger.lane_load import LaneLoad

Key = tuple[str, int]

RATIO = 1.5
BUSY_BYTES_PER_S = 5_000_000  # below it no worker has trouble
SUSTAINED_MS = 120_000
FRESH_MS = 90_000  # a busy lane says what it carries every half minute
SETTLE_MS = 120_000  # after a move, so that its effect is in the figures
REST_MS = 30 * 60_000  # for a partition that has moved
GAIN = 0.9  # of the busiest worker's load, at most, for whoever is the busiest then
MAX_PLACED = 500


class Choice(NamedTuple):
    """This partition should be in that lane, and why."""

    key: Key
    lane: int
    why: str


class Chooser:
    """What it knows is what it was told: another controller begins with no memory, and so with patience."""

    def __init__(self) -> None:
        self._busy_since_ms: int | None = None
        self._busiest = ""
        self._chose_at_ms = -SETTLE_MS
        self._rests: dict[Key, int] = {}

    def choose(self, loads: Mapping[int, LaneLoad], placed: int, now_ms: int) -> Choice | None:
        """What to move now, if anything; `placed` partitions aren't in their home lanes."""
        workers: dict[str, int] = {}
        for load in loads.values():
            fresh = now_ms - load.at_ms <= FRESH_MS
            workers[load.worker] = workers.get(load.worker, 0) + (load.bytes_per_s if fresh else 0)
        if len(workers) < 2:
            return None
        busiest = max(workers, key=lambda name: workers[name])
        idlest = min(workers, key=lambda name: workers[name])
        most, mean = workers[busiest], sum(workers.values()) / len(workers)
        if most < BUSY_BYTES_PER_S or most < RATIO * mean:
            self._busy_since_ms = None
            return None
        if self._busy_since_ms is None or busiest != self._busiest:
            self._busy_since_ms, self._busiest = now_ms, busiest
        if now_ms - self._busy_since_ms < SUSTAINED_MS or now_ms - self._chose_at_ms < SETTLE_MS:
            return None
        return self._pick(loads, workers, busiest, idlest, now_ms) if placed < MAX_PLACED else None

    def _pick(
        self, loads: Mapping[int, LaneLoad], workers: Mapping[str, int], busiest: str, idlest: str, now_ms: int
    ) -> Choice | None:
        self._rests = {key: until for key, until in self._rests.items() if until > now_ms}
        most, least = workers[busiest], workers[idlest]
        candidates = [
            (abs((most - least) / 2 - rate), (topic, partition), rate)
            for load in loads.values()
            if load.worker == busiest and now_ms - load.at_ms <= FRESH_MS
            for topic, partition, rate in load.hot
            if (topic, partition) not in self._rests and max(most - rate, least + rate) <= GAIN * most
        ]
        if not candidates:
            return None
        _, key, rate = min(candidates)
        lanes = [load for load in loads.values() if load.worker == idlest]
        lane = min(lanes, key=lambda load: (load.bytes_per_s, load.lane)).lane
        self._chose_at_ms, self._rests[key] = now_ms, now_ms + REST_MS
        self._busy_since_ms = None
        why = (
            f"a worker writes {most / 1e6:.1f} MB/s and another {least / 1e6:.1f}; "
            f"{rate / 1e6:.1f} of it are {key[0]}-{key[1]}'s"
        )
        return Choice(key, lane, why)
