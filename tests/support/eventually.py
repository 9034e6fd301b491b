"""Waiting inside an event loop, with a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def until(true: Callable[[], object], what: str, *, within: float = 20.0) -> None:
    """Let others run until `true()` is; AssertionError naming `what` otherwise."""
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, f"{what} didn't happen in time"
        await asyncio.sleep(0.002)
