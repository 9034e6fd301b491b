"""`read_status` against real Kafka and the bundled broker: what it says of a ledger that a test has written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from confluent_kafka import Producer, TopicCollection
from confluent_kafka.admin import NewTopic

from replicator.config.models import ClusterConfig, LinkConfig, Settings, TopicsConfig
from replicator.errors import UnreachableError
from replicator.ledger import status
from replicator.ledger.client_calls import topic_uuid
from replicator.ledger.entry import Entry, Reason, State, encode_entry, encode_key
from replicator.ledger.lane_trouble import FRESH_MS, LaneTrouble, encode_trouble
from replicator.ledger.lanes import control_topic, lane_of, ledger_topic
from replicator.ledger.moved import Moved, encode_moved
from replicator.ledger.selection import TopicProblem
from replicator.ledger.status import LinkStatus, PartitionStatus, read_status
from replicator.ledger.topic_problem import problem_changes
from tests.ledger.test_entry import ENTRY
from tests.support.bundled import BundledCluster
from tests.support.kafka import KafkaCluster
from tests.support.ports import free_ports

LANES = 4
Cluster = KafkaCluster | BundledCluster


class Rig:
    """A link with names of its own on the session's cluster, which is source and target at once."""

    def __init__(self, cluster: Cluster) -> None:
        self.tag = uuid4().hex[:8]
        self.admin = cluster.admin()
        self.producer = Producer(cluster.client_config)
        topics = TopicsConfig(include=(f"{self.tag}.*",))
        self.link = LinkConfig(name=self.tag, source="us", target="eu", lanes=LANES, topics=topics)
        side = ClusterConfig(bootstrap_servers=cluster.bootstrap)
        self.settings = Settings(clusters={"us": side, "eu": side}, links=(self.link,))

    def entry(self, topic: str, partition: int = 0) -> Entry:
        """An entry about the topics as they are, whose copy bears the same name and is the same topic."""
        topic_id = topic_uuid(self.admin.describe_topics(TopicCollection([topic]))[topic].result().topic_id)
        names = {"topic": topic, "target_topic": topic}
        return replace(ENTRY, partition=partition, source_topic_id=topic_id, target_topic_id=topic_id, **names)

    def topic(self, name: str, partitions: int) -> str:
        for future in self.admin.create_topics([NewTopic(name, partitions, 1)]).values():
            future.result()
        return name

    def write(self, topic: str, partition: int, key: bytes | None, value: bytes | None, **options: Any) -> None:
        self.producer.produce(topic, value, key, partition, **options)

    def enter(self, entry: Entry, *, tombstone: bool = False) -> None:
        key = encode_key(entry.topic, entry.partition)
        lane = lane_of(entry.topic, entry.partition, LANES)
        self.write(ledger_topic(self.tag), lane, key, None if tombstone else encode_entry(entry))

    async def status(self, timeout_s: float = 10) -> LinkStatus:
        assert self.producer.flush(10) == 0
        return await read_status(self.settings, self.link, timeout_s=timeout_s)


@pytest.fixture(scope="module")
def bundled() -> Iterator[BundledCluster]:
    with BundledCluster() as cluster:
        yield cluster


@pytest.fixture(params=["bundled", pytest.param("kafka", marks=pytest.mark.kafka)])
def rig(request: pytest.FixtureRequest) -> Rig:
    return Rig(request.getfixturevalue("bundled" if request.param == "bundled" else "kafka_source"))


def by_partition(status: LinkStatus) -> dict[tuple[str, int], PartitionStatus]:
    return {(at.topic, at.partition): at for at in status.partitions}


async def test_given_a_partition_that_moved_to_another_lane_and_back_then_the_newest_entry_is_shown(rig: Rig) -> None:
    topic = rig.topic(f"{rig.tag}-orders", 2)
    ledger = rig.topic(ledger_topic(rig.tag), LANES)
    entry = rig.entry(topic)
    for partition, moves in ((0, 1), (1, 2)):
        key, home = encode_key(topic, partition), lane_of(topic, partition, LANES)
        away = (home + 1) % LANES
        here = replace(entry, partition=partition, source_next=5)
        rig.write(ledger, home, key, encode_entry(here))
        rig.write(ledger, home, key, encode_moved(Moved(here, away, 1)))
        there = replace(here, source_next=6, moves=1)
        rig.write(ledger, away, key, encode_entry(there))
        if moves == 2:
            rig.write(ledger, away, key, encode_moved(Moved(there, home, 2)))
            rig.write(ledger, home, key, encode_entry(replace(there, source_next=7, moves=2)))
    found = by_partition(await rig.status())
    assert {at.partition: at.source_next for at in found.values()} == {0: 6, 1: 7}


