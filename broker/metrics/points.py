"""A cluster's metrics as CloudWatch's data points, at a monitoring level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from broker.metrics.host import Host, look
from broker.metrics.lag import group_lags
from broker.metrics.msk import AUTHENTICATION, BROKER, BY_NAME, CLUSTER, GROUP, PARTITION, TOPIC, Level
from broker.node import NodeState

if TYPE_CHECKING:
    from broker.cluster import Cluster
    from broker.node import ConnectionState, Node

_WAITS_FOR_DATA = frozenset({"Fetch", "JoinGroup", "SyncGroup"})


class Point(NamedTuple):
    """One value now; `dimensions` are (name, value)."""

    name: str
    dimensions: tuple[tuple[str, str], ...]
    unit: str
    value: float

    def datum(self, timestamp: float) -> dict[str, Any]:
        """As PutMetricData takes it; seconds since 1970."""
        where = [{"Name": name, "Value": value} for name, value in self.dimensions]
        return {
            "MetricName": self.name, "Dimensions": where, "Unit": self.unit, "Value": self.value,
            "Timestamp": timestamp,
        }  # fmt: skip


class ClusterPoints:
    """Of one cluster under the name that its `Cluster Name` is to be. CPU is that since it was asked last."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._name = name
        self._host = look(cluster.data_dir)

    def collect(self, level: Level) -> list[Point]:
        """All points of the level. Nodes that don't run have none, and a cluster without any has no controller."""
        before, self._host = self._host, look(self._cluster.data_dir)
        points: list[Point] = []

        def say(name: str, value: float, **where: str) -> None:
            names = {"broker": BROKER, "topic": TOPIC, "group": GROUP, "partition": PARTITION, "client": AUTHENTICATION}
            dimensions = ((CLUSTER, self._name), *((names[key], text) for key, text in where.items()))
            metric = BY_NAME[name, tuple(dimension for dimension, _ in dimensions)]
            if metric.level <= level:
                points.append(Point(name, dimensions, metric.unit, float(value)))

        for name, value in _of_cluster(self._cluster):
            say(name, value)
        for node in self._cluster.nodes.values():
            if node.state is not NodeState.RUNNING:
                continue
            broker = str(node.node_id)
            for name, value in _of_node(self._cluster, node):
                say(name, value, broker=broker)
            for name, value in _of_host(self._host, before, self._cluster):
                say(name, value, broker=broker)
            for how, count in sorted(Counter(_way_in(each.state) for each in node.connections).items()):
                say("ClientConnectionCount", count, broker=broker, client=how)
            for topic, counts in sorted(node.counts.topics.items()):
                say("BytesInPerSec", counts.bytes_in.rate, broker=broker, topic=topic)
                say("BytesOutPerSec", counts.bytes_out.rate, broker=broker, topic=topic)
                say("MessagesInPerSec", counts.messages_in.rate, broker=broker, topic=topic)
        topics: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for lag in group_lags(self._cluster):
            topics.setdefault((lag.group, lag.topic), []).append((lag.records, lag.seconds))
            where = {"group": lag.group, "topic": lag.topic, "partition": str(lag.partition)}
            say("OffsetLag", lag.records, **where)
            say("EstimatedTimeLag", lag.seconds, **where)
        for (group, topic), lags in topics.items():
            say("MaxOffsetLag", max(records for records, _ in lags), group=group, topic=topic)
            say("SumOffsetLag", sum(records for records, _ in lags), group=group, topic=topic)
            say("EstimatedMaxTimeLag", max(seconds for _, seconds in lags), group=group, topic=topic)
        return points


def _of_cluster(cluster: Cluster) -> Iterator[tuple[str, float]]:
    partitions = list(cluster.topics.partitions())
    yield "ActiveControllerCount", float(cluster.controller_id >= 0)
    yield "GlobalTopicCount", len(cluster.topics)
    yield "GlobalPartitionCount", len(partitions)
    yield "OfflinePartitionsCount", sum(partition.leader == -1 for partition in partitions)


def _of_node(cluster: Cluster, node: Node) -> Iterator[tuple[str, float]]:
    counts = node.counts
    yield "BytesInPerSec", sum(topic.bytes_in.rate for topic in counts.topics.values())
    yield "BytesOutPerSec", sum(topic.bytes_out.rate for topic in counts.topics.values())
    yield "MessagesInPerSec", sum(topic.messages_in.rate for topic in counts.topics.values())
    yield from replicas(cluster, node).items()
    for name, api in (("ProduceTotalTimeMsMean", "Produce"), ("FetchConsumerTotalTimeMsMean", "Fetch")):
        found = counts.apis.get(api)
        yield name, found.mean_ms if found is not None else 0.0
    quick = [api for name, api in counts.apis.items() if name not in _WAITS_FOR_DATA]
    requests = sum(api.requests.rate for api in quick)
    yield "RequestTime", 1000 * sum(api.total_s.rate for api in quick) / requests if requests > 1e-9 else 0.0
    everything = sum(api.requests.rate for api in counts.apis.values())
    size = sum(api.size_bytes.rate for api in counts.apis.values())
    yield "RequestBytesMean", size / everything if everything > 1e-9 else 0.0
    yield "ConnectionCount", len(node.connections)
    yield "TcpConnections", len(node.connections)
    yield "ConnectionCreationRate", counts.connections_made.rate
    yield "ConnectionCloseRate", counts.connections_closed.rate


def replicas(cluster: Cluster, node: Node) -> dict[str, int]:
    """How many it leads and has, and how they are: of the partitions that it leads, as Kafka's ReplicaManager does."""
    leads = has = under_replicated = under_min = 0
    for partition in cluster.topics.partitions():
        has += node.node_id in partition.replicas
        if partition.leader == node.node_id:
            leads += 1
            under_replicated += len(partition.isr) < len(partition.replicas)
            under_min += len(partition.isr) < partition.min_insync
    return {
        "LeaderCount": leads, "PartitionCount": has, "UnderReplicatedPartitions": under_replicated,
        "UnderMinIsrPartitionCount": under_min,
    }  # fmt: skip


def _of_host(host: Host, before: Host, cluster: Cluster) -> Iterator[tuple[str, float]]:
    cpu = host.cpu_percent(before)
    if cpu:
        yield "CpuIdle", cpu["idle"]
        yield "CpuIoWait", cpu["iowait"]
        yield "CpuUser", cpu["user"] + cpu["nice"]
        yield "CpuSystem", cpu["system"] + cpu["irq"] + cpu["softirq"]
    memory = host.memory_bytes
    if "MemTotal" in memory:
        free, buffered, cached = (memory.get(name, 0) for name in ("MemFree", "Buffers", "Cached"))
        yield "MemoryFree", free
        yield "MemoryBuffered", buffered
        yield "MemoryCached", cached
        yield "MemoryUsed", max(0, memory["MemTotal"] - free - buffered - cached)
    for path, (total, left) in host.disks.items():
        used = 100 * (total - left) / total if total else 0.0
        if path == "/":
            yield "RootDiskUsed", used
        if path == str(cluster.data_dir):
            yield "KafkaDataLogsDiskUsed", used


def _way_in(connection: ConnectionState) -> str:
    """As MSK calls how clients log in."""
    if connection.listener.sasl:
        return "IAM" if "IAM" in connection.listener.name else "SCRAM"
    encrypted = connection.listener.ssl_context is not None
    return "TLS" if encrypted and connection.principal != "User:ANONYMOUS" else "Unauthenticated"
