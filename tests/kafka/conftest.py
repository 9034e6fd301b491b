"""The contract suite's broker: what asks for `broker` runs against the bundled one and against real Kafka."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kafka.guarded import Guarded, guarded_cluster
from tests.kafka.scene import Scene
from tests.support.bundled import BundledCluster
from tests.support.kafka import KafkaCluster


@pytest.fixture(scope="session")
def bundled_broker() -> Iterator[BundledCluster]:
    """One bundled node for the session."""
    quick = {
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        "group.consumer.heartbeat.interval.ms": "300",
        "group.consumer.min.heartbeat.interval.ms": "300",
        "group.consumer.min.session.timeout.ms": "1000",
    }
    with BundledCluster(properties=quick) as cluster:
        yield cluster


@pytest.fixture(params=["bundled", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> BundledCluster | KafkaCluster:
    """`.bootstrap` and `.kind` ("bundled" or "kafka"): use topic, group and transactional-id names of your own."""
    name = "bundled_broker" if request.param == "bundled" else "kafka_source"
    cluster: BundledCluster | KafkaCluster = request.getfixturevalue(name)
    return cluster


@pytest.fixture
def scene(broker: BundledCluster | KafkaCluster) -> Iterator[Scene]:
    """A raw connection to the broker, with shorthands."""
    with Scene(broker.bootstrap, broker.kind) as made:
        yield made


@pytest.fixture(scope="session")
def guarded_bundled() -> Iterator[Guarded]:
    """The bundled broker with ACLs."""
    with guarded_cluster("bundled") as made:
        yield made


@pytest.fixture(scope="session")
def guarded_kafka() -> Iterator[Guarded]:
    """Real Kafka with its StandardAuthorizer."""
    with guarded_cluster("kafka") as made:
        yield made


@pytest.fixture(params=["bundled", pytest.param("kafka", marks=pytest.mark.kafka)])
def guarded(request: pytest.FixtureRequest) -> Iterator[Guarded]:
    """A cluster in which only `admin` may do something until ACLs say more; they go with the test."""
    made: Guarded = request.getfixturevalue(f"guarded_{request.param}")
    made.revoke_all()
    yield made
    made.revoke_all()
