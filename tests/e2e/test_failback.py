"""A consumer moves to the other cluster and back: it reads every record exactly once."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition

from tests.e2e.pairs import KAFKA, LONG_BUNDLED, on
from tests.e2e.rig import AnyCluster, Pair
from tests.support.copying import create
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PARTITIONS = 2
READ_LIMIT_S = 30.0


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
        consumer = Consumer(
            {
                **self.clusters[where].client_config,
                "group.id": self.group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        try:
            consumer.subscribe(list(self.topics(where).values()))
            deadline = time.monotonic() + READ_LIMIT_S
            while self.read.total() < wanted and time.monotonic() < deadline:
                for message in consumer.consume(100, 0.2):
                    assert message.error() is None, message.error()
                    self.read[message.value() or b""] += 1
            if self.read:
                consumer.commit(asynchronous=False)
        finally:
            consumer.close()
        twice = {value: times for value, times in self.read.items() if times > 1}
        assert not twice, f"{where}: read again: {len(twice)}, as {sorted(twice)[:5]}"
        assert self.read.total() >= wanted, f"{where}: {self.read.total()} of {wanted} read within {READ_LIMIT_S:g} s"

    def wait_group(self, where: str) -> None:
        """Wait until the group's positions there leave exactly what it hasn't read."""

        def moved() -> bool:
            left, wanted = self._left(where), self.written - self.read
            told = self.installation.run("groups").stdout if left != wanted else ""
            again, missed = (left - wanted).total(), (wanted - left).total()
            assert left == wanted, f"{again} records would be read again, {missed} missed\n{told}"
            return True

        wait_for(moved, within=30, every=0.3, what=f"moved to {where}")

    def _left(self, where: str) -> Counter[bytes]:
        cluster = self.clusters[where]
        admin = cluster.admin()
        held = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(self.group)])[self.group]
        positions = {(at.topic, at.partition): max(0, at.offset) for at in held.result(20).topic_partitions}
        left: Counter[bytes] = Counter()
        consumer = Consumer(
            {**cluster.client_config, "group.id": "judge", "enable.auto.commit": False, "enable.partition.eof": True}
        )
        try:
            places = [
                TopicPartition(topic, partition, positions.get((topic, partition), 0))
                for topic in self.topics(where).values()
                for partition in range(PARTITIONS)
            ]
            consumer.assign(places)
            ended = 0
            while ended < len(places):
                for message in consumer.consume(500, 0.5):
                    if message.error() is not None:
                        ended += 1
                    else:
                        left[message.value() or b""] += 1
        finally:
            consumer.close()
        return left


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
