"""A principal that may not write as the link's `delivery` needs it: said at the start, with what to grant."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from tests.e2e.rig import Rig, grant, records
from tests.support.bundled import BundledCluster
from tests.support.checker import read_partition
from tests.support.copying import create, produce
from tests.support.kafka import USERNAME, KafkaCluster
from tests.support.replicator import Installation
from tests.support.waiting import wait_for
from tests.support.zookeeper_kafka import ZooKeeperKafkaCluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PRINCIPAL = f"User:{USERNAME}"
DELIVERIES = {53: "exactly_once", 31: "at_least_once"}  # by the error that each can meet
TRANSACTIONS = {"delivery": "exactly_once", "writing": "transactions"}


def grant_common(cluster: KafkaCluster) -> None:
    grant(cluster, ResourceType.TOPIC, "__replicator_", PRINCIPAL, prefixed=True)
    grant(cluster, ResourceType.GROUP, "replicator.", PRINCIPAL, prefixed=True)
    grant(cluster, ResourceType.GROUP, "independent-checker", PRINCIPAL)  # who reads the copies in the end


def refused(rig: Rig) -> str:
    """What a worker says that doesn't start, with the exit code of something that isn't allowed."""
    with rig.worker() as worker:
        wait_for(lambda: not worker.running, within=20, what="run refuses")
        assert worker.exit_code == 3, worker.log()
        assert "Traceback" not in worker.log()
        return " ".join(worker.log().split())


@pytest.mark.kafka
@pytest.mark.parametrize("link", [{}, pytest.param(TRANSACTIONS, marks=pytest.mark.soak)], ids=["auto", "transactions"])
def test_given_no_grant_for_transactional_ids_then_run_and_check_name_it_and_with_it_all_is_copied(
    kafka_source: KafkaCluster, tmp_path: Path, request: pytest.FixtureRequest, link: Any
) -> None:
    with KafkaCluster(name="guarded", security="plain", authorizer=True) as target:
        rig = Rig((kafka_source, target), tmp_path, request.node.name, **link)
        grant_common(target)
        grant(target, ResourceType.TOPIC, "us.", PRINCIPAL, prefixed=True)
        said = refused(rig)
        checked = rig.installation.run("check")
        assert checked.returncode == 1, checked.stdout
        for words in (
            f"grant Describe and Write on transactional ids with the prefix replicator.{rig.name}. to {PRINCIPAL}",
            "kafka-cluster:DescribeTransactionalId and kafka-cluster:AlterTransactionalId",
            "`delivery: at_least_once`",
        ):
            assert words in said
            assert words in " ".join(checked.stdout.split())
        for operation in (AclOperation.WRITE, AclOperation.DESCRIBE):
            grant(target, ResourceType.TRANSACTIONAL_ID, f"replicator.{rig.name}.", PRINCIPAL, operation, prefixed=True)
        with rig.worker() as worker:
            worker.wait_ready()
            rig.wait_copied(rig.bad, rig.good)
        assert rig.installation.run("check").returncode == 0


@pytest.mark.parametrize(
    "refusal", [pytest.param((53, "AlterTransactionalId"), marks=pytest.mark.soak), (31, "WriteDataIdempotently")]
)
def test_given_a_broker_that_refuses_producers_then_run_ends_and_names_what_to_grant(
    tmp_path: Path, request: pytest.FixtureRequest, refusal: tuple[int, str]
) -> None:
    error, action = refusal
    with BundledCluster(name="source") as source, BundledCluster(name="target") as target:
        rig = Rig((source, target), tmp_path, request.node.name, delivery=DELIVERIES[error])
        target.fault("fail", "InitProducerId", error=error, times=1)
        said = refused(rig)
        assert f"kafka-cluster:{action}" in said
        assert target.faults_hit() == {"InitProducerId fail": 1}


def test_given_copies_that_may_not_be_read_when_a_worker_dies_then_its_heir_waits_and_writes_no_record_twice(
    tmp_path: Path,
) -> None:
    with BundledCluster(name="source") as source, BundledCluster(name="target") as target:
        link = {"name": "late", "source": "us", "target": "eu", "topics": {"include": ["orders"]}, "lanes": 1}
        installation = Installation(tmp_path, {"us": source, "eu": target}, [link])
        create(source.admin(), "orders")
        now_ms = int(time.time() * 1000)  # fresh records: they are written plainly, and entries come after
        produce(source.client_config, "orders", 0, records(20, at_ms=now_ms))
        with installation.worker() as first:
            first.wait_ready()
            installation.wait_until_copied(1)
            target.fault("delay", "Produce", topic="__replicator_late_ledger", seconds=60, times=100)
            produce(source.client_config, "orders", 0, records(50, start=20, at_ms=now_ms))
            wait_for(lambda: copies(target) == 70, within=20, every=0.3, what="all are on the copy")
            first.kill()
        target.clear_faults()
        target.fault("fail", "Fetch", topic="us.orders", error=29, times=10_000)
        with installation.worker() as heir:

            def waits() -> bool:
                found = installation.status()["orders", 0]
                assert found["reason"] == "NOT_AUTHORIZED", found
                return "Read on topic us.orders of cluster eu" in found["detail"]

            wait_for(waits, within=30, every=0.3, what="the heir says what it waits for")
            target.clear_faults()
            heir.wait_ready()
            produce(source.client_config, "orders", 0, records(5, start=70, at_ms=now_ms))
            installation.wait_until_copied(1)
            assert '"records_found": 50' in heir.log()
        assert copies(target) == 75


def copies(target: BundledCluster) -> int:
    return len(read_partition(target.client_config, "us.orders", 0))


@pytest.mark.soak
@pytest.mark.kafka
@pytest.mark.parametrize("make", [ZooKeeperKafkaCluster, KafkaCluster])
def test_given_at_least_once_then_idempotent_writes_must_be_allowed_and_transactional_ids_need_not(
    kafka_source: KafkaCluster, tmp_path: Path, request: pytest.FixtureRequest, make: type[KafkaCluster]
) -> None:
    with make(name="guarded", security="plain", authorizer=True) as target:
        rig = Rig((kafka_source, target), tmp_path, request.node.name, delivery="at_least_once")
        said = refused(rig)
        assert f"grant IdempotentWrite on the cluster to {PRINCIPAL} (in IAM: kafka-cluster:WriteData" in said
        checked = rig.installation.run("check")
        assert checked.returncode == 1
        assert "IdempotentWrite isn't allowed on cluster" in checked.stdout
        grant_common(target)
        grant(target, ResourceType.TOPIC, "us.", PRINCIPAL, prefixed=True)
        with rig.worker() as worker:
            worker.wait_ready()
            rig.wait_copied(rig.bad, rig.good)
