"""Identical names in both directions, and round a ring, under load and with workers killed: all clusters end with the
same records, and nothing circulates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.ring import AnyCluster, Ring, looped
from tests.support.bundled import BundledCluster
from tests.support.kafka import KafkaCluster
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WRITING = pytest.mark.parametrize("writing", ["auto", "transactions"])


def run(ring: Ring, *, kills: int) -> None:
    """Two workers with all links, of which one is killed so many times while clients write on all clusters."""
    with ring.installation.worker() as steady:
        steady.wait_ready()
        ring.wait_for_topics()
        with ring.clients_writing():
            for _ in range(kills):
                with ring.installation.worker() as other:
                    other.wait_ready()
                    before = sum(ring.ends().values())
                    wait_for(lambda before=before: sum(ring.ends().values()) > before + 500, within=30, what="more")
                    other.kill()
            before = sum(ring.ends().values())
            wait_for(lambda: sum(ring.ends().values()) > before + 3000, within=60, what="more is copied")
        assert ring.judge(within=120) > 1000
        assert looped(steady.get("/metrics")[1]) > 0
    done = ring.installation.run("verify", "-o", "json")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert sum(link["records"] for link in json.loads(done.stdout)["links"]) > 1000


@pytest.mark.soak
@WRITING
def test_given_two_bundled_clusters_that_copy_to_each_other_when_workers_are_killed_then_both_hold_the_same(
    tmp_path: Path, writing: str
) -> None:
    with BundledCluster(name="us") as us, BundledCluster(name="eu") as eu:
        clusters: dict[str, AnyCluster] = {"us": us, "eu": eu}
        run(Ring(clusters, tmp_path, f"aa-{writing}", writing=writing), kills=2)


@pytest.mark.kafka
def test_given_two_clusters_that_copy_to_each_other_when_a_worker_is_killed_then_both_hold_the_same(
    kafka_source: KafkaCluster, kafka_target: KafkaCluster, tmp_path: Path
) -> None:
    run(Ring({"us": kafka_source, "eu": kafka_target}, tmp_path, "active-active"), kills=1)


@pytest.mark.soak
def test_given_a_ring_of_three_bundled_clusters_when_workers_are_killed_then_all_hold_the_same(tmp_path: Path) -> None:
    with BundledCluster(name="us") as us, BundledCluster(name="eu") as eu, BundledCluster(name="asia") as asia:
        run(Ring({"us": us, "eu": eu, "asia": asia}, tmp_path, "ring", pause_s=0.3), kills=1)


@pytest.mark.kafka
@pytest.mark.soak
@WRITING
def test_given_a_ring_of_three_kafka_clusters_when_workers_are_killed_then_all_hold_the_same(
    kafka_source: KafkaCluster, kafka_target: KafkaCluster, tmp_path: Path, writing: str
) -> None:
    with KafkaCluster(name="asia") as asia:
        clusters: dict[str, AnyCluster] = {"us": kafka_source, "eu": kafka_target, "asia": asia}
        run(Ring(clusters, tmp_path, f"ring-{writing}", pause_s=0.5, writing=writing), kills=3)


@pytest.mark.kafka
@pytest.mark.soak
@WRITING
def test_given_two_clusters_that_copy_to_each_other_when_workers_are_killed_often_then_both_hold_the_same(
    kafka_source: KafkaCluster, kafka_target: KafkaCluster, tmp_path: Path, writing: str
) -> None:
    run(Ring({"us": kafka_source, "eu": kafka_target}, tmp_path, f"often-{writing}", writing=writing), kills=8)
