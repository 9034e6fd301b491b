"""`python -m bench.workers`: throughput of 1, 2 and 4 worker processes on one pair of real Kafka.

The load lies in an open transaction on the source until all workers are members and idle; its commit is the start. So
neither start nor rebalancing is in the figures. Both brokers share the machine with the workers: on few cores more
workers can only show that they don't stand in each other's way; how it scales takes a core for each, and others for
the brokers.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import Producer

from bench.brokers import Pair, clear, create_topic, two_clusters
from bench.processes import Cost, cost
from bench.watching import Watcher
from replicator.ledger.lanes import lane_of
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

_PARTITIONS = 16
_LANES = 32
_VALUE = b"x" * 1024
_LIMIT_S = 300.0
_TOPIC = "load"


@dataclass(frozen=True)
class Figures:
    """Of one copy."""

    workers: int
    records_per_s: float
    mb_per_s: float
    cpu_s_per_gb: float  # of all worker processes
    cores: float  # that they used together
    rss_mb: float  # peak, of all of them
    members: int  # of the group, when it began


def main(
    records: Annotated[int, typer.Option(min=10_000, help="Of 1 KB.")] = 1_500_000,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    workers: Annotated[list[int] | None, typer.Option(help="1, 2 and 4; may be repeated.")] = None,
) -> None:
    """Copy the same load with so many worker processes, in turn."""
    counts = workers or [1, 2, 4]
    found: dict[int, list[Figures]] = {count: [] for count in counts}
    print(f"{os.cpu_count()} cores, both brokers on them; load average {os.getloadavg()[0]:.0f} at the start")
    lanes = Counter(lane_of(_TOPIC, partition, _LANES) for partition in range(_PARTITIONS))
    print(f"{records:,} records of 1 KB, {_PARTITIONS} partitions in {len(lanes)} of {_LANES} lanes", flush=True)
    with tempfile.TemporaryDirectory(prefix="replicator-workers-") as directory, two_clusters() as pair:
        for number in range(rounds + 1):  # the first one warms the brokers up
            for position in range(len(counts)):
                count = counts[(position + number) % len(counts)]
                figures = _copy(Path(directory) / f"{number}-{count}", f"r{number}n{count}", pair, count, records)
                if number:
                    found[count].append(figures)
                    print(_line(f"round {number}", figures), flush=True)
    print("medians")
    for count in counts:
        print(_line("", sorted(found[count], key=lambda one: one.mb_per_s)[rounds // 2]))


def _line(what: str, figures: Figures) -> str:
    return (
        f"{what:8} {figures.workers} workers: {figures.records_per_s:9,.0f} records/s {figures.mb_per_s:6.0f} MB/s "
        f"{figures.cpu_s_per_gb:5.2f} CPU-s/GB {figures.cores:4.2f} cores {figures.rss_mb:5.0f} MB peak RSS "
        f"({figures.members} members)"
    )


def _copy(home: Path, alias: str, pair: Pair, workers: int, records: int) -> Figures:
    link = {"name": alias, "source": alias, "target": "target", "topics": {"include": [_TOPIC]}, "lanes": _LANES}
    create_topic(pair.source.admin(), _TOPIC, _PARTITIONS)
    producer = _written(pair, records)
    installation = Installation(home, {alias: pair.source, "target": pair.target}, [link])
    arguments = ("--workers", str(workers)) if workers > 1 else ()
    with installation.worker(*arguments) as worker:
        worker.wait_ready(within=60)
        watcher = Watcher(pair.target, f"{alias}.{_TOPIC}", _PARTITIONS)
        try:
            members = _settled(installation, workers)
            wait_for(lambda: len(watcher.ends(committed=True)) == _PARTITIONS, within=30, what="the copy is there")
            time.sleep(2.0)
            before, began = cost(worker.pid), time.monotonic()
            producer.commit_transaction(60)
            wait_for(
                lambda: sum(watcher.ends(committed=True)) >= records, within=_LIMIT_S, every=0.05, what="all is copied"
            )
            took = time.monotonic() - began
            after = cost(worker.pid)
        finally:
            watcher.close()
    clear(pair.target.admin())
    clear(pair.source.admin())
    return _figures(workers, records, took, before, after, members)


def _written(pair: Pair, records: int) -> Producer:
    settings = {"transactional.id": f"bench-{time.time_ns()}", "transaction.timeout.ms": 600_000}
    batches = {"batch.size": 65536, "linger.ms": 500, "queue.buffering.max.kbytes": 262_144}
    producer = Producer(pair.source.client_config | settings | batches)
    producer.init_transactions(60)
    producer.begin_transaction()
    for index in range(records):
        while True:
            try:
                producer.produce(_TOPIC, _VALUE, partition=index // 64 % _PARTITIONS)
                break
            except BufferError:
                producer.poll(0.05)
    if producer.flush(120):
        raise RuntimeError("the load can't be written")
    return producer


def _settled(installation: Installation, workers: int) -> int:
    """Wait until so many members have lanes, and their numbers of lanes differ by one at most."""
    counts: list[int] = []

    def balanced() -> bool:
        done = installation.run("status", "-o", "json")
        found = json.loads(done.stdout)["links"][0]["workers"] if done.returncode in (0, 1) else []
        counts[:] = [len(worker["lanes"]) for worker in found]
        return len(counts) == workers and max(counts) - min(counts) <= 1 and sum(counts) == _LANES

    wait_for(balanced, within=60, every=0.5, what="the lanes are divided")
    return len(counts)


def _figures(workers: int, records: int, took: float, before: Cost, after: Cost, members: int) -> Figures:
    gigabytes = records * len(_VALUE) / 1e9
    cpu_s = after.cpu_s - before.cpu_s
    rate = records / took
    return Figures(workers, rate, gigabytes * 1e3 / took, cpu_s / gigabytes, cpu_s / took, after.peak_rss_mb, members)


if __name__ == "__main__":
    typer.run(main)
