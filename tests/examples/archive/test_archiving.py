"""The archive as a process: kill -9 at any time, SIGTERM, gaps, and memory."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition

from tests.examples.archive.processes import ArchiveProcess
from tests.examples.objects import ObjectStore
from tests.support.bundled import BundledCluster
from tests.support.copying import create
from tests.support.rawclient import RawClient, batch, varint
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow]

TOPIC = "us.clicks"
JSON = {TOPIC: {"format": "json"}}
DAY_MS = 86_400_000
START_MS = 1_790_000_000_000


@pytest.fixture(scope="module")
def cluster() -> Iterator[BundledCluster]:
    with BundledCluster(name="archived", properties={"group.initial.rebalance.delay.ms": "0"}) as running:
        yield running


@pytest.fixture
def topic(cluster: BundledCluster, request: pytest.FixtureRequest) -> str:
    name = f"{TOPIC}.{abs(hash(request.node.name)) % 10**9}"
    create(cluster.admin(), name, partitions=2)
    return name


def produce(cluster: BundledCluster, topic: str, first: int, count: int, *, size: int = 20) -> None:
    """Numbered records in both partitions; each seventh can't be decoded."""
    producer = Producer({**cluster.client_config, "enable.idempotence": "true"})
    for number in range(first, first + count):
        value = b'{"n": %d' % number if number % 7 == 3 else b'{"n": %d, "fill": "%s"}' % (number, b"x" * size)
        timestamp = START_MS + number * DAY_MS // 500
        producer.produce(topic, value, b"%d" % number, partition=number % 2, timestamp=timestamp)
    assert producer.flush(30) == 0


def archived(objects: ObjectStore, topic: str, count: int) -> bool:
    """Whether each of the first `count` records is in the archive once, in order, good or as a dead letter."""
    for partition in (0, 1):
        wanted = [number for number in range(count) if number % 2 == partition]
        good = [int(row.key or b"") for row in objects.rows(topic, partition)]
        dead = [int(row.key or b"") for row in objects.rows(topic, partition, dead_letters=True)]
        assert good == [number for number in wanted if number % 7 != 3], f"{len(good)} good records in {partition}"
        assert dead == [number for number in wanted if number % 7 == 3], f"{len(dead)} dead letters in {partition}"
    return True


def test_given_kills_at_any_time_when_it_is_started_again_then_each_record_is_in_the_archive_once(
    cluster: BundledCluster, topic: str, objects: ObjectStore, tmp_path: Path
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    small = {"max_records": 40, "max_seconds": 0.2}
    written = 0
    for life in range(3):
        produce(cluster, topic, written, 150)
        written += 150
        directory = tmp_path / str(life)
        directory.mkdir()
        process = ArchiveProcess(
            directory, cluster, objects, topics={topic: JSON[TOPIC]}, group=f"{topic}-{life}", objects=small
        )
        process.start()
        before, more = len(objects.keys()), rng.randint(1, 4)
        wait_for(
            lambda before=before, more=more: len(objects.keys()) >= before + more,  # type: ignore[misc]
            within=30, every=rng.uniform(0.001, 0.02), what="objects come",
        )  # fmt: skip
        process.kill()
    last = tmp_path / "last"
    last.mkdir()
    process = ArchiveProcess(last, cluster, objects, topics={topic: JSON[TOPIC]}, group=topic, objects=small)
    assert process.once() == 0, process.log
    assert archived(objects, topic, written)


def test_given_a_second_process_when_partitions_move_to_it_and_back_then_each_record_is_in_the_archive_once(
    cluster: BundledCluster, topic: str, objects: ObjectStore, tmp_path: Path
) -> None:
    settings = {"topics": {topic: JSON[TOPIC]}, "group": topic, "objects": {"max_seconds": 0.3}}
    processes = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        processes.append(ArchiveProcess(tmp_path / name, cluster, objects, **settings))
    first, second = processes
    first.start()
    produce(cluster, topic, 0, 100)
    wait_for(lambda: first.log.count('"assigned"') == 2, within=30, what="the first has both partitions")
    second.start()
    produce(cluster, topic, 100, 100)
    wait_for(lambda: '"assigned"' in second.log, within=30, what="the second has got one")
    produce(cluster, topic, 200, 100)
    assert first.terminate() == 0, first.log
    wait_for(lambda: second.log.count('"assigned"') == 2, within=30, what="the second has both")
    produce(cluster, topic, 300, 100)
    wait_for(lambda: archived(objects, topic, 400), within=30, every=0.3, what="all is there")
    assert second.terminate() == 0, second.log


def test_given_a_half_full_object_when_it_is_terminated_then_it_is_written_and_lag_is_committed(
    cluster: BundledCluster, topic: str, objects: ObjectStore, tmp_path: Path
) -> None:
    produce(cluster, topic, 0, 100)
    settings = {"topics": {topic: JSON[TOPIC]}, "group": topic, "objects": {"max_records": 20}}
    process = ArchiveProcess(tmp_path, cluster, objects, **settings)
    process.start()
    wait_for(lambda: len(objects.keys("archive/topic=")) >= 4, within=30, what="full objects are there")
    assert process.terminate() == 0, process.log
    assert archived(objects, topic, 100)
    admin = cluster.admin()
    (found,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(topic)]).values()
    assert sorted(position.offset for position in found.result().topic_partitions) == [50, 50]
    keys = objects.keys()
    assert process.once() == 0, process.log
    assert objects.keys() == keys, "there was nothing more to do"


