"""Who is measured when: fair to all, and not before the brokers have settled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

WARM_UPS_AT_LEAST = 3
WARM_UPS_AT_MOST = 6
_STILL_GAINING = 1.1


def rotated(contestants: Sequence[T], round_number: int) -> list[T]:
    """The order of round 0, 1, …: each round begins with the next contestant, so that nobody is always the first."""
    if not contestants:
        return []
    start = round_number % len(contestants)
    return [*contestants[start:], *contestants[:start]]


def settled(speeds: Sequence[float]) -> bool:
    """Whether copying has stopped to get faster: the last copy gained less than a tenth on the best before it."""
    if len(speeds) < WARM_UPS_AT_LEAST:
        return False
    return len(speeds) >= WARM_UPS_AT_MOST or speeds[-1] < _STILL_GAINING * max(speeds[:-1])
