"""The transaction coordinator of some lanes is away: they wait, say why, and go on by themselves, exactly once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from tests.support.checker import compare_topics
from tests.support.kafka import KafkaCluster
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

TOPICS = 12  # of each link; so that some lanes' coordinators are on either broker
SECOND = 1  # a broker that isn't a controller
AUTO, TRANSACTIONS = "auto", "transactions"


@pytest.fixture
def target() -> Iterator[KafkaCluster]:
    """Two brokers that have everything twice but the coordinators' state."""
    once = {"transaction.state.log.replication.factor": "1"}
    with KafkaCluster(nodes=2, controllers=1, properties=once, name="coordinators") as cluster:
        yield cluster


class Scene:
    """A link for each way of writing."""

    def __init__(
        self, source: KafkaCluster, target: KafkaCluster, directory: Path, name: str, ways: tuple[str, ...]
    ) -> None:
        self.source, self.target = source, target
        self.topics = {way: [f"{name}-{way}-{n}" for n in range(TOPICS)] for way in ways}
        links = [
            {
                "name": f"{name}-{way}",
                "source": "us",
                "target": "eu",
                "topics": {"include": [f"{name}-{way}-.*"]},
                "writing": way,
                "replication_factor": 2,
            }
            for way in ways
        ]
        self.installation = Installation(directory, {"us": source, "eu": target}, links)
        admin = source.admin()
        for future in admin.create_topics([NewTopic(topic, 1, 1) for topic in self.all]).values():
            future.result(20)
        self._producer = Producer({**source.client_config, "enable.idempotence": True})
        self.written = 0

    @property
    def all(self) -> list[str]:
        return [topic for topics in self.topics.values() for topic in topics]

    def write(self) -> None:
        """Ten records into each topic."""
        for topic in self.all:
            for n in range(self.written, self.written + 10):
                self._producer.produce(topic, b"value %d" % n, b"key %d" % n, 0)
        self.written += 10
        assert self._producer.flush(30) == 0

    def wait_in_sync(self) -> None:
        """Wait until the brokers have everything twice, but the coordinators' state."""

        def in_sync() -> bool:
            topics = self.target.admin().list_topics(timeout=5).topics.values()
            alone = {t.topic for t in topics for p in t.partitions.values() if len(p.isrs) < len(p.replicas)}
            assert not alone, f"not in sync: {alone}"
            return True

        wait_for(in_sync, within=40, every=0.3, what="all replicas are in sync")

    def judge(self) -> None:
        topics = dict.fromkeys(self.all, 1)
        verdict = compare_topics(self.source.client_config, self.target.client_config, topics, rename="us.{}")
        assert verdict.problems == []
        assert (verdict.records, verdict.duplicates) == (len(self.all) * self.written, 0)

    def heal(self) -> None:
        """The broker comes back; everything is copied and nobody complains any more."""
        self.target.start_node(SECOND)
        began = time.monotonic()
        self.installation.wait_until_copied(len(self.all))
        print(f"all is copied {time.monotonic() - began:.0f} s after the broker's return")

        def well() -> bool:
            reasons = {topic: p["reason"] for topic, p in self.installation.status().items() if p["reason"]}
            assert not reasons, f"{reasons}"
            return True

        wait_for(well, within=30, every=0.5, what="no faults")
        self.judge()

    def wait_split(self, way: str, *, taken_over: bool) -> set[str]:
        """Wait until each topic of this link is copied, or says that its lane waits for the target; which do.

        To be taken over, a lane needs the coordinators of both its transactional ids: it may be that none can be.
        """

        def split() -> set[str]:
            status = self.installation.status()
            found = {topic: status[topic, 0] for topic in self.topics[way]}
            waiting = {topic for topic, p in found.items() if p["reason"] == "TARGET_UNREACHABLE"}
            going: dict[str, Any] = {topic: p for topic, p in found.items() if topic not in waiting}
            assert all(p["lag"] == 0 and p["reason"] is None for p in going.values()), f"{going}"
            assert waiting, "no lane waits"
            assert going or taken_over, "no lane runs"
            for topic in waiting:
                assert "transactional id" in found[topic]["detail"], f"{found[topic]}"
                assert found[topic]["since"]
                assert found[topic]["next_step"]
            return waiting

        return wait_for(split, within=60, every=0.5, what=f"lanes of {way} wait, and the others go on")


@pytest.mark.timeout(300)
def test_given_the_transaction_coordinator_is_away_for_a_while_then_lanes_wait_say_why_and_resume_exactly_once(
    kafka_source: KafkaCluster, target: KafkaCluster, tmp_path: Path
) -> None:
    scene = Scene(kafka_source, target, tmp_path, "away", (TRANSACTIONS,))
    scene.write()
    with scene.installation.worker() as worker:
        worker.wait_ready()
        scene.installation.wait_until_copied(TOPICS)
        scene.wait_in_sync()
        target.kill_node(SECOND)
        gone_at = time.monotonic()
        scene.write()
        waiting = scene.wait_split(TRANSACTIONS, taken_over=False)
        print(f"{len(waiting)} of {TOPICS} wait, said after {time.monotonic() - gone_at:.0f} s")
        over = lambda: time.monotonic() - gone_at > 35  # noqa: E731 - longer than a call to the coordinator is patient
        wait_for(over, within=40, every=0.5, what="time passes")
        assert "lanes don't run" in worker.log()
        assert scene.wait_split(TRANSACTIONS, taken_over=False) == waiting
        scene.heal()
        assert "lanes run again" in worker.log()


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_given_the_transaction_coordinator_is_away_for_five_minutes_and_a_takeover_then_all_resumes_exactly_once(
    kafka_source: KafkaCluster, target: KafkaCluster, tmp_path: Path
) -> None:
    scene = Scene(kafka_source, target, tmp_path, "away-long", (AUTO, TRANSACTIONS))
    scene.write()
    with scene.installation.worker() as first:
        first.wait_ready()
        scene.installation.wait_until_copied(2 * TOPICS)
        scene.wait_in_sync()
        target.kill_node(SECOND)
        gone_at = time.monotonic()
        scene.write()
        scene.wait_split(TRANSACTIONS, taken_over=False)
        wait_for(lambda: time.monotonic() - gone_at > 150, within=160, every=1, what="time passes")
        first.kill()
    with scene.installation.worker() as second:  # it can't take over what has no coordinator, whichever way it writes
        scene.write()
        wait_for(lambda: time.monotonic() - gone_at > 300, within=310, every=1, what="time passes")
        for way in (AUTO, TRANSACTIONS):
            scene.wait_split(way, taken_over=True)
        scene.heal()
        assert second.running
