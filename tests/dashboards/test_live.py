"""A real Prometheus scrapes a running pair, and answers what every panel asks."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.dashboards.files import Query, queries, rules, tool
from tests.dashboards.live import Clients, Prometheus
from tests.dashboards.promql import parse
from tests.support.bundled import BundledCluster
from tests.support.copying import create
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

TOPIC_AUTHORIZATION_FAILED = 29
LONG = "a" * 248  # with a prefix, more than a topic's name may have
# What this pair has none of: copies that come back, and lines of the worst partitions only.
NOT_HERE = {
    "replicator_looped_records_total",
    "replicator_looped_bytes_total",
    "replicator_worst_partition_lag_records",
    "replicator_worst_partition_lag_seconds",
}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Of two workers with a link that copies one topic, may not read another, and can't create a third."""
    tool("prometheus")
    directory = tmp_path_factory.mktemp("live")
    with BundledCluster(name="us") as us, BundledCluster(name="eu") as eu:
        create(us.admin(), "orders", 2)
        create(us.admin(), "denied")
        create(us.admin(), LONG)
        us.fault("fail", "Fetch", error=TOPIC_AUTHORIZATION_FAILED, topic="denied", times=10_000)
        link = {"name": "us-to-eu", "source": "us", "target": "eu", "lanes": 4}
        installation = Installation(directory, {"us": us, "eu": eu}, [link])
        with (
            installation.worker("--workers", "2") as worker,
            Prometheus(directory, worker.address) as found,
            Clients(us, "orders", 2, "readers"),
        ):
            yield found


@pytest.mark.slow
def test_given_a_running_pair_when_every_panel_asks_then_it_gets_data(prometheus: Prometheus) -> None:
    waiting = list(queries())

    def answered() -> bool:
        now = time.time()
        waiting[:] = [query for query in waiting if not _has_data(prometheus, query, now)]
        assert not waiting, "no data: " + ", ".join(query.where for query in waiting)
        return True

    wait_for(answered, within=90, every=0.5, what="every panel has data")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "least"),
    [
        ('replicator_faulted_partitions{reason="NOT_AUTHORIZED"}', 1),
        ('sum(replicator_faults_total{reason="NOT_AUTHORIZED"})', 1),
        ('replicator_authorization_failures_total{topic="denied"}', 1),
        ('replicator_sync_held{syncer="topics",reason="TOPIC_NAME_INVALID"}', 1),
        ('sum(replicator_sync_rounds_total{syncer="topics",result="ok"})', 1),
        ("sum(replicator_group_positions_written_total)", 1),
        ('sum(replicator_lanes{state="running"})', 4),
        ("sum(replicator_controller)", 1),
        ('replicator_partitions{state="PENDING"}', 1),
        ('sum(replicator_partitions{state="COPYING"})', 2),
        ("sum(replicator_worker_up)", 2),
    ],
)
def test_given_a_running_pair_then_what_it_does_is_counted(prometheus: Prometheus, query: str, least: int) -> None:
    def counted() -> bool:
        found = [float(series["value"][1]) for series in prometheus.get("query", query=query)["result"]]
        assert len(found) == 1, found
        assert found[0] >= least, found
        return True

    wait_for(counted, within=60, every=0.5, what=query)


@pytest.mark.slow
def test_given_a_running_pair_then_prometheus_evaluates_every_rule(prometheus: Prometheus) -> None:
    def evaluated() -> bool:
        found = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        assert len(found) == len(rules())
        assert [(rule["name"], rule.get("lastError")) for rule in found if rule["health"] != "ok"] == []
        recorded = [rule["record"] for rule in rules() if "record" in rule]
        assert [name for name in recorded if not prometheus.get("query", query=name)["result"]] == []
        return True

    wait_for(evaluated, within=30, every=0.5, what="every rule is evaluated, and what is recorded is there")


def _has_data(prometheus: Prometheus, query: Query, now_s: float) -> bool:
    """Whether it has; an error in the answer isn't waited out."""
    topic = "denied" if "authorization" in query.text else "orders"
    series = prometheus.answers(query, now_s, link="us-to-eu", topic=topic)
    return bool(series) or all(selector.name in NOT_HERE for selector in parse(query.text).selectors)
