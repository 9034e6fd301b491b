"""The cluster's group and transaction coordinators, with their logs, clocks and settings."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING

from kio.schema.errors import ErrorCode

from broker.coordinator_topic import CoordinatorTopic
from broker.errors import KafkaError
from broker.group_configs import HEARTBEAT_INTERVAL, SESSION_TIMEOUT, value_of
from broker.groups.classic_state import GroupSettings
from broker.groups.consumer_group import ConsumerSettings
from broker.groups.coordinator import GroupCoordinator, OffsetSettings
from broker.groups.timers import Timers
from broker.node import NodeState
from broker.transactions.coordinator import TransactionCoordinator, TransactionSettings
from broker.transactions.markers import MarkerWriter
from broker.transactions.producer_ids import ProducerIds

if TYPE_CHECKING:
    from broker.cluster import Cluster
    from broker.topics import Partition

INTERNAL_CONFIGS = {"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "104857600"}


class Coordinators:
    """Made with the cluster, started after its topics are loaded."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.timers = Timers(cluster.clock)
        self.offsets_log = CoordinatorTopic(
            cluster, "__consumer_offsets", "offsets.topic.num.partitions", INTERNAL_CONFIGS
        )
        self.transactions_log = CoordinatorTopic(
            cluster,
            "__transaction_state",
            "transaction.state.log.num.partitions",
            {**INTERNAL_CONFIGS, "compression.type": "uncompressed", "unclean.leader.election.enable": "false"},
        )
        self.groups = GroupCoordinator(
            clock=cluster.clock,
            timers=self.timers,
            offsets_log=self.offsets_log,
            group_settings=self._group_settings,
            offset_settings=self._offset_settings,
            consumer_settings=self._consumer_settings,
            topics=_ClusterTopics(cluster),
            is_suspended=self._is_suspended,
        )
        self.markers = MarkerWriter(cluster, self.transactions_log)
        self._producer_ids = ProducerIds(cluster.files)
        self.transactions = TransactionCoordinator(
            clock=cluster.clock,
            transactions_log=self.transactions_log,
            settings=self._transaction_settings,
            new_producer_id=self._producer_ids.take,
            begin_markers=self.markers.begin,
        )
        self._timer_task: asyncio.Task[None] | None = None
        self._last: dict[str, float] = {}
        self._started = False
        cluster.on_tick(self.tick)
        cluster.on_leader_change(self._leader_changed)

    def start(self) -> None:
        """Load both coordinators' state, once, and let time run. Call it in the event loop, before serving."""
        if not self._started:
            self._started = True
            self.groups.load()
            self.transactions.load()
        self._timer_task = asyncio.create_task(self.timers.run(), name="coordinator-timers")

    async def stop(self) -> None:
        """Let time stand still and leave unwritten markers to the next start."""
        if self._timer_task is not None:
            self._timer_task.cancel()
            await asyncio.wait([self._timer_task])
            self._timer_task = None
        await self.markers.stop()

    def tick(self) -> None:
        """The periodic work, called every second."""
        self.timers.run_due()
        if self._due("offsets.retention.check.interval.ms"):
            self.groups.expire_offsets()
        if self._due("transaction.abort.timed.out.transaction.cleanup.interval.ms"):
            self.transactions.abort_timed_out()
        if self._due("transaction.remove.expired.transaction.cleanup.interval.ms"):
            self.transactions.expire_ids()

    def _leader_changed(self, partition: Partition) -> None:
        """Groups whose coordinator has moved start over with full session timeouts, as if loaded elsewhere."""
        if self._started and partition.topic.name == self.offsets_log.topic:
            self.groups.unload(
                group_id
                for group_id in list(self.groups.groups)
                if self.offsets_log.partition_for(group_id) == partition.index
            )

    def has_partition(self, topic: str, partition: int) -> bool:
        """Whether the cluster has this partition."""
        return self._cluster.topics.partition(topic, partition) is not None

    # --- what the log side asks (`cluster.Transactions`) ----------------------------------------------------------

    def verify(
        self, transactional_id: str, producer_id: int, producer_epoch: int, partition: tuple[str, int]
    ) -> ErrorCode:
        """NONE if the partition was added to the producer's open transaction, else why not."""
        return self.transactions.verify(transactional_id, producer_id, producer_epoch, partition)

    def owns(self, transactional_id: str, producer_id: int) -> bool:
        """Whether this is the producer id of the transactional id."""
        found = self.transactions.transactions.get(transactional_id)
        return found is not None and found.producer_id == producer_id

    async def add_partition(
        self, transactional_id: str, producer_id: int, producer_epoch: int, topic: str, partition: int
    ) -> ErrorCode:
        """Add a partition on behalf of a Produce request."""
        try:
            self.transactions.add_partitions(
                transactional_id, producer_id, producer_epoch, frozenset({(topic, partition)})
            )
        except KafkaError as error:
            return error.code
        return ErrorCode.none

    # --- settings ---------------------------------------------------------------------------------------------------

    def _group_settings(self) -> GroupSettings:
        number = self._cluster.config.get_int
        return GroupSettings(
            number("group.initial.rebalance.delay.ms"),
            number("group.min.session.timeout.ms"),
            number("group.max.session.timeout.ms"),
            number("group.max.size"),
        )

    def _consumer_settings(self, group_id: str) -> ConsumerSettings:
        number = self._cluster.config.get_int
        names = (self._cluster.config.get("group.consumer.assignors") or "").split(",")
        return ConsumerSettings(
            value_of(self._cluster.config, group_id, SESSION_TIMEOUT),
            value_of(self._cluster.config, group_id, HEARTBEAT_INTERVAL),
            number("group.consumer.max.size"),
            tuple(name.strip() for name in names if name.strip()),
        )

    def _offset_settings(self) -> OffsetSettings:
        number = self._cluster.config.get_int
        return OffsetSettings(number("offset.metadata.max.bytes"), number("offsets.retention.minutes") * 60_000)

    def _transaction_settings(self) -> TransactionSettings:
        number = self._cluster.config.get_int
        return TransactionSettings(number("transaction.max.timeout.ms"), number("transactional.id.expiration.ms"))

    def _is_suspended(self, group_id: str) -> bool:
        node = self.offsets_log.node_for(group_id)
        return node is None or node.state is not NodeState.RUNNING

    def _due(self, setting: str) -> bool:
        now = self._cluster.clock.monotonic()
        last = self._last.setdefault(setting, now)
        if now - last < self._cluster.config.get_int(setting) / 1000:
            return False
        self._last[setting] = now
        return True


class _ClusterTopics:
    """The cluster's topics as consumer groups see them (`consumer_topics.TopicsView`)."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def find(self, name: str) -> tuple[uuid.UUID, int] | None:
        """Id and number of partitions."""
        topic = self._cluster.topics.get(name)
        return None if topic is None else (topic.topic_id, len(topic.partitions))

    def names(self) -> Iterable[str]:
        """All topics, internal ones included."""
        return (topic.name for topic in self._cluster.topics)
