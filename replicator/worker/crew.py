"""Workers for settings of their own, in a thread of this process: those of a drill."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from replicator.config.models import Settings
from replicator.errors import ReplicatorError

_START_S = 150.0


@contextmanager
def crew(settings: Settings) -> Iterator[None]:
    """One worker runs all links of these settings, until the context ends. ReplicatorError if it can't start."""
    started, loops, failures = (
        threading.Event(),
        list[tuple[asyncio.AbstractEventLoop, asyncio.Event]](),
        list[Exception](),
    )

    async def work() -> None:
        from replicator.worker.service import Worker  # it has this at hand for its own drills

        stop = asyncio.Event()
        worker = Worker(settings, settings.links)
        try:
            await worker.start()
            loops.append((asyncio.get_running_loop(), stop))
            started.set()
            await stop.wait()
        except ReplicatorError as error:
            failures.append(error)
        finally:
            started.set()
            await worker.stop()

    thread = threading.Thread(target=lambda: asyncio.run(work()), name="drill", daemon=True)
    thread.start()
    if not started.wait(_START_S):
        raise ReplicatorError(f"the drill's worker didn't start within {_START_S:g} s")
    try:
        if failures:
            raise failures[0]
        yield
    finally:
        for loop, stop in loops:
            loop.call_soon_threadsafe(stop.set)
        thread.join(30)
