"""What decides whether a partition may be written without transactions: the target's memory, the source's compaction.

Asked of both clusters when topics begin, and every `REFRESH_S`. What can't be found out counts as unsafe.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

import structlog

from replicator.config.models import LinkConfig
from replicator.errors import ReplicatorError
from replicator.sync.admin import Admin
from replicator.wire import produce
from replicator.wire.cluster import ClusterClient

log = structlog.get_logger(__name__)

REFRESH_S = 300.0
RETRY_S = 20.0
_EXPIRATION = "producer.id.expiration.ms"
_POLICY = "cleanup.policy"


class Conditions:
    """`flow.ways.Memory` of one link."""

    def __init__(self, link: LinkConfig, source: Admin, target: Admin, brokers: ClusterClient) -> None:
        self._wanted = link.delivery == "exactly_once" and link.writing == "auto"
        self._link = link
        self._source = source
        self._target = target
        self._brokers = brokers
        self._memory_ms: int | None = None
        self._kept: dict[str, bool] = {}  # topic: whether all records stay until retention takes them
        self._refreshed_at = -REFRESH_S
        self._said = ""
        self._learning = asyncio.Lock()

    def producer_memory_ms(self) -> int | None:
        """`producer.id.expiration.ms` of the target, the least of its brokers'; None: use transactions."""
        return self._memory_ms

    def may_be_compacted(self, topic: str) -> bool:
        """Whether compaction may remove records of this source topic, as far as is known."""
        return not self._kept.get(topic, False)

    async def learn(self, topics: Collection[str]) -> None:
        """Find out what isn't known of these topics, and now and then all of it anew."""
        if not self._wanted:
            return
        async with self._learning:
            await self._learn(topics)

    async def _learn(self, topics: Collection[str]) -> None:
        due = time.monotonic() - self._refreshed_at >= REFRESH_S
        if due:
            self._refreshed_at = time.monotonic()
            await self._learn_memory()
        asked = {*topics, *self._kept} if due else {topic for topic in topics if topic not in self._kept}
        if not asked:
            return
        try:
            answers = await self._source.describe_configs(asked)
        except ReplicatorError as error:
            self._say(f"the settings of source topics can't be read: {error}")
            return
        for topic, answer in answers.items():
            if isinstance(answer, ReplicatorError):
                self._kept[topic] = False
                self._say(f"the settings of topic {topic} can't be read: {answer}")
            else:
                policy = answer.get(_POLICY)
                self._kept[topic] = policy is not None and policy.value == "delete"

    async def _learn_memory(self) -> None:
        found: list[int] = []
        try:
            for node in list(self._brokers.brokers):
                connection = await self._brokers.connection(node, "admin")
                if connection.pick(produce.PRODUCE, produce.MIN_VERSION, produce.MAX_VERSION) < produce.PROVEN_VERSION:
                    self._memory_ms = None
                    self._say(f"broker {connection.address} is older than Apache Kafka 4.0")
                    return
                value = (await self._target.describe_broker(node)).get(_EXPIRATION)
                found.append(int(value.value or 0) if value is not None else 0)
        except ReplicatorError as error:
            self._refreshed_at += RETRY_S - REFRESH_S
            if error.retriable and self._memory_ms is not None:
                return  # it is away for a moment: what it said before still counts
            self._memory_ms = None
            self._say(f"{_EXPIRATION} of cluster {self._link.target} can't be read: {error}")
            return
        self._memory_ms = min(found, default=0) or None

    def _say(self, why: str) -> None:
        if why != self._said:
            self._said = why
            log.info("writing in transactions, where fenced writing would be cheaper", link=self._link.name, why=why)
