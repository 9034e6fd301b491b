"""What can't be copied, and what may happen to either side: a clear reason, for that partition alone.

Each test has a healthy topic beside the bad one, which must be copied all the while.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from confluent_kafka.admin import AclOperation, NewPartitions, ResourceType

from tests.e2e.rig import Pair, Rig, delete_records, delete_topic, grant, records
from tests.support.bundled import BundledCluster
from tests.support.checker import Seen, read_partition
from tests.support.copying import create, produce
from tests.support.kafka import USERNAME, KafkaCluster
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def rig(bundled_pair: Pair, tmp_path: Path, request: pytest.FixtureRequest) -> Rig:
    return Rig(bundled_pair, tmp_path, request.node.name, sync={"configs": False})  # what is set here stays


def test_given_a_record_larger_than_the_target_takes_then_it_waits_until_the_limit_is_raised(rig: Rig) -> None:
    create(rig.target.admin(), f"us.{rig.bad}", config={"max.message.bytes": "100000"})
    rig.write(rig.bad, [*records(1, start=20, size=200_000), *records(3, start=21)])
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_fault("RECORD_TOO_LARGE", "offset 20", "bytes")
        rig.good_goes_on()
        rig.set_config(rig.target, f"us.{rig.bad}", "max.message.bytes", "1000000")
        rig.wait_copied(rig.bad, rig.good)


def test_given_a_batch_larger_than_the_target_takes_then_it_is_split_and_nothing_is_wrong(rig: Rig) -> None:
    create(rig.target.admin(), f"us.{rig.bad}", config={"max.message.bytes": "5000"})
    rig.write(rig.bad, records(200, start=20, size=900))
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_copied(rig.bad, rig.good)


def test_given_a_null_key_for_a_compacted_target_then_refused_until_the_policy_is_changed(rig: Rig) -> None:
    create(rig.target.admin(), f"us.{rig.bad}", config={"cleanup.policy": "compact"})
    rig.write(rig.bad, [Seen(20, None, b"no key", (), 1_790_000_000_000)])
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_fault("RECORD_REFUSED", "20")
        rig.good_goes_on()
        rig.set_config(rig.target, f"us.{rig.bad}", "cleanup.policy", "delete")
        rig.wait_copied(rig.bad, rig.good)


def test_given_the_source_deleted_what_was_not_copied_yet_then_retention_overrun_from_to(rig: Rig) -> None:
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_copied(rig.bad, rig.good)
        worker.terminate()
    rig.write(rig.bad, records(20, start=20))
    delete_records(rig.source, rig.bad, 30)
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_fault("RETENTION_OVERRUN", "20", "30")
        rig.good_goes_on()
        assert len(read_partition(rig.target.client_config, f"us.{rig.bad}", 0)) == 20


def test_given_an_unclean_election_cut_the_source_then_source_truncated(rig: Rig) -> None:
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_copied(rig.bad, rig.good)
        assert isinstance(rig.source, BundledCluster)
        rig.source.elect_unclean(rig.bad, 0, 12)
        rig.write(rig.bad, records(15, start=500))
        rig.wait_fault("SOURCE_TRUNCATED", "12")
        rig.good_goes_on()
        assert len(read_partition(rig.target.client_config, f"us.{rig.bad}", 0)) == 20


def test_given_an_unclean_election_cut_the_target_then_target_truncated(rig: Rig) -> None:
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_copied(rig.bad, rig.good)
        assert isinstance(rig.target, BundledCluster)
        rig.target.elect_unclean(f"us.{rig.bad}", 0, 12)
        rig.write(rig.bad, records(15, start=500))
        rig.wait_fault("TARGET_TRUNCATED", "had acknowledged up to")
        rig.good_goes_on()


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_given_the_source_topic_was_recreated_then_said_and_nothing_of_it_is_copied(rig: Rig, running: bool) -> None:
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_copied(rig.bad, rig.good)
        if not running:
            worker.terminate()
        delete_topic(rig.source, rig.bad)
        create(rig.source.admin(), rig.bad)
        rig.write(rig.bad, records(40, start=500))
        if running:
            rig.wait_fault("SOURCE_RECREATED")
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_fault("SOURCE_RECREATED")
        rig.good_goes_on()
        assert len(read_partition(rig.target.client_config, f"us.{rig.bad}", 0)) == 20


def test_given_the_target_topic_was_recreated_then_said_and_the_rest_goes_on(rig: Rig) -> None:
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_copied(rig.bad, rig.good)
        delete_topic(rig.target, f"us.{rig.bad}")
        create(rig.target.admin(), f"us.{rig.bad}")
        rig.write(rig.bad, records(5, start=500))
        rig.wait_fault("TARGET_RECREATED")
        rig.good_goes_on()


def test_given_the_target_topic_was_deleted_then_said_and_the_rest_goes_on(rig: Rig) -> None:
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_copied(rig.bad, rig.good)
        delete_topic(rig.target, f"us.{rig.bad}")
        rig.write(rig.bad, records(5, start=500))
        found = wait_for(
            lambda: rig.installation.status()[rig.bad, 0]["reason"], within=30, every=0.3, what="a reason is given"
        )
        assert found in ("TARGET_MISSING", "TARGET_RECREATED")
        rig.good_goes_on()


def test_given_a_name_too_long_with_its_prefix_then_that_topic_alone_is_left_out_and_said(rig: Rig) -> None:
    long = rig.bad + "x" * (248 - len(rig.bad))
    create(rig.source.admin(), long)
    rig.write(long, records(5))
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_fault("TOPIC_NAME_INVALID", "249", topic=long)
        rig.wait_copied(rig.bad, rig.good)
    said = rig.installation.run("topics", "-o", "json").stdout
    assert long in said


def test_given_the_ledger_is_gone_while_copies_hold_data_then_run_refuses_and_names_them(rig: Rig) -> None:
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_copied(rig.bad, rig.good)
        worker.terminate()
    before = len(read_partition(rig.target.client_config, f"us.{rig.bad}", 0))
    delete_topic(rig.target, rig.ledger)
    with rig.worker() as worker:
        wait_for(lambda: not worker.running, within=20, what="run refuses")
        said = worker.log()
        assert worker.exit_code == 4, said
        assert f"us.{rig.bad}" in said
        assert "Traceback" not in said
    assert len(read_partition(rig.target.client_config, f"us.{rig.bad}", 0)) == before


def test_given_partitions_are_added_on_the_source_then_they_are_copied_within_ten_seconds(rig: Rig) -> None:
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_copied(rig.bad, rig.good)
        admin = rig.source.admin()
        admin.create_partitions([NewPartitions(rig.bad, 3)])[rig.bad].result(15)
        wait_for(
            lambda: len(admin.list_topics(rig.bad, timeout=5).topics[rig.bad].partitions) == 3, within=10, what="grown"
        )
        produce(rig.source.client_config, rig.bad, 2, records(5))
        wait_for(
            lambda: rig.installation.status().get((rig.bad, 2), {}).get("source_next") == 5, within=10, what="copied"
        )
        create(rig.source.admin(), rig.bad + "-new")
        produce(rig.source.client_config, rig.bad + "-new", 0, records(5))
        wait_for(lambda: rig.copied(rig.bad + "-new"), within=10, what="the new topic is copied")


class TestOnRealKafka:
    """What the bundled broker can't be made to do."""

    pytestmark = pytest.mark.kafka

    @pytest.fixture
    def rig(
        self, kafka_source: KafkaCluster, kafka_target: KafkaCluster, tmp_path: Path, request: pytest.FixtureRequest
    ) -> Rig:
        return Rig((kafka_source, kafka_target), tmp_path, request.node.name)

    def test_given_a_corrupt_batch_then_that_partition_stops_at_its_offset(
        self, rig: Rig, kafka_source: KafkaCluster
    ) -> None:
        rig.write(rig.bad, records(1, start=20, size=500))
        segment = kafka_source.segment(rig.bad, 0)
        assert segment
        data = segment.read_bytes()
        with segment.open("r+b") as file:
            file.seek(len(data) - 20)
            file.write(b"X")
            os.fsync(file.fileno())
        with rig.worker() as worker:
            worker.wait_ready()
            rig.wait_fault("CORRUPT_BATCH", "20")
            rig.good_goes_on()
            assert len(read_partition(rig.target.client_config, f"us.{rig.bad}", 0)) == 20

    def test_given_a_principal_without_a_grant_then_that_topic_waits_and_goes_on_once_granted(
        self, tmp_path: Path, kafka_source: KafkaCluster
    ) -> None:
        with KafkaCluster(name="guarded", security="plain", authorizer=True) as target:
            rig = Rig((kafka_source, target), tmp_path, "test_given_no_grant")
            create(target.admin(), f"us.{rig.bad}")
            principal = f"User:{USERNAME}"
            grant(target, ResourceType.BROKER, "kafka-cluster", principal)
            grant(target, ResourceType.GROUP, "replicator.", principal, prefixed=True)
            grant(target, ResourceType.TRANSACTIONAL_ID, "replicator.", principal, prefixed=True)
            grant(target, ResourceType.TOPIC, "__replicator_", principal, prefixed=True)
            grant(target, ResourceType.TOPIC, f"us.{rig.good}", principal)
            for operation in (AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS):
                grant(target, ResourceType.TOPIC, f"us.{rig.bad}", principal, operation)
            with rig.worker() as worker:
                worker.wait_ready()
                rig.wait_fault("NOT_AUTHORIZED", f"us.{rig.bad}")
                rig.write(rig.good, records(5, start=1000))
                wait_for(
                    lambda: rig.installation.status()[rig.good, 0]["source_next"] == 25, within=30, what="good goes on"
                )
                grant(target, ResourceType.TOPIC, f"us.{rig.bad}", principal)
                wait_for(
                    lambda: rig.installation.status()[rig.bad, 0]["source_next"] == 20, within=40, what="bad goes on"
                )

    def test_given_records_of_old_formats_then_they_are_copied_as_new_ones(
        self, tmp_path: Path, kafka_target: KafkaCluster
    ) -> None:
        segments = {}
        for magic, compression in ((0, 0), (1, 0), (1, 1)):
            old = LegacyRecordBatchBuilder(magic, compression, 1 << 20)
            for index in range(10):
                old.append(index, 1_500_000_000_000 + index if magic else None, b"k%d" % index, b"old")
            data = old.build()
            if compression:  # the wrapper has its last record's offset; a broker writes it when it appends
                data[:8] = (9).to_bytes(8, "big")
            segments[f"magic{magic}-codec{compression}"] = data
        with KafkaCluster(name="old") as source:
            rig = Rig((source, kafka_target), tmp_path, "test_given_old_formats")
            topics = with_segments(source, rig.bad, segments)
            with rig.worker() as worker:
                worker.wait_ready()

                def all_copied() -> bool:
                    status = rig.installation.status()
                    for topic in topics.values():
                        assert status[topic, 0]["source_next"] == 10, f"{status[topic, 0]}"
                    return True

                wait_for(all_copied, within=20, every=0.3, what="they are copied")
                rig.good_goes_on()
            for form, topic in topics.items():
                copied = read_partition(kafka_target.client_config, f"us.{topic}", 0)
                assert [(r.key, r.value, r.timestamp_ms) for r in copied] == [
                    (b"k%d" % i, b"old", -1 if form.startswith("magic0") else 1_500_000_000_000 + i) for i in range(10)
                ]


def with_segments(cluster: KafkaCluster, prefix: str, segments: dict[str, bytearray]) -> dict[str, str]:
    """A topic for each of `segments`, put there behind the broker's back: old formats can't be produced any more.

    Returns the topics' names by those of the segments.
    """
    for attempt in range(5):
        topics = {name: f"{prefix}-{name}-{attempt}" for name in segments}
        for topic in topics.values():
            create(cluster.admin(), topic)
            wait_for(lambda topic=topic: cluster.segment(topic, 0), within=10, what="the partition is there")
        cluster.kill_node(0)
        for name, topic in topics.items():
            segment = cluster.segment(topic, 0)
            assert segment
            segment.write_bytes(segments[name])
        cluster.start_node(0)
        if all(read_partition(cluster.client_config, topic, 0) for topic in topics.values()):
            return topics
        for topic in topics.values():  # a killed node may forget a topic that it has just made: its files became stray
            delete_topic(cluster, topic)
    raise AssertionError("the broker never took the segments")
