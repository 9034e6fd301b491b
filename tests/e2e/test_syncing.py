"""What the controller keeps in step, through kills of the controller, an absent target, and deletions."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import NewPartitions, NewTopic

from tests.e2e.pairs import KAFKA, LONG_BUNDLED, on
from tests.e2e.rig import AnyCluster, Pair, delete_topic, records
from tests.e2e.test_settings import alter, becomes, own
from tests.support.bundled import BundledCluster
from tests.support.checker import compare_topics
from tests.support.copying import create, produce
from tests.support.groups import commit, committed
from tests.support.kafka import KafkaCluster
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def installation_of(pair: Pair, directory: Path, tag: str, **link: Any) -> Installation:
    one = {"name": tag, "source": "us", "target": "eu", "lanes": 2, "topics": {"include": [f"{tag}-.*"]}, **link}
    return Installation(directory, {"us": pair[0], "eu": pair[1]}, [one])


def fresh() -> str:
    return f"sync{time.monotonic_ns()}"


def partitions(cluster: AnyCluster, prefix: str) -> dict[str, int]:
    topics = cluster.admin().list_topics(timeout=10).topics
    return {name: len(topic.partitions) for name, topic in topics.items() if name.startswith(prefix)}


@on(LONG_BUNDLED, KAFKA)
def test_given_a_controller_that_is_killed_among_many_creations_when_started_again_then_all_is_as_planned(
    pair: Pair, tmp_path: Path
) -> None:
    source, target = pair
    tag, seed = fresh(), random.randrange(1 << 30)
    print(f"seed {seed}")
    chance = random.Random(seed)
    wanted = {f"{tag}-{n}": chance.randrange(4, 7) for n in range(120)}
    admin = source.admin()
    new = [NewTopic(name, count, 1, config={"segment.bytes": str(2_000_000 + count)}) for name, count in wanted.items()]
    for future in admin.create_topics(new, operation_timeout=60).values():
        future.result(60)
    installation = installation_of(pair, tmp_path, tag)
    copies: dict[str, int] = {}
    for _ in range(3):
        with installation.worker() as worker:
            goal = min(len(copies) + chance.randrange(1, 40), len(wanted))
            wait_for(lambda goal=goal: len(partitions(target, f"us.{tag}-")) >= goal, within=60, what="some are made")
            time.sleep(chance.random() / 5)  # so that it dies anywhere
            worker.kill()
            copies = partitions(target, f"us.{tag}-")
    with installation.worker() as worker:
        expected = {f"us.{name}": count for name, count in wanted.items()}
        wait_for(lambda: partitions(target, f"us.{tag}-") == expected, within=60, every=0.5, what="all are made")
        sample = chance.sample(sorted(wanted), 5)
        becomes(target, {f"us.{name}": {"segment.bytes": str(2_000_000 + wanted[name])} for name in sample}, within=20)
        assert "Traceback" not in worker.log()


@pytest.mark.parametrize(
    ("kind", "away_s"),
    [
        pytest.param(BundledCluster, 0, id="bundled"),
        pytest.param(KafkaCluster, 600, id="kafka", marks=[pytest.mark.kafka, pytest.mark.soak]),
    ],
)
@pytest.mark.timeout(900)
def test_given_a_target_that_was_away_when_it_is_back_then_everything_converges_without_a_restart(
    kind: type[AnyCluster], away_s: float, tmp_path: Path
) -> None:
    with kind(name="source") as source, kind(name="target") as target:
        tag = fresh()
        create(source.admin(), f"{tag}-a")
        installation = installation_of((source, target), tmp_path, tag, groups={"include": [tag]})
        with installation.worker() as worker:
            worker.wait_ready()
            becomes(target, {f"us.{tag}-a": {"retention.ms": "-1"}}, within=30)
            target.kill_node(0)
            try:
                alter(source, f"{tag}-a", {"retention.ms": "77000000", "segment.bytes": "2000000"})
                create(source.admin(), f"{tag}-b", 2)
                grow = source.admin()
                grow.create_partitions([NewPartitions(f"{tag}-a", 3)])[f"{tag}-a"].result(15)
                produce(source.client_config, f"{tag}-a", 0, records(50, at_ms=int(time.time() * 1000)))
                commit(source, tag, {(f"{tag}-a", 0): 31})
                wait_for(lambda: "can't keep configs in step" in worker.log(), within=60, what="it is said")
                time.sleep(away_s)  # the fault's own length
            finally:
                target.start_node(0)
            becomes(
                target,
                {
                    f"us.{tag}-a": {"retention.ms": "77000000", "segment.bytes": "2000000"},
                    f"us.{tag}-b": {"retention.ms": "-1"},
                },
                within=60,
            )
            wait_for(
                lambda: partitions(target, f"us.{tag}-") == {f"us.{tag}-a": 3, f"us.{tag}-b": 2},
                within=30, what="topics and partitions are there",
            )  # fmt: skip
            wait_for(
                lambda: committed(target, tag) == {(f"us.{tag}-a", 0): 31}, within=30, what="and the group's position"
            )
            installation.wait_until_copied(5, within=30)
            copies = {f"{tag}-a": 3, f"{tag}-b": 2}
            assert not compare_topics(source.client_config, target.client_config, copies, rename="us.{}").problems


@on(LONG_BUNDLED, KAFKA)
def test_given_delete_topics_when_a_source_topic_is_deleted_then_its_copy_is_and_the_status_forgets_it(
    pair: Pair, tmp_path: Path
) -> None:
    source, target = pair
    tag = fresh()
    for name in ("gone", "stays"):
        create(source.admin(), f"{tag}-{name}")
    installation = installation_of(pair, tmp_path, tag, delete_topics=True, sync={"every": 0.5})
    with installation.worker() as worker:
        worker.wait_ready()
        installation.wait_until_copied(2)
        create(target.admin(), f"{tag}-unrelated")
        delete_topic(source, f"{tag}-gone")
        wait_for(
            lambda: partitions(target, f"us.{tag}-") == {f"us.{tag}-stays": 1},
            within=40, every=0.5, what="the copy is deleted",
        )  # fmt: skip
        wait_for(lambda: set(installation.status()) == {(f"{tag}-stays", 0)}, within=30, every=0.5, what="it is gone")
        assert f"{tag}-unrelated" in partitions(target, tag)
        assert own(target, f"us.{tag}-stays") == {"retention.ms": "-1"}
        create(source.admin(), f"{tag}-gone", 2)
        installation.wait_until_copied(3)
        assert "Traceback" not in worker.log()
