"""A cluster's metrics, for whoever supervises its process: asked over the control port, in PutMetricData's shape.

metrics = ClusterMetrics("127.0.0.1:9990", "my-cluster", Level.PER_BROKER)
points = await metrics.collect()
client.put_metric_data(Namespace="Mine", MetricData=[point.datum(time.time()) for point in points])  # 1,000 at most
"""

from __future__ import annotations

from typing import Any

import aiohttp

from broker.metrics.msk import Level
from broker.metrics.points import Point

MAX_BYTES = 64 << 20
_TIMEOUT = aiohttp.ClientTimeout(total=10)


class MetricsUnavailable(Exception):
    """The cluster's process doesn't answer, or not as it should."""


class ClusterMetrics:
    """Of one cluster, at its monitoring level, which may be changed (`UpdateMonitoring`)."""

    def __init__(self, control: str, name: str, level: Level = Level.DEFAULT) -> None:
        """`control` is HOST:PORT of the process; `name` is what `Cluster Name` is to be."""
        self.control = control
        self.level = level
        self._name = name

    async def collect(self) -> list[Point]:
        """The points of now. MetricsUnavailable if there is no answer; ask again in a minute."""
        url = f"http://{self.control}/metrics/msk"
        query = {"name": self._name, "level": self.level.name}
        try:
            async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, session.get(url, params=query) as answer:
                if answer.status != 200:
                    raise MetricsUnavailable(f"{url}: HTTP {answer.status}")
                if (answer.content_length or 0) > MAX_BYTES:
                    raise MetricsUnavailable(f"{url}: an answer of {answer.content_length} bytes")
                rows: Any = await answer.json()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise MetricsUnavailable(f"{url}: {error or type(error).__name__}") from error
        return [
            Point(name, tuple((key, text) for key, text in dimensions), unit, value)
            for name, dimensions, unit, value in rows
        ]
