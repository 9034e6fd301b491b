"""What a cluster counts, at MSK's levels and to Prometheus: compared with what clients did."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker.clock import ManualClock
from broker.cluster import Cluster
from broker.control import serve_control
from broker.metrics.exposition import jmx, node_exporter
from broker.metrics.host import look
from broker.metrics.msk import METRICS, Level
from broker.metrics.points import ClusterPoints, Point
from broker.metrics.remote import ClusterMetrics, MetricsUnavailable
from broker.metrics.server import serve_metrics
from broker.node import Listener
from tests.broker.calls import batch, client_of, running
from tests.support.eventually import until

Sample = tuple[str, tuple[tuple[str, str], ...]]
NOW_MS = 1_700_000_000_000


def read(text: bytes) -> dict[Sample, float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def sample(metric: str, /, **labels: str) -> Sample:
    return metric, tuple(sorted(labels.items()))


def point_of(points: list[Point], name: str, dimensions: dict[str, str]) -> float | None:
    found = [p.value for p in points if p.name == name and dict(p.dimensions) == {"Cluster Name": "c"} | dimensions]
    assert len(found) <= 1
    return found[0] if found else None


async def used(cluster: Cluster) -> int:
    """Three batches of two records to `orders`, read once; a group that has read three of the six. Their bytes."""
    cluster.create_topic("orders", 1, 1)
    records = batch([(b"k", b"v"), (b"k", b"w")], timestamp=NOW_MS)
    async with client_of(cluster) as client:
        for _ in range(3):
            assert (await client.produce("orders", records)).error_code == 0
        assert (await client.produce("missing", records)).error_code != 0
        await client.fetch("orders", 0)
        rows = [{"partition_index": 0, "committed_offset": 3, "committed_leader_epoch": -1, "committed_metadata": ""}]
        answer = await client.call(
            "offset_commit", 8, group_id="readers", generation_id_or_member_epoch=-1, member_id="",
            group_instance_id=None, topics=[{"name": "orders", "partitions": rows}],
        )  # fmt: skip
        assert answer.topics[0].partitions[0].error_code == 0
        cluster.clock.advance(5)  # type: ignore[attr-defined]
        cluster.tick()
    return 3 * len(records)


async def test_given_clients_then_the_points_say_what_they_did() -> None:
    async with running(clock=ManualClock(NOW_MS + 60_000)) as cluster:
        points = ClusterPoints(cluster, "c")
        size = await used(cluster)
        found = points.collect(Level.PER_TOPIC_PER_PARTITION)
    broker = {"Broker ID": "0"}
    topic = broker | {"Topic": "orders"}
    for where in (broker, topic):
        assert point_of(found, "BytesInPerSec", where) == size / 5
        assert point_of(found, "BytesOutPerSec", where) == size / 5
        assert point_of(found, "MessagesInPerSec", where) == 6 / 5
    assert point_of(found, "GlobalTopicCount", {}) == 2  # __consumer_offsets, too
    assert point_of(found, "ActiveControllerCount", {}) == 1
    assert point_of(found, "OfflinePartitionsCount", {}) == 0
    assert point_of(found, "LeaderCount", broker) == point_of(found, "PartitionCount", broker) == 51
    assert point_of(found, "ConnectionCount", broker) == 1
    lag = {"Consumer Group": "readers", "Topic": "orders"}
    assert point_of(found, "SumOffsetLag", lag) == point_of(found, "MaxOffsetLag", lag) == 3
    assert point_of(found, "EstimatedMaxTimeLag", lag) == 65
    assert point_of(found, "OffsetLag", lag | {"Partition": "0"}) == 3
    assert point_of(found, "EstimatedTimeLag", lag | {"Partition": "0"}) == 65


@pytest.mark.parametrize("level", list(Level))
async def test_given_a_level_then_it_has_what_the_table_says_and_no_more(level: Level, tmp_path: Path) -> None:
    async with running(clock=ManualClock(NOW_MS), data_dir=tmp_path / "data") as cluster:
        points = ClusterPoints(cluster, "c")
        await used(cluster)
        found = points.collect(level)
    told = {(point.name, tuple(name for name, _ in point.dimensions), point.unit) for point in found}
    wanted = {(metric.name, metric.dimensions, metric.unit) for metric in METRICS if metric.level <= level}
    on_linux = {"CpuIdle", "CpuIoWait", "CpuSystem", "CpuUser"}  # too short a time to tell, or another system
    on_linux |= {"MemoryBuffered", "MemoryCached", "MemoryFree", "MemoryUsed"}
    assert {row for row in wanted - told if row[0] not in on_linux} == set()
    assert told <= wanted


async def test_given_a_stopped_node_then_it_has_no_points_and_the_others_tell_of_it() -> None:
    async with running(3, clock=ManualClock(NOW_MS)) as cluster:
        cluster.create_topic("t", 3, 3)
        await cluster.stop_node(0)
        found = ClusterPoints(cluster, "c").collect(Level.DEFAULT)
    brokers = {dict(point.dimensions).get("Broker ID") for point in found}
    assert brokers == {None, "1", "2"}
    behind = [point.value for point in found if point.name == "UnderReplicatedPartitions"]
    assert sum(behind) == 3
    assert point_of(found, "ActiveControllerCount", {}) == 1


async def test_given_a_refused_batch_then_it_counts_as_failed_and_unknown_topics_take_no_memory() -> None:
    async with running(clock=ManualClock(NOW_MS)) as cluster:
        cluster.create_topic("orders", 1, 1)
        async with client_of(cluster) as client:
            await client.produce("orders", batch([(b"k", b"v")], crc=1))
            for number in range(20):
                await client.produce(f"missing-{number}", batch([(b"k", b"v")]))
                await client.fetch(f"missing-{number}", 0)
        counts = cluster.nodes[0].counts
        assert list(counts.topics) == ["orders"]
        assert counts.topics["orders"].failed_produces.count == 1
        assert counts.topics["orders"].bytes_in.count == 0


async def test_given_a_repeated_batch_of_an_idempotent_producer_then_it_counts_once() -> None:
    async with running(clock=ManualClock(NOW_MS)) as cluster:
        cluster.create_topic("orders", 1, 1)
        records = batch([(b"k", b"v")], producer_id=7, epoch=0, sequence=0, timestamp=NOW_MS)
        async with client_of(cluster) as client:
            for _ in range(2):
                assert (await client.produce("orders", records)).error_code == 0
        assert cluster.nodes[0].counts.topics["orders"].messages_in.count == 1


async def test_given_prometheus_then_names_are_those_of_the_jmx_exporter() -> None:
    async with running(clock=ManualClock(NOW_MS)) as cluster:
        size = await used(cluster)
        found = read(jmx(cluster, cluster.nodes[0]))
    rate, count = "kafka_server_BrokerTopicMetrics_OneMinuteRate", "kafka_server_BrokerTopicMetrics_Count"
    assert found[sample(rate, name="BytesInPerSec", topic="orders")] == size / 5
    assert found[sample(rate, name="BytesInPerSec")] == size / 5
    assert found[sample(count, name="BytesOutPerSec")] == size
    assert found[sample(count, name="MessagesInPerSec", topic="orders")] == 6
    assert found[sample("kafka_network_RequestMetrics_Count", name="RequestsPerSec", request="Produce")] == 4
    assert sample("kafka_network_RequestMetrics_Mean", name="TotalTimeMs", request="FetchConsumer") in found
    assert found[sample("kafka_server_ReplicaManager_Value", name="LeaderCount")] == 51
    assert found[sample("kafka_controller_KafkaController_Value", name="ActiveControllerCount")] == 1
    assert found[sample("kafka_controller_KafkaController_Value", name="OfflinePartitionsCount")] == 0
    assert found[sample("kafka_log_Log_Value", name="LogEndOffset", topic="orders", partition="0")] == 6
    assert found[sample("kafka_log_Log_Value", name="Size", topic="orders", partition="0")] == size
    connections = "kafka_server_socket_server_metrics_connection_count"
    assert found[sample(connections, listener="PLAINTEXT", networkProcessor="0")] == 1


async def test_given_a_broker_that_nobody_has_used_then_its_rates_are_zero_rather_than_absent() -> None:
    async with running() as cluster:
        found = read(jmx(cluster, cluster.nodes[0]))
    for name in ("BytesInPerSec", "BytesOutPerSec", "MessagesInPerSec", "TotalFetchRequestsPerSec"):
        assert found[sample("kafka_server_BrokerTopicMetrics_OneMinuteRate", name=name)] == 0


def test_given_the_machine_then_the_node_exporters_names_are_there(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "stat").write_text("cpu  9 9 9 9\ncpu0 100 0 50 800 30 0 20 0 0 0\nintr 1\n")
    (proc / "meminfo").write_text(
        "MemTotal:       1000 kB\nMemFree:  250 kB\nHugePages_Total:  0\nActive(anon): 1 kB\n"
    )
    (proc / "loadavg").write_text("0.5 0.25 0.1 1/100 4\n")
    host = look(tmp_path, proc)
    found = read(node_exporter(host))
    assert found[sample("node_cpu_seconds_total", cpu="0", mode="idle")] == 8
    assert found[sample("node_memory_MemTotal_bytes")] == 1024_000
    assert found[sample("node_memory_Active_anon_bytes")] == 1024
    assert found[sample("node_filesystem_size_bytes", mountpoint=str(tmp_path))] > 0
    assert found[sample("node_load5")] == 0.25
    (proc / "stat").write_text("cpu0 200 0 50 1100 30 0 20 0 0 0\n")
    assert look(tmp_path, proc).cpu_percent(host)["idle"] == 75
    assert look(tmp_path, tmp_path / "elsewhere").cpu_percent(host) == {}


async def fetched(url: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.read()


async def test_given_open_monitoring_then_each_broker_has_its_own_address_and_a_stopped_one_says_so() -> None:
    async with running(2) as cluster, serve_metrics(cluster, lambda _: ("127.0.0.1", 0)) as places:
        assert sorted(places) == [0, 1]
        texts = [read((await fetched(f"http://{places[node]}/metrics"))[1]) for node in (0, 1)]
        active = sample("kafka_controller_KafkaController_Value", name="ActiveControllerCount")
        assert [text[active] for text in texts] == [1, 0]
        status, text = await fetched(f"http://{places[0]}/node/metrics")
        assert status == 200
        assert b"node_filesystem_size_bytes" in text
        await cluster.stop_node(1)
        assert (await fetched(f"http://{places[1]}/metrics"))[0] == 503
        await cluster.add_node(7, None, [Listener()])
        cluster.tick()
        await until(lambda: 7 in places, within=5, what="a new node has its own")
        assert (await fetched(f"http://{places[7]}/metrics"))[0] == 200


async def test_given_a_supervisor_then_it_gets_the_points_over_the_control_port() -> None:
    async with running(clock=ManualClock(NOW_MS)) as cluster, serve_control(cluster, "127.0.0.1", 0) as place:
        await used(cluster)
        control = f"{place[0]}:{place[1]}"
        metrics = ClusterMetrics(control, "c", Level.DEFAULT)
        found = await metrics.collect()
        assert found
        assert {(p.name, len(p.dimensions)) for p in found} >= {("BytesInPerSec", 2), ("BytesInPerSec", 3)}
        assert not [p for p in found if p.name == "OffsetLag"]
        metrics.level = Level.PER_TOPIC_PER_PARTITION
        assert [p.value for p in await metrics.collect() if p.name == "OffsetLag"] == [3]
        datum = found[0].datum(1.0)
        assert set(datum) == {"MetricName", "Dimensions", "Unit", "Value", "Timestamp"}
        for wrong in ("level=EVERYTHING&name=c", "level=DEFAULT"):
            assert (await fetched(f"http://{control}/metrics/msk?{wrong}"))[0] in (400, 404)
    with pytest.raises(MetricsUnavailable, match=r"/metrics/msk"):
        await metrics.collect()


def test_given_the_table_then_units_are_cloudwatchs() -> None:
    import botocore.session

    model = botocore.session.get_session().get_service_model("cloudwatch")
    units = set(model.shape_for("StandardUnit").enum)
    assert {metric.unit for metric in METRICS} <= units
    assert len({(metric.name, metric.dimensions) for metric in METRICS}) == len(METRICS)
