"""Reading maps from real Kafka and from the bundled broker, as a worker leaves them there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from replicator.errors import UnreachableError, WrongStateError
from replicator.ledger.codec import LedgerFormatError
from replicator.ledger.entry import Entry, encode_entry, encode_key
from replicator.ledger.lanes import lane_of, ledger_topic, map_topic
from replicator.ledger.map_chunks import PARTITION_MAX_BYTES, chunks_from_records, encode_chunk_key
from replicator.ledger.map_reader import MapReader, map_of
from replicator.ledger.map_thinning import thin
from replicator.ledger.moved import Moved, encode_moved
from replicator.ledger.offset_map import MapTail, OffsetMap
from tests.ledger.offset_map_model import Model, check_bounded, check_exact, drain
from tests.ledger.test_entry import ENTRY
from tests.support.bundled import BundledCluster
from tests.support.kafka import KafkaCluster
from tests.support.ports import free_ports

LANES = 3
TOPIC, PARTITION = "orders", 2
LANE = lane_of(TOPIC, PARTITION, LANES)
OTHER = next((f"t{n}", 0) for n in range(99) if lane_of(f"t{n}", 0, LANES) == LANE)  # lives in the same lane


@pytest.fixture(scope="module")
def bundled() -> Iterator[BundledCluster]:
    with BundledCluster() as cluster:
        yield cluster


@pytest.fixture(params=["bundled", pytest.param("kafka", marks=pytest.mark.kafka)])
def cluster(request: pytest.FixtureRequest) -> BundledCluster | KafkaCluster:
    found: BundledCluster | KafkaCluster = request.getfixturevalue(
        "bundled" if request.param == "bundled" else "kafka_source"
    )
    return found


class Worker:
    """Copies one partition in lane transactions: its map's chunks and its entry are committed as one."""

    def __init__(self, cluster: BundledCluster | KafkaCluster) -> None:
        self.cluster = cluster
        self.link = uuid4().hex[:8]
        self.lane = LANE
        self.model, self.tail = Model(), MapTail()
        self.chunks: dict[int, bytes] = {}
        topics = [NewTopic(name, LANES, 1) for name in (ledger_topic(self.link), map_topic(self.link))]
        admin = cluster.admin()
        for future in admin.create_topics(topics).values():
            future.result()
        self.producer = Producer({**cluster.client_config, "transactional.id": self.link})
        self.producer.init_transactions(20)

    def begin(self) -> None:
        self.producer.begin_transaction()
        written = self.tail.flush()
        self.chunks.update(written)
        for number, value in written:
            self.put(map_topic(self.link), encode_chunk_key(TOPIC, PARTITION, number), value)
        if written:
            self.tail.flushed([number for number, _ in written])
        entry = self.entry()
        self.put(ledger_topic(self.link), encode_key(entry.topic, entry.partition), encode_entry(entry))
        assert self.producer.flush(10) == 0

    def commit(self) -> None:
        self.begin()
        self.producer.commit_transaction(20)

    def put(self, topic: str, key: bytes, value: bytes | None) -> None:
        self.producer.produce(topic, value, key, self.lane)

    def entry(self) -> Entry:
        return replace(
            ENTRY,
            topic=TOPIC,
            partition=PARTITION,
            source_next=self.model.source_next,
            target_next=self.model.target_next,
            map_chunks=self.tail.chunks,
            map_tail=self.tail.encoded(),
        )

    def load(self, topic: str = TOPIC, partition: int = PARTITION) -> tuple[Entry, OffsetMap] | None:
        reader = MapReader(dict(self.cluster.client_config), self.link, cluster="eu")
        try:
            return reader.load(topic, partition)
        finally:
            reader.close()


def test_given_commits_and_an_abort_when_loaded_then_the_map_is_that_of_the_committed_entry(
    cluster: BundledCluster | KafkaCluster,
) -> None:
    worker = Worker(cluster)
    for _ in range(3):
        worker.model.run([(1, 0, 2)] * 100, worker.tail.add)
        worker.commit()
    committed = worker.model.copy()
    worker.model.run([(1, 5, 2)] * 100, worker.tail.add)
    worker.begin()
    worker.producer.abort_transaction(20)
    found = worker.load()
    assert found is not None
    assert (found[0].source_next, found[0].map_chunks) == (committed.source_next, 1)
    check_exact(found[1], committed)
    assert worker.load(*OTHER) is None
    assert worker.load("nowhere", 0) is None

    worker.begin()  # and an open one at the end
    found = worker.load()
    assert found is not None
    check_exact(found[1], committed)
    worker.producer.abort_transaction(20)


