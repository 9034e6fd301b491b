"""Metrics of the clusters, at the monitoring level of each, to a stand-in for CloudWatch.

Off unless AWS_ENDPOINT_URL_CLOUDWATCH names an endpoint (moto, LocalStack): the real service is never asked.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import boto3
import botocore.config

from broker.metrics.msk import Level
from broker.metrics.remote import ClusterMetrics, MetricsUnavailable
from broker.msk.clusters.park import Clusters
from broker.msk.records import ClusterRecord, ClusterState
from replicator.telemetry.cloudwatch import CloudWatchOutbox
from replicator.telemetry.cloudwatch_points import Point
from replicator.telemetry.counters import OutboxCounters

log = logging.getLogger(__name__)
ENDPOINT = "AWS_ENDPOINT_URL_CLOUDWATCH"
EVERY_S = 60.0
SEND_WITHIN_S = 30.0


class ClusterMetricsPublisher:
    """Publishes while the service runs; one queue for each region, bounded."""

    def __init__(
        self,
        clusters: Clusters,
        environment: Mapping[str, str],
        namespace: str,
        *,
        every_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clusters = clusters
        self._endpoint = environment.get(ENDPOINT)
        self._namespace = namespace
        self._every_s = EVERY_S if every_s is None else every_s
        self._clock = clock
        self._outboxes: dict[str, CloudWatchOutbox] = {}
        self.counters = OutboxCounters()
        self._stop = threading.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin, if there is somewhere to publish to."""
        if self._endpoint:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="metrics of clusters")

    async def stop(self) -> None:
        """End; what waits is lost."""
        self._stop.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            for record in self._clusters.records:
                if record.state in (ClusterState.ACTIVE, ClusterState.UPDATING, ClusterState.REBOOTING_BROKER):
                    await self._collect(record)
            for outbox in self._outboxes.values():
                await asyncio.to_thread(outbox.send, SEND_WITHIN_S, self._stop)
            await asyncio.sleep(self._every_s)

    async def _collect(self, record: ClusterRecord) -> None:
        level = Level[(record.provisioned or {}).get("enhancedMonitoring", "DEFAULT")]
        try:
            found = await ClusterMetrics(self._clusters.process(record).control, record.name, level).collect()
        except (MetricsUnavailable, OSError) as error:
            log.info("no metrics of cluster %s: %s", record.name, error)
            return
        now = self._clock()
        points = [Point(one.name, one.dimensions, one.unit, one.value, now) for one in found]
        self._outbox(record.region).add(points)

    def _outbox(self, region: str) -> CloudWatchOutbox:
        if region not in self._outboxes:
            self._outboxes[region] = CloudWatchOutbox(self._namespace, self.counters, lambda: self._client(region))
        return self._outboxes[region]

    def _client(self, region: str) -> Any:
        patience = botocore.config.Config(connect_timeout=5, read_timeout=10)
        return boto3.client("cloudwatch", region_name=region, endpoint_url=self._endpoint, config=patience)
