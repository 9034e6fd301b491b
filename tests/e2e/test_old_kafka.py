"""Copying, takeover and `verify` on Kafka 2.8 (with ZooKeeper) and 3.6: each as the source and as the target."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.scenario import Scenario
from tests.support.kafka import KafkaCluster
from tests.support.waiting import wait_for
from tests.support.zookeeper_kafka import ZooKeeperKafkaCluster

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300)]

V2, V3, V4 = "2.8", "3.6", "4.1"
PAIRS = (
    pytest.param(V2, V3, id="2.8-to-3.6"),
    pytest.param(V3, V2, id="3.6-to-2.8", marks=pytest.mark.soak),
    *(
        pytest.param(source, target, id=f"{source}-to-{target}", marks=pytest.mark.soak)
        for source, target in ((V2, V4), (V4, V2), (V3, V4), (V4, V3))
    ),
)


@pytest.fixture(scope="module")
def kafka_2_8() -> Iterator[KafkaCluster]:
    with ZooKeeperKafkaCluster(name="kafka-2-8") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def kafka_3_6() -> Iterator[KafkaCluster]:
    with KafkaCluster(name="kafka-3-6", version="3.6.2") as cluster:
        yield cluster


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_given_older_brokers_when_a_worker_is_killed_then_everything_is_copied_once_and_verify_agrees(
    source: str, target: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    fixtures = {V2: "kafka_2_8", V3: "kafka_3_6", V4: "kafka_target"}
    pair = [request.getfixturevalue(fixtures[version]) for version in (source, target)]
    scenario = Scenario(*pair, tmp_path, f"{source}-to-{target}")
    scenario.corpus.write()
    done = scenario.installation.run("check")
    assert done.returncode == 0, done.stdout + done.stderr
    with scenario.installation.worker() as survivor, scenario.installation.worker() as victim:
        survivor.wait_ready()
        victim.wait_ready()
        with scenario.corpus.keep_writing(scenario.acks) as writer:
            wait_for(lambda: writer.rounds > 10, within=30, what="producers run")
            scenario.wait_until_all_move(within=20)
            victim.kill()
            took = scenario.wait_until_all_move(within=10)
            print(f"all partitions move {took:.1f} s after the kill")
            rounds = writer.rounds
            wait_for(lambda: writer.rounds > rounds + 10, within=30, what="producers go on")
        scenario.wait_until_copied()
        scenario.judge()
        done = scenario.installation.run("verify", "-o", "json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert sum(p["duplicates"] for p in json.loads(done.stdout)["partitions"]) == 0
        survivor.terminate()
