"""Keeps one cluster running as its record says: starts it, brings it back when it dies or hangs, changes and ends it.

States that others see: CREATING until it has run for the first time (FAILED when it can't), HEALING whenever it or a
node of it had to be brought back, at the same endpoints and on its data.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from broker.msk.clusters.process import ClusterProcess, ProcessFailed, ReloadRefused

log = logging.getLogger(__name__)
BACKOFF_S = (0.2, 0.5, 1, 2, 5, 10)
ATTEMPTS_OF_CREATION = 5
ATTEMPTS_OF_CHANGE = 3
WATCH_EVERY_S = 2.0
UNWELL_LOOKS = 2  # looks in a row at which a node must be down before it is brought back
SILENT_LOOKS = 3  # looks in a row without an answer before the process counts as hung


class ChangeFailed(Exception):
    """The cluster doesn't start with its new file; the text says why."""


@dataclass(frozen=True)
class Events:
    """What the runner tells its owner. `failed` says whether to go on trying."""

    up: Callable[[], None]
    unwell: Callable[[str], None]
    failed: Callable[[int, str], bool]


class Runner:
    """One cluster. `launch` writes its file and starts its process."""

    def __init__(self, name: str, launch: Callable[[], Awaitable[ClusterProcess]], events: Events) -> None:
        self._name = name
        self._launch = launch
        self._events = events
        self._process: ClusterProcess | None = None
        self._up = asyncio.Event()
        self._failed = asyncio.Event()
        self._why = ""  # why it didn't start
        self._changing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._held: set[int] = set()  # nodes that are down because they are being rebooted

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"cluster {self._name}")
        self._task.add_done_callback(_say_mistake)

    @property
    def process(self) -> ClusterProcess:
        """The running process. Raises OSError while there is none."""
        if self._process is None or not self._up.is_set():
            raise OSError(f"cluster {self._name} isn't running")
        return self._process

    @property
    def up(self) -> bool:
        """Whether it runs."""
        return self._up.is_set()

    def bootstrap(self, listener: str) -> str | None:
        """The addresses of a listener, as the process said; None while it hasn't."""
        return self._process.bootstrap.get(listener) if self._process is not None else None

    async def wait_up(self) -> ClusterProcess:
        """Wait until it runs."""
        await self._up.wait()
        return self.process

    async def change(self, write: Callable[[], Awaitable[None]]) -> None:
        """Take a new file (`write` writes it): while running where that is possible, by a restart where it isn't.

        Raises ChangeFailed when it doesn't start with that; it goes on trying all the same.
        """
        async with self._changing:
            await write()
            try:
                await self.process.reload()
            except (ReloadRefused, OSError) as reason:
                log.info("cluster %s takes its new file by a restart: %s", self._name, reason)
                await self._restart()

    async def restart_nodes(self, nodes: list[int]) -> None:
        """Stop and start nodes, one after the other, as MSK reboots brokers. Raises OSError."""
        async with self._changing:
            for node in nodes:
                process = await self.wait_up()
                self._held.add(node)
                try:
                    await process.node(node, "stop")
                    await process.node(node, "start")
                finally:
                    self._held.discard(node)

    async def stop(self) -> None:
        """End the process and stay down."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._process is not None:
            await self._process.stop()
        self._up.clear()

    async def _restart(self) -> None:
        await self.stop()
        self._failed = asyncio.Event()
        self.start()
        waits = [asyncio.ensure_future(event.wait()) for event in (self._up, self._failed)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not self._up.is_set():
            raise ChangeFailed(self._why)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                self._process = await self._launch()
            except (ProcessFailed, OSError) as error:
                failures += 1
                log.warning("cluster %s didn't start (attempt %d): %s", self._name, failures, error)
                self._why = str(error)
                if failures >= ATTEMPTS_OF_CHANGE:
                    self._failed.set()
                if not self._events.failed(failures, str(error)):
                    return
            else:
                failures = 0
                self._up.set()
                self._events.up()
                why = await self._watch(self._process)
                self._up.clear()
                log.warning("cluster %s is brought back: %s", self._name, why)
                self._events.unwell(why)
                await self._process.stop()
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])

    async def _watch(self, process: ClusterProcess) -> str:
        """Look after the process until it is gone or hangs; why it must be started again."""
        ended = asyncio.ensure_future(process.ended())
        silent, down = 0, dict[int, int]()
        try:
            while True:
                done, _ = await asyncio.wait({ended}, timeout=WATCH_EVERY_S)
                if done:
                    return f"its process ended with code {ended.result()}"
                try:
                    described = await process.describe()
                except OSError as error:
                    silent += 1
                    if silent >= SILENT_LOOKS and process.running:
                        process.kill()
                        return f"its process hung: {error}"
                    continue
                silent = 0
                if not await self._look_after_nodes(process, described, down):
                    self._events.up()
        finally:
            ended.cancel()

    async def _look_after_nodes(self, process: ClusterProcess, described: dict[str, Any], down: dict[int, int]) -> bool:
        """Bring back nodes that are down or frozen; whether any still is."""
        verbs = {"stopped": "start", "frozen": "thaw"}
        for node in described["nodes"]:
            number, state = int(node["id"]), str(node["state"])
            if state not in verbs or number in self._held:
                down.pop(number, None)
                continue
            down[number] = down.get(number, 0) + 1
            if down[number] < UNWELL_LOOKS:
                continue
            self._events.unwell(f"broker {number} is {state}")
            try:
                await process.node(number, verbs[state])
            except OSError as error:
                log.warning("cluster %s: %s", self._name, error)
            else:
                down.pop(number)
        return bool(down)


def _say_mistake(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("%s isn't looked after any more, by a mistake of ours", task.get_name(), exc_info=task.exception())
