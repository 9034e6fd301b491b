"""What a link does again and again in one worker, and what it does beside that: all of it ends together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from replicator.errors import ReplicatorError

AGAIN_FIRST_S = 0.1  # after a failure, then twice as long each time
SETTLE_S = 0.05  # what asks for a step often comes in bursts
LEAST_REST = 0.2  # of a period, after a step that took longer than the rest of it


class Loops:
    """The tasks of one link. `bug` is told of steps that failed for other reasons than a ReplicatorError."""

    def __init__(self, link: str, bug: Callable[[], None]) -> None:
        self._log = structlog.get_logger(__name__).bind(link=link)
        self._bug = bug
        self._tasks: set[asyncio.Future[None]] = set()

    def spawn(self, work: Awaitable[None]) -> None:
        """Run something in the background."""
        self.keep(asyncio.ensure_future(work))

    def keep(self, task: asyncio.Future[None]) -> None:
        """End this task with the others."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def every(
        self, seconds: float, step: Callable[[], Awaitable[None]], what: str, now: asyncio.Event | None = None
    ) -> None:
        """Run `step` so often, and soon after `now` is set. A failure is said, counted, and tried again, soon at first:
        topics that were just created have no leader yet. The daemon outlives its clusters."""
        self.spawn(self._every(seconds, step, what, now or asyncio.Event()))

    async def end(self) -> None:
        """Cancel them all, and wait for it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _every(self, seconds: float, step: Callable[[], Awaitable[None]], what: str, now: asyncio.Event) -> None:
        again_s = AGAIN_FIRST_S
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            rest_s = seconds
            try:
                await step()
                again_s = AGAIN_FIRST_S
                rest_s = max(began + seconds - clock(), seconds * LEAST_REST)
            except ReplicatorError as error:
                self._log.warning(f"can't {what}", error=str(error))
                rest_s, again_s = min(again_s, seconds), min(again_s * 2, seconds)
            except Exception:  # noqa: BLE001 - a bug in one step must not end the daemon
                self._bug()
                self._log.exception(f"failed to {what}")
            try:
                async with asyncio.timeout(rest_s):
                    await now.wait()
                await asyncio.sleep(SETTLE_S)
            except TimeoutError:
                pass
            now.clear()
