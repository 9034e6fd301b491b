"""A consumer moves to the other cluster and back: it reads every record exactly once."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.e2e.pairs import KAFKA, LONG_BUNDLED, on
from tests.e2e.reading import read_on, unread, wait_moved
from tests.e2e.rig import AnyCluster, Pair
from tests.support.copying import create
from tests.support.replicator import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PARTITIONS = 2


class Shop:
    """Two clusters whose links go both ways, a producer that is wherever the shop is, and one consumer group."""

    def __init__(self, pair: Pair, directory: Path, naming: str) -> None:
        self.clusters: dict[str, AnyCluster] = dict(zip(("us", "eu"), pair, strict=True))
        self.topic = f"shop-{naming}-{directory.name[-6:]}"
        self.group = f"{self.topic}-billing"
        self.naming = naming
        self.written: Counter[bytes] = Counter()
        self.read: Counter[bytes] = Counter()
        links: list[dict[str, Any]] = [
            {
                "name": f"{self.topic}-{source}-{target}",
                "source": source,
                "target": target,
                "lanes": 4,
                "topics": {"include": [rf"(\w+\.)?{self.topic}"], "naming": naming},
                "groups": {"include": [self.group]},
                "sync": {"every": 1},
            }
            for source, target in (("us", "eu"), ("eu", "us"))
        ]
        self.links = [str(link["name"]) for link in links]
        self.installation = Installation(directory, self.clusters, links)
        for cluster in self.clusters.values():
            create(cluster.admin(), self.topic, PARTITIONS)

    def topics(self, where: str) -> dict[str, str]:
        """What a consumer on this cluster reads: cluster that the records were written in -> topic."""
        other = "eu" if where == "us" else "us"
        if self.naming == "identical":
            return {where: self.topic}
        return {where: self.topic, other: f"{other}.{self.topic}"}

    def wait_copied(self) -> None:
        """Wait until both clusters have everything."""
        for link in self.links:
            self.installation.wait_until_copied(PARTITIONS, link=link)

    def write(self, where: str, count: int, *, transactions: bool = False) -> None:
        """So many records, over all partitions."""
        more = {"transactional.id": f"{self.topic}-{where}"} if transactions else {}
        producer = Producer({**self.clusters[where].client_config, "linger.ms": 5, **more})
        if transactions:
            producer.init_transactions(30)
        first = self.written.total()
        for start in range(first, first + count, 50):
            if transactions:
                producer.begin_transaction()
            for number in range(start, min(start + 50, first + count)):
                value = b"%s %d" % (where.encode(), number)
                producer.produce(self.topic, value, b"k", number % PARTITIONS)
                self.written[value] += 1
            if transactions:
                producer.commit_transaction(30)
        assert producer.flush(30) == 0

    def consume(self, where: str, most: int | None = None) -> None:
        """As a member of the group, at least `most` records or all that were written; then commit and leave."""
        wanted = self.written.total() if most is None else self.read.total() + most
        read_on(self.clusters[where], self.group, list(self.topics(where).values()), self.read, wanted)

    def wait_group(self, where: str) -> None:
        """Wait until the group's positions there leave exactly what it hasn't read."""
        cluster, topics = self.clusters[where], list(self.topics(where).values())
        left = partial(unread, cluster, self.group, topics, PARTITIONS)
        wait_moved(self.installation, left, self.written - self.read, where)


@pytest.mark.parametrize(
    "transactions", [pytest.param(False, id="plain", marks=pytest.mark.soak), pytest.param(True, id="transactions")]
)
@on(LONG_BUNDLED, KAFKA)
def test_given_a_consumer_that_moves_over_and_back_under_prefixed_names_then_it_reads_every_record_once(
    pair: Pair, tmp_path: Path, transactions: bool
) -> None:
    shop = Shop(pair, tmp_path, "prefix")
    with shop.installation.worker() as worker:
        worker.wait_ready()
        shop.write("us", 400, transactions=transactions)
        shop.write("eu", 200, transactions=transactions)
        shop.wait_copied()
        shop.consume("us", 250)
        shop.wait_group("eu")
        shop.write("us", 100, transactions=transactions)
        shop.consume("eu", 300)
        shop.write("eu", 150, transactions=transactions)
        shop.consume("eu")
        shop.write("eu", 70, transactions=transactions)
        shop.wait_group("us")
        shop.consume("us", 30)
        shop.write("us", 60, transactions=transactions)
        shop.consume("us")
        shop.wait_group("eu")
    assert shop.read == shop.written


@on(LONG_BUNDLED, KAFKA)
def test_given_a_shop_that_moves_over_and_back_under_identical_names_then_its_consumer_reads_every_record_once(
    pair: Pair, tmp_path: Path
) -> None:
    shop = Shop(pair, tmp_path, "identical")
    with shop.installation.worker() as worker:
        worker.wait_ready()
        for where, other in (("us", "eu"), ("eu", "us"), ("us", "eu")):
            shop.write(where, 200)
            shop.consume(where, 120)
            shop.write(where, 60)
            shop.wait_group(other)
        shop.consume("eu")
        shop.wait_group("us")
    assert shop.read == shop.written
