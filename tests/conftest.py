"""What all suites share: which tests run where, and the real Kafka clusters of a session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support import javatools
from tests.support.kafka import KafkaCluster

_LONG = frozenset({"e2e", "faults"})

# How long an example takes is the machine's business; benchmarks measure speed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_report_header() -> str:
    """Say at once whether real Kafka takes part."""
    missing = javatools.missing()
    return f"real Kafka: not here: {missing}" if missing else f"real Kafka: {javatools.KAFKA_VERSION}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave `soak` tests to `-m soak`; skip real-Kafka tests where it can't run, but never under CI=true."""
    expression = config.getoption("markexpr", default="")
    missing = javatools.missing()
    for item in items:
        if item.get_closest_marker("soak") and "soak" not in expression:
            item.add_marker(pytest.mark.skip(reason="the long form: `make soak-all` runs it"))
        if missing and item.get_closest_marker("kafka") and os.environ.get("CI") != "true":
            item.add_marker(pytest.mark.skip(reason=missing))
    items.sort(key=_lasts_long, reverse=True)


def _lasts_long(item: pytest.Item) -> bool:
    """Whether its file is one of those to begin with: two processes share the files, and end together if the last ones
    are short."""
    return item.path.parent.name in _LONG


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Under CI=true a missing JDK is a failure, not a skip."""
    missing = javatools.missing()
    if missing and item.get_closest_marker("kafka"):
        pytest.fail(f"{missing} (required because CI=true)", pytrace=False)


@pytest.fixture(scope="session")
def kafka_source() -> Iterator[KafkaCluster]:
    """One node of real Kafka, shared by the session: use topic names of your own."""
    with KafkaCluster(name="source") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kafka_target() -> Iterator[KafkaCluster]:
    """Another one, to copy to."""
    with KafkaCluster(name="target") as cluster:
        yield cluster
