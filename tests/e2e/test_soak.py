"""The long form: two clusters of three real nodes, and all the while something is killed, frozen or suspended.

`SOAK_MINUTES` says for how long (60), `SOAK_SEED` which schedule; both are printed with each event.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.e2e.crew import Crew
from tests.e2e.scenario import Scenario
from tests.e2e.test_kills import BOTH_WAYS, fresh_seed, judge
from tests.support.kafka import KafkaCluster

MINUTES = float(os.environ.get("SOAK_MINUTES", "60"))
JUDGING_S = 1200  # at most, besides starting and stopping
MOVES_WITHIN_S = 120.0  # with brokers that come back on a busy machine

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(MINUTES * 60 + JUDGING_S)]


class Weather:
    """What may happen to the nodes: to one of a cluster at a time, so that what is acknowledged stays."""

    def __init__(self, clusters: Mapping[str, KafkaCluster], crew: Crew) -> None:
        self._clusters = clusters
        self._crew = crew
        self._rng = crew.rng

    def kill_a_node(self) -> None:
        """kill -9; it comes back when everything moves without it."""
        name, cluster, node = self._choose()
        cluster.kill_node(node)
        self._crew.say(f"kill node {node} of {name}")
        self._moves()
        cluster.start_node(node)
        self._crew.say(f"node {node} of {name} is back")

    def kill_a_node_and_a_worker(self) -> None:
        """Both at once."""
        name, cluster, node = self._choose()
        cluster.kill_node(node)
        self._crew.say(f"kill node {node} of {name}")
        self._crew.kill(self._rng.choice(self._crew.workers))
        self._moves()
        cluster.start_node(node)
        self._crew.fill_up()

    def freeze_a_node(self) -> None:
        """For longer or shorter than its session lasts."""
        name, cluster, node = self._choose()
        seconds = self._rng.choice((0.5, 2.0, 5.0, 12.0))
        self._crew.say(f"freeze node {node} of {name} for {seconds} s")
        cluster.freeze(node)
        try:
            time.sleep(seconds)  # the fault's own length
        finally:
            cluster.thaw(node)

    def suspend_a_worker(self) -> None:
        """For longer or shorter than its session lasts."""
        self._crew.suspend_one(self._rng.uniform(1, 25))

    def _moves(self) -> None:
        self._crew.scenario.wait_until_all_move(within=MOVES_WITHIN_S)

    def _choose(self) -> tuple[str, KafkaCluster, int]:
        name, cluster = self._rng.choice(sorted(self._clusters.items()))
        return name, cluster, self._rng.randrange(cluster.nodes)


def test_given_an_hour_of_broken_brokers_and_workers_then_each_record_arrives_once_and_positions_are_exact(
    tmp_path: Path,
) -> None:
    seed = int(os.environ.get("SOAK_SEED") or fresh_seed())
    print(f"soak for {MINUTES:g} minutes: seed {seed}", flush=True)
    safe = {"min.insync.replicas": "2"}
    with (
        KafkaCluster(3, name="source", properties=safe) as source,
        KafkaCluster(3, name="target", properties=safe) as target,
    ):
        scenario = Scenario(source, target, tmp_path, f"soak{seed}", copies=BOTH_WAYS, seed=seed)
        scenario.corpus.write()
        with Crew(scenario, seed, takeover_s=MOVES_WITHIN_S) as crew:
            crew.wait_ready()
            weather = Weather({"source": source, "target": target}, crew)
            events: tuple[Callable[[], None], ...] = (
                weather.kill_a_node,
                weather.kill_a_node,
                weather.kill_a_node_and_a_worker,
                weather.freeze_a_node,
                weather.freeze_a_node,
                weather.suspend_a_worker,
                crew.kill_one,
                crew.kill_one,
                crew.kill_all,
                crew.kill_twice,
            )
            happened = 0
            until = time.monotonic() + MINUTES * 60
            with scenario.corpus.keep_writing(scenario.acks, pause_s=0.1 + MINUTES / 200):
                scenario.wait_until_all_move(within=MOVES_WITHIN_S)
                while time.monotonic() < until:
                    crew.rng.choice(events)()
                    happened += 1
                    scenario.wait_until_all_move(within=MOVES_WITHIN_S)
            crew.say(f"{happened} events, {crew.kills} kills of workers; judging")
            judge(scenario, seed)
            crew.stop()