async def test_given_entries_when_status_is_read_then_the_last_ones_ends_and_lags_are_told(rig: Rig) -> None:
    topic, now = rig.topic(f"{rig.tag}-orders", 4), int(time.time() * 1000)
    rig.topic(ledger_topic(rig.tag), LANES)
    for n in range(10):
        rig.write(topic, 0, None, b"x", timestamp=now - 60_000 + n * 1000)
        rig.write(topic, 1, None, b"x")
    entry = replace(rig.entry(topic), target_next=99, record_timestamp_ms=now - 500_000, since_ms=now)
    rig.enter(replace(entry, source_next=3))
    rig.enter(replace(entry, source_next=7))
    fault = replace(entry, partition=1, source_next=10, state=State.FAULTED, reason=Reason.CORRUPT_BATCH, detail="d")
    rig.enter(fault)
    rig.enter(replace(entry, partition=2))
    rig.enter(replace(entry, partition=2), tombstone=True)
    rig.enter(replace(entry, partition=4))  # the topic had five partitions before it was made anew

    found = by_partition(await rig.status())

    assert found.keys() == {(topic, p) for p in range(4)}
    behind = found[topic, 0]
    assert (behind.state, behind.source_end, behind.source_next, behind.target_next, behind.lag) == (
        "COPYING", 10, 7, 99, 3,
    )  # fmt: skip
    assert behind.lag_ms is not None
    assert 53_000 <= behind.lag_ms < 90_000  # of record 7, not of the last copied one
    assert behind.since is not None
    assert datetime.fromisoformat(behind.since) == datetime.fromtimestamp(now / 1000, UTC)
    faulted = found[topic, 1]
    assert (faulted.state, faulted.reason, faulted.detail, faulted.lag, faulted.lag_ms) == (
        "FAULTED", "CORRUPT_BATCH", "d", 0, 0,
    )  # fmt: skip
    assert faulted.next_step == Reason.CORRUPT_BATCH.next_step
    for p in (2, 3):
        assert (found[topic, p].state, found[topic, p].since, found[topic, p].source_end) == ("PENDING", None, 0)


async def test_given_topics_gone_or_made_anew_when_status_is_read_then_it_says_so_though_no_worker_has_noticed(
    rig: Rig,
) -> None:
    topic = rig.topic(f"{rig.tag}-orders", 4)
    rig.topic(ledger_topic(rig.tag), LANES)
    entry = rig.entry(topic)
    other = UUID(int=7)
    rig.enter(replace(entry, topic=f"{rig.tag}-gone"))
    rig.enter(replace(entry, partition=0, source_topic_id=other))
    rig.enter(replace(entry, partition=1, target_topic_id=other))
    rig.enter(replace(entry, partition=2, target_topic="nowhere"))
    rig.enter(replace(entry, partition=3, state=State.FAULTED, reason=Reason.CORRUPT_BATCH, target_topic_id=other))
    found = {(at.topic, at.partition): (at.state, at.reason) for at in (await rig.status()).partitions}
    assert found == {
        (f"{rig.tag}-gone", 0): ("FAULTED", "SOURCE_MISSING"),
        (topic, 0): ("FAULTED", "SOURCE_RECREATED"),
        (topic, 1): ("FAULTED", "TARGET_RECREATED"),
        (topic, 2): ("FAULTED", "TARGET_MISSING"),
        (topic, 3): ("FAULTED", "CORRUPT_BATCH"),
    }


