"""The clusters of the end-to-end tests: `@on(...)` of `pairs.py` says which a test gets as its `pair`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.rig import Pair
from tests.support.bundled import BundledCluster
from tests.support.zookeeper_kafka import ZooKeeperKafkaCluster


@pytest.fixture(scope="module")
def bundled_pair() -> Iterator[Pair]:
    """Two bundled clusters, shared by a module: use topic names of your own."""
    with BundledCluster(name="source") as source, BundledCluster(name="target") as target:
        yield source, target


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Source and target; bundled ones for a test that says nothing."""
    match getattr(request, "param", "bundled"):
        case "bundled":
            yield request.getfixturevalue("bundled_pair")
        case "kafka":
            yield request.getfixturevalue("kafka_source"), request.getfixturevalue("kafka_target")
        case "old":
            with ZooKeeperKafkaCluster(name="kafka-2-8") as old:
                yield old, request.getfixturevalue("bundled_pair")[1]
        case unknown:
            raise AssertionError(f"no such pair: {unknown}")
