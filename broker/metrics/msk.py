"""MSK's broker metrics: which there are, at which monitoring level, with which dimensions and unit.

Source: Amazon MSK Developer Guide, "Amazon MSK metrics for monitoring Standard brokers with CloudWatch"
(`metrics-details`). A level has those of the levels before it. Left out: what a process on one machine has not got
(EBS volumes and bursts, EC2's network allowances, credits, swap, tiered storage, ZooKeeper, the Java heap), quotas, and
replication between brokers, which the bundled broker only simulates.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

CLUSTER, BROKER, TOPIC, GROUP, PARTITION = "Cluster Name", "Broker ID", "Topic", "Consumer Group", "Partition"
AUTHENTICATION = "Client Authentication"


class Level(enum.IntEnum):
    """`enhancedMonitoring` of a cluster."""

    DEFAULT = 0
    PER_BROKER = 1
    PER_TOPIC_PER_BROKER = 2
    PER_TOPIC_PER_PARTITION = 3


@dataclass(frozen=True, slots=True)
class BrokerMetric:
    """One metric."""

    name: str
    level: Level
    dimensions: tuple[str, ...]
    unit: str
    meaning: str


_CLUSTER = (CLUSTER,)
_BROKER = (CLUSTER, BROKER)
_BROKER_TOPIC = (CLUSTER, BROKER, TOPIC)
_LAG = (CLUSTER, GROUP, TOPIC)
_PARTITION_LAG = (CLUSTER, GROUP, TOPIC, PARTITION)
_D, _B, _T, _P = Level.DEFAULT, Level.PER_BROKER, Level.PER_TOPIC_PER_BROKER, Level.PER_TOPIC_PER_PARTITION


def _table(*rows: tuple[str, Level, tuple[str, ...], str, str]) -> tuple[BrokerMetric, ...]:
    return tuple(BrokerMetric(*row) for row in rows)


METRICS = _table(
    ("ActiveControllerCount", _D, _CLUSTER, "Count", "Controllers: 1 in a cluster that is well."),
    ("GlobalTopicCount", _D, _CLUSTER, "Count", "Topics."),
    ("GlobalPartitionCount", _D, _CLUSTER, "Count", "Partitions, without their replicas."),
    ("OfflinePartitionsCount", _D, _CLUSTER, "Count", "Partitions without a leader."),
    ("BytesInPerSec", _D, _BROKER, "Bytes/Second", "Bytes from clients, a second."),
    ("BytesOutPerSec", _D, _BROKER, "Bytes/Second", "Bytes to clients, a second."),
    ("BytesInPerSec", _D, _BROKER_TOPIC, "Bytes/Second", "Bytes from clients, a second, by topic."),
    ("BytesOutPerSec", _D, _BROKER_TOPIC, "Bytes/Second", "Bytes to clients, a second, by topic."),
    ("MessagesInPerSec", _D, _BROKER, "Count/Second", "Records from clients, a second."),
    ("ClientConnectionCount", _D, (CLUSTER, BROKER, AUTHENTICATION), "Count", "Connections that are logged in."),
    ("ConnectionCount", _D, _BROKER, "Count", "Connections."),
    ("CpuIdle", _D, _BROKER, "Percent", "CPU time that isn't used."),
    ("CpuIoWait", _D, _BROKER, "Percent", "CPU time that waits for disks."),
    ("CpuSystem", _D, _BROKER, "Percent", "CPU time in the kernel."),
    ("CpuUser", _D, _BROKER, "Percent", "CPU time in programs."),
    ("KafkaDataLogsDiskUsed", _D, _BROKER, "Percent", "Of the disk with the logs; absent when they are in memory."),
    ("RootDiskUsed", _D, _BROKER, "Percent", "Of the root disk."),
    ("LeaderCount", _D, _BROKER, "Count", "Partitions that it leads."),
    ("PartitionCount", _D, _BROKER, "Count", "Replicas that it has."),
    ("MemoryBuffered", _D, _BROKER, "Bytes", "Memory of buffers."),
    ("MemoryCached", _D, _BROKER, "Bytes", "Memory of caches."),
    ("MemoryFree", _D, _BROKER, "Bytes", "Memory that is free."),
    ("MemoryUsed", _D, _BROKER, "Bytes", "Memory in use."),
    ("ProduceTotalTimeMsMean", _D, _BROKER, "Milliseconds", "How long a Produce request takes."),
    ("RequestBytesMean", _D, _BROKER, "Bytes", "How large a request is."),
    ("RequestTime", _D, _BROKER, "Milliseconds", "How long a request takes, of all that don't wait for data."),
    ("UnderMinIsrPartitionCount", _D, _BROKER, "Count", "Of its partitions, those below min.insync.replicas."),
    ("UnderReplicatedPartitions", _D, _BROKER, "Count", "Of its partitions, those with replicas out of sync."),
    ("MaxOffsetLag", _D, _LAG, "Count", "Of a group in a topic: the most that one partition is behind."),
    ("SumOffsetLag", _D, _LAG, "Count", "Of a group in a topic: how much all partitions are behind."),
    ("EstimatedMaxTimeLag", _D, _LAG, "Seconds", "Age of the oldest record that a group hasn't read in a topic."),
    ("ConnectionCreationRate", _B, _BROKER, "Count/Second", "New connections, a second."),
    ("ConnectionCloseRate", _B, _BROKER, "Count/Second", "Connections that end, a second."),
    (
        "FetchConsumerTotalTimeMsMean",
        _B,
        _BROKER,
        "Milliseconds",
        "How long a consumer's Fetch takes, with its waiting.",
    ),
    ("TcpConnections", _B, _BROKER, "Count", "TCP connections."),
    ("MessagesInPerSec", _T, _BROKER_TOPIC, "Count/Second", "Records from clients, a second, by topic."),
    ("OffsetLag", _P, _PARTITION_LAG, "Count", "Of a group in a partition: how many records it is behind."),
    ("EstimatedTimeLag", _P, _PARTITION_LAG, "Seconds", "Age of the oldest record that a group hasn't read there."),
)

BY_NAME = {(metric.name, metric.dimensions): metric for metric in METRICS}