async def test_given_lanes_that_do_not_run_when_status_is_read_then_each_of_their_partitions_says_why(rig: Rig) -> None:
    topic, now = rig.topic(f"{rig.tag}-orders", 40), int(time.time() * 1000)
    rig.topic(ledger_topic(rig.tag), LANES)
    rig.topic(control_topic(rig.tag), 1)
    for lane, age_ms in ((0, 1000), (1, 2 * FRESH_MS)):
        trouble = LaneTrouble(lane, Reason.TARGET_UNREACHABLE, f"Lane {lane} waits.", now - 90_000, now - age_ms)
        rig.write(control_topic(rig.tag), 0, *encode_trouble(trouble))
    entry = rig.entry(topic)
    by_lane = {lane: [p for p in range(40) if lane_of(topic, p, LANES) == lane] for lane in range(LANES)}
    faulty, fine = by_lane[0][0], by_lane[0][1]
    rig.enter(replace(entry, partition=faulty, state=State.FAULTED, reason=Reason.CORRUPT_BATCH))
    rig.enter(replace(entry, partition=fine, reason=None))
    rig.write(ledger_topic(rig.tag), 2, encode_key(topic, by_lane[2][0]), b"\x09 of a newer version")

    found = by_partition(await rig.status())

    assert found[topic, faulty].reason == "CORRUPT_BATCH"
    for p in by_lane[0][1:]:
        assert (found[topic, p].state, found[topic, p].reason) == ("FAULTED", "TARGET_UNREACHABLE")
        assert found[topic, p].detail == "Lane 0 waits."
        assert found[topic, p].since == datetime.fromtimestamp((now - 90_000) / 1000, UTC).isoformat(
            timespec="milliseconds"
        ).replace("+00:00", "Z")
    for p in by_lane[2]:
        assert found[topic, p].reason == "LEDGER_UNREADABLE"
        assert "version 9" in found[topic, p].detail
    for p in by_lane[1] + by_lane[3]:
        assert (found[topic, p].state, found[topic, p].reason) == ("PENDING", None)


async def test_given_a_topic_whose_name_does_not_fit_when_status_is_read_then_it_is_faulted(rig: Rig) -> None:
    rig.topic(f"{rig.tag}-{'n' * 238}", 1)
    status = (await rig.status()).partitions[0]
    assert (status.state, status.reason) == ("FAULTED", "TOPIC_NAME_INVALID")
    assert "250 characters" in status.detail


async def test_given_a_topic_that_the_target_refused_when_status_is_read_then_it_says_why_and_since_when(
    rig: Rig,
) -> None:
    topic = rig.topic(f"{rig.tag}-refused", 1)
    rig.topic(ledger_topic(rig.tag), LANES)
    records, _ = problem_changes({}, {topic: TopicProblem(Reason.TOPIC_REFUSED, "policy")}, 1_760_000_000_000)
    for key, value in records:
        rig.write(ledger_topic(rig.tag), 0, key, value)
    status = (await rig.status()).partitions[0]
    assert (status.state, status.reason, status.detail, status.since, status.source_end) == (
        "FAULTED", "TOPIC_REFUSED", "policy", "2025-10-09T08:53:20.000Z", 0,
    )  # fmt: skip


async def test_given_an_unreachable_source_when_status_is_read_then_the_ledger_is_told_all_the_same(rig: Rig) -> None:
    rig.topic(ledger_topic(rig.tag), LANES)
    rig.enter(replace(ENTRY, topic=f"{rig.tag}-x", partition=0))
    nobody = ClusterConfig(bootstrap_servers=f"127.0.0.1:{free_ports(1)[0]}")
    rig.settings = rig.settings.model_copy(update={"clusters": rig.settings.clusters | {"us": nobody}})
    status = await rig.status(timeout_s=1)
    assert "cluster us" in (status.source_error or "")
    known = status.partitions[0]
    assert (known.source_next, known.source_end, known.lag, known.lag_ms) == (ENTRY.source_next, -1, None, None)

    rig.settings = rig.settings.model_copy(update={"clusters": {"us": nobody, "eu": nobody}})
    with pytest.raises(UnreachableError, match="cluster eu"):
        await rig.status(timeout_s=1)


@pytest.mark.parametrize("back", [True, False])
def test_given_a_target_that_is_gone_then_a_way_back_says_so_and_another_link_fails(
    monkeypatch: pytest.MonkeyPatch, back: bool
) -> None:
    def gone(*_: object, **__: object) -> LinkStatus:
        raise UnreachableError("cluster us: gone")

    monkeypatch.setattr(status, "read_status_blocking", gone)
    at = {name: ClusterConfig(bootstrap_servers=f"{name}:1") for name in ("us", "eu")}
    links = ({"name": "there", "source": "us", "target": "eu"}, {"name": "back", "reverse_of": "there"})
    settings = Settings.model_validate({"clusters": at, "links": links})
    if back:
        found = asyncio.run(read_status(settings, settings.link("back")))
        assert "cluster us: gone" in str(found.source_error)
    else:
        with pytest.raises(UnreachableError):
            asyncio.run(read_status(settings, settings.link("there")))
