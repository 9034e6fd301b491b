"""Keeps one replicator running as its record says: starts it, brings it back when it dies or hangs, changes it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from broker.msk.replicators.process import Launch, ProcessFailed, ReplicatorProcess, Tools

log = logging.getLogger(__name__)
BACKOFF_S = (0.2, 1, 2, 5, 10, 30)
WATCH_EVERY_S = 2.0
SILENT_LOOKS = 5  # looks in a row without an answer before the process counts as hung


@dataclass(frozen=True)
class Events:
    """What the runner tells its owner. `failed` gets the number of attempts, why, and whether trying again is of no
    use; it says whether to go on."""

    up: Callable[[], None]
    failed: Callable[[int, str, bool], bool]


class Runner:
    """One replicator. `prepare` writes its file and says how to start it; ProcessFailed or OSError if that can't be."""

    def __init__(self, name: str, prepare: Callable[[], Awaitable[Launch]], events: Events, tools: Tools) -> None:
        self._name = name
        self._prepare = prepare
        self._events = events
        self._tools = tools
        self._process: ReplicatorProcess | None = None
        self._up = asyncio.Event()
        self._changing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"replicator {self._name}")
        self._task.add_done_callback(_ended)

    @property
    def process(self) -> ReplicatorProcess | None:
        """The process, whether it is ready or not."""
        return self._process

    async def change(self, *, by_restart: bool = False) -> None:
        """Take a new file: while running, or by a restart where that fails or is asked for."""
        async with self._changing:
            if self._up.is_set() and not by_restart:
                try:
                    await self._tools.apply(await self._prepare())
                except (ProcessFailed, OSError) as error:
                    log.warning("replicator %s takes its new file by a restart: %s", self._name, error)
                else:
                    self._events.up()
                    return
            await self.stop()  # one that is being started may have read the file as it was
            self.start()

    async def stop(self) -> None:
        """End the process and stay down."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._process is not None:
            await self._process.stop()
        self._up.clear()

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                self._process = await self._tools.start(await self._prepare())
                await self._process.ready()
            except (ProcessFailed, OSError) as error:
                failures += 1
                log.warning("replicator %s didn't start (attempt %d): %s", self._name, failures, error)
                if self._process is not None:
                    await self._process.stop()
                if not self._events.failed(failures, str(error), getattr(error, "final", False)):
                    return
            else:
                failures = 0
                self._up.set()
                self._events.up()
                why = await self._watch(self._process)
                self._up.clear()
                log.warning("replicator %s is brought back: %s", self._name, why)
                await self._process.stop()
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])

    async def _watch(self, process: ReplicatorProcess) -> str:
        """Look after the process until it is gone or hangs; why it must be started again."""
        ended = asyncio.ensure_future(process.ended())
        silent = 0
        try:
            while True:
                done, _ = await asyncio.wait({ended}, timeout=WATCH_EVERY_S)
                if done:
                    return f"its process ended with code {ended.result()}: {process.last_words()[-500:]}"
                silent = 0 if await process.answers("/healthz") else silent + 1
                if silent >= SILENT_LOOKS and process.running:
                    process.process.kill()
                    return "its process hung"
        finally:
            ended.cancel()


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("%s ended by a mistake of ours", task.get_name(), exc_info=task.exception())