def test_given_thinned_chunks_and_tombstones_when_loaded_then_old_positions_are_within_the_bound(
    cluster: BundledCluster | KafkaCluster,
) -> None:
    worker = Worker(cluster)
    for n in range(40):
        worker.model.run([(1, n % 2, 3)] * 150, worker.tail.add)
        drain(worker.tail, worker.chunks)
    written = thin(worker.chunks, 7000)
    assert None in dict(written).values()
    worker.producer.begin_transaction()
    for number, value in [*worker.chunks.items(), *written]:
        worker.put(map_topic(worker.link), encode_chunk_key(TOPIC, PARTITION, number), value)
    worker.put(map_topic(worker.link), encode_chunk_key(*OTHER, 0), b"of another partition")
    worker.put(map_topic(worker.link), b"\x63 of a later version", b"?")
    worker.producer.commit_transaction(20)
    worker.commit()
    found = worker.load()
    assert found is not None
    assert not found[1].exact
    assert check_bounded(found[1], worker.model) > 0


def test_given_a_partition_that_began_anew_when_loaded_then_chunks_from_before_do_not_count() -> None:
    tail, chunks = MapTail(), dict[int, bytes]()
    for n in range(5000):
        tail.add(1_000_000 + n * 10, n * 9, 3)
        drain(tail, chunks)
    assert len(chunks) > 3
    model, tail = Model(), MapTail()
    model.run([(1, 2, 1)] * 100, tail.add)
    written = tail.flush()
    chunks.update(written)
    tail.flushed([number for number, _ in written])
    check_exact(map_of(replace(ENTRY, map_chunks=tail.chunks, map_tail=tail.encoded()), chunks), model)


def test_given_a_damaged_map_when_loaded_then_the_partition_is_named() -> None:
    with pytest.raises(LedgerFormatError, match=r"offset map of orders-3: .*version 9"):
        map_of(replace(ENTRY, topic="orders", partition=3, map_chunks=1), {0: b"\x09"})


def test_given_more_than_could_be_a_map_when_read_then_it_is_refused_before_it_fills_the_memory() -> None:
    value = bytes(1 << 20)
    records = ((encode_chunk_key("t", 0, number), value) for number in range(1000))
    with pytest.raises(LedgerFormatError, match=rf"t-0 has more than {PARTITION_MAX_BYTES} bytes"):
        chunks_from_records(records)
    same = ((encode_chunk_key("t", 0, 0), value) for _ in range(100))
    assert chunks_from_records(same) == {("t", 0): {0: value}}
    gone = [(encode_chunk_key("t", 0, 0), value), (encode_chunk_key("t", 0, 0), None), (None, b"x")]
    assert chunks_from_records(gone) == {("t", 0): {}}


def test_given_no_ledger_or_no_cluster_when_loaded_then_it_says_so(bundled: BundledCluster) -> None:
    reader = MapReader(dict(bundled.client_config), "never-run", cluster="eu")
    with pytest.raises(WrongStateError, match="__replicator_never-run_ledger doesn't exist on cluster eu"):
        reader.load("t", 0)
    reader.close()
    nobody = {"bootstrap.servers": f"127.0.0.1:{free_ports(1)[0]}", "log_level": 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("replicator.ledger.map_reader.REQUEST_TIMEOUT_S", 0.5)
        reader = MapReader(nobody, "x", cluster="eu")
        with pytest.raises(UnreachableError, match="cluster eu: cannot list topics"):
            reader.load("t", 0)
        reader.close()


def test_given_the_map_topic_was_emptied_then_nothing_is_translated_from_what_is_left(
    bundled: BundledCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replicator.ledger.map_reader._SETTLE_S", 0.3)
    worker = Worker(bundled)
    worker.model.run([(1, 1, 3)] * 150, worker.tail.add)
    drain(worker.tail, worker.chunks)
    worker.producer.begin_transaction()
    worker.put(ledger_topic(worker.link), encode_key(TOPIC, PARTITION), encode_entry(worker.entry()))
    worker.producer.commit_transaction(20)
    with pytest.raises(WrongStateError, match="lost the newest part of the offset map of orders-2"):
        worker.load()


def test_given_a_partition_that_left_its_lane_then_its_map_is_read_where_it_is(
    cluster: BundledCluster | KafkaCluster,
) -> None:
    worker = Worker(cluster)
    worker.model.run([(1, 0, 2)] * 4000, worker.tail.add)
    worker.commit()
    moved = encode_moved(Moved(worker.entry(), (LANE + 1) % LANES, 1))
    worker.producer.begin_transaction()
    worker.put(ledger_topic(worker.link), encode_key(TOPIC, PARTITION), moved)
    worker.producer.commit_transaction(20)
    on_its_way = worker.load()
    assert on_its_way is not None
    check_exact(on_its_way[1], worker.model)
    worker.lane = (LANE + 1) % LANES
    worker.producer.begin_transaction()
    for number, value in worker.chunks.items():
        worker.put(map_topic(worker.link), encode_chunk_key(TOPIC, PARTITION, number), value)
    worker.producer.commit_transaction(20)
    worker.model.run([(1, 5, 2)] * 4000, worker.tail.add)
    worker.commit()
    arrived = worker.load()
    assert arrived is not None
    check_exact(arrived[1], worker.model)
