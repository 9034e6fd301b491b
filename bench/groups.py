"""`python -m bench.groups`: what it costs to keep 1,000 consumer groups of 10 partitions in step, in cores.

A worker's CPU time over some cycles: without groups, with groups whose positions stay, and with groups that all move in
every cycle, each in all of its partitions. Only the worker counts, not the brokers.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from confluent_kafka import Producer

from bench.brokers import two_clusters
from bench.processes import cost
from replicator.config.models import ClusterConfig
from replicator.errors import ReplicatorError
from replicator.sync.group_client import GroupClient
from replicator.wire.cluster import ClusterClient
from tests.e2e.rig import AnyCluster
from tests.support.bundled import BundledCluster
from tests.support.copying import create
from tests.support.replicator import Installation, Worker
from tests.support.waiting import wait_for

_TOPIC = "load"
_CYCLE_S = 5.0
_RECORDS = 200_000
_AT_ONCE = 50


def main(
    groups: Annotated[int, typer.Option(help="Consumer groups.")] = 1000,
    partitions: Annotated[int, typer.Option(help="Of each group.")] = 10,
    cycles: Annotated[int, typer.Option(help="Of 5 s, for each figure.")] = 6,
    bundled: Annotated[bool, typer.Option("--bundled", help="On the bundled broker instead of real Kafka.")] = False,
) -> None:
    """Print one line."""
    with _clusters(bundled) as (source, target), tempfile.TemporaryDirectory() as directory:
        create(source.admin(), _TOPIC, partitions)
        producer = Producer({**source.client_config, "linger.ms": 20})
        for number in range(_RECORDS):
            producer.produce(_TOPIC, b"%d" % number, partition=number % partitions)
            if number % 10_000 == 0:
                producer.flush(60)
        producer.flush(60)
        without, _ = _measure(source, target, Path(directory, "without"), cycles, groups=False)
        move = Move(source, groups, partitions)
        move(1_000)
        idle, _ = _measure(source, target, Path(directory, "idle"), cycles, groups=True, wait=(target, groups))
        busy, arrived_s = _measure(source, target, Path(directory, "busy"), cycles, groups=True, move=move)
    typer.echo(
        f"{groups:,} groups x {partitions} partitions, a cycle of {_CYCLE_S:.0f} s, share of a core: "
        f"{100 * (idle - without):.1f} % when nothing moves, {100 * (busy - without):.1f} % when all positions move in "
        f"each cycle, and all are there {arrived_s:.1f} s after the last one moved (the worker itself, idle: "
        f"{100 * without:.1f} %)"
    )


@contextlib.contextmanager
def _clusters(bundled: bool) -> Iterator[tuple[AnyCluster, AnyCluster]]:
    if not bundled:
        with two_clusters() as pair:
            yield pair.source, pair.target
        return
    with BundledCluster(name="us") as source, BundledCluster(name="eu") as target:
        yield source, target


def _measure(
    source: AnyCluster,
    target: AnyCluster,
    directory: Path,
    cycles: int,
    *,
    groups: bool,
    wait: tuple[AnyCluster, int] | None = None,
    move: Move | None = None,
) -> tuple[float, float]:
    """The worker's share of a core, and how long the last move took to arrive."""
    link: dict[str, Any] = {
        "name": "bench",
        "source": "us",
        "target": "eu",
        "lanes": 4,
        "topics": {"include": [_TOPIC]},
    }
    link["sync"] = {"groups": groups}
    installation = Installation(directory, {"us": source, "eu": target}, [link])
    with installation.worker() as worker:
        worker.wait_ready(within=60)
        wait_for(lambda: _copied(installation), within=120, every=0.5, what="the topic is copied")
        if wait is not None:
            wait_for(lambda: _written(*wait), within=60, every=1, what="all groups are written")
        if move is not None:
            move(1_001)
        time.sleep(2 * _CYCLE_S)
        share = _share(worker, cycles, move)
        began = time.monotonic()
        if move is not None:
            wait_for(lambda: move.arrived(target), within=60, every=0.2, what="all positions have arrived")
        return share, time.monotonic() - began


def _share(worker: Worker, cycles: int, move: Move | None) -> float:
    before, began = cost(worker.pid).cpu_s, time.monotonic()
    for cycle in range(cycles):
        next_s = began + (cycle + 1) * _CYCLE_S
        if move is not None:
            move(2_000 + cycle)
        if cycle + 1 < cycles or move is None:
            time.sleep(max(0.0, next_s - time.monotonic()))
    return (cost(worker.pid).cpu_s - before) / (time.monotonic() - began)


def _copied(installation: Installation) -> bool:
    found = installation.status()
    return bool(found) and all(partition["lag"] == 0 for partition in found.values())


def _written(cluster: AnyCluster, groups: int) -> bool:
    async def count() -> int:
        client = ClusterClient("eu", ClusterConfig(bootstrap_servers=cluster.bootstrap), "bench")
        try:
            await client.all_topics()
            return sum(group.startswith("group-") for group in await GroupClient(client).groups())
        finally:
            await client.close()

    return asyncio.run(count()) >= groups


async def _commit(groups: GroupClient, name: str, positions: dict[tuple[str, int], tuple[int, str]]) -> None:
    """Patiently: a cluster that is new has no coordinators yet."""
    deadline = time.monotonic() + 60
    while True:
        try:
            if not any((await groups.commit(name, positions)).values()):
                return
        except ReplicatorError as error:
            if not error.retriable or time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.5)


class Move:
    """Sets all positions of all groups."""

    def __init__(self, source: AnyCluster, groups: int, partitions: int) -> None:
        self._bootstrap = source.bootstrap
        self._groups, self._partitions = groups, partitions
        self._last = 0

    def __call__(self, offset: int) -> None:
        self._last = offset
        asyncio.run(self._move(offset))

    def arrived(self, target: AnyCluster) -> bool:
        """Whether the target has what was set last."""
        return asyncio.run(self._arrived(target))

    async def _arrived(self, target: AnyCluster) -> bool:
        client = ClusterClient("eu", ClusterConfig(bootstrap_servers=target.bootstrap), "bench")
        try:
            await client.all_topics()
            found = await GroupClient(client).positions([f"group-{number}" for number in range(self._groups)])
        finally:
            await client.close()
        expected = {(f"us.{_TOPIC}", partition): self._last for partition in range(self._partitions)}
        return all({at: c.offset for at, c in each.committed.items()} == expected for each in found.values())

    async def _move(self, offset: int) -> None:
        client = ClusterClient("us", ClusterConfig(bootstrap_servers=self._bootstrap), "bench")
        try:
            await client.all_topics()
            groups = GroupClient(client)
            positions = {(_TOPIC, partition): (offset, "") for partition in range(self._partitions)}
            for first in range(0, self._groups, _AT_ONCE):
                names = [f"group-{number}" for number in range(first, min(first + _AT_ONCE, self._groups))]
                await asyncio.gather(*(_commit(groups, name, positions) for name in names))
        finally:
            await client.close()


if __name__ == "__main__":
    typer.run(main)
