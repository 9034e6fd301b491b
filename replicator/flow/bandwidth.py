"""A cap on what one link reads in this worker, by whole fetches: nothing is done per record.

The cap of a link is divided over its partitions, and a worker may read what those in its lanes stand for: so all of
them together keep to it, whoever comes and goes, and none has to ask another. What a fetch brings is counted as it came
in, and the next one waits until that is paid for. Thus, for a link with so many loops, in any stretch of time:

    bytes read <= cap * (seconds + BURST_S) + loops * one answer
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

BURST_S = 0.5  # of rest that is made up for
ANSWER_S = 0.5  # what is asked for at once, in seconds of the cap
LEAST_BYTES = 64 << 10  # brokers send at least one batch anyway
_LEAST_PAUSE_S = 0.001
_LOOK_S = 0.25  # the cap may have changed


class Bandwidth:
    """`share` says how many bytes a second this worker may read now; None: as many as there are."""

    def __init__(
        self,
        share: Callable[[], float | None] = lambda: None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._share = share
        self._now = now
        self._sleep = sleep
        self._left = 0.0  # bytes; negative: to be paid for
        self._counted_at = now()
        self.waited_s = 0.0

    @property
    def limit_bytes(self) -> float | None:
        """Bytes a second, as of now."""
        return self._share()

    def at_once(self, wanted: int) -> int:
        """How much to ask for where without a cap it would be `wanted`."""
        share = self._share()
        return wanted if share is None else min(wanted, max(LEAST_BYTES, int(share * ANSWER_S)))

    async def turn(self) -> None:
        """Until the next fetch may be sent."""
        while True:
            share = self._share()
            self._settle(share)
            if share is None or self._left >= 0:
                return
            pause = min(_LOOK_S, max(_LEAST_PAUSE_S, -self._left / share)) if share > 0 else _LOOK_S
            before = self._now()
            await self._sleep(pause)
            self.waited_s += self._now() - before

    def took(self, size: int) -> None:
        """A fetch has brought so many bytes."""
        if self._share() is not None:
            self._left -= size

    def _settle(self, share: float | None) -> None:
        now = self._now()
        if share is None:
            self._left = 0.0
        else:
            self._left = min(share * BURST_S, self._left + share * (now - self._counted_at))
        self._counted_at = now
