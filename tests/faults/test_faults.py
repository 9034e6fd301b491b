"""Faults of brokers and workers, one after the other on a running rig, while producers write.

The bundled broker, with three nodes a side. Whatever happens, everything must move again, and every record arrive once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.scenario import Scenario
from tests.support.bundled import BundledCluster
from tests.support.replicator import Worker
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

NOT_LEADER, TIMED_OUT, NOT_ENOUGH_REPLICAS, UNKNOWN_SERVER_ERROR = 6, 7, 19, -1
NOT_COORDINATOR, CONCURRENT, LOADING, STORAGE_ERROR, FENCED_EPOCH, SESSION_NOT_FOUND = 16, 51, 14, 56, 74, 70

# (side, API, error numbers): what a real broker answers in trouble, and a client has to live with.
FAILING = (
    ("source", "Fetch", (NOT_LEADER, UNKNOWN_SERVER_ERROR, STORAGE_ERROR, FENCED_EPOCH)),
    ("source", "Metadata", (UNKNOWN_SERVER_ERROR,)),
    ("source", "ListOffsets", (NOT_LEADER, TIMED_OUT)),
    ("target", "Produce", (NOT_LEADER, TIMED_OUT, NOT_ENOUGH_REPLICAS, STORAGE_ERROR)),
    ("target", "AddPartitionsToTxn", (LOADING, NOT_COORDINATOR, CONCURRENT)),
    ("target", "EndTxn", (LOADING, NOT_COORDINATOR, CONCURRENT)),
    ("target", "Metadata", (UNKNOWN_SERVER_ERROR,)),
    ("target", "InitProducerId", (LOADING, NOT_COORDINATOR, CONCURRENT)),
    ("target", "FindCoordinator", (LOADING,)),
    ("target", "Heartbeat", (NOT_COORDINATOR,)),
)


class Rig:
    """Two clusters of three nodes, one link with two workers, and a seed that decides what breaks next."""

    def __init__(self, source: BundledCluster, target: BundledCluster, scenario: Scenario, seed: int) -> None:
        self.clusters = {"source": source, "target": target}
        self.scenario = scenario
        self.rng = random.Random(seed)
        self.stack = ExitStack()
        self.workers: list[Worker] = []

    def say(self, step: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {step}", flush=True)

    def cluster(self) -> tuple[str, BundledCluster]:
        return self.rng.choice(sorted(self.clusters.items()))

    def stop_and_start_a_node(self) -> None:
        name, cluster = self.cluster()
        node = self.rng.randrange(cluster.nodes)
        self.say(f"stop node {node} of {name}")
        cluster.kill_node(node)
        try:
            self.scenario.wait_until_all_move(within=30)
        finally:
            cluster.start_node(node)

    def freeze_a_node(self) -> None:
        name, cluster = self.cluster()
        node = self.rng.randrange(cluster.nodes)
        self.say(f"freeze node {node} of {name}")
        cluster.freeze(node)
        try:
            time.sleep(self.rng.uniform(0.5, 3))  # the fault's own length: nothing is waited for
        finally:
            cluster.thaw(node)

    def fail_an_api(self) -> None:
        side, api, errors = self.rng.choice(FAILING)
        error, times = self.rng.choice(errors), self.rng.randrange(1, 6)
        self.say(f"{times} x {api} on {side} answers {error}")
        self.clusters[side].fault("fail", api, error=error, times=times)

    def cut_an_api(self) -> None:
        side, api, _ = self.rng.choice(FAILING)
        action, times = self.rng.choice(("drop", "drop_response")), self.rng.randrange(1, 4)
        self.say(f"{times} x {api} on {side}: {action}")
        self.clusters[side].fault(action, api, times=times)

    def delay_an_api(self) -> None:
        side, api, _ = self.rng.choice(FAILING)
        seconds = round(self.rng.uniform(0.2, 2), 1)
        self.say(f"{api} on {side} takes {seconds} s")
        self.clusters[side].fault("delay", api, seconds=seconds, times=3)

    def start_a_worker(self) -> None:
        self.workers.append(self.stack.enter_context(self.scenario.installation.worker()))

    def kill_a_worker(self) -> None:
        victim = self.workers.pop(self.rng.randrange(len(self.workers)))
        self.say(f"kill -9 {victim.name}")
        victim.kill()
        self.start_a_worker()

    def suspend_a_worker(self) -> None:
        victim = self.rng.choice(self.workers)
        self.say(f"suspend {victim.name}")
        victim.freeze()
        try:
            self.scenario.wait_until_all_move(within=30)
        finally:
            victim.thaw()

    def stop_a_worker(self) -> None:
        victim = self.workers.pop(self.rng.randrange(len(self.workers)))
        self.say(f"stop {victim.name}")
        victim.terminate(within=10)  # its last flush may meet a broker that has just been broken
        self.start_a_worker()

    def step(self) -> None:
        """One fault, then: everything moves again."""
        faults: tuple[Callable[[], None], ...] = (
            self.stop_and_start_a_node,
            self.freeze_a_node,
            self.fail_an_api,
            self.fail_an_api,
            self.cut_an_api,
            self.cut_an_api,
            self.delay_an_api,
            self.kill_a_worker,
            self.kill_a_worker,
            self.suspend_a_worker,
            self.stop_a_worker,
        )
        self.rng.choice(faults)()
        self.scenario.wait_until_all_move(within=60)


def run_rig(tmp_path: Path, seed: int, steps: int) -> None:
    print(f"fault schedule: seed {seed}")
    settings = {"min.insync.replicas": "2", "default.replication.factor": "3"}
    with (
        BundledCluster(3, name="source", properties=settings) as source,
        BundledCluster(3, name="target", properties=settings) as target,
    ):
        scenario = Scenario(source, target, tmp_path, "faults")
        scenario.corpus.write()
        rig = Rig(source, target, scenario, seed)
        with rig.stack:
            rig.start_a_worker()
            rig.start_a_worker()
            with scenario.corpus.keep_writing(scenario.acks, pause_s=0.05):
                scenario.wait_until_all_move(within=30)
                for _ in range(steps):
                    rig.step()
                for cluster in rig.clusters.values():
                    print(cluster.faults_hit())
                    cluster.clear_faults()
            scenario.wait_until_copied()
            scenario.judge()
            for worker in rig.workers:
                worker.wait_ready()
                worker.terminate()
        assert scenario.installation.run("verify", "-o", "json").returncode == 0


def test_given_brokers_and_workers_that_stop_hang_and_fail_then_each_record_arrives_once(
    tmp_path: Path,
) -> None:
    run_rig(tmp_path, seed=random.SystemRandom().randrange(1 << 16), steps=10)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(30))
def test_given_long_fault_schedules_then_each_record_arrives_exactly_once(tmp_path: Path, seed: int) -> None:
    run_rig(tmp_path, seed=seed, steps=60)


START_UP = (
    ("source", "ApiVersions", (UNKNOWN_SERVER_ERROR,)),
    ("source", "DescribeConfigs", (TIMED_OUT,)),
    ("target", "ApiVersions", (UNKNOWN_SERVER_ERROR,)),
    ("target", "CreateTopics", (TIMED_OUT, 41)),
    ("target", "DescribeConfigs", (TIMED_OUT,)),
    ("target", "ListOffsets", (NOT_LEADER,)),
    ("target", "Fetch", (NOT_LEADER, STORAGE_ERROR)),
    ("target", "JoinGroup", (LOADING, NOT_COORDINATOR)),
    ("target", "SyncGroup", (27, NOT_COORDINATOR)),
    *FAILING,
)


@pytest.mark.parametrize("way", ["fail", *(pytest.param(w, marks=pytest.mark.soak) for w in ("drop", "drop_response"))])
def test_given_every_api_fails_at_the_start_then_each_record_arrives_exactly_once(
    pair: tuple[BundledCluster, BundledCluster], tmp_path: Path, way: str
) -> None:
    scenario = Scenario(*pair, tmp_path, f"start-{way}")
    scenario.corpus.write()
    sides = dict(zip(("source", "target"), pair, strict=True))
    for side, api, errors in START_UP:
        for error in errors if way == "fail" else (0,):
            where = {"error": error} if way == "fail" else {}
            sides[side].fault(way, api, **where)
    with scenario.installation.worker() as worker:
        worker.wait_ready(within=60)
        wait_for(lambda: worker.running, within=1, what="it runs")
        scenario.wait_until_copied(within=90)
        scenario.judge()
        struck = {side: cluster.faults_hit() for side, cluster in sides.items()}
        print(struck)
        assert all(struck["source"].get(f"{api} {way}") for api in ("Fetch", "Metadata", "ListOffsets"))
        assert all(struck["target"].get(f"{api} {way}") for api in ("Produce", "InitProducerId", "JoinGroup"))
        worker.terminate()


@pytest.fixture
def pair() -> Iterator[tuple[BundledCluster, BundledCluster]]:
    with (
        BundledCluster(name="source", persistent=True) as source,
        BundledCluster(name="target", persistent=True) as target,
    ):
        yield source, target


@pytest.mark.parametrize("side", [pytest.param("source", marks=pytest.mark.soak), "target"])
def test_given_a_whole_cluster_is_killed_and_comes_back_then_copying_goes_on_by_itself(
    pair: tuple[BundledCluster, BundledCluster], tmp_path: Path, side: str
) -> None:
    scenario = Scenario(*pair, tmp_path, f"kill-{side}")
    scenario.corpus.write()
    cluster = pair[0] if side == "source" else pair[1]
    with scenario.installation.worker() as worker:
        worker.wait_ready()
        scenario.wait_until_copied()
        cluster.kill()
        if side == "source":
            wait_for(
                lambda: "SOURCE_UNREACHABLE" in worker.get("/metrics")[1] + worker.get("/v1/status")[1],
                within=30,
                what="said",
            )
        cluster.start_again()
        scenario.corpus.write_round()
        scenario.corpus.flush()
        scenario.wait_until_copied(within=90)
        scenario.judge()
        worker.terminate()
