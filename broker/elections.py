"""Who leads which partition: leaders, leader epochs and in-sync replicas as nodes come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.topics import Partition

if TYPE_CHECKING:
    from broker.cluster import Cluster


class Elections:
    """Keeps every partition's leader and in-sync replicas in line with which nodes are alive."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.on_change: list[Callable[[Partition], None]] = []

    def everywhere(self) -> None:
        """Look at every partition again."""
        for partition in self._cluster.topics.partitions():
            self.elect(partition)

    def elect(self, partition: Partition) -> None:
        """A leader that is alive and in sync stays; else the first such replica in order takes over, or nobody does."""
        alive = self._alive(partition)
        eligible = tuple(node_id for node_id in alive if node_id in partition.isr)
        if eligible:
            leader = partition.leader if partition.leader in eligible else eligible[0]
            partition.isr = alive
        else:
            leader = -1  # the last in-sync replicas stay on record: one of them must come back
        if leader != partition.leader:
            self._set_leader(partition, leader)
        self.refresh_isr(partition)

    def refresh_isr(self, partition: Partition) -> None:
        """Let the log know whether enough replicas are in sync for its high watermark to move."""
        partition.log.set_isr_sufficient(partition.leader != -1 and len(partition.isr) >= partition.min_insync)

    def fence_frozen(self) -> None:
        """Take leadership from nodes that have been frozen for longer than broker.session.timeout.ms."""
        cluster = self._cluster
        timeout = cluster.config.get_int("broker.session.timeout.ms") / 1000
        for node in cluster.nodes.values():
            if node.frozen_since is None or node.fenced:
                continue
            if cluster.clock.monotonic() - node.frozen_since >= timeout:
                node.fenced = True
                self.everywhere()

    def unclean(self, partition: Partition, truncate_to: int) -> None:
        """Give the partition to another live replica whose log ends at `truncate_to`: what lay behind it is lost."""
        alive = self._alive(partition)
        if not alive:
            raise KafkaError(ErrorCode.eligible_leaders_not_available, f"no replica of {partition.name} is alive")
        others = [node_id for node_id in alive if node_id != partition.leader]
        partition.log.truncate(truncate_to)
        partition.isr = alive
        self._set_leader(partition, others[0] if others else alive[0])
        self.refresh_isr(partition)

    def move(self, partition: Partition, node_id: int) -> None:
        """A clean election of another replica. Raises ValueError when it isn't alive and in sync."""
        if node_id not in partition.isr or node_id not in self._alive(partition):
            raise ValueError(f"node {node_id} isn't an in-sync replica of {partition.name}")
        if node_id != partition.leader:
            self._set_leader(partition, node_id)

    def _alive(self, partition: Partition) -> tuple[int, ...]:
        return tuple(node_id for node_id in partition.replicas if self._cluster.nodes[node_id].alive)

    def _set_leader(self, partition: Partition, leader: int) -> None:
        partition.leader = leader
        partition.leader_epoch += 1
        if leader != -1:
            partition.log.become_leader(partition.leader_epoch)
        partition.log.wake()
        for callback in self.on_change:
            callback(partition)
