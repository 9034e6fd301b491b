"""The difficult mix through two workers, on real Kafka and on the bundled broker: with and without a crash.

Crashes under exactly_once on real Kafka are `test_kills`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.scenario import Cluster, Scenario
from tests.support.bundled import BundledCluster
from tests.support.kafka import KafkaCluster
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


BUNDLED, KAFKA = "bundled", "kafka"
ONCE, AT_LEAST_ONCE = "exactly_once", "at_least_once"
JUMPS_PER_CRASH = {ONCE: 0, AT_LEAST_ONCE: 1}  # how often a crash may make a partition jump back


def cases(*short: tuple[str, str]) -> pytest.MarkDecorator:
    """Every broker with every delivery; those that aren't in `short` are left to `make soak-all`."""
    cases = []
    for broker, delivery in ((broker, delivery) for broker in (BUNDLED, KAFKA) for delivery in (ONCE, AT_LEAST_ONCE)):
        marks = [pytest.mark.kafka] if broker == KAFKA else []
        if (broker, delivery) not in short:
            marks.append(pytest.mark.soak)
        cases.append(pytest.param(broker, delivery, marks=marks, id=f"{broker}-{delivery}"))
    return pytest.mark.parametrize(("pair", "delivery"), cases, indirect=["pair"])


@pytest.fixture(scope="session")
def bundled_pair() -> Iterator[tuple[BundledCluster, BundledCluster]]:
    with BundledCluster(name="source") as source, BundledCluster(name="target") as target:
        yield source, target


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> tuple[Cluster, Cluster]:
    """Source and target."""
    if request.param == BUNDLED:
        both: tuple[BundledCluster, BundledCluster] = request.getfixturevalue("bundled_pair")
        return both
    source: KafkaCluster = request.getfixturevalue("kafka_source")
    target: KafkaCluster = request.getfixturevalue("kafka_target")
    return source, target


@cases((BUNDLED, AT_LEAST_ONCE))
def test_given_two_workers_when_one_is_killed_while_producers_run_then_nothing_is_lost(
    pair: tuple[Cluster, Cluster], tmp_path: Path, delivery: str
) -> None:
    scenario = Scenario(*pair, tmp_path, f"crash-{delivery}", delivery=delivery)
    scenario.corpus.write()
    with scenario.installation.worker() as survivor, scenario.installation.worker() as victim:
        survivor.wait_ready()
        victim.wait_ready()
        with scenario.corpus.keep_writing(scenario.acks) as writer:
            wait_for(lambda: writer.rounds > 20, within=30, what="producers run")
            scenario.wait_until_all_move(within=20)
            victim.kill()
            took = scenario.wait_until_all_move(within=10)
            print(f"all partitions move {took:.1f} s after the kill")
            rounds = writer.rounds
            wait_for(lambda: writer.rounds > rounds + 20, within=30, what="producers go on")
        scenario.wait_until_copied()
        verdict = scenario.judge(rewinds=JUMPS_PER_CRASH[delivery])
        done = scenario.installation.run("verify", "--link", f"crash-{delivery}", "-o", "json")
        report = json.loads(done.stdout)
        assert done.returncode == (1 if verdict.duplicates else 0)
        found = {kind: sum(p[kind] for p in report["partitions"]) for kind in ("missing", "changed", "reordered")}
        assert found == {"missing": 0, "changed": 0, "reordered": 0}
        assert sum(p["duplicates"] for p in report["partitions"]) == verdict.duplicates
        survivor.terminate()


@cases()
def test_given_workers_come_and_go_in_good_order_then_each_record_arrives_exactly_once(
    pair: tuple[Cluster, Cluster], tmp_path: Path, delivery: str
) -> None:
    scenario = Scenario(*pair, tmp_path, f"orderly-{delivery}", delivery=delivery)
    scenario.corpus.write()
    with scenario.corpus.keep_writing(scenario.acks) as writer:
        with scenario.installation.worker("--workers", "2") as first:
            first.wait_ready()
            wait_for(lambda: writer.rounds > 10, within=30, what="producers run")
            scenario.wait_until_all_move(within=20)
            with scenario.installation.worker() as second:
                second.wait_ready()
                scenario.wait_until_all_move(within=20)
                took = first.terminate(within=5)
                print(f"two workers under one parent ended {took:.1f} s after SIGTERM")
                scenario.wait_until_all_move(within=20)
                second.terminate(within=5)
        with scenario.installation.worker() as third:
            third.wait_ready()
            scenario.wait_until_all_move(within=20)
            writer.stop()
            status = scenario.wait_until_copied()
            scenario.judge()
            assert {p["state"] for p in status.values()} == {"COPYING"}
            done = scenario.installation.run("verify", "--link", f"orderly-{delivery}", "-o", "json")
            assert done.returncode == 0, done.stdout + done.stderr
            third.terminate()
    with scenario.installation.worker() as fourth:
        fourth.wait_ready()
        scenario.wait_until_copied()
        scenario.judge()  # positions were written: a restart copies nothing twice


@cases()
def test_given_all_workers_are_killed_at_once_again_and_again_then_nothing_is_lost(
    pair: tuple[Cluster, Cluster], tmp_path: Path, delivery: str
) -> None:
    scenario = Scenario(*pair, tmp_path, f"all-killed-{delivery}", delivery=delivery)
    scenario.corpus.write()
    with scenario.corpus.keep_writing(scenario.acks):
        for _ in range(3):
            with scenario.installation.worker() as one, scenario.installation.worker() as other:
                scenario.wait_until_all_move(within=30)
                one.kill()
                other.kill()
    with scenario.installation.worker() as last:
        last.wait_ready()
        scenario.wait_until_copied()
        scenario.judge(rewinds=3 * JUMPS_PER_CRASH[delivery])
        last.terminate()


@cases()
def test_given_a_worker_is_suspended_and_goes_on_later_then_nothing_is_lost_or_overtaken(
    pair: tuple[Cluster, Cluster], tmp_path: Path, delivery: str
) -> None:
    scenario = Scenario(*pair, tmp_path, f"suspended-{delivery}", delivery=delivery)
    scenario.corpus.write()
    with scenario.installation.worker() as survivor, scenario.installation.worker() as victim:
        survivor.wait_ready()
        victim.wait_ready()
        with scenario.corpus.keep_writing(scenario.acks) as writer:
            scenario.wait_until_all_move(within=20)
            victim.freeze()
            scenario.wait_until_all_move(within=10)
            rounds = writer.rounds
            wait_for(lambda: writer.rounds > rounds + 30, within=30, what="producers go on")
            victim.thaw()
            scenario.wait_until_all_move(within=20)
            victim.wait_ready()
            rounds = writer.rounds
            wait_for(lambda: writer.rounds > rounds + 30, within=30, what="producers go on")
        scenario.wait_until_copied()
        scenario.judge(rewinds=2 * JUMPS_PER_CRASH[delivery], interleaved=delivery == AT_LEAST_ONCE)
        victim.terminate()
        survivor.terminate()
