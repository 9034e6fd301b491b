"""One worker process: its links, its memory, and what it shows over HTTP."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from replicator.config.difference import same_link
from replicator.config.models import LinkConfig, Settings
from replicator.errors import AuthorizationError, ConfigurationError, ReplicatorError, WrongStateError
from replicator.flow.backpressure import ByteBudget
from replicator.http.access import tokens_of
from replicator.http.server import serve
from replicator.http.service import Links
from replicator.ledger.configuration import Reload
from replicator.ledger.leaving import Leave
from replicator.sync.overlap import refuse_overlaps
from replicator.telemetry.counters import OutboxCounters, WorkerCounters
from replicator.worker.leaving import Fate, fate_of_order
from replicator.worker.link import LinkWorker, certificates_of
from replicator.worker.memory import keep_freed_memory
from replicator.worker.offered import OFFERED

if TYPE_CHECKING:
    from replicator.telemetry.cloudwatch_loop import CloudWatchLoop

log = structlog.get_logger(__name__)

Configuration = tuple[Settings, Sequence[LinkConfig]]

START_AGAIN_S = 5.0
LOOK_S = 2.0  # at what becomes of a link that is being removed
# What starting a link again with the same settings wouldn't cure.
_WRONG = (AuthorizationError, ConfigurationError, WrongStateError)


class Worker:
    """The links of one process, as `http.service.Service` shows them. `read` reads the configuration anew."""

    def __init__(
        self,
        settings: Settings,
        links: Sequence[LinkConfig],
        read: Callable[[], Configuration] | None = None,
        logs: dict[str, OutboxCounters] | None = None,
    ) -> None:
        self._settings = settings
        self._read = read or (lambda: (settings, links))
        self._budget = ByteBudget(settings.service.memory_bytes)
        self._counters = WorkerCounters(memory_limit_bytes=settings.service.memory_bytes, logs=logs or {})
        self._links = {link.name: self._new_link(settings, link) for link in links}
        self._running: set[LinkWorker] = set()
        self._removed: set[str] = set()  # links that are gone: not to be made anew just because the file has them still
        self._changing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start every link; ReplicatorError if one can't start."""
        await asyncio.gather(*(self._start(link) for link in self._links.values()))

    async def stop(self) -> None:
        """Hand everything over and close."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(link.stop() for link in self._links.values()))

    async def ended(self) -> None:
        """Until a link can't go on in this process; raises what ended it."""
        while True:
            self._changed.clear()
            changed: asyncio.Future[Any] = asyncio.ensure_future(self._changed.wait())
            ending = {link.ended: link for link in self._running}
            await asyncio.wait([*ending, changed], return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            for future, link in ending.items():
                if future.done() and link in self._running:  # not one that a reload has stopped
                    future.result()
                    return

    async def reload(self) -> str:
        """Read the configuration anew and act upon what has changed, one link after the other; the others go on.

        What was wrong, or "": a file with mistakes changes nothing; a link that can't run as the file says now goes on
        as it was.
        """
        async with self._changing:
            try:
                settings, links = await asyncio.to_thread(self._read)
                await refuse_overlaps(settings, [link for link in links if not self._goes_on(settings, link)])
            except ReplicatorError as error:
                log.error("the configuration can't be used; going on as before", error=str(error))
                return str(error)
            return await self._become(settings, {link.name: link for link in links})

    async def _become(self, settings: Settings, links: dict[str, LinkConfig]) -> str:
        if settings.service != self._settings.service:
            log.warning("settings of the service itself take effect when the process starts again")
        removed = [name for name in self._links if name not in links]
        kept = [name for name in links if name in self._links]
        replaced = [name for name in kept if not self._goes_on(settings, links[name])]
        self._removed &= links.keys()
        for name in self._removed:
            log.warning("the link was removed: take it out of the configuration; a restart would begin anew", link=name)
        added = [link for name, link in links.items() if name not in self._links.keys() | self._removed]
        capped = [name for name in kept if name not in replaced and self._links[name].link != links[name]]
        for name in capped:
            self._links[name].take_rate(settings, links[name])
            log.info("bandwidth changed", link=name, bytes_per_s=links[name].bandwidth)
        if not removed and not replaced and not added and not capped:
            log.info("the configuration is unchanged")
            return ""
        for name in removed:
            await self._end(self._links.pop(name))
            log.info("link removed", link=name)
        errors = [error for name in replaced if (error := await self._replace(settings, links[name]))]
        for link in added:
            self._links[link.name] = self._new_link(settings, link)
            self._start_soon(link.name)
            log.info("link added", link=link.name)
        return "; ".join(errors)

    def _goes_on(self, settings: Settings, link: LinkConfig) -> bool:
        running = self._links.get(link.name)
        if running is None or not same_link(link.name, running.settings, settings):
            return False
        return running.certificates == certificates_of(settings, link)  # a member reads its own when it starts

    async def _replace(self, settings: Settings, link: LinkConfig) -> str:
        former = self._links[link.name]
        await self._end(former)
        self._links[link.name] = worker = self._new_link(settings, link)
        try:
            await self._start(worker)
        except _WRONG as error:
            log.error("the link can't run so; going on as before", link=link.name, error=str(error))
            await worker.stop()
            self._links[link.name] = self._new_link(former.settings, former.link)
            self._start_soon(link.name)
            return str(error)
        except ReplicatorError as error:
            log.warning("the link will start when its clusters answer", link=link.name, error=str(error))
            await worker.stop()
            self._links[link.name] = self._new_link(settings, link)
            self._start_soon(link.name)
            return ""
        log.info("link goes on with its new configuration", link=link.name)
        return ""

    def _new_link(self, settings: Settings, link: LinkConfig) -> LinkWorker:
        return LinkWorker(settings, link, self._budget, self._counters, self._reload_asked, self._leave_asked)

    async def _start(self, link: LinkWorker) -> None:
        await link.start()
        self._running.add(link)
        self._changed.set()

    async def _end(self, link: LinkWorker) -> None:
        self._running.discard(link)
        await link.stop()

    def _start_soon(self, name: str) -> None:
        self._spawn(self._start_at_last(name, self._links[name]))

    async def _start_at_last(self, name: str, link: LinkWorker) -> None:
        """Until it has started, or was replaced: what runs beside it isn't ended for its sake."""
        while self._links.get(name) is link:
            try:
                await self._start(link)
                return
            except ReplicatorError as error:
                log.warning("can't start the link yet", link=name, error=str(error))
            await link.stop()
            await asyncio.sleep(START_AGAIN_S)
            if self._links.get(name) is link:
                link = self._links[name] = self._new_link(link.settings, link.link)

    def _reload_asked(self, name: str, command: Reload) -> None:
        self._spawn(self._carry_out(name, command))

    async def _carry_out(self, name: str, command: Reload) -> None:
        log.info("reading the configuration anew", link=name, by=command.by)
        error = await self.reload()
        link = self._links.get(name)
        if link is None:
            return
        try:
            await link.reloading.answer(command, error)
        except ReplicatorError as refusal:
            log.warning("can't say that the configuration was read", link=name, error=str(refusal))

    def _leave_asked(self, name: str, order: Leave) -> None:
        self._spawn(self._leave(name, order))

    async def _leave(self, name: str, order: Leave) -> None:
        """Stop working on a link that somebody removes. If they don't come to that, go on."""
        async with self._changing:
            former = self._links.get(name)
            if former is None:
                return
            await self._end(former)
            waiting = self._links[name] = self._new_link(former.settings, former.link)
            waiting.rest(f"{order.by} removes it")
        log.warning("left the link: it is being removed", link=name, by=order.by)
        while self._links.get(name) is waiting:
            await asyncio.sleep(LOOK_S)
            try:
                fate = await asyncio.to_thread(fate_of_order, former.settings, former.link)
            except ReplicatorError as error:
                log.warning("can't see whether the link is removed", link=name, error=str(error))
                continue
            async with self._changing:
                if fate is Fate.STANDS or self._links.get(name) is not waiting:
                    continue
                if fate is Fate.TAKEN_BACK:
                    log.warning("the link isn't removed: going on", link=name)
                    self._start_soon(name)
                    return
                await self._end(self._links.pop(name))
                self._removed.add(name)
                log.warning("the link was removed: take it out of the configuration", link=name, by=order.by)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def ready(self) -> tuple[bool, list[str]]:
        """Whether every link has joined and every owned lane has recovered; if not, why."""
        reasons = [reason for link in self._links.values() for reason in link.not_ready()]
        return not reasons, reasons

    def counters(self) -> WorkerCounters:
        """The living counters, with positions and lags as of now."""
        self._counters.memory_in_use_bytes = self._budget.in_use
        for link in list(self._links.values()):
            link.update_counters()
        for removed in self._counters.links.keys() - self._links.keys():
            del self._counters.links[removed]
        return self._counters

    def cloudwatch(self) -> CloudWatchLoop | None:
        """What publishes its counters, not started yet; None where that isn't wanted."""
        config = self._settings.service.cloudwatch
        if config is None:
            return None
        from replicator.telemetry.cloudwatch_loop import CloudWatchLoop  # botocore takes time to load

        self._counters.cloudwatch = sent = OutboxCounters()
        self._counters.begun = deque()
        return CloudWatchLoop(config, self.counters, sent)

    def links(self) -> Links:
        """The links that it runs, each by the settings that it runs by."""
        return {name: (link.settings, link.link) for name, link in self._links.items()}


async def run_worker(
    settings: Settings,
    links: Sequence[LinkConfig],
    *,
    http: str,
    stop: asyncio.Event,
    read: Callable[[], Configuration] | None = None,
    reload: asyncio.Event | None = None,
    logs: dict[str, OutboxCounters] | None = None,
) -> None:
    """Run one worker until `stop` is set, serving HTTP on `http`; each time that `reload` is set, and when the control
    topic of a link says so, the configuration is read anew by `read`. `logs`: what log delivery has sent, to be shown.

    ReplicatorError if a link can't start, or can't be a member of its group any more: whoever supervises the process
    starts it anew.
    """
    keep_freed_memory()
    worker = Worker(settings, links, read, logs)
    cloudwatch = worker.cloudwatch()
    service = settings.service
    runner = await serve(
        worker,
        http,
        tokens=tokens_of(service),
        cert_file=service.cert_file,
        key_file=service.key_file,
        metrics_partitions=service.metrics_partitions,
        verbs=OFFERED,
    )
    starting = asyncio.create_task(worker.start(), name="start")
    stopping = asyncio.create_task(stop.wait(), name="wait for stop")
    tasks: list[asyncio.Task[Any]] = [starting, stopping]
    try:
        if cloudwatch is not None:
            cloudwatch.start()
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            ending = asyncio.create_task(worker.ended(), name="wait for an end")
            tasks += [ending, asyncio.create_task(_reload_when_asked(worker, reload), name="wait for reloads")]
            await asyncio.wait([stopping, ending], return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                await ending
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        last = asyncio.to_thread(cloudwatch.stop) if cloudwatch is not None else asyncio.sleep(0)
        await asyncio.gather(last, worker.stop())
        await runner.cleanup()
        log.info("stopped")


async def _reload_when_asked(worker: Worker, asked: asyncio.Event | None) -> None:
    while asked is not None:
        await asked.wait()
        asked.clear()
        await worker.reload()
