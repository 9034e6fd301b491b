"""`verify` against real Kafka, over copies made by hand."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import DeletedRecords

from replicator.config.models import LinkConfig, Settings
from replicator.dr import reader
from replicator.dr.report import PartitionReport, VerifyReport
from replicator.dr.verify import Progress, verify
from replicator.errors import UnreachableError
from tests.support.checker import Seen
from tests.support.copying import copy, create, produce
from tests.support.corpus import Corpus
from tests.support.kafka import KafkaCluster

pytestmark = pytest.mark.kafka


def settings(source: str, target: str, **link: object) -> tuple[Settings, LinkConfig]:
    made = Settings.model_validate(
        {
            "clusters": {"us": {"bootstrap_servers": source}, "eu": {"bootstrap_servers": target}},
            "links": [{"name": "l", "source": "us", "target": "eu", **link}],
        }
    )
    return made, made.links[0]


class Rig:
    """A source topic and its copy, both of one partition unless said otherwise."""

    def __init__(self, source: KafkaCluster, target: KafkaCluster, topic: str) -> None:
        self.source, self.target, self.topic = source, target, topic
        self.records = [Seen(i, b"k%d" % (i % 5), b"v%d" % i, (), 1_700_000_000_000 + i) for i in range(50)]
        create(source.admin(), topic)
        create(target.admin(), f"us.{topic}")
        produce(source.client_config, topic, 0, self.records)

    def copied(self, records: list[Seen]) -> None:
        produce(self.target.client_config, f"us.{self.topic}", 0, records)

    def verify(self, *, positions: tuple[int, int] | None = None, **link: object) -> PartitionReport:
        made, one = settings(self.source.bootstrap, self.target.bootstrap, topics={"include": [self.topic]}, **link)
        known = None if positions is None else {(self.topic, 0): positions}
        report = verify(made, one, positions=known)
        assert len(report.partitions) == 1
        assert report.ok == report.partitions[0].ok
        return report.partitions[0]

    def trim_source(self, before: int) -> None:
        trimmed = self.source.admin()
        place = TopicPartition(self.topic, 0, before)
        deleted = trimmed.delete_records([place])[place].result(30)
        assert isinstance(deleted, DeletedRecords)


@pytest.fixture
def rig(kafka_source: KafkaCluster, kafka_target: KafkaCluster, request: pytest.FixtureRequest) -> Rig:
    return Rig(kafka_source, kafka_target, re.sub(r"\W+", "-", request.node.name)[:150])


def verify_corpus(source: KafkaCluster, target: KafkaCluster, prefix: str, progress: list[Progress]) -> VerifyReport:
    made, link = settings(source.bootstrap, target.bootstrap, topics={"include": [f"{prefix}-.*"]})
    return verify(made, link, progress=progress.append)


def test_given_an_exact_copy_of_the_difficult_mix_then_ok_and_one_damaged_record_is_found(
    kafka_source: KafkaCluster, kafka_target: KafkaCluster
) -> None:
    corpus = Corpus(kafka_source, seed=3, prefix="verify-mix")
    corpus.write()
    for topic, partitions in corpus.topics.items():
        create(kafka_target.admin(), f"us.{topic}", partitions)
    copy(kafka_source.client_config, kafka_target.client_config, corpus.topics, "us.{}")
    progress: list[Progress] = []
    report = verify_corpus(kafka_source, kafka_target, "verify-mix", progress)
    assert report.ok, report.model_dump_json(indent=1)
    assert len(report.partitions) == 12
    assert report.records > 400
    assert progress[-1].done == progress[-1].total
    assert VerifyReport.model_validate_json(report.model_dump_json()) == report

    produce(kafka_target.client_config, "us.verify-mix-lz4", 0, [Seen(0, b"who", b"me", (), 1)])
    report = verify_corpus(kafka_source, kafka_target, "verify-mix", progress)
    assert [(p.topic, p.unexpected) for p in report.partitions if not p.ok] == [("verify-mix-lz4", 1)]


def test_given_a_lost_a_doubled_and_a_changed_record_then_each_is_named(rig: Rig) -> None:
    records = rig.records
    rig.copied([*records[:5], *records[6:20], records[19], replace(records[20], headers=(("x", None),)), *records[21:]])
    found = rig.verify()
    assert (found.missing, found.duplicates, found.changed) == (1, 1, 1)
    assert [(d.kind, d.source_offset, d.target_offset, d.fields) for d in found.differences] == [
        ("missing", 5, -1, ()),
        ("duplicate", 19, 19, ()),
        ("changed", 20, 20, ("headers",)),
    ]


def test_given_the_ledger_is_behind_then_only_what_it_says_is_compared_and_the_rest_is_lag(rig: Rig) -> None:
    rig.copied(rig.records[:33])
    assert rig.verify(positions=(30, 30)).model_dump(include={"ok", "records", "uncopied"}) == {
        "ok": True,
        "records": 30,
        "uncopied": 20,
    }
    assert rig.verify(positions=(30, -1)).ok
    assert rig.verify(positions=(40, 40)).missing == 7
    assert rig.verify().missing == 17


def test_given_nothing_was_copied_yet_then_it_is_all_lag(rig: Rig) -> None:
    found = rig.verify(positions=(-1, -1))
    assert (found.ok, found.records, found.uncopied) == (True, 0, 50)
    assert found.notes == ("not copied yet",)


def test_given_the_target_topic_is_gone_then_everything_is_missing(rig: Rig) -> None:
    admin = rig.target.admin()
    admin.delete_topics([f"us.{rig.topic}"])[f"us.{rig.topic}"].result(30)
    found = rig.verify(positions=(50, 50))
    assert found.missing == 50
    assert "doesn't exist on eu" in found.notes[0]


def test_given_the_source_deleted_old_records_since_then_the_rest_is_compared_and_said(rig: Rig) -> None:
    rig.copied(rig.records)
    rig.trim_source(20)
    found = rig.verify()
    assert (found.ok, found.records) == (True, 30)
    assert "target records before offset 20" in found.notes[-1]


def test_given_a_link_that_started_late_then_older_source_records_are_left_out_and_said(rig: Rig) -> None:
    rig.copied(rig.records[35:])
    made, link = settings(
        rig.source.bootstrap, rig.target.bootstrap, topics={"include": [rig.topic], "start": "latest"}
    )
    found = verify(made, link).partitions[0]
    assert (found.ok, found.records) == (True, 15)
    assert "source records before offset 35" in found.notes[-1]
    assert rig.verify().missing == 35


def test_given_an_address_where_nobody_listens_then_unreachable_with_the_clusters_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader, "_CALL_TIMEOUT_S", 1.0)
    made, link = settings("127.0.0.1:9", "127.0.0.1:19")
    with pytest.raises(UnreachableError, match=r"cluster (us|eu)"):
        verify(made, link)
