"""Which part of a link's partitions is in one worker's lanes: that part of the link's bandwidth is its to use."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Protocol, TypeVar

LOOK_S = 0.5

L = TypeVar("L", contravariant=True)


class Placed(Protocol[L]):
    """What is asked of `Partitions`."""

    @property
    def found(self) -> int:
        """How many partitions the link has."""

    def keys_of(self, lane: L) -> Collection[object]:
        """Those in this lane."""


def portion_of(
    placed: Placed[L], lanes: Mapping[int, L], count: int, now: Callable[[], float] = time.monotonic
) -> Callable[[], float]:
    """A function that says it, counted anew twice a second, and when lanes come or go; `count` is that of all lanes.

    What all workers are told adds up to 1, but for the moment in which one has heard of a new partition, or of a lane
    that is its own now, and another hasn't. Lanes without partitions take no part; idle partitions do.
    """
    known, until, owned = 0.0, -1.0, frozenset[int]()

    def portion() -> float:
        nonlocal known, until, owned
        if now() >= until or owned != lanes.keys():
            until, owned = now() + LOOK_S, frozenset(lanes)
            parts = sum(len(placed.keys_of(lane)) for lane in lanes.values())
            known = parts / placed.found if placed.found else len(lanes) / count
        return known

    return portion
