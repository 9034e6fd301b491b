"""`python -m bench.moving`: how long a planned move and a forced one take with many topics, on real Kafka.

`promote` is timed from when the source is quiet and its last record copied; `failover` from its start, with the source
killed, once while the worker lives and once without one.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from bench.brokers import Pair, two_clusters
from tests.support.replicator import Installation

_RECORDS = 20  # of each partition
_LIMIT_S = 300.0


def main(
    topics: Annotated[int, typer.Option(min=1)] = 100,
    partitions: Annotated[int, typer.Option(min=1, help="Of each topic.")] = 10,
) -> None:
    """Copy so many topics, promote them; then the same with a failover."""
    for verb in ("promote", "failover", "failover without a worker"):
        with tempfile.TemporaryDirectory(prefix="replicator-moving-") as home, two_clusters() as pair:
            print(f"{verb}: {_moved(verb, Path(home), pair, topics, partitions)}", flush=True)


def _moved(verb: str, home: Path, pair: Pair, topics: int, partitions: int) -> str:
    _write(pair, topics, partitions)
    installation = Installation(
        home, {"us": pair.source, "eu": pair.target}, [{"name": "l", "source": "us", "target": "eu"}]
    )
    with installation.worker() as worker:
        worker.wait_ready(within=60)
        installation.wait_until_copied(topics * partitions, within=_LIMIT_S)
        if verb == "promote":
            found, took = _run(installation, "promote", "--quiet", "1")
            return f"{found['after_quiet_ms'] / 1000:.1f} s after the source was quiet, {took:.1f} s in all"
        time.sleep(6)  # until what the worker saw of the source has been written down
        pair.source.kill_node(0)
        if verb != "failover":
            worker.kill()
        found, took = _run(installation, "failover", "--snapshot", str(home / "before.json"))
        return (
            f"{found['took_ms'] / 1000:.1f} s, {took:.1f} s with the look ahead; {found['lost_records']} records lost, "
            f"{found['waiting']} of {topics * partitions} partitions wait for a worker"
        )


def _run(installation: Installation, *command: str) -> tuple[dict[str, Any], float]:
    began = time.monotonic()
    done = installation.run(*command, "--all", "--yes", "-o", "json", timeout=180)
    if done.returncode:
        raise RuntimeError(done.stderr)
    (found,) = json.loads(done.stdout)["links"]
    return found, time.monotonic() - began


def _write(pair: Pair, topics: int, partitions: int) -> None:
    names = [f"t{number:04}" for number in range(topics)]
    new = [NewTopic(name, partitions, 1) for name in names]
    admin = pair.source.admin()
    for future in admin.create_topics(new, request_timeout=120, operation_timeout=120).values():
        future.result(120)
    producer = Producer(pair.source.client_config | {"linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
    for name in names:
        for number in range(partitions * _RECORDS):
            producer.produce(name, b"x" * 100, partition=number % partitions)
    if producer.flush(120):
        raise RuntimeError("the records can't be written")


if __name__ == "__main__":
    typer.run(main)
