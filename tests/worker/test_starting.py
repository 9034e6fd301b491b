"""First entries, held against two bundled clusters in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

import pytest

from broker.cluster import Cluster
from replicator.config.models import ClusterConfig, LinkConfig, TopicsConfig
from replicator.states import Reason, State
from replicator.wire.cluster import ClusterClient
from replicator.worker.starting import StartingPoints
from tests.flow import logs


@pytest.fixture
async def clusters() -> AsyncIterator[tuple[Cluster, Cluster, ClusterClient, ClusterClient]]:
    async with Cluster() as source, Cluster() as target:
        us, eu = (
            ClusterClient(alias, ClusterConfig(bootstrap_servers=cluster.bootstrap), "test")
            for alias, cluster in (("us", source), ("eu", target))
        )
        yield source, target, us, eu
        await us.close()
        await eu.close()


@pytest.mark.parametrize("naming", ["prefix", "identical"])
async def test_given_a_copy_that_the_ledger_does_not_know_then_it_is_stated_and_not_copied_again(
    clusters: tuple[Cluster, Cluster, ClusterClient, ClusterClient], naming: Literal["prefix", "identical"]
) -> None:
    source, target, us, eu = clusters
    link = LinkConfig(name="l", source="us", target="eu", lanes=1, topics=TopicsConfig(naming=naming))
    for topic in ("known-to-nobody", "new"):
        source.create_topic(topic, 1, 1)
        target.create_topic(link.remote_topic(topic), 1, 1)
        source.log(topic, 0).append_as_client(logs.batch(logs.rows(0, 20)))
    target.log(link.remote_topic("known-to-nobody"), 0).append_as_client(logs.batch(logs.rows(0, 15)))
    await us.all_topics()
    await eu.all_topics()
    starting = StartingPoints(link, us, eu, lambda: 7)
    entries = await starting.first_entries([("known-to-nobody", 0), ("new", 0)], born_after_link={("new", 0)})
    found = {entry.topic: entry for entry in entries}
    assert (found["new"].state, found["new"].reason) == (State.COPYING, None)
    lost = found["known-to-nobody"]
    assert (lost.state, lost.reason, lost.source_next, lost.target_next) == (
        State.FAULTED, Reason.FOREIGN_WRITER, 0, 15,
    )  # fmt: skip
    assert "replicator run --adopt" in lost.detail
    assert "offset 15" in lost.detail


async def test_given_names_kept_in_both_directions_then_what_the_target_holds_is_its_clients_and_copying_begins(
    clusters: tuple[Cluster, Cluster, ClusterClient, ClusterClient],
) -> None:
    source, target, us, eu = clusters
    link = LinkConfig(name="l", source="us", target="eu", lanes=1, topics=TopicsConfig(naming="identical"))
    for cluster in (source, target):
        cluster.create_topic("orders", 1, 1)
        cluster.log("orders", 0).append_as_client(logs.batch(logs.rows(0, 15)))
    await us.all_topics()
    await eu.all_topics()
    starting = StartingPoints(link, us, eu, lambda: 7, two_way=True)
    (entry,) = await starting.first_entries([("orders", 0)], born_after_link={("orders", 0)})
    assert (entry.state, entry.reason, entry.source_next, entry.target_next) == (State.COPYING, None, 0, 15)
