"""`python -m bench.idle`: what a worker costs that has many partitions and nothing to copy, on real Kafka."""

from __future__ import annotations

import json
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka.admin import NewTopic

from bench.brokers import Pair, two_clusters
from bench.processes import cost
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

_LIMIT_S = 420.0
_AT_ONCE = 10  # topics that are created in one request


def main(
    topics: Annotated[int, typer.Option(min=1)] = 100,
    partitions: Annotated[int, typer.Option(min=1, help="Of each topic.")] = 100,
    seconds: Annotated[float, typer.Option(min=5, help="For how long to watch.")] = 60.0,
) -> None:
    """Measure CPU and memory of one worker while nothing is written, and how long `status` takes then."""
    with tempfile.TemporaryDirectory(prefix="replicator-idle-") as directory, two_clusters() as pair:
        _create(pair, topics, partitions)
        links = [{"name": "idle", "source": "us", "target": "eu", "lanes": 32}]
        installation = Installation(Path(directory), {"us": pair.source, "eu": pair.target}, links)
        began = time.monotonic()
        with installation.worker() as worker:
            worker.wait_ready(within=60)
            wait_for(lambda: _copying(installation) == topics * partitions, within=_LIMIT_S, every=3, what="all began")
            print(f"{topics * partitions:,} partitions, all of them begun after {time.monotonic() - began:.0f} s")
            time.sleep(20)  # until the rounds of new topics have calmed down
            before, since = cost(worker.pid), time.monotonic()
            time.sleep(seconds)
            after, took = cost(worker.pid), time.monotonic() - since
            share = (after.cpu_s - before.cpu_s) / took
            print(f"idle: {share:.1%} of a core, {after.peak_rss_mb:.0f} MB peak RSS, over {took:.0f} s", flush=True)
            _print_reading(installation, f"http://{worker.address}")


def _print_reading(installation: Installation, url: str) -> None:
    for what in ("status", "status"):
        began = time.monotonic()
        done = installation.run(what, "-o", "json", timeout=120)
        print(f"`replicator {what}`: {time.monotonic() - began:.2f} s (exit code {done.returncode})", flush=True)
    for path in ("/v1/status", "/v1/links/idle", "/metrics"):
        began = time.monotonic()
        with urllib.request.urlopen(f"{url}{path}", timeout=60) as answer:
            size = len(answer.read())
        print(f"GET {path}: {time.monotonic() - began:.2f} s, {size / 1e6:.1f} MB", flush=True)


def _create(pair: Pair, topics: int, partitions: int) -> None:
    admin = pair.source.admin()
    names = [f"t{number:04}" for number in range(topics)]
    for start in range(0, topics, _AT_ONCE):
        new = [NewTopic(name, partitions, 1) for name in names[start : start + _AT_ONCE]]
        for future in admin.create_topics(new, request_timeout=120, operation_timeout=120).values():
            future.result(120)


def _copying(installation: Installation) -> int:
    done = installation.run("status", "-o", "json", timeout=120)
    if done.returncode:
        return 0
    (found,) = json.loads(done.stdout)["links"]
    return sum(row["state"] == "COPYING" for row in found["partitions"])


if __name__ == "__main__":
    typer.run(main)
