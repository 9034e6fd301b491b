"""Says what this worker's lanes carry, for the controller to compare (`placement_choice`)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from replicator.ledger.lane_load import MAX_HOT, LaneLoad, encode_load
from replicator.ledger.log import KeyValue

Key = tuple[str, int]

QUIET_BYTES_PER_S = 100_000  # a lane below it is said to be idle, once


class LoadedLane(Protocol):
    """What is asked of a lane."""

    number: int

    @property
    def running(self) -> bool:
        """Recovered, and in order."""

    @property
    def flows(self) -> Mapping[Key, object]:
        """Its partitions."""


class LoadReport:
    """Of one link in this worker. `copied` says how many bytes of a partition were written since its run began."""

    def __init__(
        self, lanes: Callable[[], Iterable[LoadedLane]], copied: Callable[[Key], int], now_ms: Callable[[], int]
    ) -> None:
        self.worker = uuid.uuid4().hex
        self._lanes = lanes
        self._copied = copied
        self._now_ms = now_ms
        self._before: dict[Key, int] = {}
        self._at_ms = now_ms()
        self._said: dict[int, int] = {}  # by lane

    def due(self) -> list[KeyValue]:
        """The records that are to be written now. Call it every half minute or so."""
        now = self._now_ms()
        seconds = max(1, now - self._at_ms) / 1000
        counts: dict[Key, int] = {}
        pairs: list[KeyValue] = []
        said: dict[int, int] = {}
        for lane in self._lanes():
            if not lane.running:
                continue
            rates: dict[Key, int] = {}
            for key in lane.flows:
                counts[key] = count = self._copied(key)
                before = self._before.get(key, count)
                rates[key] = int((count - before if count >= before else count) / seconds)
            total = sum(rates.values())
            total = total if total >= QUIET_BYTES_PER_S else 0
            said[lane.number] = total
            if total or self._said.get(lane.number, -1):
                hottest = sorted(rates, key=lambda key: -rates[key])[:MAX_HOT] if total else []
                hot = tuple((*key, rates[key]) for key in hottest if rates[key] >= QUIET_BYTES_PER_S)
                pairs.append(encode_load(LaneLoad(lane.number, self.worker, now, total, hot)))
        self._before, self._at_ms, self._said = counts, now, said
        return pairs