def test_given_records_that_are_gone_when_it_goes_on_then_it_stops_and_says_so_and_continues_only_if_told(
    cluster: BundledCluster, topic: str, objects: ObjectStore, tmp_path: Path
) -> None:
    settings = {"topics": {topic: JSON[TOPIC]}, "group": topic}
    process = ArchiveProcess(tmp_path, cluster, objects, **settings)
    produce(cluster, topic, 0, 20)
    assert process.once() == 0, process.log
    produce(cluster, topic, 20, 20)
    _delete_before(cluster, topic, 15)
    assert process.once() == 1
    assert f"{topic}-" in process.log
    assert "goes on at 10, and the topic has 15 to 20" in process.log
    assert "on_gap: continue" in process.log
    process = ArchiveProcess(tmp_path, cluster, objects, **settings, on_gap="continue")
    assert process.once() == 0, process.log
    assert next(row.offset for row in objects.rows(topic, 0) if row.offset >= 10) >= 15


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_given_a_small_limit_on_memory_when_much_is_read_then_objects_are_written_early_and_memory_stays(
    cluster: BundledCluster, topic: str, objects: ObjectStore, tmp_path: Path
) -> None:
    produce(cluster, topic, 0, 3_000, size=30_000)  # 90 MB
    process = ArchiveProcess(
        tmp_path, cluster, objects, topics={topic: JSON[TOPIC]}, group=topic, memory_bytes=4 << 20,
        objects={"max_bytes": 200 << 20, "max_records": 1_000_000, "max_seconds": 3_600},
    )  # fmt: skip
    process.start()
    wait_for(lambda: len(objects.keys("archive/topic=")) > 12, within=40, what="objects are written early")
    peak = process.resident_bytes
    assert process.terminate() == 0, process.log
    assert peak < 300 << 20, f"{peak >> 20} MiB"


def test_given_an_object_store_that_is_away_when_archiving_then_it_ends_with_the_reason_and_goes_on_later(
    cluster: BundledCluster, topic: str, objects: ObjectStore, tmp_path: Path
) -> None:
    produce(cluster, topic, 0, 20)
    gone = objects._replace(bucket=objects.bucket.model_copy(update={"bucket": "nobody-made-this"}))
    process = ArchiveProcess(tmp_path, cluster, gone, topics={topic: JSON[TOPIC]}, group=topic)
    assert process.once() == 1
    assert "NoSuchBucket" in process.log
    process = ArchiveProcess(tmp_path, cluster, objects, topics={topic: JSON[TOPIC]}, group=topic)
    assert process.once() == 0, process.log
    assert archived(objects, topic, 20)


def test_given_a_record_that_the_client_can_not_show_whole_when_archived_then_it_is_a_dead_letter_and_it_goes_on(
    cluster: BundledCluster, topic: str, objects: ObjectStore, tmp_path: Path
) -> None:
    header = varint(2) + b"\xff\xfe" + varint(1) + b"x"  # its name isn't UTF-8
    body = b"\x00" + varint(0) + varint(0) + varint(-1) + varint(2) + b"{}" + varint(1) + header
    records = batch([b"{}"], payload=varint(len(body)) + body)
    data = {"name": topic, "partition_data": [{"index": 0, "records": records}]}
    with RawClient(cluster.bootstrap) as client:
        client.call("produce", 9, transactional_id=None, acks=-1, timeout=10_000, topic_data=[data])
    produce(cluster, topic, 0, 2)
    process = ArchiveProcess(tmp_path, cluster, objects, topics={topic: JSON[TOPIC]}, group=topic)
    assert process.once() == 0, process.log
    assert [row.offset for row in objects.rows(topic, 0)] == [1]
    assert [row.value for row in objects.rows(topic, 0, dead_letters=True)] == [b"{}"]


def _delete_before(cluster: BundledCluster, topic: str, offset: int) -> None:
    admin = cluster.admin()
    for future in admin.delete_records([TopicPartition(topic, partition, offset) for partition in (0, 1)]).values():
        future.result()
