"""`doctor`: what may trouble a link beside what `check` finds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import NewTopic

from replicator.dr.clocks import COMMIT_MS
from tests.cli.test_check_clusters import config, create, reach, run, told
from tests.support.bundled import BundledCluster
from tests.support.checker import Seen
from tests.support.copying import produce
from tests.support.javatools import run_tool
from tests.support.kafka import KafkaCluster
from tests.support.replicator import Installation

Cluster = BundledCluster | KafkaCluster


@pytest.fixture(scope="module")
def bundled() -> Iterator[tuple[BundledCluster, BundledCluster]]:
    with (
        BundledCluster(name="doctor-source") as source,
        BundledCluster(name="doctor-target", persistent=True) as target,
    ):
        yield source, target


def found(result: Any, level: str) -> list[str]:
    return [f"{row['where']}: {row['what']}" for row in told(result)["findings"] if row["level"] == level]


@pytest.mark.slow
def test_given_a_link_that_copies_when_asked_then_ways_clocks_disks_and_replicas_are_told(
    bundled: tuple[Cluster, Cluster], tmp_path: Path
) -> None:
    source, target = bundled
    create(source, NewTopic("doctor-orders", 2, 1))
    link = {
        "name": "l",
        "source": "us",
        "target": "eu",
        "writing": "transactions",
        "topics": {"include": ["doctor-o.*"]},
    }
    installation = Installation(tmp_path, {"us": source, "eu": target}, [link])
    soon = int(time.time() * 1000) + 1_200_000
    with installation.worker() as worker:
        worker.wait_ready()
        produce(source.client_config, "doctor-orders", 0, [Seen(0, b"k", b"v", (), soon - 1_200_000)])
        installation.wait_until_copied(2)
    done = run("doctor", str(installation.file), "-o", "json")
    assert done.exit_code == 0, done.stdout
    said = "\n".join(found(done, "ok"))
    assert "cluster us: round trips: broker " in said
    assert "cluster eu: 1 log directories have room" in said  # of a broker that keeps its data on a disk
    assert f"cluster eu: clock: agrees with that of the workers, within {COMMIT_MS / 1000:g} s" in said
    assert "cluster us: clock: no record is from the future" in said
    assert "all replicas of " in said
    assert "cluster eu: no quota holds for ANONYMOUS" in said
    produce(source.client_config, "doctor-orders", 1, [Seen(0, b"k", b"v", (), soon)])
    warned = "\n".join(found(run("doctor", str(installation.file), "-o", "json"), "warning"))
    assert "cluster us: clock: its newest record is 20 min ahead of our clock" in warned


def test_given_copies_that_do_not_fit_then_each_misfit_is_named(
    bundled: tuple[Cluster, Cluster], tmp_path: Path
) -> None:
    source, target = bundled
    create(source, NewTopic("misfit", 1, 1, config={"max.message.bytes": "2000000"}))
    misfit = {"max.message.bytes": "1000", "min.insync.replicas": "2", "unclean.leader.election.enable": "true"}
    create(target, NewTopic("us.misfit", 3, 1, config=misfit))
    path = config(tmp_path, reach(source), reach(target), topics={"include": ["misfit"]})
    done = run("doctor", path, "-o", "json")
    assert done.exit_code == 1, done.stdout
    assert found(done, "problem") == [
        "cluster eu: min.insync.replicas is larger than the number of replicas: us.misfit"
    ]
    warned = found(done, "warning")
    for said in (
        "link us-to-eu: copies have more partitions than their topics: misfit",
        "link us-to-eu: copies take smaller batches than their topics: us.misfit (1000 < 2000000)",
        "cluster eu: unclean.leader.election.enable is true: us.misfit",
        "cluster eu: 1 copies have a single replica",
    ):
        assert said in warned
    text = run("doctor", path)
    assert "1 problems" in text.stdout
    assert run("check", path).exit_code == 0, "what isn't required is no finding of `check`"


def test_given_a_cluster_that_is_away_then_it_is_a_problem_as_of_check(
    bundled: tuple[Cluster, Cluster], tmp_path: Path
) -> None:
    path = config(tmp_path, reach(bundled[0]), {"bootstrap_servers": "127.0.0.1:1"}, topics={"include": ["misfit"]})
    done = run("doctor", path, "-o", "json")
    assert done.exit_code == 3
    assert any("can't connect to 127.0.0.1:1" in text for text in found(done, "problem"))


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.soak
def test_given_real_kafka_with_quotas_then_those_that_hold_for_us_are_named(
    kafka_source: KafkaCluster, kafka_target: KafkaCluster, tmp_path: Path
) -> None:
    create(kafka_source, NewTopic("doctor-quotas", 1, 1))
    tool, at = "kafka.admin.ConfigCommand", ("--bootstrap-server", kafka_target.bootstrap, "--alter")
    run_tool(tool, *at, "--add-config", "producer_byte_rate=5000000", "--entity-type", "users", "--entity-default")
    run_tool(tool, *at, "--add-config", "request_percentage=50", "--entity-type", "clients", "--entity-name", "other")
    path = config(tmp_path, reach(kafka_source), reach(kafka_target), topics={"include": ["doctor-q.*"]})
    done = run("doctor", path, "-o", "json")
    run_tool(tool, *at, "--delete-config", "producer_byte_rate", "--entity-type", "users", "--entity-default")
    assert done.exit_code == 0, done.stdout
    assert "cluster eu: a quota of any user holds for us: writing 5 MB/s per broker" in found(done, "warning")
    assert not any("client-id other" in text for text in found(done, "warning"))
    said = "\n".join(found(done, "ok"))
    assert "cluster us: upgraded to Kafka 4.1 (metadata.version " in said
    assert "cluster us: no quota holds for ANONYMOUS" in said
    assert "log directories have room" in said
    print(done.stdout)
