"""Clusters that copy to one another under the same names, with clients on each; and what has to hold in the end.

What clients were told is written is what is wanted: on every cluster once, each producer's records in their order. The
reader is librdkafka's, and shares nothing with the product.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from tests.support.bundled import BundledCluster
from tests.support.checker import read_partition
from tests.support.copying import create
from tests.support.kafka import KafkaCluster
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

AnyCluster = BundledCluster | KafkaCluster
Place = tuple[str, int]

PARTITIONS = 3
KINDS = ("plain", "idempotent", "transactional")


class Client:
    """One producer: writes numbered records to all partitions until told to stop."""

    def __init__(self, cluster: AnyCluster, name: str, kind: str, topics: list[str], pause_s: float) -> None:
        self.name = name
        self.written: dict[Place, list[bytes]] = {}  # what it was told is there, by partition and in order
        self._kind = kind
        self._topics = topics
        self._pause_s = pause_s
        self._count = 0
        settings: dict[str, Any] = {**cluster.client_config, "linger.ms": 2, "batch.num.messages": 50}
        if kind == "plain":
            settings["enable.idempotence"] = False
        elif kind == "idempotent":
            settings["enable.idempotence"] = True
        else:
            settings["transactional.id"] = f"client-{name}"
        self._producer = Producer(settings)
        if kind == "transactional":
            self._producer.init_transactions(30)

    def round(self, records: int = 20) -> None:
        """A few records to each partition; every third transaction is aborted."""
        told: dict[Place, list[bytes]] = {}

        def note(error: Any, message: Any) -> None:
            assert error is None, f"{self.name}: {error}"
            told.setdefault((message.topic(), message.partition()), []).append(message.value())

        if self._kind == "transactional":
            self._producer.begin_transaction()
        for topic in self._topics:
            for partition in range(PARTITIONS):
                for _ in range(records):
                    self._count += 1
                    value = f"{self.name}-{self._count}".encode()
                    self._producer.produce(topic, value, b"k", partition, on_delivery=note)
                self._producer.poll(0)
        assert self._producer.flush(60) == 0
        if self._kind == "transactional":
            if self._count // records % 3 == 2:
                self._producer.abort_transaction(60)
                return
            self._producer.commit_transaction(60)
        for place, values in told.items():
            self.written.setdefault(place, []).extend(values)

    def until(self, stop: threading.Event) -> None:
        """Round after round."""
        while not stop.is_set():
            self.round()
            time.sleep(self._pause_s)


class Ring:
    """`clusters` by alias, each copied to the next one, the last one to the first."""

    def __init__(
        self, clusters: Mapping[str, AnyCluster], directory: Path, name: str, *, pause_s: float = 0.05, **link: Any
    ) -> None:
        self.clusters = dict(clusters)
        self.topics = [f"{name}-{number}" for number in range(2)]
        aliases = list(clusters)
        links = [
            {
                "name": f"{name}-{source}-{target}",
                "source": source,
                "target": target,
                "topics": {"include": [f"{name}-.*"], "naming": "identical"},
                "lanes": 4,
                **link,
            }
            for source, target in zip(aliases, [*aliases[1:], aliases[0]], strict=True)
        ]
        self.installation = Installation(directory, self.clusters, links)
        for topic in self.topics:
            create(self.clusters[aliases[0]].admin(), topic, PARTITIONS)  # the others get it from there
        self.clients: list[Client] = []
        self._pause_s = pause_s  # of the clients, between rounds: passing on what is mixed takes its time

    @property
    def places(self) -> list[Place]:
        return [(topic, partition) for topic in self.topics for partition in range(PARTITIONS)]

    def wait_for_topics(self, within: float = 40) -> None:
        """Until every cluster has them."""
        for alias, cluster in self.clusters.items():
            admin = cluster.admin()
            wait_for(
                lambda admin=admin: set(self.topics) <= admin.list_topics(timeout=5).topics.keys(),
                within=within,
                what=f"{alias} has the topics",
            )

    @contextmanager
    def clients_writing(self) -> Iterator[None]:
        """Three producers on each cluster write meanwhile."""
        stop = threading.Event()
        fresh = [
            Client(cluster, f"{alias}{len(self.clients)}-{kind}", kind, self.topics, self._pause_s)
            for alias, cluster in self.clusters.items()
            for kind in KINDS
        ]
        self.clients += fresh
        threads = [threading.Thread(target=client.until, args=(stop,), daemon=True) for client in fresh]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
        assert all(client.written for client in fresh)

    def wanted(self, place: Place) -> Counter[bytes]:
        """What each cluster has to have."""
        return Counter(value for client in self.clients for value in client.written.get(place, ()))

    def ends(self) -> dict[tuple[str, Place], int]:
        """Where each log ends."""
        found: dict[tuple[str, Place], int] = {}
        for alias, cluster in self.clusters.items():
            consumer = Consumer({**cluster.client_config, "group.id": "ends"})
            for place in self.places:
                found[alias, place] = consumer.get_watermark_offsets(TopicPartition(*place), timeout=20)[1]
            consumer.close()
        return found

    def problems(self) -> list[str]:
        """What is wrong now."""
        wrong = []
        for place in self.places:
            wanted = self.wanted(place)
            for alias, cluster in self.clusters.items():
                there = [record.value or b"" for record in read_partition(cluster.client_config, *place)]
                found = Counter(there)
                if missing := wanted - found:
                    wrong.append(f"{alias} {place}: {missing.total()} records are missing, as {next(iter(missing))!r}")
                if extra := found - wanted:
                    wrong.append(f"{alias} {place}: {extra.total()} records too many, as {next(iter(extra))!r}")
                last: dict[bytes, int] = {}
                for value in there:
                    name, _, number = value.rpartition(b"-")
                    if int(number) <= last.get(name, 0):
                        wrong.append(f"{alias} {place}: {value!r} comes behind {last[name]}")
                    last[name] = int(number)
        return wrong

    def judge(self, *, within: float = 60, quiet_s: float = 3.0) -> int:
        """All clusters come to hold the same, and then nothing moves any more; how many records each has."""

        def same() -> bool:
            assert (found := self.problems()) == [], "\n".join(found[:10])
            return True

        wait_for(same, within=within, every=1.0, what="all clusters hold the same records")
        self._quiet(quiet_s, within)
        assert self.problems() == []
        return sum(self.wanted(place).total() for place in self.places)

    def _quiet(self, seconds: float, within: float) -> None:
        seen, since = self.ends(), time.monotonic()

        def stays() -> bool:
            nonlocal seen, since
            now = self.ends()
            if now != seen:
                seen, since = now, time.monotonic()
            assert time.monotonic() - since >= seconds, "logs still grow"
            return True

        wait_for(stays, within=within, every=0.5, what="nothing circulates")


def looped(metrics: str) -> float:
    """How many records `/metrics` says weren't copied back."""
    lines = [line for line in metrics.splitlines() if line.startswith("replicator_looped_records_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)
