"""What the HTTP server shows: the seam between it and a worker, or a parent of several."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from prometheus_client import CollectorRegistry

from replicator.config.models import LinkConfig, Settings
from replicator.telemetry.counters import WorkerCounters
from replicator.telemetry.prometheus import exposition, registry

Links = Mapping[str, tuple[Settings, LinkConfig]]


@runtime_checkable
class Service(Protocol):
    """What a worker offers."""

    def ready(self) -> tuple[bool, list[str]]:
        """Whether it has joined and every lane it owns has recovered; if not, why, in sentences."""
        ...

    def counters(self) -> WorkerCounters:
        """Its living counters."""
        ...

    def links(self) -> Links:
        """The links that it runs now, by name."""
        ...


class Face(Protocol):
    """What the server asks of whatever it shows."""

    async def ready(self) -> tuple[bool, list[str]]:
        """As `Service.ready`."""
        ...

    async def metrics(self) -> bytes:
        """Prometheus' text format."""
        ...

    def links(self) -> Links:
        """As `Service.links`."""
        ...

    async def counts(self) -> Mapping[str, tuple[int, int]]:
        """By link, the records and bytes that its workers have copied so far."""
        ...


class WorkerFace:
    """One worker's face. Metrics are rendered in a thread: a scrape of many partitions doesn't hold up copying."""

    def __init__(self, service: Service, metrics_partitions: int | None = None) -> None:
        self._service = service
        self._registry: CollectorRegistry = registry(
            service.counters, lambda: service.ready()[0], partitions=metrics_partitions
        )

    async def ready(self) -> tuple[bool, list[str]]:
        """The worker's own answer."""
        return self._service.ready()

    async def metrics(self) -> bytes:
        """This worker's families."""
        return await asyncio.to_thread(exposition, self._registry)

    def links(self) -> Links:
        """The worker's own answer."""
        return self._service.links()

    async def counts(self) -> Mapping[str, tuple[int, int]]:
        """Sums of this worker's counters."""
        sums: dict[str, tuple[int, int]] = {}
        for part in self._service.counters().all_partitions():
            records, size = sums.get(part.link, (0, 0))
            sums[part.link] = records + part.records, size + part.bytes
        return sums
