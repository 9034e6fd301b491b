"""One worker process: its links, its memory, and what it shows over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog

from replicator.config.models import LinkConfig, Settings
from replicator.flow.backpressure import ByteBudget
from replicator.http.server import serve
from replicator.ledger.status import read_status
from replicator.telemetry.counters import WorkerCounters
from replicator.worker.link import LinkWorker
from replicator.worker.memory import keep_freed_memory

log = structlog.get_logger(__name__)


class Worker:
    """The links of one process, as `http.service.Service` shows them."""

    def __init__(self, settings: Settings, links: Sequence[LinkConfig]) -> None:
        self._settings = settings
        self._budget = ByteBudget(settings.service.memory_bytes)
        self._counters = WorkerCounters(memory_limit_bytes=settings.service.memory_bytes)
        self._links = [LinkWorker(settings, link, self._budget, self._counters) for link in links]

    async def start(self) -> None:
        """Start every link; ReplicatorError if one can't start."""
        await asyncio.gather(*(link.start() for link in self._links))

    async def stop(self) -> None:
        """Hand everything over and close."""
        await asyncio.gather(*(link.stop() for link in self._links))

    async def ended(self) -> None:
        """Until a link can't go on in this process; raises what ended it."""
        done, _ = await asyncio.wait([link.ended for link in self._links], return_when=asyncio.FIRST_COMPLETED)
        for future in done:
            future.result()

    def ready(self) -> tuple[bool, list[str]]:
        """Whether every link has joined and every owned lane has recovered; if not, why."""
        reasons = [reason for link in self._links for reason in link.not_ready()]
        return not reasons, reasons

    def counters(self) -> WorkerCounters:
        """The living counters, with positions and lags as of now."""
        self._counters.memory_in_use_bytes = self._budget.in_use
        for link in self._links:
            link.update_counters()
        return self._counters

    async def status(self) -> dict[str, object]:
        """The status of all links, read from Kafka: also what other workers run."""
        found = [await read_status(self._settings, link.link) for link in self._links]
        return {"links": [status.model_dump(mode="json") for status in found]}


async def run_worker(settings: Settings, links: Sequence[LinkConfig], *, http: str, stop: asyncio.Event) -> None:
    """Run one worker until `stop` is set, serving HTTP on `http`.

    ReplicatorError if a link can't start, or can't be a member of its group any more: whoever supervises the process
    starts it anew.
    """
    keep_freed_memory()
    worker = Worker(settings, links)
    service = settings.service
    token = service.token.get_secret_value() if service.token else None
    runner = await serve(
        worker,
        http,
        token,
        cert_file=service.cert_file,
        key_file=service.key_file,
        metrics_partitions=service.metrics_partitions,
    )
    starting = asyncio.create_task(worker.start(), name="start")
    stopping = asyncio.create_task(stop.wait(), name="wait for stop")
    tasks: list[asyncio.Task[Any]] = [starting, stopping]
    try:
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            ending = asyncio.create_task(worker.ended(), name="wait for an end")
            tasks.append(ending)
            await asyncio.wait([stopping, ending], return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                await ending
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await worker.stop()
        await runner.cleanup()
        log.info("stopped")
