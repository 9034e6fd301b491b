"""One answer for all who ask at the same time, or soon after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")

_AGE_S = 1.0  # a view reads both clusters; many open pages must not do so many times


class OneAtATime(Generic[T]):
    """Calls `ask` once for all who wait for it, and not again while its answer is younger than a second."""

    def __init__(self, ask: Callable[[], Awaitable[T]], clock: Callable[[], float] = time.monotonic) -> None:
        self.ask = ask
        self._clock = clock
        self._lock = asyncio.Lock()
        self._answer: tuple[float, T] | None = None

    @property
    def is_old(self) -> bool:
        """Whether nobody waits for an answer, and the last one is of no use any more."""
        fresh = self._answer is not None and self._clock() - self._answer[0] < _AGE_S
        return not fresh and not self._lock.locked()

    async def __call__(self) -> T:
        async with self._lock:
            if self._answer is None or self._clock() - self._answer[0] >= _AGE_S:
                answer = await self.ask()
                self._answer = self._clock(), answer
            return self._answer[1]


class Shared(Generic[T]):
    """`OneAtATime` by key; an answer that is old is forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked: dict[Hashable, OneAtATime[T]] = {}

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer for this key; `ask` is used if there is none that is fresh."""
        for other in [other for other, one in self._asked.items() if one.is_old]:
            del self._asked[other]
        one = self._asked.setdefault(key, OneAtATime(ask, self._clock))
        one.ask = ask  # what it asks for may be another link by now
        return await one()
