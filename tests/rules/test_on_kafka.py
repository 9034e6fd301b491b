"""The same rules held from outside on real Kafka: two workers, one of them killed, and then what lies in the logs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from kio.schema.errors import ErrorCode

from broker.storage.batch import read_header
from replicator.config.models import LinkConfig
from replicator.ledger.lanes import lane_of, ledger_topic, map_topic
from tests.rules.checks import Scene, hold
from tests.rules.history import History, append_of
from tests.support.copying import create
from tests.support.kafka import KafkaCluster
from tests.support.rawclient import RawClient
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

PARTITIONS, LANES = 3, 2
KILL_AFTER, END_AFTER = 20, 60  # transactions of the writer

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def fetch(client: RawClient, topic: str, partition: int, offset: int) -> Any:
    """One partition's part of an uncommitted read."""
    place = {"partition": partition, "fetch_offset": offset, "partition_max_bytes": 8 << 20}
    place |= {"current_leader_epoch": -1, "last_fetched_epoch": -1}
    session = {"session_id": 0, "session_epoch": -1, "isolation_level": 0, "replica_id": -1, "max_bytes": 8 << 20}
    topics = [{"topic": topic, "partitions": [place]}]
    row = client.call("fetch", 12, max_wait=0, min_bytes=0, topics=topics, **session).responses[0].partitions[0]
    assert row.error_code == ErrorCode.none, row
    return row


def batches(client: RawClient, topic: str, partition: int) -> Iterator[bytes]:
    """All that lies in a partition's log, markers and aborted batches too."""
    row = fetch(client, topic, partition, 0)
    at, end = max(0, row.log_start_offset), row.high_watermark
    while at < end:
        data = bytes(fetch(client, topic, partition, at).records)
        before = at
        while len(data) >= 12 and len(data) >= (size := 12 + int.from_bytes(data[8:12], "big")):
            header = read_header(data)
            if header.last_offset >= at:
                yield data[:size]
                at = header.last_offset + 1
            data = data[size:]
        assert at > before, f"{topic}-{partition}: nothing at {at}, before its end {end}"


def history(bootstrap: str, topics: dict[str, int]) -> History:
    """The logs of these topics as they are now; nothing is known of the order between partitions."""
    found = History()
    with RawClient(bootstrap) as client:
        for topic, partitions in topics.items():
            for partition in range(partitions):
                place = topic, partition
                for data in batches(client, topic, partition):
                    found.add(append_of(place, len(found.appends), data))
                found.present[place] = {row.offset for append in found.of(place) for row in append.rows}
    return found


class Writing:
    """Plain records to partitions 0 and 1, transactions to partition 2, some of them aborted. Each value is unlike."""

    def __init__(self, cluster: KafkaCluster, topic: str) -> None:
        self._cluster, self._topic = cluster, topic
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._plainly, self._in_transactions)]
        self.transactions = 0
        self.failures: list[BaseException] = []

    def __enter__(self) -> Writing:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(30)

    def _plainly(self) -> None:
        producer = Producer({**self._cluster.client_config, "linger.ms": 5, "compression.type": "lz4"})
        number = 0
        while not self._ending.wait(0.01):
            for _ in range(20):
                producer.produce(self._topic, b"p%d" % number, b"k%d" % (number % 7), partition=number % 2)
                number += 1
            producer.poll(0)
        self._flushed(producer)

    def _in_transactions(self) -> None:
        producer = Producer({**self._cluster.client_config, "transactional.id": f"writer-{self._topic}"})
        producer.init_transactions(30)
        number = 0
        while not self._ending.wait(0.1):
            producer.begin_transaction()
            for _ in range(5):
                producer.produce(self._topic, b"t%d" % number, partition=2)
                number += 1
            self.transactions += 1
            if self.transactions % 3:
                producer.commit_transaction(30)
            else:
                self._flushed(producer)
                producer.abort_transaction(30)

    def _flushed(self, producer: Producer) -> None:
        if producer.flush(30):
            self.failures.append(AssertionError("not everything was written"))


@pytest.mark.parametrize("writing", ["auto", pytest.param("transactions", marks=pytest.mark.soak)])
def test_rules_a_to_e_given_a_worker_that_is_killed_then_the_logs_keep_them(
    kafka_source: KafkaCluster, kafka_target: KafkaCluster, tmp_path: Path, writing: str
) -> None:
    name = f"rules-{writing}-{uuid4().hex[:6]}"
    names = (f"{name}-orders{n}" for n in count())
    topic = next(t for t in names if {lane_of(t, p, LANES) for p in range(PARTITIONS)} == set(range(LANES)))
    remote = f"us.{topic}"  # with partitions in each lane: whoever is killed has written
    create(kafka_source.admin(), topic, PARTITIONS)
    link = {"name": name, "source": "us", "target": "eu", "topics": {"include": [topic]}, "lanes": LANES}
    link["writing"] = writing
    installation = Installation(tmp_path, {"us": kafka_source, "eu": kafka_target}, [link])
    with installation.worker() as first, installation.worker() as second, Writing(kafka_source, topic) as written:
        first.wait_ready()
        second.wait_ready()
        begun = written.transactions
        wait_for(lambda: written.transactions > begun + KILL_AFTER, within=30, what="the first records are written")
        first.kill()
        wait_for(lambda: written.transactions > begun + END_AFTER, within=30, what="the last records are written")
        written.__exit__()
        installation.wait_until_copied(PARTITIONS)
    assert written.failures == []
    scene = Scene(
        LinkConfig.model_validate(link),
        history(kafka_source.bootstrap, {topic: PARTITIONS}),
        history(kafka_target.bootstrap, {remote: PARTITIONS, ledger_topic(name): LANES, map_topic(name): LANES}),
        {(topic, partition): 0 for partition in range(PARTITIONS)},
        own_producers(kafka_target.bootstrap, f"replicator.{name}."),
        ordered=False,
    )
    epochs = {append.epoch for append in scene.target.appends if append.topic == remote}
    assert len(epochs) > 1, "the kill had no effect"
    assert all(len(list(scene.target.counted((remote, partition)))) > 30 for partition in range(PARTITIONS))
    assert hold(scene, "ABCDE") == []


def own_producers(bootstrap: str, prefix: str) -> set[int]:
    """The producer ids of the link's transactional ids, as the coordinator knows them."""
    with RawClient(bootstrap) as client:
        states = client.call("list_transactions", 0).transaction_states
    return {state.producer_id for state in states if state.transactional_id.startswith(prefix)}
