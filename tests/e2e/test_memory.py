"""A worker's memory while its target stalls, as the operating system sees it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import yaml
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from tests.support.bundled import BundledCluster
from tests.support.copying import create
from tests.support.proxy import Proxy
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

PARTITIONS = 4
RECORDS = 1000
RECORD_BYTES = 100_000
BUDGET = 16 << 20
# What a target doesn't read waits for its socket too, before Python 3.12 as a copy; the rest is the heap's slack.
OVERHEAD_MB = (BUDGET >> 20) + 32
PROXY_HOST = "127.0.0.2"


class Proxied:
    """A cluster by the address of its proxy."""

    def __init__(self, cluster: BundledCluster) -> None:
        self.bootstrap = cluster.bootstrap.replace("127.0.0.1", PROXY_HOST)
        self.security = cluster.security


def memory_mb(pid: int, what: str) -> int:
    """A line of /proc/PID/status: VmRSS, or VmHWM for the highest so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(what))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_given_a_target_that_reads_nothing_then_the_workers_memory_stays_near_its_budget(tmp_path: Path) -> None:
    advertised = ("--advertise", PROXY_HOST)
    with BundledCluster(name="source") as source, BundledCluster(name="target", arguments=advertised) as target:
        write(source)
        port = int(target.bootstrap.rpartition(":")[2])
        link = {"name": "us-to-eu", "source": "us", "target": "eu", "topics": {"include": ["orders"]}}
        with Proxy(port, port, host=PROXY_HOST) as proxy:
            installation = Installation(tmp_path, {"us": source, "eu": Proxied(target)}, [link])
            worker = installation.worker()
            limit_memory(tmp_path / f"{worker.name}.yaml")
            with worker:
                worker.wait_ready()
                ready = memory_mb(worker.pid, "VmRSS")
                wait_for(lambda: copied(target) > 0, within=20, what="the first records are copied")
                proxy.stall()
                wait_for(lambda: in_use(worker.get("/metrics")[1]) > BUDGET // 2, within=20, what="the budget is used")
                for _ in range(10):
                    assert in_use(worker.get("/metrics")[1]) <= BUDGET + (2 << 20)
                proxy.flow()
                wait_for(lambda: copied(target) == RECORDS, within=40, what="all records are copied")
                assert memory_mb(worker.pid, "VmHWM") < ready + (BUDGET >> 20) + OVERHEAD_MB


def write(source: BundledCluster) -> None:
    create(source.admin(), "orders", PARTITIONS)
    producer = Producer(source.client_config)
    value = os.urandom(RECORD_BYTES)
    for index in range(RECORDS):
        producer.produce("orders", value, partition=index % PARTITIONS)
    assert producer.flush(30) == 0


def limit_memory(file: Path) -> None:
    document = yaml.safe_load(file.read_text())
    document["service"]["memory_bytes"] = BUDGET
    file.write_text(yaml.safe_dump(document))


def copied(target: BundledCluster) -> int:
    """Records in the target's log."""
    consumer = Consumer({**target.client_config, "group.id": "test"})
    try:
        parts = [TopicPartition("us.orders", partition) for partition in range(PARTITIONS)]
        return sum(consumer.get_watermark_offsets(part, timeout=5)[1] for part in parts)
    except KafkaException:  # not there yet
        return 0
    finally:
        consumer.close()


def in_use(metrics: str) -> float:
    """Bytes fetched, or asked for, and not yet acknowledged."""
    name = "replicator_memory_in_use_bytes "
    return next((float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(name)), 0.0)
