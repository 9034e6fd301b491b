"""How far away a broker is, and how much to ask it for at a time so that the way between is filled.

A fetch says nothing about that: it waits for records and for disks. The smallest request does, if the least of several
is taken, since whatever else delays an answer only ever adds.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

MOST_LOOPS = 8
NEAR_S = 0.025  # below it one request after the other does well; a busy machine alone answers within a good part of it
_PER_LOOP_S = 0.0125
_PER_SECOND_BYTES = 256 << 20  # what a worker can move, roughly; more under way would only take memory
_ENOUGH = 5  # measurements
_KEPT = 10
_EVERY_S = 5.0


class Reach(NamedTuple):
    """How to read what is behind from one broker: by so many loops besides the first, so much under way in all."""

    loops: int
    bytes: int


NEAR = Reach(0, 0)


class RoundTrip:
    """The way to one broker and back, in seconds."""

    def __init__(self) -> None:
        self._measured: deque[float] = deque(maxlen=_KEPT)
        self._asked_at = -1e9

    def due(self, now: float) -> bool:
        """Whether to measure again; if so, it is taken for done."""
        if len(self._measured) >= _ENOUGH and now - self._asked_at < _EVERY_S:
            return False
        self._asked_at = now
        return True

    def measured(self, seconds: float) -> None:
        """What one small request took."""
        self._measured.append(seconds)

    @property
    def seconds(self) -> float:
        """The least of the last measurements; 0 as long as there are too few to tell distance from a bad moment."""
        return min(self._measured) if len(self._measured) >= _ENOUGH else 0.0

    def reach(self, limit_bytes: int) -> Reach:
        """`limit_bytes` bounds what may be under way."""
        seconds = self.seconds
        if seconds < NEAR_S:
            return NEAR
        loops = min(MOST_LOOPS, max(2, round(seconds / _PER_LOOP_S)))
        return Reach(loops, min(limit_bytes, int(seconds * _PER_SECOND_BYTES)))
