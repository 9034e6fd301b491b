"""Exactly once through kill -9 and SIGSTOP of workers, on real Kafka, written in either way.

One corpus is copied by two links at a time, of which one writes as it sees fit and the other in transactions only. What
is judged: every committed record once, in order, byte for byte; positions exact both ways; nothing in any log that
somebody wrote who had been replaced.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.e2e.crew import Crew
from tests.e2e.positions import judge_positions
from tests.e2e.scenario import Scenario
from tests.support.kafka import KafkaCluster
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]

BOTH_WAYS = {"us": {"writing": "auto"}, "ustx": {"writing": "transactions"}}
PAUSE_S = 0.05  # between rounds of the producers: judging takes longer than writing


def judge(scenario: Scenario, seed: int) -> None:
    """All that has to hold in the end."""
    scenario.wait_until_copied(within=90)
    scenario.judge()
    scenario.judge_writers()
    for alias in scenario.links:
        judge_positions(scenario, alias, random.Random(seed))


def fresh_seed() -> int:
    return random.SystemRandom().randrange(1 << 16)


def run_kills(pair: tuple[KafkaCluster, KafkaCluster], directory: Path, seed: int, steps: tuple[int, int, int]) -> None:
    """So many steps with a kill of one of two, of all, and twice within a recovery, in an order that the seed says."""
    scenario = Scenario(*pair, directory, f"kills{seed}", copies=BOTH_WAYS, seed=seed)
    scenario.corpus.write()
    with Crew(scenario, seed) as crew:
        crew.wait_ready()
        with scenario.corpus.keep_writing(scenario.acks, pause_s=PAUSE_S):
            scenario.wait_until_all_move(within=40)
            kinds = (crew.kill_one, crew.kill_all, crew.kill_twice)
            schedule = [kind for kind, count in zip(kinds, steps, strict=True) for _ in range(count)]
            crew.rng.shuffle(schedule)
            for step in schedule:
                step()
        judge(scenario, seed)
        crew.stop()
        assert crew.kills == steps[0] + 2 * steps[1] + 2 * steps[2]


@pytest.mark.parametrize("steps", [(1, 1, 1), pytest.param((4, 1, 2), marks=pytest.mark.soak)], ids=["five", "ten"])
def test_given_kills_of_workers_while_producers_run_then_each_record_arrives_once_and_positions_are_exact(
    kafka_source: KafkaCluster, kafka_target: KafkaCluster, tmp_path: Path, steps: tuple[int, int, int]
) -> None:
    run_kills((kafka_source, kafka_target), tmp_path, fresh_seed(), steps)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(5))
def test_given_many_kills_of_workers_then_each_record_arrives_once_and_positions_are_exact(
    kafka_source: KafkaCluster, kafka_target: KafkaCluster, tmp_path: Path, seed: int
) -> None:
    run_kills((kafka_source, kafka_target), tmp_path, seed, (10, 5, 15))


def run_zombies(pair: tuple[KafkaCluster, KafkaCluster], directory: Path, seed: int, pauses: list[float]) -> None:
    """A worker that is suspended for each of these times."""
    scenario = Scenario(*pair, directory, f"zombie{seed}", copies=BOTH_WAYS, seed=seed)
    scenario.corpus.write()
    with Crew(scenario, seed) as crew:
        crew.wait_ready()
        with scenario.corpus.keep_writing(scenario.acks, pause_s=PAUSE_S) as writer:
            scenario.wait_until_all_move(within=40)
            for pause in pauses:
                crew.suspend_one(pause)
            rounds = writer.rounds
            wait_for(lambda: writer.rounds > rounds + 30, within=60, what="producers go on")
            crew.fill_up()
        judge(scenario, seed)


def test_given_a_worker_suspended_for_twenty_seconds_when_it_goes_on_then_none_of_its_late_writes_is_in_a_log(
    kafka_source: KafkaCluster, kafka_target: KafkaCluster, tmp_path: Path
) -> None:
    run_zombies((kafka_source, kafka_target), tmp_path, fresh_seed(), [20.0])


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(5))
def test_given_workers_suspended_for_about_a_session_when_they_go_on_then_none_of_their_late_writes_is_in_a_log(
    kafka_source: KafkaCluster, kafka_target: KafkaCluster, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    run_zombies((kafka_source, kafka_target), tmp_path, seed, [rng.uniform(5.5, 8) for _ in range(20)])


def run_moves(pair: tuple[KafkaCluster, KafkaCluster], directory: Path, seed: int, kills: int) -> None:
    """Partitions are sent to random lanes all the time, while workers are killed."""
    scenario = Scenario(*pair, directory, f"moves{seed}", copies=BOTH_WAYS, seed=seed, lanes=4)
    scenario.corpus.write()
    with Crew(scenario, seed, takeover_s=40) as crew:  # what was on its way between two lanes takes some seconds more
        crew.wait_ready()
        with scenario.corpus.keep_writing(scenario.acks, pause_s=PAUSE_S):
            scenario.wait_until_all_move(within=40)
            for _ in range(kills):
                scenario.wish(crew.rng, 6)
                crew.kill_one()
            scenario.wish(crew.rng, 6)
            scenario.wait_until_all_move(within=60)
        judge(scenario, seed)
        moved = sum(worker.log().count("partition comes to its lane") for worker in crew.workers)
        crew.stop()
    assert moved


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(3))
def test_given_kills_while_partitions_move_between_lanes_then_each_record_arrives_once_and_positions_are_exact(
    kafka_source: KafkaCluster, kafka_target: KafkaCluster, tmp_path: Path, seed: int
) -> None:
    run_moves((kafka_source, kafka_target), tmp_path, seed, 8)
