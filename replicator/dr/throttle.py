"""Keeps what is read below so many bytes a second."""

from __future__ import annotations

import time
from collections.abc import Callable

_BURST_S = 0.25


class Throttle:
    """`took(bytes)` returns when so many may be followed by more. `rate_bytes` None: at once."""

    def __init__(
        self,
        rate_bytes: float | None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate_bytes
        self._now = now
        self._sleep = sleep
        self._free_at = now()

    def took(self, size: int) -> None:
        """Count `size` bytes."""
        if self._rate is None:
            return
        now = self._now()
        self._free_at = max(self._free_at, now - _BURST_S) + size / self._rate
        if self._free_at > now:
            self._sleep(self._free_at - now)
