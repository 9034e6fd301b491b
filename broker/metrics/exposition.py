"""Open monitoring: a broker's metrics in Prometheus' text format, as MSK's two exporters show them.

The names are those that the JMX exporter makes of Kafka's MBeans when it has no rules of its own
(`kafka_server_BrokerTopicMetrics_OneMinuteRate{name="BytesInPerSec",topic="orders"}`; without a topic: of all), and
the node exporter's. Source: Amazon MSK Developer Guide, "Monitor with Prometheus"; and what Cruise Control asks
(`DefaultPrometheusQuerySupplier`). Left out: percentiles and maxima, queues, log flushes, replication.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, UnknownMetricFamily
from prometheus_client.exposition import generate_latest

from broker.metrics.counts import Meter, TopicCounts
from broker.metrics.host import Host
from broker.metrics.points import replicas

if TYPE_CHECKING:
    from broker.cluster import Cluster
    from broker.node import Node

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Families:
    """Families by name; each may have samples with different labels, as MBeans do."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}

    def add(self, family_name: str, value: float, /, **labels: str) -> None:
        """One sample; Kafka's attributes are untyped there."""
        family = self._families.get(family_name)
        if family is None:
            said = f"Attribute exposed for management ({family_name})"
            family = self._families[family_name] = UnknownMetricFamily(family_name, said)
        family.add_sample(family_name, labels, float(value))

    def meter(self, bean: str, meter: Meter, /, **labels: str) -> None:
        """A Yammer meter's two attributes that everybody uses."""
        self.add(f"{bean}_Count", meter.count, **labels)
        self.add(f"{bean}_OneMinuteRate", meter.rate, **labels)

    def text(self) -> bytes:
        """All of them."""
        return _text(iter(self._families.values()))


def jmx(cluster: Cluster, node: Node) -> bytes:
    """What the JMX exporter of this broker shows."""
    found = _Families()
    counts = node.counts
    sums: dict[str, Meter] = {name: Meter() for name, _ in TopicCounts().meters()}  # there from the beginning
    for topic, each in sorted(counts.topics.items()):
        for name, meter in each.meters():
            found.meter("kafka_server_BrokerTopicMetrics", meter, name=name, topic=topic)
            sums[name].count += meter.count
            sums[name].rate += meter.rate
    for name, meter in sums.items():
        found.meter("kafka_server_BrokerTopicMetrics", meter, name=name)
    for api, requests in sorted(counts.apis.items()):
        request = "FetchConsumer" if api == "Fetch" else api
        found.meter("kafka_network_RequestMetrics", requests.requests, name="RequestsPerSec", request=request)
        for name, mean in (("TotalTimeMs", requests.mean_ms), ("RequestBytes", requests.mean_bytes)):
            found.add("kafka_network_RequestMetrics_Mean", mean, name=name, request=request)
            found.add("kafka_network_RequestMetrics_Count", requests.requests.count, name=name, request=request)
    for name, value in replicas(cluster, node).items():
        found.add("kafka_server_ReplicaManager_Value", value, name=name)
    found.add("kafka_server_KafkaServer_Value", 3 if node.alive else 0, name="BrokerState")  # 3: running
    _controller(found, cluster, node)
    for listener, count in sorted(Counter(each.state.listener.name for each in node.connections).items()):
        where = {"listener": listener, "networkProcessor": "0"}
        found.add("kafka_server_socket_server_metrics_connection_count", count, **where)
    for listener, log_ins in sorted(counts.listeners.items()):
        where = {"listener": listener, "networkProcessor": "0"}
        for name, meter in (("successful", log_ins.succeeded), ("failed", log_ins.failed)):
            found.add(f"kafka_server_socket_server_metrics_{name}_authentication_rate", meter.rate, **where)
            found.add(f"kafka_server_socket_server_metrics_{name}_authentication_total", meter.count, **where)
    rates = (("creation", counts.connections_made), ("close", counts.connections_closed))
    for name, meter in rates:
        found.add(f"kafka_server_socket_server_metrics_connection_{name}_rate", meter.rate)
        found.add(f"kafka_server_socket_server_metrics_connection_{name}_total", meter.count)
    for partition in cluster.topics.partitions():
        if node.node_id in partition.replicas:
            where = {"topic": partition.topic.name, "partition": str(partition.index)}
            log = partition.log
            for name, value in (
                ("Size", log.size), ("LogStartOffset", log.log_start_offset), ("LogEndOffset", log.log_end_offset),
                ("NumLogSegments", len(log.segments)),
            ):  # fmt: skip
                found.add("kafka_log_Log_Value", value, name=name, **where)
            if partition.leader == node.node_id:
                behind = len(partition.isr) < len(partition.replicas)
                found.add("kafka_cluster_Partition_Value", behind, name="UnderReplicated", **where)
    return found.text()


def _controller(found: _Families, cluster: Cluster, node: Node) -> None:
    active = cluster.controller_id == node.node_id
    found.add("kafka_controller_KafkaController_Value", active, name="ActiveControllerCount")
    if not active:
        return
    partitions = list(cluster.topics.partitions())
    values = {
        "GlobalTopicCount": len(cluster.topics),
        "GlobalPartitionCount": len(partitions),
        "OfflinePartitionsCount": sum(partition.leader == -1 for partition in partitions),
        "ActiveBrokerCount": len(cluster.live_nodes),
        "FencedBrokerCount": len(cluster.nodes) - len(cluster.live_nodes),
    }
    for name, value in values.items():
        found.add("kafka_controller_KafkaController_Value", value, name=name)
    groups = len(cluster.coordinators.groups.groups)
    found.add("kafka_coordinator_group_GroupMetadataManager_Value", groups, name="NumGroups")


def node_exporter(host: Host) -> bytes:
    """What the node exporter of the machine shows."""
    return _text(_of_host(host))


def _of_host(host: Host) -> Iterator[Metric]:
    cpu = CounterMetricFamily("node_cpu_seconds", "Seconds the CPUs spent in each mode.", labels=("cpu", "mode"))
    for number, modes in host.cpu_s.items():
        for mode, seconds in modes.items():
            cpu.add_metric((number, mode), seconds)
    yield cpu
    for name, size in host.memory_bytes.items():
        clean = name.replace("(", "_").replace(")", "")
        yield GaugeMetricFamily(f"node_memory_{clean}_bytes", f"Memory information field {clean}_bytes.", value=size)
    total = GaugeMetricFamily("node_filesystem_size_bytes", "Filesystem size in bytes.", labels=("mountpoint",))
    free = GaugeMetricFamily("node_filesystem_avail_bytes", "Filesystem space available.", labels=("mountpoint",))
    for path, (size, left) in host.disks.items():
        total.add_metric((path,), size)
        free.add_metric((path,), left)
    yield total
    yield free
    for minutes, load in zip((1, 5, 15), host.load or (), strict=False):
        yield GaugeMetricFamily(f"node_load{minutes}", f"{minutes}m load average.", value=load)


def _text(families: Iterator[Metric]) -> bytes:
    return generate_latest(_Ready(list(families)))


class _Ready(CollectorRegistry):
    """Families that are there already, in the shape `generate_latest` takes."""

    def __init__(self, families: list[Metric]) -> None:
        super().__init__(auto_describe=False)
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """The families as they are."""
        return iter(self._families)
