"""Partitions without a leader, and leaders that lost what had been acknowledged: three nodes of real Kafka.

As in `test_kills`, one corpus is copied in either way at a time. Node 0 alone decides (it is the only controller) and
always runs; what breaks lies on nodes 1 and 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import NewTopic

from tests.e2e.crew import TAKEOVER_S, Crew
from tests.e2e.rig import records
from tests.e2e.scenario import Scenario
from tests.e2e.test_kills import BOTH_WAYS, PAUSE_S, fresh_seed, judge
from tests.support.copying import create, produce
from tests.support.corpus import BackgroundWriter, Kind
from tests.support.kafka import KafkaCluster
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(400)]

UNCLEAN = {"unclean.leader.election.enable": "true", "min.insync.replicas": "1", "retention.ms": "-1"}
FOLLOWED, FOLLOWER = 1, 2  # node indexes
ON_BOTH = [FOLLOWED + 1, FOLLOWER + 1]  # node ids: who is first leads
CUT = Kind("cut", time="now", producer={"enable.idempotence": False})  # else the loss would end its producer
WHOLE = Kind("whole", partitions=2, time="now")


@pytest.fixture(scope="module")
def narrow() -> Iterator[KafkaCluster]:
    with KafkaCluster(name="narrow") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def three_nodes() -> Iterator[KafkaCluster]:
    with KafkaCluster(3, controllers=1, name="wide", properties={"transaction.state.log.min.isr": "1"}) as cluster:
        yield cluster


@pytest.fixture
def wide(three_nodes: KafkaCluster) -> Iterator[KafkaCluster]:
    yield three_nodes
    three_nodes.heal()


def place(cluster: KafkaCluster, topics: list[str], nodes: list[int]) -> None:
    """Create topics of one partition on these nodes (ids), the first of which leads."""
    admin = cluster.admin()
    new = [NewTopic(topic, 1, replica_assignment=[nodes], config=UNCLEAN) for topic in topics]
    for future in admin.create_topics(new).values():
        future.result(20)


def copies_of(scenario: Scenario, kind: Kind) -> list[str]:
    return [
        f"{alias}.{topic}" for alias in scenario.links for topic in scenario.corpus.topics if topic.endswith(kind.name)
    ]


def goes_on(writer: BackgroundWriter, rounds: int = 30) -> None:
    before = writer.rounds
    wait_for(lambda: writer.rounds > before + rounds, within=60, what="producers go on")


def lose_a_log(cluster: KafkaCluster, scenario: Scenario, writer: BackgroundWriter, crew: Crew) -> None:
    """The follower dies, records come, the leader dies, the follower comes back and leads without them."""
    cluster.kill_node(FOLLOWER)
    scenario.wait_until_all_move(within=40)
    goes_on(writer)
    cluster.kill_node(FOLLOWED)
    scenario.wait_until_all_move(within=40, besides=["cut"])
    cluster.start_node(FOLLOWER)
    crew.say("the former follower leads")
    goes_on(writer)
    cluster.start_node(FOLLOWED)


def wait_stated(scenario: Scenario, reason: str) -> None:
    """Wait until the partition that was cut says so under every link."""
    topic = next(topic for topic in scenario.corpus.topics if topic.endswith(CUT.name))

    def stated() -> bool:
        for link in scenario.links.values():
            found = scenario.installation.status(link)[topic, 0]
            assert found["reason"] == reason, found
        return True

    wait_for(stated, within=60, every=0.5, what=f"{reason} is said")


@pytest.mark.soak
def test_given_a_target_partition_without_a_leader_at_a_takeover_then_others_move_in_time_and_it_does_later(
    narrow: KafkaCluster, wide: KafkaCluster, tmp_path: Path
) -> None:
    seed = fresh_seed()
    held, free = Kind("held", time="now"), Kind("free", partitions=3, time="now")
    kinds = (held, free, Kind("past", partitions=2))
    scenario = Scenario(
        narrow, wide, tmp_path, f"leaderless{seed}",
        copies=BOTH_WAYS, seed=seed, kinds=kinds, replication_factor=3,
    )  # fmt: skip
    place(wide, copies_of(scenario, held), [FOLLOWED + 1])
    scenario.corpus.write()
    with Crew(scenario, seed) as crew:
        crew.wait_ready()
        with scenario.corpus.keep_writing(scenario.acks, pause_s=PAUSE_S):
            scenario.wait_until_all_move(within=40)
            wide.kill_node(FOLLOWED)
            scenario.wait_until_all_move(within=40, besides=["held"])
            crew.wait_ready()
            crew.kill(crew.rng.choice(crew.workers))
            scenario.wait_until_all_move(within=TAKEOVER_S, besides=["held"])
            crew.fill_up()
            wide.start_node(FOLLOWED)
            scenario.wait_until_all_move(within=40)
        judge(scenario, seed)
        crew.stop()


@pytest.mark.soak  # test_bad_input has these two on the bundled broker
def test_given_an_unclean_election_on_the_target_then_said_for_that_partition_and_the_others_are_exact(
    narrow: KafkaCluster, wide: KafkaCluster, tmp_path: Path
) -> None:
    seed = fresh_seed()
    scenario = Scenario(
        narrow, wide, tmp_path, f"cutcopy{seed}",
        copies=BOTH_WAYS, seed=seed, kinds=(CUT, WHOLE), replication_factor=3,
    )  # fmt: skip
    place(wide, copies_of(scenario, CUT), ON_BOTH)
    scenario.corpus.write()
    with Crew(scenario, seed) as crew:
        crew.wait_ready()
        with scenario.corpus.keep_writing(scenario.acks, pause_s=PAUSE_S) as writer:
            scenario.wait_until_all_move(within=40)
            lose_a_log(wide, scenario, writer, crew)
            wait_stated(scenario, "TARGET_TRUNCATED")
            crew.wait_ready()
            crew.kill(crew.rng.choice(crew.workers))
            scenario.wait_until_all_move(within=20, besides=["cut"])
            crew.fill_up()
        wait_whole(scenario)
        wait_stated(scenario, "TARGET_TRUNCATED")


@pytest.mark.soak
def test_given_an_unclean_election_on_the_source_then_said_for_that_partition_and_the_others_are_exact(
    narrow: KafkaCluster, wide: KafkaCluster, tmp_path: Path
) -> None:
    seed = fresh_seed()
    scenario = Scenario(wide, narrow, tmp_path, f"cutorigin{seed}", copies=BOTH_WAYS, seed=seed, kinds=(CUT, WHOLE))
    place(wide, [topic for topic in scenario.corpus.topics if topic.endswith(CUT.name)], ON_BOTH)
    scenario.corpus.write()
    with Crew(scenario, seed) as crew:
        crew.wait_ready()
        with scenario.corpus.keep_writing(scenario.acks, pause_s=PAUSE_S) as writer:
            scenario.wait_until_all_move(within=40)
            lose_a_log(wide, scenario, writer, crew)
            wait_stated(scenario, "SOURCE_TRUNCATED")
            crew.wait_ready()
            crew.kill(crew.rng.choice(crew.workers))
            scenario.wait_until_all_move(within=20, besides=["cut"])
            crew.fill_up()
        wait_whole(scenario)
        wait_stated(scenario, "SOURCE_TRUNCATED")


def wait_whole(scenario: Scenario) -> None:
    """Wait until what wasn't cut is copied, and judge it."""
    whole = {topic: count for topic, count in scenario.corpus.topics.items() if topic.endswith(WHOLE.name)}

    def copied() -> bool:
        for link in scenario.links.values():
            status = scenario.installation.status(link)
            lags = [status[topic, partition]["lag"] for topic, count in whole.items() for partition in range(count)]
            assert not any(lags), lags
        return True

    wait_for(copied, within=60, every=0.5, what="the others are copied")
    scenario.judge(topics=whole)
    scenario.judge_writers()


@pytest.mark.soak
def test_given_a_node_that_has_just_died_when_a_worker_starts_then_it_does_not_wait_for_it(
    narrow: KafkaCluster, wide: KafkaCluster, tmp_path: Path
) -> None:
    name = f"late-{fresh_seed()}"
    create(narrow.admin(), name, 3)
    link = {"name": name, "source": "us", "target": "eu", "topics": {"include": [name]}, "replication_factor": 3}
    installation = Installation(tmp_path, {"us": narrow, "eu": wide}, [link])
    with installation.worker() as worker:
        worker.wait_ready()
        installation.wait_until_copied(3)
    wide.kill_node(FOLLOWER)
    produce(narrow.client_config, name, 0, records(10))
    with installation.worker() as worker:
        worker.wait_ready(within=20)  # half of it until the cluster itself knows that the node is gone
        installation.wait_until_copied(3, within=10)
